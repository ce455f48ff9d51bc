"""Casts of whole arrays: every mode and rule, every format, against ml_dtypes, gfloat, NumPy and exact."""

from __future__ import annotations

import dataclasses
import functools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inputs import (
    ALL_NAMED,
    ARITHMETIC,
    AT_MOST_16,
    DETERMINISTIC,
    EIGHT_BIT,
    F32,
    FIXED,
    FLUSHED,
    IN_ML_DTYPES,
    MODES,
    NEW_FAMILIES,
    ODD_WIDTHS,
    P3109,
    SCALE,
    SPECIALS,
    STOCHASTIC,
    any_cast,
    bit_patterns,
    bit_patterns_64,
    cast,
    casts,
    every_bfloat16,
    every_float16,
    formats,
    near_ties,
    near_ties_64,
    numbers,
    overflows,
    quiet,
    seeds,
    shortened,
    some_values,
    thinned,
    values,
)
from numpy.testing import assert_array_equal
from oracles import assert_same, element_draws, gfloat_info, round_array

from emunum.formats import NAMED, Cast, Format, Mode
from emunum.formats.exact import round_exact
from emunum.kernels import cpu
from emunum.kernels.random import Key


@functools.cache
def _patterns() -> np.ndarray:
    """Every float16 and bfloat16, and 10^6 float32 bit patterns."""
    return np.concatenate([every_float16(), every_bfloat16(), bit_patterns(10**6, 1)])


def _check(x: np.ndarray, to: Cast, key: int = 7) -> None:
    draws = element_draws(x.size, to, key).reshape(x.shape) if to.stochastic else 0
    assert_same(cpu.cast(x, to, Key(key)), round_array(x, to, draws), x, draws)


