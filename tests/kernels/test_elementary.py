"""exp, log and cos against MPFR: errors below their bounds, and the same bits on every way."""

from __future__ import annotations

import math
from fractions import Fraction

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpfr
from numpy.testing import assert_array_equal
from oracles import assert_same

from emunum import set_threads
from emunum.kernels import cpu, elementary

SCALAR = {"exp": elementary.exp, "log": elementary.log, "cos": elementary.cos}
BOUND = {"exp": 0.94, "log": 0.85, "cos": 0.9}
"""What the docstrings promise, in ulps of the exact value."""
LARGEST = float.fromhex("0x1.fffffffffffffp+1023")
OVERFLOW = float.fromhex("0x1.62e42fefa39efp+9")
"""The largest float64 below ln(2^1024)."""
UNDERFLOW = -745.1332191019411
"""The least float64 above ln(2^-1075): e to it rounds to the smallest subnormal."""


def computed(name, x):
    """Our values: compiled for arrays, cos by one float at a time."""
    if name == "cos":
        return np.array([elementary.cos(value) for value in x.tolist()])
    return {"exp": cpu.exp, "log": cpu.log}[name](x)


def worst_error(name, x):
    """The largest |ours - exact| in ulps of the exact value, or 0.5 if all are correctly rounded."""
    oracle, ours = getattr(gmpy2, name), computed(name, x)
    with gmpy2.context(gmpy2.ieee(64)):
        rounded = np.array([float(oracle(value)) for value in x.tolist()])
    assert_array_equal(np.isfinite(ours), np.isfinite(rounded))
    others = ours.view(np.int64) != rounded.view(np.int64)
    with gmpy2.context(precision=160):
        pairs = [
            (mpfr(mine), oracle(mpfr(value)))
            for mine, value in zip(ours[others].tolist(), x[others].tolist(), strict=True)
        ]
        return max((float(abs(mine - exact) / ulp(exact)) for mine, exact in pairs), default=0.5)


def ulp(exact):
    """The distance of the float64 numbers between which an MPFR number lies."""
    near = float(exact)
    return math.ulp(near if abs(near) <= abs(exact) else math.nextafter(near, 0))


def any_float(size, rng):
    """float64 numbers above 0 whose bit patterns are equally likely, subnormals among them."""
    return rng.integers(1, 0x7FF0000000000000, size, dtype=np.int64).view(np.float64)


def samples(name, size, seed):
    """Half of them where the function works hardest or rounds worst, the rest over all it is defined for."""
    rng, part = np.random.default_rng(seed), size // 4
    if name == "exp":
        chosen = [
            rng.uniform(UNDERFLOW - 1, OVERFLOW, 2 * part),
            rng.uniform(-0.36, 0.36, part),
            rng.uniform(UNDERFLOW, -707, part // 2),
            rng.choice([-1.0, 1.0], part // 2) * np.exp2(rng.uniform(-60, 9.4, part // 2)),
        ]
    elif name == "log":
        near_one = 1 + rng.choice([-0.5, 1.0], part) * np.exp2(rng.uniform(-52, 0, part))
        chosen = [any_float(part, rng), rng.uniform(0.7, 1.42, 2 * part), near_one]
    else:
        near_zero = math.pi / 2 + rng.uniform(-1, 1, part) * np.exp2(rng.uniform(-55, -1, part))
        chosen = [rng.uniform(-math.pi, math.pi, 3 * part), near_zero]
    return np.concatenate(chosen)


def neighbours(x, steps):
    """Each number and the float64 numbers up to `steps` away from it."""
    bits = np.asarray(x, np.float64).view(np.int64)
    around = bits[:, None] + np.arange(-steps, steps + 1)
    return around.ravel().view(np.float64)


def hard(name):
    """Where k changes, where the result leaves a binade, underflows or overflows, where it is 0 or 1."""
    with gmpy2.context(precision=160):
        if name == "exp":
            ends = [float(k * gmpy2.const_log2() / 2) for k in range(-2150, 2048) if k]
            return np.concatenate([neighbours(ends, 6), np.ldexp(np.linspace(-1, 1, 201), -53)])
        if name == "cos":
            turns = [float(k * gmpy2.const_pi() / 12) for k in range(1, 12)]
            inside = float(gmpy2.const_pi()) * (1 - np.arange(64) * 2.0**-52)
            joints = [1.04, 2.1, *turns]
            return np.concatenate([neighbours(joints, 200), inside, -inside, np.ldexp(1.0, -np.arange(60))])
    powers = np.ldexp(1.0, np.arange(-1074, 1024))
    joints = np.ldexp(elementary.ROOT_HALF, np.arange(-1021, 1024))
    halves = np.ldexp(math.sqrt(0.5), np.arange(-1021, 1024))
    return np.concatenate(
        [
            neighbours(powers[2:], 3),
            powers,
            neighbours(joints, 3),
            neighbours(halves, 3),
            neighbours([1.0], 3000),
            np.arange(1, 300) * 2.0**-1074,
            [LARGEST],
        ]
    )


@pytest.mark.parametrize("name", SCALAR)
def test_every_sampled_value_is_nearer_to_mpfr_than_its_bound(name):
    assert worst_error(name, samples(name, 200_000 if name == "cos" else 1_000_000, 1)) < BOUND[name]


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(2, 12))
@pytest.mark.parametrize("name", SCALAR)
def test_many_more_values_are_nearer_to_mpfr_than_their_bound(name, seed):
    assert worst_error(name, samples(name, 4_000_000, seed)) < BOUND[name]


@pytest.mark.parametrize("name", SCALAR)
def test_hard_cases_are_nearer_to_mpfr_than_their_bound(name):
    assert worst_error(name, hard(name)) < BOUND[name]


@pytest.mark.parametrize("name", ["exp", "log"])
def test_arrays_and_floats_give_the_same_bits(name):
    x = np.concatenate([samples(name, 40_000, 3), hard(name), [0.0, -0.0, np.inf, -np.inf, np.nan, -1.0]])
    assert_same(computed(name, x), np.array([SCALAR[name](value) for value in x.tolist()]))


@pytest.mark.parametrize("name", SCALAR)
def test_arithmetic_in_software_gives_the_same_bits(name):
    # Run on MPFR numbers of IEEE's binary64, the same lines are +, -, * and / as the standard has them:
    # nothing that a compiler may contract or a processor may keep wider.
    x = np.concatenate([samples(name, 4_000, 4), hard(name)[::7]]).tolist()
    with gmpy2.context(gmpy2.ieee(64)):
        software = [float(SCALAR[name](mpfr(value))) for value in x]
    assert_same(np.array([SCALAR[name](value) for value in x]), np.array(software))


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("exp", 0.0, 1.0),
        ("exp", -0.0, 1.0),
        ("exp", math.inf, math.inf),
        ("exp", -math.inf, 0.0),
        ("exp", OVERFLOW, 1.7976931348622732e308),
        ("exp", math.nextafter(OVERFLOW, math.inf), math.inf),
        ("exp", LARGEST, math.inf),
        ("exp", UNDERFLOW, 2.0**-1074),
        ("exp", math.nextafter(UNDERFLOW, -math.inf), 0.0),
        ("exp", -LARGEST, 0.0),
        ("exp", 2.0**-1074, 1.0),
        ("exp", math.nan, math.nan),
        ("log", 1.0, 0.0),
        ("log", 0.0, -math.inf),
        ("log", -0.0, -math.inf),
        ("log", math.inf, math.inf),
        ("log", -math.inf, math.nan),
        ("log", -1.0, math.nan),
        ("log", -(2.0**-1074), math.nan),
        ("log", math.nan, math.nan),
        ("cos", 0.0, 1.0),
        ("cos", -0.0, 1.0),
        ("cos", math.pi, -1.0),
        ("cos", -math.pi, -1.0),
        ("cos", math.pi / 2, 6.123233995736766e-17),
        ("cos", math.nextafter(math.pi, 4), math.nan),
        ("cos", -math.inf, math.nan),
        ("cos", math.nan, math.nan),
    ],
)
def test_a_special_value(name, x, y):
    if not math.isinf(x) and abs(x) != LARGEST and not (name == "cos" and math.isnan(y)):
        with gmpy2.context(gmpy2.ieee(64)):
            assert_array_equal(float(getattr(gmpy2, name)(x)), y)
    assert_same(np.array([SCALAR[name](x)]), np.array([y]))
    assert_same(computed(name, np.array([x])), np.array([y]))


