"""What the tests compute with: formats, casts and the numbers on which arithmetic goes wrong."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from emunum.formats import MODES as BY_NAME
from emunum.formats import NAMED, Cast, Format, Mode
from emunum.formats.exact import decode_exact

F32 = np.float32

ALL_NAMED = tuple(NAMED)
SCALE = "float8_e8m0fnu"
ARITHMETIC = tuple(name for name in NAMED if name != SCALE)
EIGHT_BIT = tuple(name for name in ARITHMETIC if NAMED[name].bits == 8)
AT_MOST_8 = tuple(name for name in ARITHMETIC if NAMED[name].bits <= 8)
AT_MOST_16 = tuple(name for name in NAMED if NAMED[name].bits <= 16)
IN_ML_DTYPES = tuple(name for name in NAMED if name not in ("float16", "tfloat32", "float32"))
ODD_WIDTHS = ("e2m0", "e5m0", "e8m0", "e2m1", "e6m9", "e3m20", "e8m20", "e5m21", "e8m22", "e2m23")
"""Corners of eXmY: p = 1, the widest exponents, the most significand bits, and where algorithms change."""

P3109 = (
    *("binary8p1se", "binary8p3se", "binary8p3sf", "binary8p4se", "binary8p7sf", "binary6p3se"),
    *("binary8p1uf", "binary8p3ue", "binary8p4uf", "binary8p8ue", "binary8p8uf", "binary5p1ue"),
    *("binary3p1se", "binary3p2sf", "binary3p3uf", "binary16p8se", "binary16p11sf", "binary12p5ue"),
)
"""Signed and unsigned, extended and finite, P = 1 up to K (unsigned) and K - 1, 3 to 16 bits."""
FIXED = ("q4.4", "q1.7", "q8.0", "int8", "int2", "q2.14", "q1.23", "int16")
FLUSHED = ("e4m3_ftz", "e5m2_ftz", "e4m3fnuz_ftz", "e3m2fn_ftz", "float16_ftz", "bfloat16_ftz", "float32_ftz")
NEW_FAMILIES = (*P3109, *FIXED, *FLUSHED, "binary8p3se_ftz", "binary8p4uf_ftz")

MODES = tuple(BY_NAME.values())
DETERMINISTIC = tuple(mode for mode in MODES if not mode.stochastic)
STOCHASTIC = tuple(mode for mode in MODES if mode.stochastic)
OVERFLOWS = ("ieee", "saturate", "propagate")
"""The rules of every format; `auto` is one of the first two, and only fixed point can `wrap`."""


def overflows(format: Format) -> tuple[str, ...]:
    """Every overflow rule a format can have."""
    return (*OVERFLOWS, "wrap") if format.fixed_point else OVERFLOWS


SPECIALS = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], F32)


def thinned(cases: Iterable[Any], keep: int = 2) -> list[Any]:
    """Every keep-th case as it is, the others among the exhaustive tests: each has kernels to compile."""
    return [
        pytest.param(case, marks=pytest.mark.exhaustive) if n % keep else case for n, case in enumerate(cases)
    ]


def cast(
    name: str | Format, mode: str | Mode = "nearest", overflow: str = "auto", random_bits: int = 16
) -> Cast:
    """Spelled short, because every test needs one."""
    return Cast.from_names(name if isinstance(name, str) else name.name, str(mode), overflow, random_bits)


def casts(
    names: Iterable[str], random_bits: Iterable[int] = (16,), modes: Iterable[Mode] = MODES
) -> list[Cast]:
    """Every one of the modes and every overflow rule of these formats, stochastic ones with each N."""
    return [
        cast(name, mode, overflow, n)
        for name in names
        for overflow in overflows(Format.from_name(name))
        for mode in modes
        for n in (random_bits if mode.stochastic else (16,))
    ]


def label(to: object) -> str | None:
    """A cast's name in a test id."""
    if not isinstance(to, Cast):
        return None
    bits = str(to.random_bits) if to.stochastic else ""
    return f"{to.format}-{to.mode}{bits}-{to.overflow}"


