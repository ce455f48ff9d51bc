"""Every operation against the rational reference, with the random bits that its key and counter say."""

import itertools
import types
from dataclasses import replace

import gmpy2
import numpy as np
import pytest
from inputs import cast
from numpy.testing import assert_array_equal
from oracles import (
    ADD,
    CAST,
    COLUMN_SUM,
    DIVIDE,
    MATMUL,
    MULTIPLY,
    SCALED_ADD_PRODUCT,
    SCALED_ADD_SUM,
    SQUARE_ROOT,
    SUBTRACT,
    assert_same,
    element_draws,
    matmul_draw,
)

from emunum.formats import Accumulator
from emunum.formats.exact import (
    add_exact,
    divide_exact,
    dot_exact,
    multiply_exact,
    round_exact,
    sqrt_exact,
)
from emunum.kernels import cpu
from emunum.kernels.random import Key, philox4x32
from emunum.kernels.windows import Window
from emunum.ops.arithmetic import Arithmetic, bind
from emunum.ops.policy import IntegerPolicy, Policy, Role, parse_policy
from emunum.ops.scaling import IntegerAccumulator, Scale
from emunum.ops.strict import Guarded

F32 = np.float32
SEED = 0x0123456789ABCDEF
FOLD = 8
PART = 2
ALPHA = F32(-0.3)

# A format of its own for each place, so that taking the cast of another role shows.
FORMATS = {
    Role.INPUT: "e4m3",
    Role.WEIGHT: "e5m2",
    Role.ACTIVATION: "e3m4",
    Role.ERROR: "e2m3",
    Role.GRADIENT: "e5m3",
    Role.UPDATE: "e5m6",
    Role.MASTER: "bfloat16",
}
WINDOW = Window(kernel=(3, 3), padding=(1, 1))
PRODUCT, ACCUMULATOR, ELEMENTWISE = "e5m4", "e6m5", "e6m4"


def distinct(mode, exact_products=False):
    return Policy(
        name="distinct",
        product=None if exact_products else cast(PRODUCT, mode),
        accumulator=Accumulator(cast=cast(ACCUMULATOR, mode)),
        elementwise=cast(ELEMENTWISE, mode),
        roles={role: cast(name, mode) for role, name in FORMATS.items()},
    )


def fold(key, a, b, c=0):
    """The key of a place: two words of Philox at the counter (a, b, c, FOLD)."""
    low, high, _, _ = philox4x32((a, b, c, FOLD), (key % 2**32, key >> 32))
    return high << 32 | low


def key_of(role, part=PART):
    return fold(fold(SEED, 5, 1), role, part)


def elementwise(function, to, key, operation, *operands):
    """function(scalars of each element, to, R) over broadcast operands."""
    broadcast = np.broadcast_arrays(*operands)
    flat = [x.ravel().tolist() for x in broadcast]
    draws = element_draws(broadcast[0].size, to, key, operation) if to.stochastic else None
    results = [
        function(*scalars, to, 0 if draws is None else int(draws[n]))
        for n, scalars in enumerate(zip(*flat, strict=True))
    ]
    return np.array(results).reshape(broadcast[0].shape)


def product_of(a, b, policy, key, operation=MATMUL):
    return np.array(
        [
            [
                dot_exact(
                    row,
                    column,
                    policy.product,
                    policy.accumulator.cast,
                    matmul_draw(i, j, key, policy.product, policy.accumulator.cast, operation),
                )
                for j, column in enumerate(b.T.tolist())
            ]
            for i, row in enumerate(a.tolist())
        ]
    )


def numbers(*shape):
    """float32 of mixed magnitudes and signs, most of them in no narrow format."""
    rng = np.random.default_rng(sum(shape) + len(shape))
    return (rng.normal(size=shape) * np.exp2(rng.integers(-6, 4, shape))).astype(F32)


