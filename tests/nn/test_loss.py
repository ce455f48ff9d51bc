"""The mean squared error against exact arithmetic, and its gradient's two roundings."""

import math
from fractions import Fraction

import numpy as np
import pytest
from inputs import bit_patterns, cast
from numpy.testing import assert_array_equal
from oracles import MULTIPLY, SUBTRACT, assert_same, element_draws

from emunum.formats.exact import add_exact, multiply_exact
from emunum.kernels.random import Key
from emunum.nn.loss import mean_squared_error, mean_squared_error_gradient
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Role, parse_policy
from emunum.ops.strict import guard

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