# ----------------------------------------------------------------------------------------------------
# Values
# ----------------------------------------------------------------------------------------------------


@functools.cache
def values(format: Format) -> np.ndarray:
    """Every value of a format of at most 16 bits, by code, decoded by the rational reference."""
    assert format.bits <= 16
    found = np.array([decode_exact(code, format) for code in range(format.code_count)], F32)
    found.flags.writeable = False
    return found


def some_values(format: Format, count: int, rng: np.random.Generator) -> np.ndarray:
    """Values of random codes, NaN and Inf among them; all of them in order where the format is small."""
    if format.bits <= 16:
        every = values(format)
        return every if every.size <= count else rng.choice(every, count)
    codes = rng.integers(0, format.code_count, count)
    return np.array([decode_exact(int(code), format) for code in codes], F32)


def midpoints(format: Format, count: int = 1 << 16, seed: int = 0) -> np.ndarray:
    """The positive reals halfway between neighbours (0 and the largest value's successor among them)."""
    top, m = format.max_code, format.mantissa_bits
    if top < count:
        codes = np.arange(top + 1)
    else:
        chosen = np.random.default_rng(seed).integers(0, top + 1, count - 64)
        codes = np.unique(np.concatenate([np.arange(32), chosen, np.arange(top - 31, top + 1)]))
    field, fraction = codes >> m, codes & ((1 << m) - 1)
    hidden = (field > 0) | (not format.has_zero)
    exponent = np.maximum(field - format.bias, format.emin)
    return np.ldexp((hidden << m) + fraction + 0.5, exponent - m)


def near_ties(format: Format, count: int = 1 << 16) -> np.ndarray:
    """float32: midpoints of the format where they exist, one float32 ulp either side, both signs."""
    middle = midpoints(format, count)
    narrow = middle[(middle <= np.finfo(F32).max) & (middle >= 2.0**-149)].astype(F32)
    with np.errstate(over="ignore"):
        below, above = np.nextafter(narrow, F32(0)), np.nextafter(narrow, F32(np.inf))
    return np.concatenate([narrow, below, above, -narrow, -below, -above])


def near_ties_64(format: Format, count: int = 1 << 14) -> np.ndarray:
    """float64: midpoints and one float64 ulp either side, so that a detour through float32 shows."""
    middle = midpoints(format, count)
    below, above = np.nextafter(middle, 0), np.nextafter(middle, np.inf)
    return np.concatenate([middle, below, above, -middle, -below, -above])


def quiet(x: np.ndarray) -> np.ndarray:
    """float32 with every NaN a quiet one, at which no processor raises a flag; the rest as it is."""
    return np.where(np.isnan(x), F32(np.nan), x)


def bit_patterns(count: int, seed: int) -> np.ndarray:
    """float32 of random bits: every exponent alike, NaNs and infinities among them."""
    return quiet(np.random.default_rng(seed).integers(0, 2**32, count, np.uint32).view(F32))


def bit_patterns_64(count: int, seed: int, low: int = -160, high: int = 140) -> np.ndarray:
    """float64 of random significands, exponents in [low, high) where formats live, both signs."""
    rng = np.random.default_rng(seed)
    fields = rng.integers(low + 1023, high + 1023, count).astype(np.uint64) << np.uint64(52)
    return (fields | (rng.integers(0, 2**64, count, np.uint64) & np.uint64(0x800FFFFFFFFFFFFF))).view(
        np.float64
    )


def shortened(x: np.ndarray) -> np.ndarray:
    """float64 with the last 20 bits cleared: gfloat adds tail and draw in float64, and rounds the sum."""
    return (x.view(np.uint64) & np.uint64(0xFFFFFFFFFFF00000)).view(np.float64)


def every_float16() -> np.ndarray:
    return quiet(np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(F32))


def every_bfloat16() -> np.ndarray:
    return quiet((np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)).view(F32))