@pytest.fixture(params=["nearest", "toward_zero", "stochastic"])
def policy(request):
    return distinct(request.param)


@pytest.fixture
def arith(policy):
    return Arithmetic(policy=policy, key=Key(SEED)).at(5, 1)


@pytest.mark.parametrize("role", Role, ids=lambda role: role.name)
def test_cast_rounds_to_the_format_of_its_role(arith, policy, role):
    x = numbers(3, 40)
    expected = elementwise(round_exact, policy.roles[role], key_of(role), CAST, x)
    assert_same(arith.cast(role, x, PART), expected, x)


@pytest.mark.parametrize("role", Role, ids=lambda role: role.name)
def test_arithmetic_broadcasts_and_rounds_to_the_elementwise_format_and_for_the_update_to_its_own(
    arith, policy, role
):
    a, b, key = numbers(7, 5), numbers(5), key_of(role)
    to = policy.roles[role] if role is Role.UPDATE else policy.elementwise
    expected = elementwise(add_exact, to, key, ADD, a, b)
    assert_same(arith.add(a, b, role, PART), expected, a, b)
    expected = elementwise(add_exact, to, key, SUBTRACT, a, -b)
    assert_same(arith.subtract(a, b, role, PART), expected, a, b)
    expected = elementwise(multiply_exact, to, key, MULTIPLY, a, b)
    assert_same(arith.multiply(a, b, role, PART), expected, a, b)
    expected = elementwise(multiply_exact, to, key, MULTIPLY, np.full(a.shape, ALPHA), a)
    assert_same(arith.scale(float(ALPHA), a, role, PART), expected, a)
    expected = elementwise(divide_exact, to, key, DIVIDE, a, b)
    assert_same(arith.divide(a, b, role, PART), expected, a, b)
    expected = elementwise(sqrt_exact, to, key, SQUARE_ROOT, abs(a))
    assert_same(arith.square_root(abs(a), role, PART), expected, a)


def test_scale_takes_its_constant_as_float32(arith):
    x = numbers(20)
    assert_same(arith.scale(0.1, x, Role.ERROR), arith.scale(float(F32(0.1)), x, Role.ERROR))


def test_scaled_add_rounds_the_product_then_the_sum_to_the_updates_format(arith, policy):
    y, x, to, key = numbers(6, 4), numbers(6, 4)[::-1], policy.roles[Role.UPDATE], key_of(Role.UPDATE)
    product = elementwise(multiply_exact, to, key, SCALED_ADD_PRODUCT, np.full(x.shape, ALPHA), x)
    expected = elementwise(add_exact, to, key, SCALED_ADD_SUM, y, product)
    assert_same(arith.scaled_add(y, float(ALPHA), x, PART), expected, y, x)


def test_move_rounds_difference_product_and_sum_to_the_updates_format(arith, policy):
    y, x, to, key = numbers(6, 4), numbers(6, 4)[::-1], policy.roles[Role.UPDATE], key_of(Role.UPDATE)
    difference = elementwise(add_exact, to, key, SUBTRACT, x, -y)
    product = elementwise(multiply_exact, to, key, SCALED_ADD_PRODUCT, np.full(x.shape, ALPHA), difference)
    expected = elementwise(add_exact, to, key, SCALED_ADD_SUM, y, product)
    assert_same(arith.move(y, float(ALPHA), x, PART), expected, y, x)


@pytest.mark.parametrize("shape", [(6, 9, 4), (40, 7, 1), (1, 7, 40)], ids=str)
@pytest.mark.parametrize("role", [Role.ACTIVATION, Role.GRADIENT], ids=lambda role: role.name)
def test_matmul_rounds_products_and_sums_and_not_yet_to_its_role(arith, policy, role, shape):
    m, k, n = shape
    a, b = numbers(m, k), numbers(k, n)
    assert_same(arith.matmul(a, b, role, PART), product_of(a, b, policy, key_of(role)))


