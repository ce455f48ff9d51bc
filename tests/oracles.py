"""Answers that do not come from the code under test, and the one way to compare them.

Three kinds. Other people's: gfloat and MPFR, from a table of facts written here by hand. Our own, in
NumPy: `round_array`, the definition of rounding for whole float64 arrays; it shares no line with the
package and tests/formats/test_exact.py holds it against the rational reference and against gfloat. And
the layout of the random counters, read off kernels/contract/counters.py and written down a second time.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pytest

from emunum.formats import Cast, Mode
from emunum.formats.exact import dot_exact, round_exact
from emunum.kernels.random import philox4x32


def assert_same(actual: Any, expected: Any, *operands: Any) -> None:
    """Equal shapes, equal values, equal signs of zero, NaN where NaN. Operands are shown where it fails."""
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    equal = (actual == expected) & (np.signbit(actual) == np.signbit(expected))
    wrong = np.flatnonzero(~(equal | (np.isnan(actual) & np.isnan(expected))))
    if wrong.size:
        shown = []
        for n in wrong[:5]:
            given = " ".join(float(np.broadcast_to(x, actual.shape).flat[n]).hex() for x in operands)
            place = tuple(map(int, np.unravel_index(n, actual.shape)))
            got, want = float(actual.flat[n]), float(expected.flat[n])
            shown.append(f"{place} {given}: {got.hex()} ({got!r}) != {want.hex()} ({want!r})")
        raise AssertionError(f"{wrong.size} of {actual.size} differ:\n" + "\n".join(shown))


# ----------------------------------------------------------------------------------------------------
# gfloat and MPFR
# ----------------------------------------------------------------------------------------------------

# name: (bits, precision, bias, -0 exists, Inf exists, NaNs at the top of each sign, signed), by hand from
# the OCP, IEEE and ml_dtypes definitions. gfloat has only some of these formats by name.
_GFLOAT = {
    "float8_e4m3fn": (8, 4, 7, True, False, 1, True),
    "float8_e5m2": (8, 3, 15, True, True, 3, True),
    "float8_e4m3fnuz": (8, 4, 8, False, False, 0, True),
    "float8_e5m2fnuz": (8, 3, 16, False, False, 0, True),
    "float8_e4m3b11fnuz": (8, 4, 11, False, False, 0, True),
    "float8_e4m3": (8, 4, 7, True, True, 7, True),
    "float8_e3m4": (8, 5, 3, True, True, 15, True),
    "float6_e2m3fn": (6, 4, 1, True, False, 0, True),
    "float6_e3m2fn": (6, 3, 3, True, False, 0, True),
    "float4_e2m1fn": (4, 2, 1, True, False, 0, True),
    "float8_e8m0fnu": (8, 1, 127, False, False, 1, False),
    "bfloat16": (16, 8, 127, True, True, 127, True),
    "float16": (16, 11, 15, True, True, 1023, True),
    "tfloat32": (19, 11, 127, True, True, 1023, True),
    "float32": (32, 24, 127, True, True, 2**23 - 1, True),
}


def gfloat_info(name: str) -> Any:
    """gfloat's description of a named format, of a P3109 one (its own) or of the IEEE-like eXmY."""
    gfloat = pytest.importorskip("gfloat.types", reason="gfloat is one of the oracles")
    if p3109 := re.fullmatch(r"binary(\d+)p(\d+)([su])([ef])", name):
        formats = pytest.importorskip("gfloat.formats", reason="gfloat is one of the oracles")
        sign = gfloat.Signedness.Signed if p3109[3] == "s" else gfloat.Signedness.Unsigned
        domain = gfloat.Domain.Extended if p3109[4] == "e" else gfloat.Domain.Finite
        return formats.format_info_p3109(int(p3109[1]), int(p3109[2]), sign, domain)
    if name in _GFLOAT:
        bits, precision, bias, negative_zero, infinity, nans, signed = _GFLOAT[name]
    else:
        x, y = map(int, name[1:].split("m"))
        bits, precision, bias = 1 + x + y, y + 1, 2 ** (x - 1) - 1
        negative_zero, infinity, nans, signed = True, True, 2**y - 1, True
    domain = gfloat.Domain.Extended if infinity else gfloat.Domain.Finite
    return gfloat.FormatInfo(
        name,
        bits,
        precision,
        bias=bias,
        is_signed=signed,
        domain=domain,
        has_nz=negative_zero,
        num_high_nans=nans,
        has_subnormals=signed,
        is_twos_complement=False,
    )