# ----------------------------------------------------------------------------------------------------
# Other people's casts
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IN_ML_DTYPES)
def test_casting_float32_is_ml_dtypes(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is one of the oracles")
    x = np.concatenate([_patterns(), near_ties(NAMED[name]), SPECIALS])
    if not NAMED[name].has_nan:
        x = x[~np.isnan(x)]  # ml_dtypes has no NaN to give and gives -0; here the carrier keeps NaN
    if name == SCALE:
        # ml_dtypes rounds float32 subnormals wrongly here: 8.0e-39 = 1.36 * 2^-127 becomes 2^-126. They are
        # held to the rational reference in a test of their own.
        x = x[~((np.abs(x) < 2.0**-126) & (x != 0))]
    with np.errstate(invalid="ignore", over="ignore"):
        theirs = x.astype(getattr(ml_dtypes, name)).astype(F32)
    assert_same(cpu.cast(x, cast(name, "nearest", "ieee"), Key(0)), theirs, x)


def test_casting_float32_to_float16_is_numpys() -> None:
    x = np.concatenate([_patterns(), near_ties(NAMED["float16"]), SPECIALS])
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        theirs = x.astype(np.float16)
    assert_same(cpu.cast(x, cast("float16", "nearest", "ieee"), Key(0)), theirs, x)


@pytest.mark.parametrize("name", ["float16", "float32"])
def test_casting_float64_is_numpys(name: str) -> None:
    x = np.concatenate([bit_patterns_64(200_000, 2), bit_patterns_64(2000, 3, -1022, 1023)])
    x = np.concatenate([x, near_ties_64(NAMED[name]), SPECIALS])
    with np.errstate(over="ignore", under="ignore"):
        theirs = x.astype(name)
    assert_same(cpu.cast(x, cast(name, "nearest", "ieee"), Key(0)), theirs, x)


GFLOAT_MODES = {
    "nearest": "TiesToEven",
    "nearest_away": "TiesToAway",
    "toward_zero": "TowardZero",
    "up": "TowardPositive",
    "down": "TowardNegative",
}


@pytest.mark.parametrize("mode", GFLOAT_MODES)
@pytest.mark.parametrize(
    "name", [*(name for name in ARITHMETIC if name != "float32"), *(n for n in P3109 if n[-2] == "s")]
)
def test_casting_float64_is_gfloats(name: str, mode: str) -> None:
    gfloat = pytest.importorskip("gfloat", reason="gfloat is one of the oracles")
    format, rounding = Format.from_name(name), GFLOAT_MODES[mode]
    x = np.concatenate([near_ties_64(format, 2048), bit_patterns_64(2048, 4)])
    if mode == "nearest_away":
        x = shortened(x)  # gfloat adds a half to the tail in float64, and rounds the sum
    saturate = not (format.has_infinity or format.has_nan)  # gfloat refuses what has no answer
    theirs = gfloat.round_ndarray(gfloat_info(name), x, gfloat.RoundMode[rounding], sat=saturate)
    assert_same(cpu.cast(x, cast(name, mode, "ieee"), Key(0)), theirs, x)


@pytest.mark.parametrize("variant", ["StochasticFastest", "StochasticFast", "Stochastic"])  # A, B, C
@pytest.mark.parametrize("random_bits", [1, 8, 16, 24, 32])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e4m3fnuz", "bfloat16", "e2m23", "binary8p3se"])
def test_casting_stochastically_is_gfloats_with_the_draws_of_the_layout(
    name: str, random_bits: int, variant: str
) -> None:
    gfloat = pytest.importorskip("gfloat", reason="gfloat is one of the oracles")
    ours = {
        "StochasticFastest": "stochastic_a",
        "StochasticFast": "stochastic_b",
        "Stochastic": "stochastic_c",
    }
    format, to = Format.from_name(name), cast(name, ours[variant], "ieee", random_bits)
    low, high = format.emin - format.mantissa_bits - 4, format.emax + 2
    x = shortened(np.concatenate([near_ties_64(format, 200), bit_patterns_64(1500, 5, low, high)]))
    x = np.concatenate([x, near_ties(format, 100).astype(np.float64)])
    draws = element_draws(x.size, to, 6)
    mode = gfloat.RoundMode[variant]
    theirs = gfloat.round_ndarray(gfloat_info(name), x, mode, srbits=draws, srnumbits=random_bits)
    assert_same(cpu.cast(x, to, Key(6)), theirs, x, draws)


# ----------------------------------------------------------------------------------------------------
# Every format, mode and rule
# ----------------------------------------------------------------------------------------------------


EVERY_FORMAT = [*ALL_NAMED, *ODD_WIDTHS, *NEW_FAMILIES]


@pytest.mark.parametrize("name", thinned(EVERY_FORMAT, 4))
@pytest.mark.parametrize("mode", ["nearest", "down", "stochastic"])
def test_auto_is_ieee_where_there_are_infinities_and_else_saturates(name: str, mode: str) -> None:
    format = Format.from_name(name)
    finite = "fn" in format.name or name in FIXED or name.removesuffix("_ftz").endswith("f")
    rule = "saturate" if finite else "ieee"
    x = numbers(format, 100, 16)
    assert_same(cpu.cast(x, cast(name, mode), Key(4)), cpu.cast(x, cast(name, mode, rule), Key(4)), x)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_casting_float32_rounds_once(name: str, mode: Mode) -> None:
    format, powers = Format.from_name(name), (2.0 ** np.arange(-126, 128)).astype(F32)
    x = np.concatenate([numbers(format, 350, 8), near_ties(format, 100), powers, -powers])
    for to in casts([name], [7, 24], [mode]):
        _check(x, to)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_casting_float64_rounds_once(name: str, mode: Mode) -> None:
    for to in casts([name], [16, 32], [mode]):
        _check_float64(to)


def _check_float64(to: Cast) -> None:
    low, high = to.format.emin - to.format.mantissa_bits - 3, to.format.emax + 3
    tiny = [2.0**-1074, -(2.0**-1040), 2.0**-1022]  # float64's own subnormals
    x = np.concatenate([near_ties_64(to.format, 150), bit_patterns_64(400, 9, low, high), SPECIALS, tiny])
    _check(np.concatenate([x, bit_patterns_64(200, 10, -1022, 1023)]), to)


@given(any_cast(), seeds)
def test_casting_rounds_once_whatever_the_format(to: Cast, seed: int) -> None:
    x = numbers(to.format, 100, seed)
    _check(x, to, seed)
    with np.errstate(invalid="ignore"):
        _check(x.astype(np.float64), to, seed)


@pytest.mark.parametrize("name", [name for name in ARITHMETIC if name != "float32"])
def test_a_million_float32_are_rounded_toward_zero(name: str) -> None:
    x, to = np.concatenate([_patterns(), near_ties(NAMED[name]), SPECIALS]), cast(name, "toward_zero", "ieee")
    assert_same(cpu.cast(x, to, Key(0)), round_array(x, to), x)


@pytest.mark.parametrize("mode", [mode for mode in DETERMINISTIC if mode.name != "toward_zero"], ids=str)
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float16", "binary8p3se", "q4.4"])
def test_every_float16_and_bfloat16_and_a_million_float32_are_rounded_once(name: str, mode: Mode) -> None:
    to = cast(name, mode)
    x = np.concatenate([_patterns(), near_ties(to.format), SPECIALS])
    assert_same(cpu.cast(x, to, Key(0)), round_array(x, to), x)


@pytest.mark.parametrize("mode", STOCHASTIC, ids=str)
@pytest.mark.parametrize("random_bits", range(1, 33))
@pytest.mark.parametrize("name", ["float8_e4m3fn", "bfloat16", "e2m23"])
def test_every_number_of_random_bits_has_its_own_rounding(name: str, random_bits: int, mode: Mode) -> None:
    to = cast(name, mode, "ieee", random_bits)
    x = numbers(to.format, 150, random_bits)
    _check(x, to)
    _check(np.concatenate([x.astype(np.float64), near_ties_64(to.format, 100)]), to)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name in IN_ML_DTYPES if name != SCALE])