@pytest.mark.parametrize("mode", ["nearest", "toward_zero", "stochastic"])
def test_matmul_without_a_product_format_keeps_products_exact(mode):
    policy = distinct(mode, exact_products=True)
    arith = Arithmetic(policy=policy, key=Key(SEED)).at(5, 1)
    a, b = numbers(5, 11), numbers(11, 3)
    assert_same(arith.matmul(a, b, Role.ERROR, PART), product_of(a, b, policy, key_of(Role.ERROR)))


def test_convolutions_have_the_products_and_sums_of_matmul_and_the_key_of_their_role(arith, policy):
    x, w, dy = numbers(2, 3, 5, 4), numbers(4, 3, 3, 3), numbers(2, 4, 5, 4)
    sums = policy.product, policy.accumulator, Key(key_of(Role.ERROR))
    assert_same(arith.convolve(x, w, WINDOW, Role.ERROR, PART), cpu.convolve(x, w, WINDOW, *sums))
    expected = cpu.convolve_weights(dy, x, WINDOW, *sums)
    assert_same(arith.convolve_weights(dy, x, WINDOW, Role.ERROR, PART), expected)
    expected = cpu.convolve_input(dy, w, WINDOW, x.shape, *sums)
    assert_same(arith.convolve_input(dy, w, WINDOW, x.shape, Role.ERROR, PART), expected)


def test_column_sum_adds_rows_in_order_in_the_accumulator(arith, policy):
    x = numbers(13, 4)
    alone = replace(policy, product=None)
    expected = product_of(np.ones((1, 13)), x, alone, key_of(Role.GRADIENT), COLUMN_SUM)[0]
    assert_same(arith.column_sum(x, Role.GRADIENT, PART), expected)


@pytest.mark.parametrize("role", [Role.ERROR, Role.UPDATE], ids=lambda role: role.name)
def test_exp_rounds_a_float64_within_an_ulp_to_the_elementwise_format(arith, policy, role):
    x = np.append(numbers(200), [0, -0.0, np.inf, -np.inf, np.nan, -200, 90]).astype(F32)
    to = policy.roles[role] if role is Role.UPDATE else policy.elementwise
    with gmpy2.context(precision=53):
        wide = [float(gmpy2.exp(value)) for value in x.tolist()]
    expected = elementwise(round_exact, to, fold(fold(SEED, 5, 1), role, PART, 3), CAST, np.array(wide))
    assert_same(arith.exp(x, role, PART), expected, x)


@pytest.mark.parametrize("shape", [(4, 13), (2, 3, 13), (13,)], ids=str)
def test_row_sum_adds_the_last_axis_in_order_in_the_accumulator(arith, policy, shape):
    x = numbers(*shape)
    rows, alone = x.reshape(-1, 13), replace(policy, product=None)
    expected = product_of(np.ones((1, 13)), rows.T, alone, key_of(Role.ERROR), COLUMN_SUM)
    assert_same(arith.row_sum(x, Role.ERROR, PART), expected.reshape(shape[:-1]))


def test_row_max_is_exact_and_keeps_its_axis(arith):
    x = np.array([[1.03, -2.07, 0.5], [-np.inf, -1.03, -7.0], [np.nan, 0.0, 1.0]], F32)
    assert_same(arith.row_max(x), np.array([[1.03], [-1.03], [np.nan]], F32))


@pytest.mark.parametrize("role", Role, ids=lambda role: role.name)
def test_the_smallest_number_is_that_of_the_format_between_operations(arith, policy, role):
    # e6m4 and e5m6 have their smallest subnormals at 2^(1 - 31 - 4) and 2^(1 - 15 - 6).
    assert arith.smallest(role) == (2.0**-20 if role is Role.UPDATE else 2.0**-34)


