"""The rational reference against oracles nobody here wrote, so that it may be one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from inputs import (
    ARITHMETIC,
    AT_MOST_16,
    EIGHT_BIT,
    IN_ML_DTYPES,
    MODES,
    NEW_FAMILIES,
    ODD_WIDTHS,
    OVERFLOWS,
    P3109,
    SCALE,
    STOCHASTIC,
    any_cast,
    bit_patterns_64,
    cast,
    label,
    midpoints,
    near_half_ulps,
    near_ties_64,
    numbers,
    overflows,
    seeds,
    shortened,
    values,
)
from oracles import (
    MPFR_MODES,
    assert_same,
    exact_sum,
    gfloat_info,
    mpfr_context,
    round_array,
    sum_to_odd,
)

from emunum.formats import NAMED, Cast, Format, Mode
from emunum.formats.exact import (
    add_exact,
    decode_exact,
    divide_exact,
    dot_exact,
    fma_exact,
    multiply_exact,
    round_exact,
    sqrt_exact,
)

IEEE_LIKE = (
    "float16",
    "bfloat16",
    "float32",
    "tfloat32",
    "float8_e3m4",
    "float8_e5m2",
    "e2m23",
    "e8m22",
    "e6m9",
)


INF, NAN = math.inf, math.nan


# ----------------------------------------------------------------------------------------------------
# Codes
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IN_ML_DTYPES)
def test_every_code_has_the_value_ml_dtypes_gives_it(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is one of the oracles")
    format = NAMED[name]
    codes = np.arange(format.code_count, dtype=np.uint8 if format.bits <= 8 else np.uint16)
    assert_same(values(format), codes.view(getattr(ml_dtypes, name)).astype(np.float32))


def test_every_code_of_float16_has_the_value_numpy_gives_it() -> None:
    codes = np.arange(1 << 16, dtype=np.uint16)
    assert_same(values(NAMED["float16"]), codes.view(np.float16))


@pytest.mark.parametrize(
    "name",
    ["tfloat32", "float32", *ODD_WIDTHS, "float8_e4m3fnuz", "float8_e4m3b11fnuz", *P3109],
)
def test_codes_have_the_values_gfloat_gives_them(name: str) -> None:
    gfloat = pytest.importorskip("gfloat", reason="gfloat is one of the oracles")
    format, info = Format.from_name(name), gfloat_info(name)
    rng = np.random.default_rng(1)
    edges = {0, 1, format.max_code, format.max_code + 1, format.code_count // 2, format.code_count - 1}
    codes = sorted(edges | set(rng.integers(0, format.code_count, 2000).tolist()))
    codes = [code for code in codes if code < format.code_count]
    theirs = [gfloat.decode_float(info, code).fval for code in codes]
    assert_same([decode_exact(code, format) for code in codes], theirs)


# ----------------------------------------------------------------------------------------------------
# Rounding
# ----------------------------------------------------------------------------------------------------


def _around(name: str) -> np.ndarray:
    """float64 around a format: ties and their neighbours, random values, specials."""
    format = Format.from_name(name)
    low, high = format.emin - format.mantissa_bits - 3, format.emax + 3
    return np.concatenate(
        [
            near_ties_64(format, 100),
            bit_patterns_64(300, 2, low, high),
            bit_patterns_64(60, 3, -1000, 1000),
            [0.0, -0.0, math.inf, -math.inf, math.nan],
        ]
    )


# gfloat has no mode to odd.
_GFLOAT_MODES = {
    Mode.NEAREST_EVEN: "TiesToEven",
    Mode.NEAREST_AWAY: "TiesToAway",
    Mode.TOWARD_ZERO: "TowardZero",
    Mode.UP: "TowardPositive",
    Mode.DOWN: "TowardNegative",
    Mode.STOCHASTIC: "StochasticFastest",
    Mode.STOCHASTIC_B: "StochasticFast",
    Mode.STOCHASTIC_C: "Stochastic",
}
_GFLOAT_DETERMINISTIC = [mode for mode in _GFLOAT_MODES if not mode.stochastic]


def _by_gfloat(x: float, to: Cast, draw: int = 0) -> float:
    gfloat = pytest.importorskip("gfloat", reason="gfloat is one of the oracles")
    # gfloat refuses what the format cannot say; here NaN stays NaN and the largest value is the answer.
    if math.isnan(x):
        return math.nan
    if not to.format.has_zero and x <= 0:
        return math.nan
    saturate = to.rule == "saturate" or not (to.format.has_infinity or to.format.has_nan)
    if to.rule == "propagate" and math.isfinite(x):  # gfloat has no third rule
        saturate = True
    mode = gfloat.RoundMode[_GFLOAT_MODES[to.mode]]
    info = gfloat_info(to.format.name)
    if info.num_nans == 0 and not to.format.has_infinity and math.isinf(x):
        return math.copysign(to.format.max, x)
    return float(gfloat.round_float(info, x, mode, sat=saturate, srbits=draw, srnumbits=to.random_bits))


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("mode", _GFLOAT_DETERMINISTIC, ids=str)
@pytest.mark.parametrize("name", [*ARITHMETIC, "e6m9", "e3m20", "e2m23", *P3109])
def test_rounding_is_gfloats(name: str, mode: Mode, overflow: str) -> None:
    to, x = cast(name, mode, overflow), _around(name)
    if not to.format.signed:
        x = x[~(x < 0)]  # gfloat has no answer for numbers without a sign to give them
    if mode is Mode.NEAREST_AWAY:
        x = shortened(x)  # gfloat adds a half to the tail in float64, and rounds the sum
    if overflow != "ieee":
        x = np.concatenate([x[::4], x[np.abs(x) > to.format.max]])
    assert_same([round_exact(v, to) for v in x.tolist()], [_by_gfloat(v, to) for v in x.tolist()], x)


WITH_MIDPOINTS = [*EIGHT_BIT, "binary8p1se", "binary8p3sf", "binary8p3ue", "binary8p8uf"]


@pytest.mark.parametrize("overflow", ["ieee", "saturate"])
@pytest.mark.parametrize("mode", _GFLOAT_MODES, ids=str)
@pytest.mark.parametrize("name", WITH_MIDPOINTS)
def test_every_8_bit_value_and_midpoint_is_rounded_as_gfloat_has_it_for_every_draw(
    name: str, mode: Mode, overflow: str
) -> None:
    for to, grid, draws, theirs in _grids(name, mode, overflow):
        assert_same(round_array(grid, to, draws), theirs, grid, draws)
        some = np.random.default_rng(16).integers(0, grid.size, 250)
        ours = [round_exact(float(grid.flat[n]), to, int(draws.flat[n])) for n in some]
        assert_same(ours, theirs.flat[some], grid.flat[some], draws.flat[some])


@pytest.mark.exhaustive
@pytest.mark.parametrize("overflow", ["ieee", "saturate"])
@pytest.mark.parametrize("mode", _GFLOAT_MODES, ids=str)
@pytest.mark.parametrize("name", WITH_MIDPOINTS)
def test_the_reference_rounds_every_8_bit_value_and_midpoint_as_gfloat_has_it(
    name: str, mode: Mode, overflow: str
) -> None:
    for to, grid, draws, theirs in _grids(name, mode, overflow):
        ours = [round_exact(x, to, draw) for x, draw in zip(grid.flat, draws.ravel().tolist(), strict=True)]
        assert_same(ours, theirs.ravel(), grid.ravel(), draws.ravel())


def _grids(name: str, mode: Mode, overflow: str) -> Iterator[tuple[Cast, np.ndarray, np.ndarray, np.ndarray]]:
    """For each N up to 4: the cast, numbers by draws, and what gfloat makes of them.

    Beside values and midpoints, tails of a quarter and of three sixteenths: between two draws, and between
    two halves of a draw.
    """
    gfloat = pytest.importorskip("gfloat", reason="gfloat is one of the oracles")
    format = Format.from_name(name)
    held, middle = values(format), midpoints(format)
    held = held[np.isfinite(held) & (held >= 0)].astype(np.float64)
    gap = np.diff(np.append(held, 2 * middle[-1] - held[-1]))
    tails = [held, middle, held + 0.25 * gap, held + 0.1875 * gap, middle * (1 - 2.0**-9), [math.inf]]
    x = np.concatenate(tails)
    x = np.concatenate([x, -x])[:, None] if format.signed else x[:, None]
    for random_bits in (1, 2, 3, 4) if mode.stochastic else (1,):
        to = cast(name, mode, overflow, random_bits)
        grid, draws = np.broadcast_arrays(x, np.arange(2**random_bits if mode.stochastic else 1))
        how = {"srbits": draws, "srnumbits": random_bits} if mode.stochastic else {}
        rounding = gfloat.RoundMode[_GFLOAT_MODES[mode]]
        theirs = gfloat.round_ndarray(gfloat_info(name), grid, rounding, sat=overflow == "saturate", **how)
        yield to, grid, draws, theirs


@pytest.mark.parametrize("name", ["e5m0", "e8m0", "e2m0"])
@pytest.mark.parametrize("mode", _GFLOAT_MODES, ids=str)
def test_rounding_to_one_bit_of_precision_is_gfloats_but_for_ties(name: str, mode: Mode) -> None:
    # A tie between 2^E and 2^(E + 1), both odd: IEEE 754-2019 4.3.1 takes the larger magnitude, gfloat
    # (and P3109) the even code.
    to = cast(name, mode, random_bits=4)
    x = shortened(_around(name)) if mode is Mode.NEAREST_AWAY else _around(name)
    x = np.setdiff1d(x, np.concatenate([midpoints(to.format), -midpoints(to.format)]))
    for draw in (0, 7, 15):
        ours = [round_exact(v, to, draw) for v in x.tolist()]
        assert_same(ours, [_by_gfloat(v, to, draw) for v in x.tolist()], x)


@pytest.mark.parametrize("name", ["e5m0", "e8m0", "e2m0"])
def test_with_one_bit_of_precision_a_tie_goes_to_the_larger_magnitude(name: str) -> None:
    to = cast(name)
    for e in range(to.format.emin, to.format.emax):
        assert round_exact(1.5 * 2.0**e, to) == 2.0 ** (e + 1)
        assert round_exact(-1.5 * 2.0**e, to) == -(2.0 ** (e + 1))
    assert round_exact(0.5 * 2.0**to.format.emin, to) == 0.0  # between 0, which is even, and 1 quantum


def test_scales_round_as_gfloat_has_it() -> None:
    gfloat = pytest.importorskip("gfloat", reason="gfloat is one of the oracles")
    x = np.abs(_around(SCALE))
    x = np.setdiff1d(x[(x > 2.0**-126) & np.isfinite(x)], midpoints(NAMED[SCALE]))
    info = gfloat_info(SCALE)
    for mode in _GFLOAT_DETERMINISTIC:
        to = cast(SCALE, mode, "ieee")
        theirs = [gfloat.round_float(info, v, gfloat.RoundMode[_GFLOAT_MODES[to.mode]]) for v in x.tolist()]
        assert_same([round_exact(v, to) for v in x.tolist()], theirs, x)


@pytest.mark.parametrize("mode", STOCHASTIC, ids=str)
@pytest.mark.parametrize("random_bits", [1, 2, 5])
@pytest.mark.parametrize("name", ["float6_e3m2fn", "bfloat16", "binary8p3se"])
def test_stochastic_rounding_is_gfloats_for_every_draw(name: str, random_bits: int, mode: Mode) -> None:
    to = cast(name, mode, "ieee", random_bits)
    x = shortened(np.random.default_rng(4).choice(_around(name), 70))
    for draw in range(2**random_bits):
        ours = [round_exact(v, to, draw) for v in x.tolist()]
        assert_same(ours, [_by_gfloat(v, to, draw) for v in x.tolist()], x)


@pytest.mark.parametrize("mode", STOCHASTIC, ids=str)
@pytest.mark.parametrize("random_bits", [8, 13, 16, 24, 31, 32])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float16", "float32", "e2m23"])
def test_stochastic_rounding_is_gfloats_for_random_draws(name: str, random_bits: int, mode: Mode) -> None:
    to, rng = cast(name, mode, "ieee", random_bits), np.random.default_rng(5)
    x = shortened(rng.choice(_around(name), 600))
    draws = rng.integers(0, 2**random_bits, x.size).tolist()
    draws[:4] = [0, 1, 2**random_bits - 1, 2 ** (random_bits - 1)]
    ours = [round_exact(v, to, draw) for v, draw in zip(x.tolist(), draws, strict=True)]
    assert_same(ours, [_by_gfloat(v, to, draw) for v, draw in zip(x.tolist(), draws, strict=True)], x, draws)


@pytest.mark.parametrize("name", [*AT_MOST_16, *(n for n in NEW_FAMILIES if Format.from_name(n).bits <= 16)])
def test_every_value_of_a_format_rounds_to_itself(name: str) -> None:
    every = values(Format.from_name(name))
    every = np.random.default_rng(6).choice(every, 300) if every.size > 300 else every
    for mode in MODES:
        to = cast(name, mode, "ieee", 8)
        for draw in (0, 255) if to.stochastic else (0,):
            assert_same([round_exact(v, to, draw) for v in every.tolist()], every)


@pytest.mark.parametrize("name", ["float16", "float32"])
def test_rounding_float64_to_nearest_is_numpys(name: str) -> None:
    with np.errstate(over="ignore", under="ignore"):
        theirs = _around(name).astype(name)
    assert_same([round_exact(v, cast(name)) for v in _around(name).tolist()], theirs)


# Hand-computed: e4m3 has quantum 2^-3 in [1, 2), 2^-9 below 2^-6; N = 2.
@pytest.mark.parametrize(
    ("x", "down_draws"),
    [(1.0, 4), (1.03125, 3), (1.0625, 2), (1.09375, 1), (2.0**-11, 3), (2.0**-12, 4), (447.99, 1)],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_stochastic_rounding_takes_the_draws_computed_by_hand(x: float, down_draws: int, sign: int) -> None:
    to = cast("e4m3", "stochastic", random_bits=2)
    below = round_exact(x, cast("e4m3", "toward_zero"))
    results = [round_exact(sign * x, to, draw) for draw in range(4)]
    assert sum(abs(result) == below for result in results) == down_draws
    assert all(math.copysign(1, result) == sign for result in results)


# e4m3 by hand, in quanta of 2^-3 at 10 and 11 quanta: S = 10 is even, S = 11 odd.
@pytest.mark.parametrize(
    ("mode", "quanta", "of_positive", "of_negative"),
    [
        ("nearest_even", 10.5, 10, -10),
        ("nearest_even", 11.5, 12, -12),
        ("nearest_away", 10.5, 11, -11),
        ("nearest_away", 10.4375, 10, -10),
        ("nearest_away", 11.5, 12, -12),
        ("toward_zero", 10.9375, 10, -10),
        ("up", 10.0625, 11, -10),
        ("up", 10.9375, 11, -10),
        ("down", 10.0625, 10, -11),
        ("down", 10.9375, 10, -11),
        ("to_odd", 10.0625, 11, -11),
        ("to_odd", 10.9375, 11, -11),
        ("to_odd", 11.0625, 11, -11),
        ("to_odd", 11.9375, 11, -11),
        ("to_odd", 12.0, 12, -12),
        ("to_odd", 15.5, 15, -15),
        ("up", 15.0625, 16, -15),
        ("down", 15.0625, 15, -16),
    ],
)
def test_modes_take_the_neighbour_computed_by_hand(
    mode: str, quanta: float, of_positive: float, of_negative: float
) -> None:
    to = cast("e4m3", mode)
    assert round_exact(quanta / 8, to) == of_positive / 8
    assert round_exact(-quanta / 8, to) == of_negative / 8


# Section 3 by hand, N = 2, tail 5/8 of a quantum and then a hair more or less:
# A: floor(2.5) + R >= 4 for R in {2, 3}. B: floor(5) + 2R + 1 >= 8 for R in {1, 2, 3}. C: 2.5 rounds to 2,
# so R in {2, 3}; a tail of 7/8 is 3.5 and rounds to 4: every R.
@pytest.mark.parametrize(
    ("mode", "eighths", "ups"),
    [
        ("stochastic", 5, {2, 3}),
        ("stochastic", 4.999, {2, 3}),
        ("stochastic", 7, {1, 2, 3}),
        ("stochastic", 1.999, set()),
        ("stochastic_b", 5, {1, 2, 3}),
        ("stochastic_b", 4.999, {2, 3}),
        ("stochastic_b", 7, {0, 1, 2, 3}),
        ("stochastic_b", 1, {3}),
        ("stochastic_b", 0.999, set()),
        ("stochastic_c", 5, {2, 3}),
        ("stochastic_c", 5.001, {1, 2, 3}),
        ("stochastic_c", 7, {0, 1, 2, 3}),
        ("stochastic_c", 6.999, {1, 2, 3}),
        ("stochastic_c", 1, set()),
        ("stochastic_c", 1.001, {3}),
        ("stochastic_c", 3, {2, 3}),
    ],
)
def test_the_three_stochastic_variants_step_up_for_the_draws_computed_by_hand(
    mode: str, eighths: float, ups: set[int]
) -> None:
    to = cast("e4m3", mode, random_bits=2)
    for sign in (1, -1):
        x = sign * (1 + eighths / 64)
        assert {draw for draw in range(4) if abs(round_exact(x, to, draw)) == 1.125} == ups


def test_with_one_bit_of_precision_p3109_takes_ties_to_the_even_code() -> None:
    # binary8p1se: bias 64, code of 2^E is E + 64, even where E is.
    for mode, even, odd in [("nearest", 2.0**4, 2.0**4), ("to_odd", 2.0**5, 2.0**3)]:
        to = cast("binary8p1se", mode)
        assert round_exact(1.5 * 2.0**4, to) == even
        assert round_exact(-1.5 * 2.0**3, to) == -odd
    assert round_exact(2.0**-64, cast("binary8p1se")) == 0.0  # half the least value, code 1


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(
    ("overflow", "of_finite", "of_infinity"),
    [("ieee", NAN, NAN), ("saturate", 0.0, 0.0), ("propagate", 0.0, NAN)],
)
def test_a_format_without_sign_has_nothing_below_zero(
    mode: Mode, overflow: str, of_finite: float, of_infinity: float
) -> None:
    inward = overflow == "ieee" and str(mode) in ("toward_zero", "to_odd", "up")
    for name in ("binary8p3ue", "binary8p3uf"):
        to = cast(name, mode, overflow)
        assert_same([round_exact(-7.3, to), round_exact(-1e9, to)], [0.0 if inward else of_finite] * 2)
        assert_same(
            [round_exact(-INF, to), round_exact(-0.0, to), round_exact(NAN, to)], [of_infinity, 0.0, NAN]
        )


def test_flushing_comes_after_rounding_and_keeps_the_sign() -> None:
    # e4m3: least normal 2^-6, quantum 2^-9 below. 7.5 quanta round to 8, which is normal; 7.4 do not.
    to = cast("e4m3_ftz")
    x = np.array([7.5, 7.4, 8, 1, 0.3, 9.5]) * 2.0**-9
    expected = np.array([8, 0, 8, 0, 0, 10]) * 2.0**-9
    assert_same([round_exact(v, to) for v in x.tolist()], expected)
    assert_same([round_exact(-v, to) for v in x.tolist()], -expected)
    assert round_exact(7.1 * 2.0**-9, cast("e4m3_ftz", "up")) == 2.0**-6
    assert_same([round_exact(-7.1 * 2.0**-9, cast("e4m3_ftz", "up"))], [-0.0])
    without_minus_zero = cast("e4m3fnuz_ftz")  # least normal 2^-7, quantum 2^-10
    assert_same([round_exact(v * 2.0**-10, without_minus_zero) for v in (-7.6, -7.4)], [-(2.0**-7), 0.0])


@pytest.mark.parametrize(
    ("name", "x", "mode", "saturating", "wrapping"),
    [
        ("q4.4", 7.96, "nearest", 7.9375, 7.9375),
        ("q4.4", 7.97, "nearest", 7.9375, -8.0),  # rounds to 8
        ("q4.4", 7.97, "toward_zero", 7.9375, 7.9375),
        ("q4.4", -8.03, "nearest", -8.0, -8.0),
        ("q4.4", -8.04, "nearest", -8.0, 7.9375),
        ("q4.4", -8.01, "down", -8.0, 7.9375),
        ("q4.4", 100.0, "nearest", 7.9375, 4.0),  # 100 = 6 * 16 + 4
        ("q4.4", -100.0, "nearest", -8.0, -4.0),
        ("q4.4", -0.01, "nearest", 0.0, 0.0),
        ("q4.4", 0.03125, "nearest", 0.0, 0.0),
        ("q4.4", 0.03125, "nearest_away", 0.0625, 0.0625),
        ("q4.4", 0.09375, "to_odd", 0.0625, 0.0625),
        ("int8", 127.5, "nearest", 127.0, -128.0),
        ("int8", 126.5, "nearest", 126.0, 126.0),
        ("int8", -128.5, "nearest", -128.0, -128.0),
        ("int8", -129.5, "nearest", -128.0, 126.0),
        ("int8", 1e6, "nearest", 127.0, 64.0),  # 10^6 = 3906 * 256 + 64
        ("int8", 2.0**120, "nearest", 127.0, 0.0),
        ("int8", 0.999, "up", 1.0, 1.0),
        ("int8", -0.999, "down", -1.0, -1.0),
    ],
)
def test_fixed_point_rounds_then_saturates_or_wraps(
    name: str, x: float, mode: str, saturating: float, wrapping: float
) -> None:
    assert_same([round_exact(x, cast(name, mode, "saturate"))], [saturating])
    assert_same([round_exact(x, cast(name, mode, "wrap"))], [wrapping])


@pytest.mark.parametrize("name", ["q4.4", "q1.7", "int8", "q2.14"])
def test_fixed_point_to_nearest_is_numpys_rounding_of_integers(name: str) -> None:
    format = Format.from_name(name)
    quantum = {"q4.4": 2.0**-4, "q1.7": 2.0**-7, "int8": 1.0, "q2.14": 2.0**-14}[name]
    low, high = (-(2**15), 2**15 - 1) if name == "q2.14" else (-128, 127)
    quanta = np.random.default_rng(3).integers(-6 * high, 6 * high, 600) / 4
    whole = np.rint(quanta)
    saturated = np.clip(whole, low, high) * quantum
    wrapped = whole.astype(np.int64).astype(np.int16 if name == "q2.14" else np.int8) * quantum
    x = (quanta * quantum).tolist()
    assert_same([round_exact(v, cast(format)) for v in x], saturated + 0.0, x)
    assert_same([round_exact(v, cast(format, overflow="wrap")) for v in x], wrapped, x)


# ----------------------------------------------------------------------------------------------------
# Operations
# ----------------------------------------------------------------------------------------------------


def _operands(name: str, count: int = 400) -> tuple[list[float], list[float], list[float]]:
    format, rng = Format.from_name(name), np.random.default_rng(7)
    held = [decode_exact(code, format) for code in rng.integers(0, format.code_count, 3 * count).tolist()]
    held = [value for value in held if math.isfinite(value)]
    a, b = near_half_ulps(format, count, 8)
    third = len(held) // 3
    x, y = [*a.tolist(), *held[:third]], [*b.tolist(), *held[third : 2 * third]]
    z = rng.permutation([*a.tolist(), *held[2 * third : 3 * third]]).tolist()
    return x, y, z


def _each(operation: Callable[..., float], to: Cast, *operands: list[float]) -> list[float]:
    return [operation(*values, to) for values in zip(*operands, strict=True)]


@pytest.mark.parametrize("mode", MPFR_MODES, ids=str)
@pytest.mark.parametrize("name", IEEE_LIKE)
def test_sums_products_and_fmas_are_mpfrs(name: str, mode: Mode) -> None:
    gmpy2 = pytest.importorskip("gmpy2", reason="MPFR is one of the oracles")
    context, to = mpfr_context(name, mode), Cast(format=Format.from_name(name), mode=mode)
    with gmpy2.context(precision=64):
        x, y, z = ([*map(gmpy2.mpfr, operand)] for operand in _operands(name))
    a, b, c = _operands(name)
    sums, products, fmas = map(context.add, x, y), map(context.mul, x, y), map(context.fma, x, y, z)
    assert_same(_each(add_exact, to, a, b), [*map(float, sums)], a, b)
    assert_same(_each(multiply_exact, to, a, b), [*map(float, products)], a, b)
    assert_same(_each(fma_exact, to, a, b, c), [*map(float, fmas)], a, b, c)


@pytest.mark.parametrize("mode", MPFR_MODES, ids=str)
@pytest.mark.parametrize("name", IEEE_LIKE)
def test_quotients_and_roots_are_mpfrs(name: str, mode: Mode) -> None:
    gmpy2 = pytest.importorskip("gmpy2", reason="MPFR is one of the oracles")
    context, to = mpfr_context(name, mode), Cast(format=Format.from_name(name), mode=mode)
    a, b, _ = _operands(name, 300)
    b = [*b, 0.0, -0.0, 3.0, INF, -INF, INF, NAN]
    a = [*a, 3.0, 3.0, 0.0, 1.0, -1.0, INF, 1.0]
    with gmpy2.context(precision=64):
        x, y = ([*map(gmpy2.mpfr, operand)] for operand in (a, b))
    with gmpy2.context(trap_divzero=False):
        assert_same(_each(divide_exact, to, a, b), [*map(float, map(context.div, x, y))], a, b)
        assert_same(_each(sqrt_exact, to, a), [*map(float, map(context.sqrt, x))], a)


def test_in_p3109_a_number_divided_by_zero_is_nan() -> None:
    to = cast("binary8p3se")
    quotients = [divide_exact(a, 0.0, to) for a in (1.0, -2.5, 0.0, INF, NAN)]
    assert_same(quotients, [NAN, NAN, NAN, INF, NAN])
    assert_same([divide_exact(1.0, 0.0, cast("e5m2")), divide_exact(-1.0, 0.0, cast("e5m2"))], [INF, -INF])


def test_sums_and_products_of_float16_are_numpys() -> None:
    a, b, _ = _operands("float16")
    x, y, to = np.array(a, np.float16), np.array(b, np.float16), cast("float16")
    with np.errstate(over="ignore", under="ignore"):
        assert_same(_each(add_exact, to, a, b), x + y, a, b)
        assert_same(_each(multiply_exact, to, a, b), x * y, a, b)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize(
    ("a", "b", "total", "product"),
    [
        (INF, 1.0, INF, INF),
        (INF, -INF, NAN, -INF),
        (-INF, -INF, -INF, INF),
        (INF, 0.0, INF, NAN),
        (INF, -0.0, INF, NAN),
        (NAN, 1.0, NAN, NAN),
        (0.0, 0.0, 0.0, 0.0),
        (0.0, -0.0, 0.0, -0.0),
        (-0.0, -0.0, -0.0, 0.0),
        (1.5, -1.5, 0.0, -2.25),
        (-1.5, 1.5, 0.0, -2.25),
        (-0.0, 3.0, 3.0, -0.0),
    ],
)
def test_special_operands_follow_ieee_754(
    a: float, b: float, total: float, product: float, mode: Mode
) -> None:
    to = Cast(format=NAMED["float8_e5m2"], mode=mode, random_bits=4)
    if total == 0 and math.copysign(1, a) != math.copysign(1, b) and mode is Mode.DOWN:
        total = -0.0  # IEEE 754-2019 6.3: toward -Inf only
    assert_same([add_exact(a, b, to, 15)], [total])
    if abs(product) != 2.25:  # which is no value
        assert_same([multiply_exact(a, b, to, 15)], [product])
    assert_same([fma_exact(a, 1.0, b, to, 15)], [total])
    assert_same([add_exact(b, a, to, 15)], [total])


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("float8_e4m3fnuz", -0.0, 0.0),
        ("float8_e4m3fnuz", -(2.0**-20), 0.0),
        ("float8_e4m3fn", -(2.0**-20), -0.0),
        (SCALE, 0.0, NAN),
        (SCALE, -1.0, NAN),
        (SCALE, 2.0**-140, 2.0**-127),
        (SCALE, 1.36 * 2.0**-127, 2.0**-127),
        (SCALE, 1.5, 2.0),
        (SCALE, INF, 2.0**127),
    ],
)
def test_formats_without_some_values_round_to_what_they_have(name: str, x: float, expected: float) -> None:
    assert_same([round_exact(x, cast(name))], [expected])


def test_a_dot_product_rounds_each_product_and_each_sum_in_order() -> None:
    # e4m3, quantum 1 in [8, 16): 13 * 13 = 169 -> 176, 176 + 1 -> 176, + 0.4375^2 = 0.19140625 -> 0.1875.
    to = cast("e4m3")
    assert dot_exact([13.0, 1.0], [13.0, 1.0], to, to) == 176.0
    assert dot_exact([1.0] * 7 + [13.0], [1.0] * 7 + [13.0], to, to) == 176.0  # 7 + 176 = 183 -> 176 or 192
    assert dot_exact([0.4375], [0.4375], to, cast("float32")) == 0.1875
    assert dot_exact([0.4375], [0.4375], None, cast("float32")) == 0.19140625
    assert dot_exact([], [], to, to) == 0.0


def test_a_dot_product_asks_for_one_draw_a_rounding() -> None:
    asked: list[tuple[int, int]] = []

    def draw(k: int, which: int) -> int:
        asked.append((k, which))
        return 0

    to = cast("e4m3", "stochastic")
    dot_exact([1.0, 2.0], [3.0, 4.0], to, to, draw)
    assert sorted(asked) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    asked.clear()
    dot_exact([1.0, 2.0], [3.0, 4.0], None, to, draw)
    assert sorted(asked) == [(0, 1), (1, 1)]


# ----------------------------------------------------------------------------------------------------
# The NumPy oracle is the same function
# ----------------------------------------------------------------------------------------------------


def _check_oracle(x: np.ndarray, to: Cast, seed: int) -> None:
    draws = np.random.default_rng(seed).integers(0, 2**to.random_bits, x.size)
    expected = [round_exact(v, to, draw) for v, draw in zip(x.tolist(), draws.tolist(), strict=True)]
    assert_same(round_array(x, to, draws), expected, x, draws)


@given(any_cast(), seeds)
def test_the_array_oracle_is_the_rational_reference(to: Cast, seed: int) -> None:
    _check_oracle(numbers(to.format, 20, seed), to, seed)


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("name", NEW_FAMILIES)
def test_the_array_oracle_is_the_rational_reference_for_every_family(name: str, mode: Mode) -> None:
    format = Format.from_name(name)
    for overflow in overflows(format):
        _check_oracle(numbers(format, 30, 12), cast(name, mode, overflow, 5), 13)


@pytest.mark.parametrize(
    "to",
    [cast(SCALE, mode, overflow, 5) for mode in MODES for overflow in OVERFLOWS],
    ids=label,
)
def test_the_array_oracle_is_the_rational_reference_for_scales(to: Cast) -> None:
    x, draws = _around(SCALE), np.random.default_rng(9).integers(0, 32, _around(SCALE).size)
    expected = [round_exact(v, to, draw) for v, draw in zip(x.tolist(), draws.tolist(), strict=True)]
    assert_same(round_array(x, to, draws), expected, x, draws)


@pytest.mark.parametrize("name", [name for name in ARITHMETIC if NAMED[name].bits > 8])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_sum_to_odd_rounds_as_the_exact_sum(name: str, mode: Mode) -> None:
    a, b = near_half_ulps(NAMED[name], 700, 10)
    draws = np.random.default_rng(11).integers(0, 2**16, a.size)
    to = cast(name, mode)
    expected = [*map(add_exact, a.tolist(), b.tolist(), [to] * a.size, draws.tolist())]
    assert_same(round_array(exact_sum(a, b, to), to, draws), expected, a, b, draws)


@given(seeds)
def test_a_sum_to_odd_is_exact_or_odd_and_next_to_the_sum(seed: int) -> None:
    a, b = bit_patterns_64(50, seed, -60, 60), bit_patterns_64(50, seed + 1, -60, 60)
    for x, y, odd in zip(a.tolist(), b.tolist(), sum_to_odd(a, b).tolist(), strict=True):
        exact = Fraction(x) + Fraction(y)
        if exact != Fraction(odd):
            assert np.float64(odd).view(np.int64) % 2 == 1
            low, high = sorted([math.nextafter(odd, 0), math.nextafter(odd, 2 * odd)])
            assert Fraction(low) < exact < Fraction(high)