MPFR_MODES = (Mode.NEAREST_EVEN, Mode.TOWARD_ZERO, Mode.UP, Mode.DOWN)
"""Those MPFR has. (Its RoundAwayZero takes everything away from zero, not only ties.)"""


def mpfr_context(name: str, mode: Mode) -> Any:
    """MPFR's context of an IEEE-like format: every operation in it is rounded once."""
    gmpy2 = pytest.importorskip("gmpy2", reason="MPFR is one of the oracles")
    _, precision, bias, *_ = _GFLOAT.get(name) or (0, int(name[3:]) + 1, 2 ** (int(name[1]) - 1) - 1)
    directions = dict(
        zip(
            MPFR_MODES,
            (gmpy2.RoundToNearest, gmpy2.RoundToZero, gmpy2.RoundUp, gmpy2.RoundDown),
            strict=True,
        )
    )
    # MPFR's significands are below 1, so its exponents are one larger; emin is that of the subnormals.
    return gmpy2.context(
        precision=precision,
        emin=1 - bias - precision + 2,
        emax=bias + 1,
        subnormalize=True,
        round=directions[mode],
    )


# ----------------------------------------------------------------------------------------------------
# Rounding in NumPy
# ----------------------------------------------------------------------------------------------------


def round_array(x: Any, to: Cast, draw: Any = 0) -> np.ndarray:
    """Round float64 values once; `draw` is R, a number or one for each value.

    Every step is exact: frexp, ldexp and fmod lose nothing, and |x| / quantum, its floor and its tail have
    no more bits than x.
    """
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        x = np.asarray(x, np.float64)
    format, negative, finite = to.format, np.signbit(x), np.isfinite(x)
    magnitude = np.where(finite, np.abs(x), 0.0)
    period = 2.0 ** (format.emin + 1) if to.rule == "wrap" else np.inf
    magnitude = np.fmod(magnitude, period)
    exponent = np.where(magnitude > 0, np.frexp(magnitude)[1] - 1, -5000)
    exponent = np.maximum(exponent, format.emin)
    quantum = exponent - format.mantissa_bits
    scaled = np.ldexp(magnitude, -quantum)
    s = np.floor(scaled)
    odd = s % 2 == 1
    if format.precision == 1 and format.p3109:  # the code's last bit, the exponent field's, is odd or even
        odd = odd & ((exponent + format.bias) % 2 == 1)
    value = np.ldexp(s + _goes_up(to, scaled - s, odd, negative, draw), quantum)
    if not format.subnormals:
        value = np.where(value < 2.0**format.emin, 0.0, value)
    if not format.has_zero:
        value = np.where((value == 0) & finite & (x != 0), format.smallest, value)
    value = np.copysign(value, x)
    if to.rule == "wrap":
        value = np.mod(value + period / 2, period) - period / 2
    beyond = np.where(_leaves(to, negative), _of_infinity(to, negative), _limit(to, negative))
    value = np.where((value > format.max) | ((value < format.min) & (value != 0)), beyond, value)
    value = np.where(np.isinf(x), _of_infinity(to, negative), value)
    value = np.where(np.isnan(x), np.nan, value)
    if not format.has_zero:  # a scale has no sign either
        value = np.where(x > 0, value, np.nan)
    return value if format.has_negative_zero else value + 0.0