def test_what_no_product_takes_is_float32_arithmetic_under_int8():
    policy = IntegerPolicy(
        name="int8",
        cast=cast("int8", "stochastic"),
        accumulator=IntegerAccumulator(),
        scale=Scale.ABSMAX,
        per_channel=False,
        integer_master=False,
    )
    arith, floats = bind(policy, Key(1)), bind(parse_policy("full", cast("float32")), Key(1))
    x = numbers(5, 30)
    assert_same(arith.exp(x, Role.ERROR), floats.exp(x, Role.ERROR))
    assert_same(arith.row_sum(x, Role.ERROR), floats.row_sum(x, Role.ERROR))
    assert_same(arith.move(x, 0.3, x[::-1]), floats.move(x, 0.3, x[::-1]))
    assert arith.smallest(Role.UPDATE) == 2.0**-149
    scaled = arith.cast(Role.ACTIVATION, x)
    assert_same(arith.row_max(scaled), scaled.values().max(axis=1, keepdims=True))
    assert_same(arith.exp(scaled, Role.ERROR), floats.exp(scaled.values(), Role.ERROR))
    assert_same(arith.row_sum(scaled, Role.ERROR), floats.row_sum(scaled.values(), Role.ERROR))


def test_select_is_exact_and_gives_plus_zero_elsewhere(arith):
    x = np.array([1.03, -1.03, np.nan, np.inf, -0.0, 3.0], F32)
    chosen = arith.select(np.array([True, False, True, True, True, False]), x)
    assert_same(chosen, [x[0], 0.0, np.nan, np.inf, -0.0, 0.0])
    assert chosen.dtype == F32


@pytest.mark.parametrize("name", ["full", "mixed", "output"])
def test_operands_are_left_as_they_are(name):
    arith = Arithmetic(policy=parse_policy(name, cast("e4m3", "stochastic")), key=Key(1), strict=True)
    a, b = numbers(5, 5), numbers(5, 5)
    before = a.copy(), b.copy()
    arith.cast(Role.WEIGHT, a)
    arith.matmul(a, b, Role.ERROR)
    arith.add(a, b, Role.ERROR)
    arith.scaled_add(a, 0.5, b)
    arith.select(a > 0, b)
    assert_array_equal(a, before[0])
    assert_array_equal(b, before[1])


# ----------------------------------------------------------------------------------------------------
# Which random bits
# ----------------------------------------------------------------------------------------------------


def drawn(arith, role=Role.ERROR, part=0):
    """Bits of 256 castings of a coin: 1 + 1/16 lies midway between two values of e4m3."""
    return arith.cast(role, np.full(256, 1.0625, F32), part).tobytes()


def everywhere():
    """Arithmetic of many places, roles and parts, each as the arguments of `drawn`."""
    root = Arithmetic(policy=parse_policy("full", cast("e4m3", "stochastic")), key=Key(SEED))
    other = Arithmetic(policy=root.policy, key=Key(SEED + 1))
    places = [root, other, root.at(0), root.at(1), root.at(0, 1), root.at(1, 1), root.at(0).at(0)]
    places += [root.at(0).at(1), root.at(1).at(0), root.at(0, 2).at(1), root.at(2**32 - 1)]
    return list(itertools.product(places, [Role.INPUT, Role.WEIGHT, Role.MASTER], [0, 1, 4]))


def test_every_place_role_and_part_has_its_own_random_bits():
    found = [drawn(*where) for where in everywhere()]
    assert len(set(found)) == len(found) == 11 * 3 * 3


def test_the_same_place_role_and_part_repeats():
    assert [drawn(*where) for where in everywhere()] == [drawn(*where) for where in everywhere()]