def test_the_constants_are_the_parts_of_ln_2_and_half_pi():
    with gmpy2.context(precision=200):
        for parts, exact, bits in [
            ((elementary._LN2_HIGH, elementary._LN2_LOW), gmpy2.const_log2(), 42),
            ((elementary._HALF_PI, elementary._HALF_PI_LOW), gmpy2.const_pi() / 2, 53),
        ]:
            high, low = parts
            with gmpy2.context(precision=bits, round=gmpy2.RoundToZero):
                assert high == +exact
            assert low == float(exact - high)


@pytest.mark.parametrize("f", [cpu.exp, cpu.log])
def test_shape_order_and_byte_order_do_not_matter(f):
    x = np.random.default_rng(5).uniform(0.1, 9, (6, 4))
    read_only = x.copy()
    read_only.flags.writeable = False
    expected = f(x)
    assert expected.shape == (6, 4)
    assert expected.dtype == np.float64
    assert_same(f(x.T), expected.T)
    assert_same(f(x[::2, ::-1]), expected[::2, ::-1])
    assert_same(f(x.astype(">f8")), expected)
    assert_same(f(read_only), expected)
    assert_same(f(x.astype(np.float32)), f(x.astype(np.float32).astype(np.float64)))
    assert f(np.zeros((0, 3))).shape == (0, 3)
    assert f(np.array(1.0)).shape == ()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("f", [cpu.exp, cpu.log])
def test_threads_change_no_bit(f):
    x = any_float(100_003, np.random.default_rng(6))
    set_threads(1)
    alone = f(x)
    set_threads(4)
    assert_same(f(x), alone)


def test_a_power_is_a_product_of_repeated_squares():
    assert elementary.power(0.3, 0) == 1.0
    assert elementary.power(0.3, 1) == 0.3
    assert elementary.power(0.3, 5) == 0.3 * ((0.3 * 0.3) * (0.3 * 0.3))
    assert elementary.power(3.0, 20) == 3.0**20


@pytest.mark.parametrize("x", [0.9, 0.999, 0.1])
@pytest.mark.parametrize("n", [2, 7, 100, 12345])
def test_a_power_is_as_accurate_as_its_docstring_says(x, n):
    exact = Fraction(x) ** n
    found = elementary.power(x, n)
    if exact > 2.0**-1000:
        assert abs(Fraction(found) - exact) <= exact * Fraction(n + n.bit_length() + 1, 2**53)
    else:
        assert found <= 2.0**-999