def _goes_up(to: Cast, nu: np.ndarray, odd: np.ndarray, negative: np.ndarray, draw: Any) -> np.ndarray:
    """Whether S + nu becomes S + 1: section 3 of the contract, mode by mode."""
    n, r = to.random_bits, np.asarray(draw, np.float64)
    match str(to.mode):
        case "nearest_even":
            return (nu > 0.5) | ((nu == 0.5) & odd)
        case "nearest_away":
            return nu >= 0.5
        case "toward_zero":
            return np.zeros(nu.shape, bool)
        case "up":
            return (nu > 0) & ~negative
        case "down":
            return (nu > 0) & negative
        case "to_odd":
            return (nu > 0) & ~odd
        case "stochastic":
            return np.floor(np.ldexp(nu, n)) + r >= 2.0**n
        case "stochastic_b":
            return np.floor(np.ldexp(nu, n + 1)) + 2 * r + 1 >= 2.0 ** (n + 1)
        case "stochastic_c":
            return np.rint(np.ldexp(nu, n)) + r >= 2.0**n
    raise AssertionError(f"no formula for {to.mode}")


def _leaves(to: Cast, negative: np.ndarray) -> np.ndarray:
    """Whether a finite value too large is taken for infinite: `ieee`, unless the mode looks inward."""
    inward = {"toward_zero": True, "to_odd": True, "up": negative, "down": ~negative}
    return ~np.broadcast_to(inward.get(str(to.mode), False), negative.shape) & (to.rule == "ieee")


def _limit(to: Cast, negative: np.ndarray) -> np.ndarray:
    """The last finite value of that sign."""
    return np.where(negative, to.format.min, to.format.max)


def _of_infinity(to: Cast, negative: np.ndarray) -> np.ndarray:
    """What +Inf and -Inf become."""
    if to.rule == "wrap":
        return np.full(negative.shape, np.nan)
    if to.rule == "saturate":
        return _limit(to, negative)
    plus, minus = np.inf, -np.inf
    if not to.format.has_infinity:
        plus, minus = (np.nan, np.nan) if to.format.has_nan else (to.format.max, to.format.min)
    elif not to.format.signed:
        minus = np.nan
    return np.where(negative, minus, plus)


def exact_sum(a: Any, b: Any, to: Cast) -> np.ndarray:
    """a + b as `round_array` wants it: to odd, with the sign that a zero has toward -Inf.

    Source: IEEE 754-2019 6.3: under roundTowardNegative an exact zero sum is -0, unless both are +0.
    """
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    total = sum_to_odd(a, b)
    if str(to.mode) == "down":
        total = np.where((total == 0) & (np.signbit(a) | np.signbit(b)), -0.0, total)
    return total


def sum_to_odd(a: Any, b: Any) -> np.ndarray:
    """a + b of float64 arrays, rounded to odd: rounding again to 51 bits or fewer is rounding once.

    Where the sum is inexact and its last bit even, the neighbour in the direction of the error is odd.
    Source: Boldo and Melquiond, Emulation of FMA and correctly rounded sums (IEEE TC 2008), theorem 3.
    """
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    with np.errstate(invalid="ignore"):
        total = a + b
        big, small = np.where(np.abs(a) >= np.abs(b), (a, b), (b, a))
        error = small - (total - big)  # Dekker: exact where |big| >= |small|
    even = total.view(np.int64) % 2 == 0
    moved = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    return np.where(np.isfinite(total) & (error != 0) & even, moved, total)


# ----------------------------------------------------------------------------------------------------
# The random counters
# ----------------------------------------------------------------------------------------------------

CAST, ADD, SUBTRACT, MULTIPLY, SCALED_ADD_PRODUCT, SCALED_ADD_SUM, COLUMN_SUM, MATMUL = range(8)
DIVIDE, SQUARE_ROOT, RESCALE = 9, 10, 11