def test_every_operation_has_its_own_random_bits():
    arith = Arithmetic(policy=parse_policy("full", cast("e4m3", "stochastic")), key=Key(SEED))
    x, one, zero = np.full((1, 256), 1.0625, F32), np.ones((1, 1), F32), np.zeros(1, F32)
    found = [
        arith.cast(Role.ERROR, x),
        arith.add(x, zero, Role.ERROR),
        arith.subtract(x, zero, Role.ERROR),
        arith.scale(1.0, x, Role.ERROR),
        arith.divide(x, one[0], Role.ERROR),
        arith.matmul(one, x, Role.ERROR),
        arith.column_sum(x, Role.ERROR)[None],
        arith.exp(np.full((1, 256), np.log(1.0625), F32), Role.ERROR),
    ]
    assert len({y.tobytes() for y in found}) == len(found)
    assert all(set(y.ravel().tolist()) == {1.0, 1.125} for y in found)


def test_a_place_is_entered_without_changing_the_one_outside():
    root = Arithmetic(policy=parse_policy("full", cast("e4m3", "stochastic")), key=Key(SEED))
    before = drawn(root)
    inside = root.at(3)
    assert (inside.policy, inside.backend, inside.strict) == (root.policy, root.backend, root.strict)
    assert drawn(root) == before != drawn(inside)


# ----------------------------------------------------------------------------------------------------
# Strict mode and the backend
# ----------------------------------------------------------------------------------------------------


def results(arith):
    a, b = numbers(4, 4), numbers(4, 4).T
    images, kernels = numbers(2, 3, 4, 4), numbers(3, 3, 3, 3)
    return [
        arith.cast(Role.WEIGHT, a),
        arith.matmul(a, b, Role.ERROR),
        arith.column_sum(a, Role.GRADIENT),
        arith.add(a, b, Role.ERROR),
        arith.subtract(a, b, Role.ERROR),
        arith.scale(0.3, a, Role.ERROR),
        arith.divide(a, b, Role.ERROR),
        arith.square_root(abs(a), Role.ERROR),
        arith.scaled_add(a, 0.3, b),
        arith.select(a > 0, b),
        arith.exp(a, Role.ERROR),
        arith.row_sum(a, Role.ERROR),
        arith.row_max(a),
        arith.move(a, 0.3, b),
        arith.convolve(images, kernels, WINDOW, Role.ACTIVATION),
        arith.convolve_weights(images, images, WINDOW, Role.GRADIENT),
        arith.convolve_input(images, kernels, WINDOW, images.shape, Role.ERROR),
    ]


def test_strict_results_are_guarded_and_have_the_same_bits(policy):
    loose = results(Arithmetic(policy=policy, key=Key(SEED)))
    strict = results(Arithmetic(policy=policy, key=Key(SEED), strict=True))
    for plain, guarded in zip(loose, strict, strict=True):
        assert type(plain) is np.ndarray
        assert type(guarded) is Guarded
        assert_same(guarded.view(np.ndarray), plain)
        assert guarded.dtype == plain.dtype == F32


def test_guarded_operands_are_taken_as_what_they_hold(policy):
    arith = Arithmetic(policy=policy, key=Key(SEED), strict=True)
    x = arith.cast(Role.INPUT, numbers(3, 3))
    plain = x.view(np.ndarray)
    assert_same(arith.matmul(x, x, Role.ERROR), arith.matmul(plain, plain, Role.ERROR))
    assert_same(arith.select(x > 0, x), arith.select(plain > 0, plain))
    assert_same(arith.scaled_add(x, 0.5, x), arith.scaled_add(plain, 0.5, plain))


def test_every_operation_goes_to_the_backend():
    called = []

    def spy(name):
        return lambda *args, **kwargs: called.append(name) or getattr(cpu, name)(*args, **kwargs)

    names = ["cast", "matmul", "column_sum", "add", "subtract", "multiply", "divide", "square_root"]
    names += ["scaled_add", "select", "exp", "cast", "column_sum", "move"]
    names += ["convolve", "convolve_weights", "convolve_input"]
    backend = types.SimpleNamespace(**{name: spy(name) for name in names})
    results(Arithmetic(policy=distinct("nearest"), key=Key(SEED), backend=backend))
    assert called == names
