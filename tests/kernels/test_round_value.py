"""The scalar rounding function with every draw: P(up) exact, and residuals, against the reference."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inputs import (
    F32,
    FIXED,
    FLUSHED,
    MODES,
    P3109,
    SPECIALS,
    STOCHASTIC,
    any_cast,
    bit_patterns_64,
    cast,
    formats,
    label,
    near_ties,
    numbers,
    overflows,
    seeds,
    thinned,
)
from oracles import assert_same, round_array

from emunum.formats import FLOAT32, NAMED, Cast, Format, Mode
from emunum.formats.exact import round_exact
from emunum.kernels import contract
from emunum.kernels.contract import LAYERS, RANDOM, Extent, rounders
from emunum.kernels.cpu.rounding import round_value


@numba.njit
def _round_each(x: Any, residual: Any, to: Any, draws: Any, out: Any) -> None:
    for n in range(x.size):
        out[n] = round_value(x[n], residual[n], to, draws[n])


def core(lowered: Any) -> Any:
    """The rounder inside all layers."""
    while isinstance(lowered, LAYERS):
        lowered = lowered.rounder
    return lowered


def word_of(lowered: Any) -> np.dtype[Any]:
    """float32 or float64: what the rounder computes in."""
    return np.asarray(core(lowered)[0]).dtype


def rounded(x: Any, to: Any, draws: Any, residual: Any = 0.0) -> np.ndarray:
    """round_value of arrays, in the word of the lowered cast `to`."""
    dtype = word_of(to)
    shape = np.broadcast_shapes(np.shape(x), np.shape(draws))
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        x, residual = (np.array(np.broadcast_to(v, shape), dtype) for v in (x, residual))
    out = np.empty(shape, F32)
    draws = np.array(np.broadcast_to(draws, shape), np.uint32)
    _round_each(x.ravel(), residual.ravel(), to, draws.ravel(), out.reshape(-1))
    return out


def algorithms(to: Cast) -> list[Any]:
    """The cast lowered to every algorithm that computes it from some float32; `is_for` says from which."""
    m, finest = to.format.mantissa_bits, Extent(24, max(to.format.emin - 23, -149), 128)
    guard = to.random_bits + {"B": 1, "C": 2}.get(to.mode.name[-1].upper(), 0) if to.stochastic else 2
    found = [contract.lower_conversion(to, source) for source in (None, Extent.of(FLOAT32), finest)]
    if m + guard <= 30 and to.format.emin >= -126 and to.rule != "wrap":
        found.append(rounders.with_range(to, lambda limits: rounders.word_rounder(to, np.float32, limits)))
    return [x for n, x in enumerate(found) if not any(_alike(x, y) for y in found[:n])]


def _alike(x: Any, y: Any) -> bool:
    """Whether lowered casts are compiled to the same code."""
    return type(x) is type(y) and all(
        _alike(a, b) if isinstance(a, tuple) else type(a) is type(b) for a, b in zip(x, y, strict=True)
    )


def is_for(lowered: Any, to: Cast, x: np.ndarray) -> np.ndarray:
    """Which float32 the algorithm is written for: kernels see to it that it meets no others."""
    rounder = core(lowered)
    if getattr(rounder, "lossy", 0) is None:
        scaled = np.ldexp(np.where(np.isfinite(x), x, 0.0).astype(np.float64), 23 - to.format.emin)
        return scaled % 1 == 0
    if "Magic" in type(rounder).__name__:
        magnitude = np.where(np.isfinite(x), np.abs(x), 2.0**127)
        return np.isnan(x) | (magnitude < 2.0 ** min(104 + to.format.mantissa_bits, 127))
    return np.ones(x.shape, bool)


SR_FORMATS = ["float8_e4m3fn", "float8_e5m2", "float6_e2m3fn", "e2m0", "e5m0", "bfloat16", "float16"]


def _tails(format: Format) -> np.ndarray:
    """Magnitudes S + nu quanta: normal, subnormal, below the smallest, at the carry, at the top."""
    m = format.mantissa_bits
    nu = np.array([0, 2.0**-12, 1 / 16, 1 / 3, 0.5, 0.625, 0.75, 1 - 2.0**-9, 1 - 2.0**-12])
    nu = np.round(nu * 2.0**12) / 2.0**12
    exponents = {format.emin, format.emin + 1, 0, 1, format.emax - 1, format.emax}
    places = [np.ldexp(s + nu, e - m) for e in exponents for s in {1 << m, (3 << m) >> 1, (2 << m) - 1}]
    below = [np.ldexp(s + nu, format.emin - m) for s in {0, 1, (1 << m) - 1}]
    top = format.max + np.ldexp(nu, format.emax - m)
    x = np.unique(np.concatenate([*places, *below, top]))
    x = x[x <= np.finfo(F32).max]
    return x[x.astype(F32) == x]


@pytest.mark.parametrize("mode", STOCHASTIC, ids=str)
@pytest.mark.parametrize("random_bits", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("name", SR_FORMATS)
@pytest.mark.parametrize("overflow", ["ieee", "saturate"])
def test_every_draw_rounds_as_the_reference(name: str, random_bits: int, overflow: str, mode: Mode) -> None:
    to = cast(name, mode, overflow, random_bits)
    magnitudes, draws = _tails(to.format), np.arange(2**random_bits)
    x = np.concatenate([magnitudes, -magnitudes])[:, None]
    expected = round_array(np.broadcast_to(x, (x.size, draws.size)), to, draws)
    sample = np.random.default_rng(1).integers(0, expected.size, 60)
    for n in sample.tolist():  # the array oracle is held to the reference here too
        i, j = divmod(n, draws.size)
        assert_same([expected[i, j]], [round_exact(float(x[i, 0]), to, j)])
    for lowered in algorithms(to):
        assert_same(rounded(x, lowered, draws), expected, x, draws)


@pytest.mark.parametrize("mode", STOCHASTIC, ids=str)
@pytest.mark.parametrize("random_bits", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("name", SR_FORMATS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_number_of_draws_that_go_up_is_the_tail_rounded_to_n_bits(
    name: str, random_bits: int, sign: float, mode: Mode
) -> None:
    # A cuts the tail to N bits, B rounds it (half up), C rounds it to nearest even.
    to = cast(name, mode, "ieee", random_bits)
    magnitudes = _tails(to.format)
    e = np.maximum(np.frexp(magnitudes)[1] - 1, to.format.emin) - to.format.mantissa_bits
    nu = np.ldexp(magnitudes, -e) % 1
    down = magnitudes - np.ldexp(nu, e)
    shows = down < to.format.max  # overflow has a test of its own
    magnitudes, nu, down = (v[shows] for v in (magnitudes, nu, down))
    for lowered in algorithms(to):
        results = rounded(sign * magnitudes[:, None], lowered, np.arange(2**random_bits))
        ups = np.abs(results) != down[:, None]
        scaled = nu * 2**random_bits
        expected = {
            "stochastic": np.floor(scaled),
            "stochastic_b": np.floor(scaled + 0.5),
            "stochastic_c": np.rint(scaled),
        }[mode.name]
        assert_same(ups.sum(axis=1), expected, magnitudes)


@pytest.mark.parametrize("mode", STOCHASTIC, ids=str)
@pytest.mark.parametrize("random_bits", [12, 16, 20, 24, 31, 32])
@pytest.mark.parametrize(
    "name", ["float8_e4m3fn", "float8_e5m2", "e5m0", "bfloat16", "float16", "float32", "e2m23"]
)
def test_draws_of_many_bits_round_as_the_reference(name: str, random_bits: int, mode: Mode) -> None:
    to, rng = cast(name, mode, "ieee", random_bits), np.random.default_rng(2)
    format = to.format
    low, high = format.emin - format.mantissa_bits - 3, min(format.emax + 2, 127)
    x = np.concatenate([_tails(format), bit_patterns_64(2000, 3, low, high).astype(F32)])
    # Draws next to where the carry begins, beside random ones.
    e = np.maximum(np.frexp(np.abs(x))[1] - 1, format.emin) - format.mantissa_bits
    tail = np.floor(np.ldexp(np.ldexp(np.abs(x), -e) % 1, random_bits))
    edge = np.clip(2**random_bits - tail + rng.choice([-1, 0, 1], x.size), 0, 2**random_bits - 1)
    draws = np.where(rng.random(x.size) < 0.5, edge, rng.integers(0, 2**random_bits, x.size))
    expected = round_array(x, to, draws)
    sample = zip(x[-100:].tolist(), draws[-100:].astype(int).tolist(), strict=True)
    assert_same(expected[-100:], [round_exact(v, to, r) for v, r in sample])
    for lowered in algorithms(to):
        ours = is_for(lowered, to, x)
        assert ours.sum() > 100
        assert_same(rounded(x[ours], lowered, draws[ours]), expected[ours], x[ours], draws[ours])


@pytest.mark.parametrize("mode", STOCHASTIC, ids=str)
@pytest.mark.parametrize("random_bits", [1, 8, 16, 32])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float16", "float32", "float4_e2m1fn"])
def test_no_draw_touches_nan_infinity_zeros_or_values(name: str, random_bits: int, mode: Mode) -> None:
    to = cast(name, mode, "ieee", random_bits)
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1.0, -1.5, to.format.max, -to.format.smallest])
    infinity = to.format.max if name == "float4_e2m1fn" else np.nan if name == "float8_e4m3fn" else np.inf
    expected = x.copy()
    expected[2:4] = infinity, -infinity
    draws = np.unique([0, 1, 2 ** (random_bits - 1), 2**random_bits - 1])
    for lowered in algorithms(to):
        for draw in draws:
            assert_same(rounded(x, lowered, draw), expected, x)


def test_a_signalling_nan_or_one_full_of_bits_stays_a_nan() -> None:
    x = np.array([0x7F800001, 0x7FBFFFFF, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF], np.uint32).view(F32)
    for mode in MODES:
        for name in ("float8_e4m3fn", "bfloat16", "e5m0", "float4_e2m1fn"):
            for lowered in algorithms(cast(name, mode, "saturate", 8)):
                for draw in (0, 255):
                    with np.errstate(invalid="ignore"):
                        assert np.isnan(rounded(x, lowered, draw)).all()


OVERFLOWS_TO = {"float8_e4m3fn": np.nan, "float8_e5m2": np.inf, "float16": np.inf, "float6_e2m3fn": 7.5}


@pytest.mark.parametrize("name", OVERFLOWS_TO)
def test_overflow_between_the_largest_value_and_the_next_has_the_probability_of_the_tail(name: str) -> None:
    format = NAMED[name]
    quantum = 2.0 ** (format.emax - format.mantissa_bits)
    for sixteenth in range(16):
        x = format.max + quantum * sixteenth / 16
        for overflow in ("ieee", "saturate"):
            to = cast(name, "stochastic", overflow, 4)
            for lowered in algorithms(to):
                results = rounded(np.full(16, x), lowered, np.arange(16))
                beyond = format.max if overflow == "saturate" else OVERFLOWS_TO[name]
                assert_same(results, np.where(np.arange(16) + sixteenth >= 16, beyond, format.max))
    to = cast(name, "stochastic", "ieee", 4)
    for lowered in algorithms(to):  # from the next grid value on, always
        results = rounded(np.full(16, format.max + quantum), lowered, np.arange(16))
        assert_same(results, np.full(16, OVERFLOWS_TO[name]))


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float16", "e5m0"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_below_the_smallest_value_draws_choose_it_or_a_zero_of_its_sign(name: str, sign: float) -> None:
    format, to = Format.from_name(name), cast(name, "stochastic", "ieee", 4)
    for quarter in (1, 2, 3):
        x = sign * format.smallest * quarter / 4
        for lowered in algorithms(to):
            results = rounded(np.full(16, x), lowered, np.arange(16))
            up = np.arange(16) + 4 * quarter >= 16
            assert_same(results, sign * np.where(up, format.smallest, 0.0))
    tiny = sign * format.smallest * 2.0**-9  # floor(nu 2^4) = 0: no draw can carry
    for lowered in algorithms(to):
        assert_same(rounded(np.full(16, tiny), lowered, np.arange(16)), np.full(16, sign * 0.0))


# ----------------------------------------------------------------------------------------------------
# Deterministic modes, and the algorithms against each other
# ----------------------------------------------------------------------------------------------------


@given(any_cast(formats), seeds)
def test_every_algorithm_gives_the_same_value(to: Cast, seed: int) -> None:
    format, rng = to.format, np.random.default_rng(seed)
    low, high = max(format.emin - format.mantissa_bits - 3, -149), min(format.emax + 2, 127)
    x = np.concatenate([bit_patterns_64(200, seed, low, high), near_ties(format, 64), SPECIALS]).astype(F32)
    draws = rng.integers(0, 2**to.random_bits, x.size)
    expected = round_array(x, to, draws)
    for lowered in algorithms(to):
        ours = is_for(lowered, to, x)
        actual = rounded(x[ours], lowered, draws[ours])
        if not format.has_negative_zero:
            actual[actual == 0] = 0.0  # a layer's affair, where it matters at once
        assert_same(actual, expected[ours], x[ours], draws[ours])


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("name", thinned([*P3109, *FIXED, *FLUSHED]))
def test_every_algorithm_of_every_family_gives_the_same_value(name: str, mode: Mode) -> None:
    format = Format.from_name(name)
    for overflow in overflows(format):
        to = cast(name, mode, overflow, 7)
        x = numbers(format, 150, 8)
        draws = np.random.default_rng(9).integers(0, 128, x.size)
        expected = round_array(x, to, draws)
        for lowered in algorithms(to):
            ours = is_for(lowered, to, x)
            actual = rounded(x[ours], lowered, draws[ours])
            actual = actual if format.has_negative_zero else actual + F32(0.0)
            assert_same(actual, expected[ours], x[ours], draws[ours])


# ----------------------------------------------------------------------------------------------------
# Residuals
# ----------------------------------------------------------------------------------------------------


def _with_residuals(seed: int, count: int, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """x and residuals of at most half an ulp: half of x powers of two or next to one, ties of any format."""
    rng = np.random.default_rng(seed)
    e = rng.integers(low, high, count)
    s = 2.0**52 + rng.choice([0.0, 1.0, 2.0, 2.0**29, 2.0**30, 2.0**40, 2.0**52 - 1, -1.0], count)
    s = np.where(rng.random(count) < 0.3, 2.0**52 + rng.integers(0, 2**52, count), s)
    x = np.ldexp(s, e - 52)
    below = np.where(s == 2.0**52, 2, 1)  # a power of two has half an ulp less room below
    share = rng.choice([0.5, 0.25, 2.0**-10, 2.0**-11 + 2.0**-40, 2.0**-50, 0.0], count)
    share = np.where(rng.random(count) < 0.2, rng.random(count) / 2, share)
    side = rng.choice([-1.0, 1.0], count)
    residual = np.ldexp(side * share / np.where(side < 0, below, 1), e - 52 - (s < 2.0**52))
    sign = rng.choice([-1.0, 1.0], count)
    given = x + residual == x  # what TwoSum can return: not an odd x with half an ulp
    assert given.sum() > count // 2
    return (sign * x)[given], (sign * residual)[given]


RESIDUAL_CASTS = [
    cast(name, mode, "ieee", n)
    for name in ("float32", "e8m22", "bfloat16", "float8_e5m2", "float8_e4m3fn", "e2m0", "binary8p1se")
    for mode in MODES
    for n in ((1, 16, 32) if mode.stochastic else (2,))
]


@pytest.mark.parametrize("to", RESIDUAL_CASTS, ids=label)
def test_a_value_and_its_residual_round_as_their_exact_sum(to: Cast) -> None:
    low, high = to.format.emin - to.format.mantissa_bits - 3, to.format.emax + 2
    x, residual = _with_residuals(4, 800, low, high)
    draws = np.random.default_rng(5).integers(0, 2**to.random_bits, x.size)
    draws[::3] = np.random.default_rng(6).choice([0, 1, 2**to.random_bits - 1], draws[::3].size)
    expected = [
        round_exact(Fraction(v) + Fraction(r), to, d)
        for v, r, d in zip(x.tolist(), residual.tolist(), draws.tolist(), strict=True)
    ]
    lowered = contract.lower_quotient(to)
    assert_same(rounded(x, lowered, draws, residual), expected, x, residual, draws)


@given(st.sampled_from(RESIDUAL_CASTS), seeds)
def test_residuals_of_any_size_round_as_the_exact_sum(to: Cast, seed: int) -> None:
    x, residual = _with_residuals(seed, 60, -10, 10)
    draws = np.random.default_rng(seed).integers(0, 2**to.random_bits, x.size)
    expected = [
        round_exact(Fraction(v) + Fraction(r), to, d)
        for v, r, d in zip(x.tolist(), residual.tolist(), draws.tolist(), strict=True)
    ]
    lowered = contract.lower_quotient(to)
    assert_same(rounded(x, lowered, draws, residual), expected, x, residual, draws)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_residual_of_nan_and_infinity_means_nothing(mode: Mode) -> None:
    lowered = contract.lower_quotient(cast("float32", mode, "ieee"))
    x = np.array([np.inf, -np.inf, np.nan, np.inf])
    residual = np.array([np.nan, np.nan, np.nan, -np.inf])
    assert_same(rounded(x, lowered, 0, residual), [math.inf, -math.inf, math.nan, math.inf])


@pytest.mark.parametrize("mode", STOCHASTIC, ids=str)
def test_there_is_an_algorithm_for_every_draw_width(mode: Mode) -> None:
    for n in range(1, 33):
        for lowered in algorithms(Cast(format=FLOAT32, mode=mode, random_bits=n)):
            assert isinstance(core(lowered), RANDOM)
