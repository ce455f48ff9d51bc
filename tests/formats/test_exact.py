"""The rational reference against oracles nobody here wrote, so that it may be one."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from inputs import (
    ALL_NAMED,
    ARITHMETIC,
    AT_MOST_16,
    IN_ML_DTYPES,
    ODD_WIDTHS,
    SCALE,
    any_cast,
    bit_patterns_64,
    cast,
    label,
    midpoints,
    near_half_ulps,
    near_ties_64,
    numbers,
    seeds,
    shortened,
    values,
)
from oracles import assert_same, gfloat_info, mpfr_context, round_array, sum_to_odd

from emunum.formats import NAMED, Cast, Format, Mode
from emunum.formats.exact import (
    add_exact,
    decode_exact,
    dot_exact,
    fma_exact,
    multiply_exact,
    round_exact,
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
    "name", ["tfloat32", "float32", *ODD_WIDTHS, "float8_e4m3fnuz", "float8_e4m3b11fnuz"]
)
def test_codes_have_the_values_gfloat_gives_them(name: str) -> None:
    gfloat = pytest.importorskip("gfloat", reason="gfloat is one of the oracles")
    format, info = Format.from_name(name), gfloat_info(name)
    rng = np.random.default_rng(1)
    edges = {0, 1, format.max_code, format.max_code + 1, format.code_count // 2, format.code_count - 1}
    codes = sorted(edges | set(rng.integers(0, format.code_count, 2000).tolist()))
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
            near_ties_64(format, 130),
            bit_patterns_64(500, 2, low, high),
            bit_patterns_64(100, 3, -1000, 1000),
            [0.0, -0.0, math.inf, -math.inf, math.nan],
        ]
    )


_GFLOAT_MODES = {
    Mode.NEAREST_EVEN: "TiesToEven",
    Mode.TOWARD_ZERO: "TowardZero",
    Mode.STOCHASTIC: "StochasticFastest",
}


def _by_gfloat(x: float, to: Cast, draw: int = 0) -> float:
    gfloat = pytest.importorskip("gfloat", reason="gfloat is one of the oracles")
    # gfloat refuses what the format cannot say; here NaN stays NaN and the largest value is the answer.
    if math.isnan(x):
        return math.nan
    if not to.format.signed and (x <= 0):
        return math.nan
    saturate = to.rule == "saturate" or not (to.format.has_infinity or to.format.has_nan)
    mode = gfloat.RoundMode[_GFLOAT_MODES[to.mode]]
    info = gfloat_info(to.format.name)
    if info.num_nans == 0 and not to.format.has_infinity and math.isinf(x):
        return math.copysign(to.format.max, x)
    return float(gfloat.round_float(info, x, mode, sat=saturate, srbits=draw, srnumbits=to.random_bits))


@pytest.mark.parametrize("overflow", ["ieee", "saturate"])
@pytest.mark.parametrize("mode", ["nearest", "toward_zero"])
@pytest.mark.parametrize("name", [name for name in ALL_NAMED if name != SCALE] + ["e6m9", "e3m20", "e2m23"])
def test_rounding_is_gfloats(name: str, mode: str, overflow: str) -> None:
    to, x = cast(name, mode, overflow), _around(name)
    assert_same([round_exact(v, to) for v in x.tolist()], [_by_gfloat(v, to) for v in x.tolist()], x)


@pytest.mark.parametrize("name", ["e5m0", "e8m0", "e2m0"])
@pytest.mark.parametrize("mode", ["nearest", "toward_zero", "stochastic"])
def test_rounding_to_one_bit_of_precision_is_gfloats_but_for_ties(name: str, mode: str) -> None:
    # A tie between 2^E and 2^(E + 1), both odd: IEEE 754-2019 4.3.1 takes the larger magnitude, gfloat
    # (and P3109) the even code.
    to = cast(name, mode, random_bits=4)
    x = np.setdiff1d(_around(name), np.concatenate([midpoints(to.format), -midpoints(to.format)]))
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
    for mode in ("nearest", "toward_zero"):
        to = cast(SCALE, mode, "ieee")
        theirs = [gfloat.round_float(info, v, gfloat.RoundMode[_GFLOAT_MODES[to.mode]]) for v in x.tolist()]
        assert_same([round_exact(v, to) for v in x.tolist()], theirs, x)


@pytest.mark.parametrize("overflow", ["ieee", "saturate"])
@pytest.mark.parametrize("random_bits", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "name", ["float8_e4m3fn", "float8_e5m2", "float6_e3m2fn", "float8_e5m2fnuz", "bfloat16"]
)
def test_stochastic_rounding_is_gfloats_for_every_draw(name: str, random_bits: int, overflow: str) -> None:
    to = cast(name, "stochastic", overflow, random_bits)
    x = shortened(np.random.default_rng(4).choice(_around(name), 150))
    for draw in range(2**random_bits):
        ours = [round_exact(v, to, draw) for v in x.tolist()]
        assert_same(ours, [_by_gfloat(v, to, draw) for v in x.tolist()], x)


@pytest.mark.parametrize("random_bits", [8, 13, 16, 24, 31, 32])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float16", "float32", "e2m23"])
def test_stochastic_rounding_is_gfloats_for_random_draws(name: str, random_bits: int) -> None:
    to, rng = cast(name, "stochastic", "ieee", random_bits), np.random.default_rng(5)
    x = shortened(rng.choice(_around(name), 600))
    draws = rng.integers(0, 2**random_bits, x.size).tolist()
    draws[:4] = [0, 1, 2**random_bits - 1, 2 ** (random_bits - 1)]
    ours = [round_exact(v, to, draw) for v, draw in zip(x.tolist(), draws, strict=True)]
    assert_same(ours, [_by_gfloat(v, to, draw) for v, draw in zip(x.tolist(), draws, strict=True)], x, draws)


@pytest.mark.parametrize("name", AT_MOST_16)
def test_every_value_of_a_format_rounds_to_itself(name: str) -> None:
    every = values(NAMED[name])
    every = np.random.default_rng(6).choice(every, 500) if every.size > 500 else every
    for mode in Mode:
        to = cast(name, mode, "ieee", 8)
        for draw in (0, 255):
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


# ----------------------------------------------------------------------------------------------------
# Operations
# ----------------------------------------------------------------------------------------------------


def _operands(name: str, count: int = 700) -> tuple[list[float], list[float], list[float]]:
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


@pytest.mark.parametrize("mode", [Mode.NEAREST_EVEN, Mode.TOWARD_ZERO])
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


def test_sums_and_products_of_float16_are_numpys() -> None:
    a, b, _ = _operands("float16")
    x, y, to = np.array(a, np.float16), np.array(b, np.float16), cast("float16")
    with np.errstate(over="ignore", under="ignore"):
        assert_same(_each(add_exact, to, a, b), x + y, a, b)
        assert_same(_each(multiply_exact, to, a, b), x * y, a, b)


INF, NAN = math.inf, math.nan


@pytest.mark.parametrize("mode", Mode)
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
        (1.5, -1.5, 0.0, -2.0),
        (-1.5, 1.5, 0.0, -2.0),
        (-0.0, 3.0, 3.0, -0.0),
    ],
)
def test_special_operands_follow_ieee_754(
    a: float, b: float, total: float, product: float, mode: Mode
) -> None:
    to = Cast(format=NAMED["float8_e5m2"], mode=mode, random_bits=4)
    if (a, b) != (1.5, -1.5) and (a, b) != (-1.5, 1.5):
        assert_same([add_exact(a, b, to, 15), multiply_exact(a, b, to, 15)], [total, product])
    else:  # -2.25 lies between -2 and -2.5
        assert_same([add_exact(a, b, to, 15)], [total])
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


@given(any_cast(), seeds)
def test_the_array_oracle_is_the_rational_reference(to: Cast, seed: int) -> None:
    x = numbers(to.format, 20, seed)
    draws = np.random.default_rng(seed).integers(0, 2**to.random_bits, x.size)
    expected = [round_exact(v, to, draw) for v, draw in zip(x.tolist(), draws.tolist(), strict=True)]
    assert_same(round_array(x, to, draws), expected, x, draws)


@pytest.mark.parametrize(
    "to",
    [cast(SCALE, mode, overflow, 5) for mode in Mode for overflow in ("ieee", "saturate")],
    ids=label,
)
def test_the_array_oracle_is_the_rational_reference_for_scales(to: Cast) -> None:
    x, draws = _around(SCALE), np.random.default_rng(9).integers(0, 32, _around(SCALE).size)
    expected = [round_exact(v, to, draw) for v, draw in zip(x.tolist(), draws.tolist(), strict=True)]
    assert_same(round_array(x, to, draws), expected, x, draws)


@pytest.mark.parametrize("name", [name for name in ARITHMETIC if NAMED[name].bits > 8])
@pytest.mark.parametrize("mode", Mode)
def test_a_sum_to_odd_rounds_as_the_exact_sum(name: str, mode: Mode) -> None:
    a, b = near_half_ulps(NAMED[name], 1500, 10)
    draws = np.random.default_rng(11).integers(0, 2**16, a.size)
    to = cast(name, mode)
    expected = [*map(add_exact, a.tolist(), b.tolist(), [to] * a.size, draws.tolist())]
    assert_same(round_array(sum_to_odd(a, b), to, draws), expected, a, b, draws)


@given(seeds)
def test_a_sum_to_odd_is_exact_or_odd_and_next_to_the_sum(seed: int) -> None:
    a, b = bit_patterns_64(50, seed, -60, 60), bit_patterns_64(50, seed + 1, -60, 60)
    for x, y, odd in zip(a.tolist(), b.tolist(), sum_to_odd(a, b).tolist(), strict=True):
        exact = Fraction(x) + Fraction(y)
        if exact != Fraction(odd):
            assert np.float64(odd).view(np.int64) % 2 == 1
            low, high = sorted([math.nextafter(odd, 0), math.nextafter(odd, 2 * odd)])
            assert Fraction(low) < exact < Fraction(high)