def test_every_float32_is_cast_as_ml_dtypes_has_it(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is one of the oracles")
    to = cast(name, "nearest", "ieee")
    for begin in range(0, 2**32, 2**24):
        x = np.arange(begin, begin + 2**24, dtype=np.uint32).view(F32)
        x = x if to.format.has_nan else x[~np.isnan(x)]
        with np.errstate(invalid="ignore", over="ignore"):
            theirs = x.astype(getattr(ml_dtypes, name)).astype(F32)
        ours = cpu.cast(x, to, Key(0))
        assert_array_equal(ours.view(np.uint32)[~np.isnan(ours)], theirs.view(np.uint32)[~np.isnan(theirs)])
        assert_array_equal(np.isnan(ours), np.isnan(theirs))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["float8_e4m3fn", "bfloat16"])
def test_every_positive_float32_is_rounded_toward_zero(name: str) -> None:
    to = cast(name, "toward_zero", "ieee")
    for begin in range(0, 0x7F800000, 2**22):
        x = np.arange(begin, begin + 2**22, dtype=np.uint32).view(F32)
        assert_same(cpu.cast(x, to, Key(0)), round_array(x, to), x)


@pytest.mark.exhaustive
@pytest.mark.parametrize("mode", DETERMINISTIC, ids=str)
@pytest.mark.parametrize("name", [*EIGHT_BIT, "float16", "bfloat16", *P3109, *FIXED, *FLUSHED])
def test_every_upper_half_of_a_float32_is_cast_with_nothing_little_and_much_below_it(
    name: str, mode: Mode
) -> None:
    # Sign, exponent and nine bits of the significand; of the other bits nothing, the least, the most, and
    # what lies about the middle between two values of float16.
    upper = np.arange(0, 2**32, 2**14, dtype=np.uint64)
    for below in (0, 1, 2**11, 2**12 - 1, 2**12, 2**12 + 1, 2**13, 2**14 - 1):
        x = quiet((upper + np.uint64(below)).astype(np.uint32).view(F32))
        for overflow in overflows(Format.from_name(name)):
            to = cast(name, mode, overflow)
            assert_same(cpu.cast(x, to, Key(0)), round_array(x, to), x)