def near_half_quanta(format: Format, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs whose sums are quarters of a fixed-point format's quantum, off by a hair or not; many wrap."""
    rng = np.random.default_rng(seed)
    m, least = format.mantissa_bits, format.emin - format.mantissa_bits
    a = np.ldexp(rng.integers(-(6 << m), 6 << m, count).astype(np.float64), least - 2)
    b = np.ldexp(rng.choice([0, 1, 2, 3, 4, 2.0**-20], count), least - 2) * rng.choice([-1, 1], count)
    return a.astype(F32), b.astype(F32)


def near_half_ulps(format: Format, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (a, b) of a format's values whose sums are ties, or off a tie by the least b can be.

    |b| is half a quantum of a or of the binade below, exactly or one value of the format beside it, or far
    below: the sums on which rounding twice, a forgotten sticky bit or a wrong binade shows. Half of all a
    are powers of two, where the quantum changes.
    """
    rng = np.random.default_rng(seed)
    m, least = format.mantissa_bits, format.emin - format.mantissa_bits
    if format.fixed_point:  # sums are exact, in and out of range
        a, b = np.ldexp(rng.integers(-(1 << m), 1 << m, (2, count)).astype(F32), least)
        return a, b
    e = rng.integers(format.emin, max(format.emax, format.emin + 1), count)
    s = (1 << m) + np.where(rng.random(count) < 0.5, 0, rng.integers(0, 1 << m, count))
    a = np.ldexp(s.astype(np.float64), e - m)
    half = np.maximum(e - m - rng.choice([1, 1, 2, 2, 3, 30], count), least)
    step = np.maximum(half - m, least)  # the quantum of b
    b = np.ldexp(1.0, half) + rng.choice([0, 0, 1, 2, -0.5], count) * np.ldexp(1.0, step)
    b = np.where(np.ldexp(b, -least) % 1 == 0, b, np.ldexp(1.0, half))
    signs = rng.choice([-1.0, 1.0], (2, count))
    return (a * signs[0]).astype(F32), (b * signs[1]).astype(F32)


# ----------------------------------------------------------------------------------------------------
# Hypothesis
# ----------------------------------------------------------------------------------------------------

SMALL = tuple(NAMED[name] for name in AT_MOST_8) + tuple(
    Format.from_name(name)
    for name in (
        *("e2m0", "e3m0", "e5m0", "e2m2", "e3m3", "e4m2", "e5m1", "binary8p1se", "binary8p3se"),
        *("binary8p4uf", "q4.4"),
    )
)

widths = st.builds(
    lambda x, y: Format.from_name(f"e{x}m{y}"),
    st.integers(2, 8),
    st.integers(0, 23),
)
families = st.sampled_from([Format.from_name(name) for name in (*P3109, *FIXED)])
formats = st.one_of(st.sampled_from([NAMED[name] for name in ARITHMETIC]), widths, families)
small_formats = st.sampled_from(SMALL)


def any_cast(
    of: st.SearchStrategy[Format] = formats, modes: Iterable[Mode] = MODES
) -> st.SearchStrategy[Cast]:
    """Casts to any format, each mode and overflow rule, N of 1..32."""
    return st.builds(
        cast,
        of,
        st.sampled_from([mode.name for mode in modes]),
        st.sampled_from(OVERFLOWS),
        st.one_of(st.integers(1, 32), st.sampled_from([8, 16, 24, 32])),
    )


seeds = st.integers(0, 2**32 - 1)


def numbers(format: Format, count: int, seed: int) -> np.ndarray:
    """float32 around a format: random patterns, its values, its midpoints and their neighbours, specials."""
    rng = np.random.default_rng(seed)
    reach = np.ldexp(
        rng.uniform(1, 2, count), rng.integers(format.emin - format.mantissa_bits - 3, format.emax + 3, count)
    )
    with np.errstate(over="ignore"):
        reach = (reach * rng.choice([-1.0, 1.0], count)).astype(F32)
    ties = near_ties(format, 64)
    held = some_values(format, 256, rng)
    return np.concatenate(
        [reach, bit_patterns(count, seed), rng.choice(ties, count), rng.choice(held, count), SPECIALS]
    )
