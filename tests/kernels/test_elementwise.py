"""Sums, differences and products of arrays, each rounded once."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from inputs import (
    ARITHMETIC,
    DETERMINISTIC,
    EIGHT_BIT,
    F32,
    FIXED,
    FLUSHED,
    MODES,
    NEW_FAMILIES,
    ODD_WIDTHS,
    OVERFLOWS,
    P3109,
    SCALE,
    SPECIALS,
    STOCHASTIC,
    any_cast,
    bit_patterns,
    cast,
    casts,
    label,
    near_half_quanta,
    near_half_ulps,
    numbers,
    seeds,
    some_values,
    thinned,
    values,
)
from oracles import (
    ADD,
    MPFR_MODES,
    MULTIPLY,
    SUBTRACT,
    assert_same,
    element_draws,
    exact_sum,
    mpfr_context,
    round_array,
    sum_to_odd,
)

from emunum.formats import NAMED, Cast, Format, Mode
from emunum.formats.exact import add_exact, multiply_exact
from emunum.kernels import cpu
from emunum.kernels.random import Key

KEY = 0x123456789ABCDEF


@functools.cache
def _draws(size: int, operation: int, random_bits: int) -> np.ndarray:
    return element_draws(size, cast("e4m3", "stochastic", random_bits=random_bits), KEY, operation)


def _drawn(to: Cast, size: int, operation: int) -> np.ndarray | int:
    return _draws(size, operation, to.random_bits) if to.stochastic else 0


def _check(a: np.ndarray, b: np.ndarray, to: Cast) -> None:
    """Sum, difference and product of float32 arrays: a float64 product is exact, a sum is rounded to odd."""
    a, b = np.broadcast_arrays(a, b)
    key, x, y = Key(KEY), a.astype(np.float64), b.astype(np.float64)
    shape = a.shape
    with np.errstate(invalid="ignore"):
        products = x * y
    for function, operation, exact in [
        (cpu.add, ADD, exact_sum(x, y, to)),
        (cpu.subtract, SUBTRACT, exact_sum(x, -y, to)),
        (cpu.multiply, MULTIPLY, products),
    ]:
        draws = np.reshape(_drawn(to, a.size, operation), shape if to.stochastic else ())
        assert_same(function(a, b, to, key), round_array(exact, to, draws), a, b, draws)


# ----------------------------------------------------------------------------------------------------
# 8 bits: every pair
# ----------------------------------------------------------------------------------------------------


NEW_EIGHT_BIT = [name for name in (*P3109, *FIXED) if Format.from_name(name).bits == 8]
EVERY_EIGHT_BIT = [*EIGHT_BIT, *NEW_EIGHT_BIT]


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_every_sum_difference_and_product_of_8_bit_values(name: str, mode: Mode, overflow: str) -> None:
    every = values(NAMED[name])
    _check(every[:, None], every[None, :], cast(name, mode, overflow))


@pytest.mark.parametrize("overflow", ["ieee", "saturate"])
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(
    "name", thinned((name for name in EVERY_EIGHT_BIT if name not in ("float8_e4m3fn", "float8_e5m2")), 4)
)
def test_sums_differences_and_products_of_8_bit_values(name: str, mode: Mode, overflow: str) -> None:
    # 20,000 pairs of 65,536, and every value with itself.
    every, rng = values(Format.from_name(name)), np.random.default_rng(17)
    a, b = (np.concatenate([rng.choice(every, 20_000), every]) for _ in range(2))
    _check(a, b, cast(name, mode, overflow))


@pytest.mark.exhaustive
@pytest.mark.parametrize("to", casts(EVERY_EIGHT_BIT, [1, 3, 16]), ids=label)
def test_every_sum_difference_and_product_of_any_8_bit_values(to: Cast) -> None:
    every = values(to.format)
    _check(every[:, None], every[None, :], to)


@pytest.mark.parametrize("name", EVERY_EIGHT_BIT)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_sums_and_products_of_8_bit_values_are_the_rational_ones(name: str, mode: Mode) -> None:
    format, rng = Format.from_name(name), np.random.default_rng(1)
    to = cast(name, mode, "wrap" if format.fixed_point else "auto")
    a, b = (rng.choice(values(format), 300) for _ in range(2))
    for function, operation, exact in [(cpu.add, ADD, add_exact), (cpu.multiply, MULTIPLY, multiply_exact)]:
        draws = np.broadcast_to(_drawn(to, 300, operation), 300)
        expected = [
            exact(x, y, to, r) for x, y, r in zip(a.tolist(), b.tolist(), draws.tolist(), strict=True)
        ]
        assert_same(function(a, b, to, Key(KEY)), expected, a, b, draws)


@pytest.mark.parametrize("name", [name for name in EIGHT_BIT if NAMED[name].has_nan])
def test_every_sum_and_product_of_8_bit_values_is_ml_dtypes(name: str) -> None:
    # ml_dtypes computes in float32 and rounds: innocuous here, 24 >= 2p + 1.
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is one of the oracles")
    every, to = values(NAMED[name]), cast(name, "nearest", "ieee")
    a, b = (np.ascontiguousarray(v) for v in np.broadcast_arrays(every[:, None], every[None, :]))
    x, y = (v.astype(getattr(ml_dtypes, name)) for v in (a, b))
    with np.errstate(invalid="ignore", over="ignore"):
        assert_same(cpu.add(a, b, to, Key(0)), (x + y).astype(F32), a, b)
        assert_same(cpu.multiply(a, b, to, Key(0)), (x * y).astype(F32), a, b)


# ----------------------------------------------------------------------------------------------------
# 16 bits: 10^6 pairs
# ----------------------------------------------------------------------------------------------------


@functools.cache
def _pairs_of_16_bits(name: str) -> tuple[np.ndarray, np.ndarray]:
    """10^6 pairs of random codes, and 2 * 10^5 whose sums are ties or next to them."""
    rng, every = np.random.default_rng(2), values(Format.from_name(name))
    ties = near_half_ulps(Format.from_name(name), 200_000, 3)
    near_one = (
        rng.choice(every[(np.abs(every) > 2.0**-4) & (np.abs(every) < 2.0**4)], 10**5) for _ in range(2)
    )
    return tuple(
        np.concatenate([rng.choice(every, 10**6), tie, moderate])
        for tie, moderate in zip(ties, near_one, strict=True)
    )


def test_a_million_sums_and_products_of_float16_are_numpys() -> None:
    a, b = _pairs_of_16_bits("float16")
    x, y, to = a.astype(np.float16), b.astype(np.float16), cast("float16")
    with np.errstate(all="ignore"):
        assert_same(cpu.add(a, b, to, Key(0)), x + y, a, b)
        assert_same(cpu.subtract(a, b, to, Key(0)), x - y, a, b)
        assert_same(cpu.multiply(a, b, to, Key(0)), x * y, a, b)


@pytest.mark.parametrize("mode", DETERMINISTIC, ids=str)
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_a_million_sums_and_products_of_16_bits_are_rounded_once(name: str, mode: Mode) -> None:
    a, b = _pairs_of_16_bits(name)
    if mode.name not in ("nearest_even", "toward_zero"):  # the million in the exhaustive suite
        a, b = (v[900_000:1_250_000] for v in (a, b))
    _check(a, b, cast(name, mode, "ieee"))


@pytest.mark.exhaustive
@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("mode", DETERMINISTIC, ids=str)
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float16_ftz", "binary16p8se", "binary16p11sf"])
def test_a_million_sums_and_products_of_any_16_bits_are_rounded_once(
    name: str, mode: Mode, overflow: str
) -> None:
    _check(*_pairs_of_16_bits(name), cast(name, mode, overflow))


@pytest.mark.parametrize("mode", STOCHASTIC, ids=str)
@pytest.mark.parametrize("random_bits", [16, 24])
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_stochastic_sums_and_products_of_16_bits_are_rounded_once(
    name: str, random_bits: int, mode: Mode
) -> None:
    a, b = (np.concatenate([v[:30_000], v[10**6 : 10**6 + 30_000]]) for v in _pairs_of_16_bits(name))
    _check(a, b, cast(name, mode, "ieee", random_bits))


@pytest.mark.parametrize("mode", MPFR_MODES, ids=str)
@pytest.mark.parametrize("name", ["float16", "bfloat16", "tfloat32", "float32", "e8m22", "e2m23", "e6m9"])
def test_sums_and_products_are_mpfrs(name: str, mode: Mode) -> None:
    gmpy2 = pytest.importorskip("gmpy2", reason="MPFR is one of the oracles")
    context, to = mpfr_context(name, mode), cast(name, mode)
    a, b = near_half_ulps(to.format, 2000, 4)
    c = some_values(to.format, 2000, np.random.default_rng(5))
    c = c[np.isfinite(c)]
    a, b = np.concatenate([a, c]), np.concatenate([b, c[::-1]])
    with gmpy2.context(precision=64):
        x, y = ([gmpy2.mpfr(v) for v in operand.tolist()] for operand in (a, b))
    sums = [float(context.add(*pair)) for pair in zip(x, y, strict=True)]
    products = [float(context.mul(*pair)) for pair in zip(x, y, strict=True)]
    assert_same(cpu.add(a, b, to, Key(0)), sums, a, b)
    assert_same(cpu.multiply(a, b, to, Key(0)), products, a, b)


# ----------------------------------------------------------------------------------------------------
# Any operands, any format
# ----------------------------------------------------------------------------------------------------


def _any_float32(names: list[str], modes: tuple[Mode, ...], overflows: tuple[str, ...]) -> list[Cast]:
    # sum_to_odd serves up to p + N + 2 <= 53 bits: N = 27 with p = 24.
    return [
        cast(name, mode, overflow, 27 if overflow == "ieee" else 9)
        for name in names
        for mode in modes
        for overflow in overflows
    ]


HALF_FLUSHED = _any_float32(list(FLUSHED), (Mode.NEAREST_EVEN, Mode.DOWN, Mode.STOCHASTIC), ("ieee",))
EVERY_FLUSHED = [to for to in _any_float32(list(FLUSHED), MODES, OVERFLOWS) if to not in HALF_FLUSHED]


@pytest.mark.parametrize(
    "to",
    [
        *thinned(_any_float32([*ARITHMETIC, *ODD_WIDTHS, *P3109, *FIXED], MODES, OVERFLOWS)),
        *thinned(HALF_FLUSHED),
        *(pytest.param(to, marks=pytest.mark.exhaustive) for to in EVERY_FLUSHED),
    ],
    ids=label,
)
def test_sums_and_products_of_any_float32_are_rounded_once(to: Cast) -> None:
    a, b = (near_half_quanta if to.format.fixed_point else near_half_ulps)(to.format, 300, 6)
    x, y = (numbers(to.format, 100, seed) for seed in (7, 8))
    wide = [bit_patterns(300, seed) for seed in (9, 10)]
    size = min(x.size, y.size)
    _check(np.concatenate([a, x[:size], wide[0]]), np.concatenate([b, y[:size][::-1], wide[1]]), to)


@given(any_cast(), seeds)
def test_sums_and_products_are_the_rational_ones(to: Cast, seed: int) -> None:
    a, b = near_half_ulps(to.format, 30, seed)
    wide = [bit_patterns(20, seed + n) for n in (1, 2)]
    a, b = np.concatenate([a, wide[0]]), np.concatenate([b, wide[1]])
    for function, operation, exact in [(cpu.add, ADD, add_exact), (cpu.multiply, MULTIPLY, multiply_exact)]:
        draws = element_draws(a.size, to, seed, operation) if to.stochastic else np.zeros(a.size, int)
        expected = [
            exact(x, y, to, r) for x, y, r in zip(a.tolist(), b.tolist(), draws.tolist(), strict=True)
        ]
        assert_same(function(a, b, to, Key(seed)), expected, a, b, draws)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("name", FIXED)
def test_sums_and_products_that_wrap_are_the_rational_ones(name: str, mode: Mode) -> None:
    to = cast(name, mode, "wrap", 12)
    a, b = near_half_quanta(to.format, 150, 18)
    wide = [numbers(to.format, 30, seed) for seed in (19, 20)]
    a, b = np.concatenate([a, wide[0], wide[0][:30]]), np.concatenate([b, wide[1][::-1], wide[0][:30]])
    for function, operation, exact in [(cpu.add, ADD, add_exact), (cpu.multiply, MULTIPLY, multiply_exact)]:
        draws = np.broadcast_to(_drawn(to, a.size, operation), a.size)
        expected = [
            exact(x, y, to, r) for x, y, r in zip(a.tolist(), b.tolist(), draws.tolist(), strict=True)
        ]
        assert_same(function(a, b, to, Key(KEY)), expected, a, b, draws)


def test_the_sums_and_products_of_int8_that_wrap_are_numpys() -> None:
    every = values(Format.from_name("int8"))
    a, b = (np.ascontiguousarray(v) for v in np.broadcast_arrays(every[:, None], every[None, :]))
    x, y, to = a.astype(np.int8), b.astype(np.int8), cast("int8", overflow="wrap")
    assert_same(cpu.add(a, b, to, Key(0)), x + y, a, b)
    assert_same(cpu.subtract(a, b, to, Key(0)), x - y, a, b)
    assert_same(cpu.multiply(a, b, to, Key(0)), x * y, a, b)


@pytest.mark.parametrize("mode", STOCHASTIC, ids=str)
@pytest.mark.parametrize("random_bits", [28, 29, 31, 32])
@pytest.mark.parametrize("name", ["float32", "e8m22", "tfloat32"])
def test_sums_with_the_longest_draws_are_the_rational_ones(name: str, random_bits: int, mode: Mode) -> None:
    to = cast(name, mode, "ieee", random_bits)
    a, b = near_half_ulps(to.format, 600, 11)
    draws = element_draws(a.size, to, KEY, ADD).tolist()
    expected = [add_exact(x, y, to, r) for x, y, r in zip(a.tolist(), b.tolist(), draws, strict=True)]
    assert_same(cpu.add(a, b, to, Key(KEY)), expected, a, b, draws)


@pytest.mark.parametrize(
    "to",
    casts(["float32", "float8_e5m2", "float8_e4m3fnuz", "e5m0", "binary8p4ue", "q4.4", "e5m2_ftz"]),
    ids=label,
)
def test_special_operands_follow_ieee_754_and_the_overflow_rule(to: Cast) -> None:
    a = np.array([*SPECIALS, 1.0, -1.0, 2.0**-149, 3.0e38], F32)
    draws = np.reshape(_drawn(to, 81, ADD), -1).tolist() * (1 if to.stochastic else 81)
    pairs = [(x, y) for x in a.tolist() for y in a.tolist()]
    sums = [add_exact(x, y, to, r) for (x, y), r in zip(pairs, draws, strict=True)]
    assert_same(cpu.add(a[:, None], a[None, :], to, Key(KEY)).ravel(), sums, *np.transpose(pairs))
    if to.overflow != "wrap":
        _check(a[:, None], a[None, :], to)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("name", [*ARITHMETIC, *ODD_WIDTHS, *NEW_FAMILIES])
def test_an_exact_zero_sum_is_plus_zero_unless_both_are_minus_zero_or_the_mode_is_down(
    name: str, mode: Mode
) -> None:
    # IEEE 754-2019 6.3.
    format = Format.from_name(name)
    held = some_values(format, 100, np.random.default_rng(12))
    held = held[np.isfinite(held) & (held != 0)]
    to = cast(name, mode)
    minus = -0.0 if format.has_negative_zero else 0.0
    opposite = minus if mode is Mode.DOWN else 0.0
    assert_same(cpu.add(held, -held, to, Key(0)), np.full(held.size, opposite))
    assert_same(cpu.subtract(held, held, to, Key(0)), np.full(held.size, opposite))
    a, b = np.array([-0.0, -0.0, 0.0, 0.0], F32), np.array([-0.0, 0.0, -0.0, 0.0], F32)
    assert_same(cpu.add(a, b, to, Key(0)), [minus, opposite, opposite, 0.0])
    assert_same(cpu.subtract(a, -b, to, Key(0)), [minus, opposite, opposite, 0.0])


def test_sums_just_below_a_power_of_two_are_rounded_in_the_lower_binade() -> None:
    for name in ("float32", "bfloat16", "float8_e5m2", "e8m22"):
        format = Format.from_name(name)
        one, tiny = F32(1), np.ldexp(F32(1), -np.arange(26, 120)).astype(F32)
        down = cast(name, "toward_zero")
        expected = np.full(tiny.size, 1 - format.unit_roundoff)
        assert_same(cpu.subtract(one, tiny, down, Key(0)), expected)
        assert_same(cpu.add(-one, tiny, down, Key(0)), -expected)


# ----------------------------------------------------------------------------------------------------
# Shapes, and what the package promises of arrays
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "float16", "binary8p3se"])
def test_denormals_are_zero_where_the_operands_are_cast_into_a_flushed_format_first(name: str) -> None:
    # DAZ and FTZ: operands and results below 2^emin are zeros.
    whole, flushed = cast(name), cast(f"{name}_ftz")
    emin = {"e4m3": -6, "e5m2": -14, "float16": -14, "binary8p3se": -15}[name]
    x = some_values(whole.format, 600, np.random.default_rng(21))
    x = x[np.isfinite(x)]
    zeroed = np.where(np.abs(x) < 2.0**emin, np.copysign(F32(0), x), x)
    operands = cpu.cast(x, flushed, Key(0))
    assert_same(operands, zeroed + (0.0 if "binary" in name else -0.0), x)
    sums = round_array(sum_to_odd(zeroed, zeroed[::-1]), whole)
    expected = np.where(np.abs(sums) < 2.0**emin, np.copysign(0.0, sums), sums)
    expected = expected + 0.0 if "binary" in name else expected
    assert_same(cpu.add(operands, operands[::-1], flushed, Key(0)), expected, x, x[::-1])


@pytest.mark.parametrize("function", [cpu.add, cpu.subtract, cpu.multiply])
def test_operands_are_broadcast(function) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(13)
    a, b = rng.integers(-9, 9, (5, 1, 3)).astype(F32), rng.integers(-9, 9, (4, 1)).astype(F32)
    for to in (cast("e4m3"), cast("e4m3", "stochastic")):
        wide = [np.ascontiguousarray(v) for v in np.broadcast_arrays(a, b)]
        result = function(a, b, to, Key(1))
        assert result.shape == (5, 4, 3)
        assert_same(result, function(*wide, to, Key(1)))


@pytest.mark.parametrize("function", [cpu.add, cpu.subtract, cpu.multiply])
@pytest.mark.parametrize("shape", [(0,), (3, 0), (), (1,)])
def test_shapes_without_many_elements_are_kept(function, shape) -> None:  # type: ignore[no-untyped-def]
    a = np.ones(shape, F32)
    for mode in MODES:
        result = function(a, a, cast("e4m3", mode), Key(0))
        assert (result.shape, result.dtype) == (shape, np.float32)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_operands_are_read_only_reads(mode: Mode) -> None:
    a, b = bit_patterns(500, 14), bit_patterns(500, 15)
    before = a.tobytes(), b.tobytes()
    a.flags.writeable = b.flags.writeable = False
    to = cast("e4m3fnuz", mode)
    results = [f(a, b, to, Key(0)) for f in (cpu.add, cpu.subtract, cpu.multiply)]
    results.append(cpu.scaled_add(a, F32(0.5), b, to, Key(0)))
    assert (a.tobytes(), b.tobytes()) == before
    assert not any(np.shares_memory(result, v) for result in results for v in (a, b))


@pytest.mark.parametrize(
    "to", [cast("e4m3"), cast("bfloat16", "down"), cast("float32"), cast("binary8p3se", "to_odd")], ids=label
)
def test_scaled_add_rounds_the_product_and_the_sum(to: Cast) -> None:
    a, x = near_half_ulps(to.format, 400, 16)
    alpha = F32(0.1)
    product = round_array(float(alpha) * x.astype(np.float64), to)
    assert_same(cpu.scaled_add(a, alpha, x, to, Key(0)), round_array(exact_sum(a, product, to), to), a, x)


@pytest.mark.parametrize("function", [cpu.add, cpu.subtract, cpu.multiply])
def test_scales_take_no_part_in_arithmetic(function) -> None:  # type: ignore[no-untyped-def]
    one = np.ones(3, F32)
    with pytest.raises(ValueError, match=r"float8_e8m0fnu holds block scales .* arithmetic in it is not"):
        function(one, one, cast(SCALE), Key(0))