@pytest.mark.parametrize(
    "name", ["float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "float16", "bfloat16", "tfloat32"]
)
def test_float64_is_not_rounded_to_float32_first(name: str) -> None:
    # 1 + 2^-p is a tie. A hair above it goes up, though float32 cannot tell the two apart.
    format = NAMED[name]
    tie, up = 1 + 2.0**-format.precision, 1 + format.eps
    x = np.array([tie + 2.0**-50, tie, tie - 2.0**-50])
    assert_array_equal(x.astype(F32), F32(tie))
    assert_same(cpu.cast(x, cast(name), Key(0)), [up, 1.0, 1.0])
    assert_same(cpu.cast(-x, cast(name), Key(0)), [-up, -1.0, -1.0])
    around_two = np.array([2 - 2.0**-52, 2 + 2.0**-51])
    assert_same(cpu.cast(around_two, cast(name, "toward_zero"), Key(0)), [2 - format.eps, 2.0])


def test_a_scale_is_rounded_from_float32_subnormals_too() -> None:
    x = np.arange(1, 2**23, 4099, dtype=np.uint32).view(F32)
    for mode in DETERMINISTIC:
        to = cast(SCALE, mode)
        assert_same(cpu.cast(x, to, Key(0)), [round_exact(v, to) for v in x.tolist()], x)
    assert cpu.cast(np.array([8.0e-39], F32), cast(SCALE), Key(0))[0] == F32(2.0**-127)


# ----------------------------------------------------------------------------------------------------
# Special values, edges
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("name", [*AT_MOST_16, "float32", "e5m0", "e2m23", *NEW_FAMILIES])
def test_nan_infinity_and_zeros_take_no_part_in_rounding(name: str, mode: Mode) -> None:
    # By hand from the contract: saturate makes Inf the largest value, the others Inf, else NaN, else max;
    # wrap makes it NaN.
    format = Format.from_name(name)
    finite_only = ("float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn", "e3m2fn_ftz", *FIXED)
    one_zero = "fnuz" in name or name.startswith("binary") or name in FIXED
    for overflow in overflows(format):
        if overflow == "wrap":
            plus, minus = np.nan, np.nan
        elif overflow == "saturate" or name in finite_only:
            plus, minus = format.max, format.min
        elif format.has_infinity:
            plus, minus = np.inf, -np.inf if format.signed else np.nan
        else:
            plus, minus = np.nan, np.nan
        x, to = np.tile(SPECIALS, 40), cast(name, mode, overflow, 32)
        expected = np.tile([0.0, 0.0 if one_zero else -0.0, plus, minus, np.nan], 40)
        if name == SCALE:
            expected = np.tile([np.nan, np.nan, plus, np.nan, np.nan], 40)
        assert_same(cpu.cast(x, to, Key(3)), expected, x)
        assert_same(cpu.cast(x.astype(np.float64), to, Key(3)), expected, x)


@pytest.mark.parametrize("name", [*ALL_NAMED, "binary8p3se", "e5m2_ftz", "q4.4"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_signalling_nan_is_a_nan_and_warns_nobody(name: str, mode: Mode) -> None:
    x = np.array([0x7F800001, 0x7FBFFFFF, 0xFF800001, 0x7FFFFFFF], np.uint32).view(F32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(cpu.cast(x, cast(name, mode), Key(0))).all()


@pytest.mark.parametrize("name", [name for name in ARITHMETIC if name != "float32"])
def test_saturation_takes_everything_beyond_the_largest_value_and_infinity_to_it(name: str) -> None:
    largest = NAMED[name].max
    beyond = np.array([largest, 1.001 * largest, 1.25 * largest, 1.99 * largest, 2.0**130, 1e300, np.inf])
    for mode in MODES:
        to = cast(name, mode, "saturate")
        assert_same(cpu.cast(beyond, to, Key(0)), np.full(7, largest))
        assert_same(cpu.cast(-beyond, to, Key(0)), np.full(7, -largest))


@pytest.mark.parametrize("name", [name for name in ARITHMETIC if name != "float32"])
def test_the_binade_above_the_largest_value_overflows_from_its_midpoint_on(name: str) -> None:
    format = NAMED[name]
    quantum = 2.0 ** (format.emax - format.mantissa_bits)
    inside = format.max + quantum * np.array([0, 0.25, 0.4375, 0.5 - 2.0**-20])
    beyond = format.max + quantum * np.array([0.5 + 2.0**-20, 0.75, 1, 1.5, 2, 7])
    to = cast(name, "nearest", "ieee")
    assert_same(cpu.cast(inside, to, Key(0)), np.full(4, format.max))
    of_infinity = np.inf if format.has_infinity else np.nan if format.has_nan else format.max
    assert_same(cpu.cast(beyond, to, Key(0)), np.full(6, of_infinity))
    assert_same(cpu.cast(-beyond, to, Key(0)), np.full(6, -of_infinity))
    both = np.concatenate([inside, beyond])
    assert_same(cpu.cast(both, cast(name, "toward_zero", "ieee"), Key(0)), np.full(10, format.max))
    assert_same(cpu.cast(both, cast(name, "down", "ieee"), Key(0)), np.full(10, format.max))
    assert_same(cpu.cast(-both, cast(name, "up", "ieee"), Key(0)), np.full(10, -format.max))
    outward = np.where(both == format.max, format.max, of_infinity)
    assert_same(cpu.cast(both, cast(name, "up", "ieee"), Key(0)), outward)
    assert_same(cpu.cast(-both, cast(name, "down", "ieee"), Key(0)), -outward)
    assert_same(cpu.cast(both, cast(name, "nearest", "propagate"), Key(0)), np.full(10, format.max))


@pytest.mark.parametrize("name", [*ARITHMETIC, *ODD_WIDTHS])
@pytest.mark.parametrize("mode", ["nearest", "toward_zero"])
def test_a_carry_goes_into_the_next_binade(name: str, mode: str) -> None:
    format, to = Format.from_name(name), cast(name, mode)
    last = 2 - format.eps  # the largest significand
    powers = 2.0 ** np.arange(format.emin, format.emax)
    x = powers * (last + 0.75 * format.eps)
    expected = powers * (2 if mode == "nearest" else last)
    assert_same(cpu.cast(x, to, Key(0)), expected, x)
    assert_same(cpu.cast(-x, to, Key(0)), -expected, x)


@pytest.mark.parametrize("name", [*ARITHMETIC, *ODD_WIDTHS])
def test_below_the_smallest_value_there_is_it_and_zero(name: str) -> None:
    format = Format.from_name(name)
    least = format.smallest
    x = least * np.array([0.5, 0.5 + 2.0**-30, 0.5 - 2.0**-30, 0.75, 1 - 2.0**-52, 2.0**-60])
    zero = 0.0 if "fnuz" in name else -0.0
    nearest, down = cast(name), cast(name, "toward_zero")
    assert_same(cpu.cast(x, nearest, Key(0)), [0, least, 0, least, least, 0])
    assert_same(cpu.cast(-x, nearest, Key(0)), [zero, -least, zero, -least, -least, zero])
    assert_same(cpu.cast(x, down, Key(0)), np.zeros(6))
    assert_same(cpu.cast(-x, down, Key(0)), np.full(6, zero))
    stochastic = cast(name, "stochastic", random_bits=8)
    half = np.full(4096, 0.5 * least)
    up = round_array(half, stochastic, element_draws(4096, stochastic, 1)) > 0
    assert 0.4 < up.mean() < 0.6
    assert_same(cpu.cast(half, stochastic, Key(1)), np.where(up, least, 0.0))
    assert_same(cpu.cast(-half, stochastic, Key(1)), np.where(up, -least, zero))


@pytest.mark.parametrize("name", [name for name in [*ARITHMETIC, *ODD_WIDTHS] if not name.endswith("m0")])
def test_subnormals_keep_the_quantum_of_the_smallest_normal(name: str) -> None:
    format = Format.from_name(name)
    s = np.arange(min(1 << format.mantissa_bits, 300))
    least = format.smallest
    above, tie = (s + 0.5 + 2.0**-20) * least, (s + 0.5) * least
    assert_same(cpu.cast(above, cast(name), Key(0)), (s + 1) * least)
    assert_same(cpu.cast(tie, cast(name), Key(0)), (s + s % 2) * least)
    assert_same(cpu.cast(above, cast(name, "toward_zero"), Key(0)), s * least)


NO_MORE_THAN_16 = [*AT_MOST_16, *(name for name in NEW_FAMILIES if Format.from_name(name).bits <= 16)]


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("name", NO_MORE_THAN_16)
def test_no_draw_moves_a_value_of_the_format(name: str, mode: Mode) -> None:
    every = values(Format.from_name(name))
    every = every[np.isfinite(every)]
    for overflow in overflows(Format.from_name(name)):
        for random_bits in (1, 16, 32) if mode.stochastic else (16,):
            to = cast(name, mode, overflow, random_bits)
            assert_same(cpu.cast(every, to, Key(11)), every)
            assert_same(cpu.cast(every.astype(np.float64), to, Key(11)), every)


# ----------------------------------------------------------------------------------------------------
# What holds of all rounding
# ----------------------------------------------------------------------------------------------------


@given(any_cast(modes=DETERMINISTIC), seeds)
def test_rounding_is_monotone(to: Cast, seed: int) -> None:
    x = numbers(to.format, 200, seed)
    x = np.sort(x[~np.isnan(x)])
    rounded = cpu.cast(x, to, Key(0))
    rounded = rounded[~np.isnan(rounded)]  # overflow to NaN has no place in an order
    assert (np.diff(rounded[np.isfinite(rounded)]) >= 0).all()
    assert (rounded[1:] >= rounded[:-1]).all()


@pytest.mark.parametrize("mode", DETERMINISTIC, ids=str)
@pytest.mark.parametrize("name", [*P3109, *FIXED, *(name for name in NEW_FAMILIES if name.endswith("_ftz"))])
def test_rounding_is_monotone_in_every_family(name: str, mode: Mode) -> None:
    # Dense where flushing ends, and around everything else.
    format = Format.from_name(name)
    edge = format.smallest_normal * np.linspace(-1.5, 1.5, 385)
    x = np.concatenate([numbers(format, 250, 22), edge.astype(F32)])
    rounded = cpu.cast(np.sort(x[~np.isnan(x)]), cast(name, mode, "saturate"), Key(0))
    assert (rounded[1:] >= rounded[:-1]).all()


@given(any_cast(), seeds, seeds)
def test_rounding_twice_is_rounding_once(to: Cast, seed: int, other: int) -> None:
    once = cpu.cast(numbers(to.format, 100, seed), to, Key(seed))
    assert_same(cpu.cast(once, to, Key(other)), once)


MIRRORED = {Mode.UP: Mode.DOWN, Mode.DOWN: Mode.UP}


@given(any_cast(), seeds)
def test_rounding_is_odd_but_for_up_and_down_which_are_mirrored(to: Cast, seed: int) -> None:
    x = numbers(to.format, 100, seed)
    if to.format.min != -to.format.max:  # without a sign, or with one value more below zero
        x = x[(np.abs(x) <= -to.format.min - to.format.smallest) | np.isnan(x)]
    other = dataclasses.replace(to, mode=MIRRORED.get(to.mode, to.mode))
    mirrored = -cpu.cast(-x, other, Key(seed))
    zero = np.float32(0.0 if not to.format.has_negative_zero else -0.0)
    assert_same(np.where(mirrored == 0, mirrored + zero, mirrored), cpu.cast(x, to, Key(seed)), x)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("name", ["q4.4", "q1.7", "int8", "q2.14", "int2", "q1.23"])
def test_wrapping_leaves_a_multiple_of_the_period_away(name: str, mode: Mode) -> None:
    # Two's complement: what is in range is as if it saturated; the rest is moved by multiples of 2^I.
    to, saturating = cast(name, mode, "wrap", 8), cast(name, mode, "saturate", 8)
    format, period = to.format, -2 * to.format.min
    x = numbers(format, 200, 15).astype(np.float64)
    x = np.rint(x[np.abs(x) < 2.0**24 * format.smallest] / format.smallest * 256) / 256 * format.smallest
    wrapped = cpu.cast(x, to, Key(3))
    assert ((wrapped >= format.min) & (wrapped <= format.max)).all()
    inside = np.abs(x) < format.max
    assert_same(wrapped[inside], cpu.cast(x, saturating, Key(3))[inside])
    off = np.abs(wrapped - x) % period
    assert (np.minimum(off, period - off) <= format.smallest).all()
    if mode.name in ("nearest_even", "up", "down"):  # the others look at the sign or at the magnitude of x
        for turns in (-3, -1, 1, 2):
            assert_same(cpu.cast(x + turns * period, to, Key(3)), wrapped, x)


@given(any_cast(), seeds)
def test_a_rounded_number_is_a_value_of_the_format(to: Cast, seed: int) -> None:
    rounded = cpu.cast(numbers(to.format, 100, seed), to, Key(seed))
    if not to.format.has_nan:
        rounded = rounded[~np.isnan(rounded)]  # the carrier's NaN
    assert_same(cpu.decode(cpu.encode(rounded, to.format), to.format), rounded)


@given(formats.filter(lambda format: format.subnormals), st.sampled_from([m.name for m in STOCHASTIC]), seeds)
def test_stochastic_rounding_gives_one_of_the_two_neighbours(format: Format, mode: str, seed: int) -> None:
    x = numbers(format, 100, seed)
    x = x[(x >= format.min) & (x <= format.max)]
    down = cpu.cast(x, cast(format, "toward_zero"), Key(0))
    rounded = cpu.cast(x, cast(format, mode, "saturate", 1 + seed % 32), Key(seed))
    e = np.maximum(np.frexp(np.abs(x))[1] - 1, format.emin) - format.mantissa_bits
    step = np.ldexp(1.0, e)
    distance = np.abs(rounded.astype(np.float64)) - np.abs(down)
    assert ((distance == 0) | ((distance == step) & (down != x))).all()


@pytest.mark.parametrize("random_bits", [8, 16, 32])
@pytest.mark.parametrize("sixteenths", [1, 5, 8, 15])
@pytest.mark.parametrize("mode", STOCHASTIC, ids=str)
def test_stochastic_rounding_goes_up_as_often_as_it_should(
    sixteenths: int, random_bits: int, mode: Mode
) -> None:
    # 200,000 independent draws with P(up) = nu: five standard deviations are below 0.0056.
    x = np.full(200_000, 1 + sixteenths / 16)
    up = cpu.cast(x, cast("e2m0", mode, random_bits=random_bits), Key(2)) == 2
    assert abs(up.mean() - sixteenths / 16) < 0.0056


# ----------------------------------------------------------------------------------------------------
# Arrays
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_result_is_a_new_contiguous_float32_array_of_the_same_shape(mode: Mode) -> None:
    to = cast("e4m3", mode)
    for x in (
        np.ones((2, 3, 4), F32),
        np.ones((4, 3), F32).T,
        np.ones((0, 3), F32),
        np.ones((), F32),
        np.ones(10, F32)[::3],
        np.asfortranarray(np.ones((5, 6))),
    ):
        result = cpu.cast(x, to, Key(0))
        assert (result.shape, result.dtype, result.flags.c_contiguous) == (x.shape, np.float32, True)
        assert not np.shares_memory(result, x)
        assert_array_equal(result, 1.0)


def test_random_bits_follow_the_flattened_order_not_the_memory() -> None:
    x = some_values(NAMED["float32"], 4000, np.random.default_rng(12)).reshape(50, 80)
    to = cast("e6m9", "stochastic")
    flat = cpu.cast(x.reshape(-1).copy(), to, Key(1)).reshape(50, 80)
    assert_same(cpu.cast(x, to, Key(1)), flat)
    assert_same(cpu.cast(np.asfortranarray(x), to, Key(1)), flat)
    assert_same(cpu.cast(np.repeat(x, 2, axis=1)[:, ::2], to, Key(1)), flat)


def test_a_leading_part_has_the_bits_of_the_whole() -> None:
    x = bit_patterns(1000, 13)
    for n in (16, 24):
        to = cast("e5m2", "stochastic", random_bits=n)
        whole = cpu.cast(x, to, Key(1))
        for size in (1, 15, 16, 63, 64, 127, 128, 129, 999):
            assert_same(cpu.cast(x[:size].copy(), to, Key(1)), whole[:size])


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e4m3fnuz", SCALE])
def test_an_array_to_write_to_takes_the_result(name: str) -> None:
    x, to = bit_patterns(1000, 14).reshape(50, 20), cast(name, "stochastic")
    expected = cpu.cast(x, to, Key(1))
    out = np.full((50, 20), F32(7))
    assert cpu.cast(x, to, Key(1), out=out) is out
    assert_same(out, expected)
    assert_same(cpu.cast(x, to, Key(1), out=x), expected)  # in place