@functools.cache
def _stream(c0: int, c1: int, c2: int, c3: int, key: int) -> int:
    """A call's 128 bits as one number, word 0 lowest."""
    words = philox4x32((c0, c1, c2, c3), (key % 2**32, key >> 32))
    return sum(word << 32 * n for n, word in enumerate(words))


def _draw(stream: int, index: int, width: int, random_bits: int) -> int:
    return (stream >> width * index) % 2**width >> width - random_bits


def _width(*casts: Cast | None) -> int:
    widths = [cast.random_bits for cast in casts if cast is not None and cast.stochastic]
    return 16 if all(n <= 16 for n in widths) else 32


def element_draws(size: int, to: Cast, key: int, operation: int = CAST) -> np.ndarray:
    """R of each element of a flat array of `size`."""
    width = _width(to)
    per_call = 128 // width
    draws = np.empty(size, np.int64)
    for n in range(size):
        call = n // (16 * per_call) * 16 + n % 16
        stream = _stream(call % 2**32, call >> 32, 0, operation, key)
        draws[n] = _draw(stream, n % (16 * per_call) // 16, width, to.random_bits)
    return draws


def matmul_draw(
    row: int, column: int, key: int, product: Cast | None, accumulator: Cast, operation: int = MATMUL
) -> Any:
    """(k, which) -> R of one entry of a matrix product, as `dot_exact` asks for it."""
    width = _width(product, accumulator)
    terms = 64 // width

    def draw(k: int, which: int) -> int:
        cast = accumulator if which else product
        assert cast is not None
        if not cast.stochastic:
            return 0
        stream = _stream(column, row, k // terms, operation, key)
        return _draw(stream, 2 * (k % terms) + which, width, cast.random_bits)

    return draw


def result_draw(row: int, column: int, key: int, result: Cast, operation: int = MATMUL) -> int:
    """R of the last rounding of one entry of a matrix product."""
    return _draw(_stream(column, row, 2**32 - 1, operation, key), 0, _width(result), result.random_bits)


# ----------------------------------------------------------------------------------------------------
# Matrix products
# ----------------------------------------------------------------------------------------------------


def matmul_exact(
    a: np.ndarray,
    b: np.ndarray,
    product: Cast | None,
    accumulator: Cast,
    key: int = 0,
    result: Cast | None = None,
) -> np.ndarray:
    """The rational reference for every entry, with the draws of the layout."""
    out = np.empty((a.shape[0], b.shape[1]))
    for i, row in enumerate(a.tolist()):
        for j, column in enumerate(b.T.tolist()):
            draw = matmul_draw(i, j, key, product, accumulator)
            acc = dot_exact(row, column, product, accumulator, draw)
            if result is not None:
                acc = round_exact(acc, result, result_draw(i, j, key, result) if result.stochastic else 0)
            out[i, j] = acc
    return out


def matmul_array(
    a: np.ndarray, b: np.ndarray, product: Cast | None, accumulator: Cast, key: int = 0
) -> np.ndarray:
    """The same in NumPy, for larger matrices: float64 products of float32 are exact, sums go to odd."""
    shape = a.shape[0], b.shape[1]
    streams = [
        [matmul_draw(i, j, key, product, accumulator) for j in range(shape[1])] for i in range(shape[0])
    ]

    def draws(cast: Cast, k: int, which: int) -> Any:
        return np.array([[draw(k, which) for draw in row] for row in streams]) if cast.stochastic else 0

    acc = np.zeros(shape)
    with np.errstate(invalid="ignore"):
        for k in range(a.shape[1]):
            term = a[:, k, None].astype(np.float64) * b[None, k, :]
            if product is not None:
                term = round_array(term, product, draws(product, k, 0))
            acc = round_array(exact_sum(acc, term, accumulator), accumulator, draws(accumulator, k, 1))
    return acc
