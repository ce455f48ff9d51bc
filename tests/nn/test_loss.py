"""Losses against exact arithmetic, MPFR and torch, and every rounding of their gradients."""

import math
from fractions import Fraction

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpfr
from inputs import bit_patterns, cast
from numpy.testing import assert_array_equal
from oracles import (
    CAST,
    COLUMN_SUM,
    DIVIDE,
    MULTIPLY,
    SUBTRACT,
    assert_same,
    element_draws,
    matmul_draw,
)

from emunum.formats.exact import add_exact, divide_exact, dot_exact, multiply_exact, round_exact
from emunum.kernels.random import Key
from emunum.nn.loss import (
    LOSSES,
    cross_entropy,
    cross_entropy_gradient,
    mean_squared_error,
    mean_squared_error_gradient,
    parse_loss,
)
from emunum.ops.arithmetic import Arithmetic, bind
from emunum.ops.policy import IntegerPolicy, Role, parse_policy
from emunum.ops.scaling import IntegerAccumulator, Scale
from emunum.ops.strict import Guarded, guard

F32 = np.float32


def pair(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype(F32), rng.normal(size=shape).astype(F32)


@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (33, 4)], ids=str)
def test_the_loss_of_short_numbers_is_the_exact_mean_rounded_once_more(shape):
    # Multiples of 2^-8 below 2^8: differences and squares are exact in float64, so that only the sum and
    # the division by n round.
    rng = np.random.default_rng(1)
    y, t = (np.round(rng.uniform(-200, 200, shape) * 256).astype(F32) / F32(256) for _ in range(2))
    exact = sum((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(y.flat, t.flat, strict=True))
    assert mean_squared_error(y, t) == float(exact) / y.size


def test_the_loss_of_any_finite_numbers_is_within_three_roundings_of_the_exact_one():
    y, t = bit_patterns(4000, 2), bit_patterns(4000, 3)
    keep = np.isfinite(y) & np.isfinite(t)
    y, t = y[keep], t[keep]
    exact = sum((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(y, t, strict=True)) / Fraction(
        y.size
    )
    # Difference (counted twice by the square), square, sum and division round once each: 5 u, u = 2^-53.
    assert abs(Fraction(mean_squared_error(y, t)) - exact) <= exact * Fraction(5, 2**53)


def test_the_loss_does_not_depend_on_the_order_of_the_samples():
    y, t = pair(1000, 1)
    order = np.random.default_rng(0).permutation(1000)
    assert mean_squared_error(y, t) == mean_squared_error(y[order], t[order])


def test_the_loss_of_a_perfect_answer_is_zero():
    y, _ = pair(5, 2)
    assert mean_squared_error(y, y) == 0.0


@pytest.mark.parametrize(
    ("value", "target", "loss"),
    [
        (np.inf, 0, math.inf),
        (-np.inf, 0, math.inf),
        (np.nan, 0, math.nan),
        (3e38, -3e38, (float(F32(3e38)) * 2) ** 2 / 2),
    ],
)
def test_a_loss_beyond_float32_is_measured_in_float64(value, target, loss):
    y, t = np.array([[value], [1.0]], F32), np.array([[target], [1.0]], F32)
    assert_array_equal(mean_squared_error(y, t), loss)


def test_guarded_values_are_measured_without_unguarding_them():
    y, t = pair(5, 2)
    assert mean_squared_error(guard(y), guard(t)) == mean_squared_error(y, t)


@pytest.mark.parametrize("loss_scale", [1.0, 1024.0, 1000.0])
@pytest.mark.parametrize("rounding", ["nearest", "toward_zero", "stochastic"])
@pytest.mark.parametrize("policy", ["full", "mixed"])
def test_the_gradient_rounds_the_difference_then_its_product(policy, rounding, loss_scale):
    y, t = pair(7, 3)
    arith = Arithmetic(policy=parse_policy(policy, cast("e4m3", rounding)), key=Key(5))
    to = arith.policy.elementwise
    key = arith.key.fold(Role.ERROR, 0).value
    n = y.size
    first, second = np.zeros(n, int), np.zeros(n, int)
    if to.stochastic:
        first, second = element_draws(n, to, key, SUBTRACT), element_draws(n, to, key, MULTIPLY)
    factor = float(F32(2 * loss_scale / 21))
    expected = [
        multiply_exact(factor, add_exact(float(a), -float(b), to, int(r)), to, int(s))
        for a, b, r, s in zip(y.flat, t.flat, first, second, strict=True)
    ]
    found = mean_squared_error_gradient(arith, y, t, loss_scale)
    assert_same(found, np.reshape(expected, y.shape), y, t)


def test_the_gradient_divides_by_the_number_of_elements_not_of_samples():
    arith = Arithmetic(policy=parse_policy("full", cast("float32")), key=Key(0))
    y = np.ones((4, 2), F32)
    assert_same(mean_squared_error_gradient(arith, y, np.zeros_like(y)), np.full((4, 2), 2 / 8))


# ----------------------------------------------------------------------------------------------------
# Cross-entropy
# ----------------------------------------------------------------------------------------------------


def classified(n, classes, seed=0, spread=4.0):
    """Outputs and one-hot targets of n samples."""
    rng = np.random.default_rng(seed)
    y = (rng.normal(size=(n, classes)) * spread).astype(F32)
    return y, np.eye(classes, dtype=F32)[rng.integers(0, classes, n)]


def mpfr_cross_entropy(y, target):
    """log(sum exp y) - sum t y, meant over the rows, and the largest |y|, in 200 bits."""
    with gmpy2.context(precision=200):
        rows = [
            gmpy2.log(sum(gmpy2.exp(mpfr(v)) for v in row))
            - sum(mpfr(v) * t for v, t in zip(row, own, strict=True))
            for row, own in zip(y.tolist(), target.tolist(), strict=True)
        ]
        return sum(rows) / len(rows)


@pytest.mark.parametrize("target", ["one-hot", "shares"])
@pytest.mark.parametrize(
    ("n", "classes", "spread"), [(1, 1, 1.0), (50, 10, 4.0), (50, 3, 60.0), (7, 100, 0.1)]
)
def test_the_cross_entropy_is_that_of_mpfr(n, classes, spread, target):
    y, t = classified(n, classes, seed=classes, spread=spread)
    if target == "shares":  # multiples of 2^-10 that add up to 1
        t = np.random.default_rng(1).multinomial(1024, np.full(classes, 1 / classes), n).astype(F32) / F32(
            1024
        )
    # A row's term: C differences d, at most D = 2 max|y|, each off by u D, u = 2^-53, in exp as in the sum
    # over targets; C additions of at most C and of at most D; the logarithm and the last difference. With
    # D >= 1 all that stays below (2 C + 8) u (1 + D).
    bound = (2 * classes + 8) * 2.0**-53 * (1 + 2 * float(np.abs(y).max()))
    assert abs(cross_entropy(y, t) - mpfr_cross_entropy(y, t)) <= bound


@pytest.mark.parametrize("classes", [2, 10, 16])
def test_the_cross_entropy_of_equal_outputs_is_the_logarithm_of_their_number(classes):
    y, t = np.full((8, classes), 3.5, F32), classified(8, classes)[1]
    assert abs(cross_entropy(y, t) - math.log(classes)) <= 2 * math.ulp(math.log(classes))


def test_the_cross_entropy_follows_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    y, t = classified(100, 10)
    theirs = torch.nn.functional.cross_entropy(torch.from_numpy(y).double(), torch.from_numpy(t).double())
    np.testing.assert_allclose(cross_entropy(y, t), theirs.item(), rtol=1e-14)


def test_the_cross_entropy_does_not_depend_on_the_order_of_the_samples():
    y, t = classified(1000, 10)
    order = np.random.default_rng(0).permutation(1000)
    assert cross_entropy(y, t) == cross_entropy(y[order], t[order]) == cross_entropy(guard(y), guard(t))


@pytest.mark.parametrize(
    ("y", "loss"),
    [
        ([3e38, -3e38], 0.0),
        ([-3e38, 3e38], float(F32(3e38)) * 2),
        ([-np.inf, 0.0], np.inf),
        ([0.0, -np.inf], 0.0),
        ([np.inf, 0.0], np.nan),
        ([np.nan, 0.0], np.nan),
        ([0.0, np.nan], np.nan),
    ],
)
def test_the_cross_entropy_of_extreme_outputs(y, loss):
    assert_array_equal(cross_entropy(np.array([y], F32), np.array([[1, 0]], F32)), loss)


def rational_gradient(y, t, policy, key, loss_scale):
    """The docstring of cross_entropy_gradient, number by number."""
    to, n, size = policy.elementwise, len(y), y.size

    def each(function, operation, key, *operands):
        draws = element_draws(size, to, key.value, operation).tolist() if to.stochastic else [0] * size
        flat = [np.broadcast_to(x, y.shape).ravel().tolist() for x in operands]
        results = [function(*scalars, to, draw) for *scalars, draw in zip(*flat, draws, strict=True)]
        return np.array(results).reshape(y.shape)

    first, second, sums = key.fold(Role.ERROR, 0), key.fold(Role.ERROR, 1), policy.accumulator.cast
    d = each(add_exact, SUBTRACT, first, y, -y.max(axis=1, keepdims=True))
    with gmpy2.context(precision=200):
        wide = [float(gmpy2.exp(value)) for value in d.ravel().tolist()]
    e = each(round_exact, CAST, key.fold(Role.ERROR, 0, 3), np.reshape(wide, y.shape))
    s = [
        dot_exact([1.0] * len(row), row, None, sums, matmul_draw(0, i, first.value, None, sums, COLUMN_SUM))
        for i, row in enumerate(e.tolist())
    ]
    p = each(divide_exact, DIVIDE, first, e, np.array(s)[:, None])
    return each(
        multiply_exact, MULTIPLY, first, float(F32(loss_scale / n)), each(add_exact, SUBTRACT, second, p, -t)
    )


@pytest.mark.parametrize("loss_scale", [1.0, 1000.0])
@pytest.mark.parametrize("rounding", ["nearest", "toward_zero", "stochastic"])
@pytest.mark.parametrize("policy", ["full", "mixed"])
@pytest.mark.parametrize("name", ["e4m3", "e5m6", "float16"])
def test_the_gradient_of_the_cross_entropy_rounds_every_step(name, policy, rounding, loss_scale):
    # Our exp may be another float64 than MPFR's, an ulp away: only between roundings of these short formats
    # could that show, and in float32 it would in one case of 2^28.
    arith = bind(parse_policy(policy, cast(name, rounding)), Key(5))
    y, t = classified(6, 5)
    y = np.array(arith.cast(Role.ACTIVATION, y))
    found = cross_entropy_gradient(arith, y, t, loss_scale)
    assert_same(found, rational_gradient(y, t, arith.policy, arith.key, loss_scale), y, t)


def test_the_float32_gradient_of_the_cross_entropy_is_near_the_exact_one():
    arith = bind(parse_policy("full", cast("float32")), Key(0))
    y, t = classified(40, 10)
    wide = y.astype(np.float64)
    e = np.exp(wide - wide.max(axis=1, keepdims=True))
    exact = (e / e.sum(axis=1, keepdims=True) - t) / 40
    # d is off by u |d| <= 32 u, which exp turns into as much of p <= 1; nine sums and five more roundings.
    np.testing.assert_allclose(cross_entropy_gradient(arith, y, t), exact, rtol=0, atol=48 * 2.0**-24 / 40)


INT8 = IntegerPolicy(
    name="int8",
    cast=cast("int8"),
    accumulator=IntegerAccumulator(),
    scale=Scale.ABSMAX,
    per_channel=False,
    integer_master=False,
)
STRICT = [parse_policy("full", cast("e4m3", "stochastic")), parse_policy("mixed", cast("e5m2")), INT8]


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("policy", STRICT, ids=lambda policy: policy.name)
def test_no_raw_operation_slips_through(policy, loss):
    y, t = classified(6, 5)
    found = []
    for strict in (True, False):
        arith = bind(policy, Key(2), strict=strict)
        outputs, targets = arith.cast(Role.ACTIVATION, y), arith.cast(Role.INPUT, t)
        found.append(loss.gradient(arith, outputs, targets, 4.0))
    assert type(found[0]) is Guarded
    assert type(found[1]) is np.ndarray
    assert_same(np.asarray(found[0]), found[1])


def test_the_int8_gradient_is_float32_arithmetic_on_the_values():
    y, t = classified(6, 5)
    integers = bind(INT8, Key(2))
    outputs, targets = integers.cast(Role.ACTIVATION, y), integers.cast(Role.INPUT, t)
    floats = bind(parse_policy("full", cast("float32")), Key(2))
    expected = cross_entropy_gradient(floats, outputs.values(), targets.values(), 4.0)
    assert_same(cross_entropy_gradient(integers, outputs, targets, 4.0), expected)


def test_one_row_of_nan_does_not_touch_the_others():
    arith = bind(parse_policy("full", cast("bfloat16")), Key(0))
    y, t = classified(3, 4)
    clean = cross_entropy_gradient(arith, y, t)
    y[1, 2] = np.nan
    found = cross_entropy_gradient(arith, y, t)
    assert np.isnan(found[1]).all()
    assert_same(found[::2], clean[::2])


def test_losses_go_by_name():
    assert list(LOSSES) == ["mse", "cross_entropy"]
    assert parse_loss("mse").value is mean_squared_error
    assert parse_loss("cross_entropy").gradient is cross_entropy_gradient
    with pytest.raises(ValueError, match=r"unknown loss 'cross_entrpy'. Did you mean 'cross_entropy'\?"):
        parse_loss("cross_entrpy")
