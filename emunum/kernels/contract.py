"""What every backend computes: casts lowered to plain numbers, and the frozen random-counter layout.

Two questions are settled here, before any kernel runs:

1. *How to round*: a `Cast` becomes a named tuple of numbers whose class says the algorithm and whose
   dtype says the word it works in.
2. *How wide to compute* before rounding, so that each result is the rounding of the exact real one. The
   answer comes from the `Extent` of the operands: the significand bits and exponents they can have.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from emunum.formats import FLOAT32, Cast, Format, Mode, Overflow, Special

# ----------------------------------------------------------------------------------------------------
# Random counters. The layout is frozen: tests/kernels/test_philox.py holds its vectors.
#
#   Philox4x32-10 with key = (low, high) word of a 64-bit key.
#   elementwise  counter (block low, block high, 0, operation); element n of the C-order flattened array
#                uses call (n // (16 D)) 16 + n % 16 and draw (n % (16 D)) // 16 of its D draws: 16
#                neighbours share a draw number, which lets a vector unit make their calls together.
#   matmul       counter (column, row, k // (D / 2), MATMUL); draw 2 (k % (D / 2)) + which, which = 0 for
#                the product and 1 for the sum. Rounding the result to another format: counter
#                (column, row, 0xffffffff, MATMUL), draw 0.
#   column sum   as matmul, with row 0, operation COLUMN_SUM, which = 1 and the row of x as k.
#
# D = 8 draws of 16 bits a call where every N of the operation is at most 16, else 4 draws of 32 bits.
# Draws are taken from the low bits of word 0 upwards; R is the top N bits of its draw.
# ----------------------------------------------------------------------------------------------------


class Operation(IntEnum):
    """Last counter word: one number for each operation that rounds."""

    CAST = 0
    ADD = 1
    SUBTRACT = 2
    MULTIPLY = 3
    SCALED_ADD_PRODUCT = 4
    SCALED_ADD_SUM = 5
    COLUMN_SUM = 6
    MATMUL = 7
    FOLD = 8


RESULT_BLOCK = 0xFFFFFFFF
LANES = 16


def draw_bits(*casts: Cast | None) -> int:
    """Width of a draw, 16 or 32, for an operation that rounds with these casts."""
    widest = max((cast.random_bits for cast in casts if cast and cast.stochastic), default=0)
    return 16 if widest <= 16 else 32


# ----------------------------------------------------------------------------------------------------
# Extents
# ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Extent:
    """A set of reals: multiples of 2^low below 2^high in magnitude, of at most `precision` bits."""

    precision: int
    low: int
    high: int

    @classmethod
    def of(cls, format: Format) -> Extent:
        """Return the extent of a format's finite values."""
        return cls(format.precision, format.emin - format.mantissa_bits, format.emax + 1)

    def times(self, other: Extent) -> Extent:
        """Return the extent of the exact products."""
        return Extent(self.precision + other.precision, self.low + other.low, self.high + other.high)

    def plus(self, other: Extent) -> Extent:
        """Return the extent of the exact sums."""
        low, high = min(self.low, other.low), max(self.high, other.high) + 1
        return Extent(high - low, low, high)

    @property
    def exact_in_float32(self) -> bool:
        """Whether each value is a finite float32."""
        return self.precision <= 24 and self.low >= -149 and self.high <= 128


# ----------------------------------------------------------------------------------------------------
# Lowered casts. Every field is a numpy scalar of the word's dtype (float32 with uint32, or float64 with
# uint64), so that compiled code is chosen by type and no number is ever converted on the way.
# ----------------------------------------------------------------------------------------------------


class Unrounded(NamedTuple):
    """No rounding after the operation: it is exact, or its IEEE rounding is the asked one."""

    max: Any  # carries the dtype to compute in


class MagicNearest(NamedTuple):
    """Nearest even by adding and subtracting 1.5 2^(E - m + 23): the fast float32 case."""

    max: Any
    overflow: Any
    floor: Any  # exponent field of emin, in place
    offset: Any  # what turns an exponent field into the magic number
    input_limit: Any  # inputs are cut to this magnitude so that the magic number is finite


class OffsetStochastic(NamedTuple):
    """Stochastic by adding the draw to the bits of a float32: for exact operands that 2^emin carries."""

    max: Any
    overflow: Any
    smallest_normal: Any
    kept: Any  # the bits that stay
    lift: Any  # from the N bits of a draw to the top of the bits that go


class WordRounder(NamedTuple):
    """Any mode by integer arithmetic on the significand; the subclass names the mode."""

    max: Any
    overflow: Any
    infinity: Any
    unit: Any  # 2^-m
    zero: Any  # -0, which changes nothing when added, or +0 where the format has no -0
    floor: Any  # biased exponent of emin
    shift: Any  # bits below the guard bits of a normal value in the aligned word
    guard: Any  # bits kept below the quantum


class NearestEven(WordRounder):
    """Nearest, ties to even."""

    __slots__ = ()


class TowardZero(WordRounder):
    """Toward zero."""

    __slots__ = ()


class Stochastic(WordRounder):
    """Stochastic, variant A; the guard bits are the N random bits."""

    __slots__ = ()


Lowered = Unrounded | MagicNearest | OffsetStochastic | WordRounder

_ROUNDERS = {
    Mode.NEAREST_EVEN: NearestEven,
    Mode.TOWARD_ZERO: TowardZero,
    Mode.STOCHASTIC: Stochastic,
}


def is_native(cast: Cast) -> bool:
    """Whether the hardware's float32 operations already round as asked."""
    return cast.format == FLOAT32 and cast.mode is Mode.NEAREST_EVEN and cast.rule is Overflow.IEEE


@cache
def lower_conversion(cast: Cast, source: Extent | None) -> Lowered:
    """Lower the rounding of values that are at hand exactly: float32 of this extent, or None for float64.

    The extent bounds only what is finite; Inf and NaN may always occur.
    """
    if source is None or cast.format.emin < -126:
        return _word_rounder(cast, np.float64)
    m = cast.format.mantissa_bits
    magic_exponent = cast.format.emax + 1 - m + 23
    if cast.mode is Mode.NEAREST_EVEN and m <= 20 and magic_exponent <= 127:
        return MagicNearest(
            max=np.float32(cast.format.max),
            overflow=np.float32(cast.on_overflow),
            floor=np.uint32((cast.format.emin + 127) << 23),
            offset=np.uint32(((23 - m) << 23) | 0x400000),
            input_limit=np.float32(2.0 ** (cast.format.emax + 1)),
        )
    carried = source.precision <= 24 and source.low >= cast.format.emin - 23
    if cast.stochastic and carried and m + cast.random_bits <= 23:
        return OffsetStochastic(
            max=np.float32(cast.format.max),
            overflow=np.float32(cast.on_overflow),
            smallest_normal=np.float32(cast.format.smallest_normal),
            kept=np.uint32(0xFFFFFFFF << (23 - m) & 0xFFFFFFFF),
            lift=np.uint32(23 - m - cast.random_bits),
        )
    if m + _guard_bits(cast) > 30:
        return _word_rounder(cast, np.float64)
    return _word_rounder(cast, np.float32)


@cache
def lower_product(cast: Cast | None, a: Extent, b: Extent, one_zero: bool = False) -> Lowered:
    """Lower round(a b); `cast` None keeps the product exact.

    A product of two float32 values has at most 48 bits and is always exact in float64. `one_zero` asks
    for the one zero of a format without -0 at once: needed where a format that has -0 adds the product,
    for -0 + -0 is -0. Elsewhere the sign of a zero term decides nothing and is set right at the end.
    """
    product = a.times(b)
    if cast is not None and one_zero:
        return _word_rounder(cast, np.float64)
    if cast is None:
        return _unrounded(np.float32 if product.exact_in_float32 else np.float64)
    if is_native(cast):
        return _unrounded(np.float32)
    if not product.exact_in_float32:
        return _word_rounder(cast, np.float64)
    return _inside(lower_conversion(cast, product), cast, product)


@cache
def lower_sum(cast: Cast, a: Extent, b: Extent, b_carrier: type[np.floating[Any]] = np.float32) -> Lowered:
    """Lower round(a + b), where a and b are float32 values, or b is a float64 (an exact product).

    float32 is wide enough when the sum is exact in it, or when rounding twice is innocuous: nearest even,
    both operands in the target format and 24 >= 2p + 1 (Figueroa 1995). Sums of such operands that are
    subnormal in the target are exact, and float32's range must not end before the target's overflow
    does. Otherwise float64 with its TwoSum residual decides.
    """
    if b_carrier is np.float64:
        return _word_rounder(cast, np.float64)
    if is_native(cast):
        return _unrounded(np.float32)
    target, total = Extent.of(cast.format), a.plus(b)
    innocuous = (
        cast.mode is Mode.NEAREST_EVEN
        and all(
            x.precision <= target.precision and x.low >= target.low and x.high <= target.high for x in (a, b)
        )
        and 2 * target.precision + 1 <= 24
        and total.high <= 128
    )
    if total.exact_in_float32 or innocuous:
        return _inside(lower_conversion(cast, total), cast, total)
    return _word_rounder(cast, np.float64)


def _inside(lowered: Lowered, cast: Cast, source: Extent) -> Lowered:
    """Drop the magic number where unlimited inputs of this extent would make it overflow."""
    if isinstance(lowered, MagicNearest) and source.high - cast.format.mantissa_bits + 22 > 127:
        return _word_rounder(cast, np.float32)
    return lowered


def _unrounded(dtype: type[np.floating[Any]]) -> Unrounded:
    return Unrounded(max=dtype(FLOAT32.max))


def _guard_bits(cast: Cast) -> int:
    return cast.random_bits if cast.stochastic else 2


def _word_rounder(cast: Cast, dtype: type[np.floating[Any]]) -> WordRounder:
    word, top, bias = (np.uint32, 30, 127) if dtype is np.float32 else (np.uint64, 62, 1023)
    format, guard = cast.format, _guard_bits(cast)
    return _ROUNDERS[cast.mode](
        max=dtype(format.max),
        overflow=dtype(cast.on_overflow),
        infinity=dtype(cast.on_infinity),
        unit=dtype(format.eps),
        zero=dtype(-0.0 if format.has_negative_zero else 0.0),
        floor=word(format.emin + bias),
        shift=word(top - format.mantissa_bits - guard),
        guard=word(guard),
    )


# ----------------------------------------------------------------------------------------------------
# Codes
# ----------------------------------------------------------------------------------------------------


class CodeLayout(NamedTuple):
    """A format's bit layout, for encode and decode."""

    sign: Any  # sign bit, or 0
    mantissa_bits: Any
    rebias: Any  # exponent field of float32 minus that of the format, in place in a float32
    smallest: Any  # 2^(emin - m)
    smallest_normal: Any
    max_code: Any
    infinity: Any  # code of Inf, or all ones where there is none
    nan: Any  # code of NaN, or all ones where there is none


@cache
def lower_codes(format: Format) -> CodeLayout:
    """Lower the layout of a format's codes."""
    none = 0xFFFFFFFF
    return CodeLayout(
        sign=np.uint32(1 << (format.bits - 1) if format.signed else 0),
        mantissa_bits=np.uint32(format.mantissa_bits),
        rebias=np.uint32((127 - format.bias) << 23),
        smallest=np.float32(format.smallest),
        smallest_normal=np.float32(format.smallest_normal),
        max_code=np.uint32(format.max_code),
        infinity=np.uint32(none if format.infinity_code is None else format.infinity_code),
        nan=np.uint32(none if format.nan_code is None else format.nan_code),
    )


def code_dtype(format: Format) -> type[np.unsignedinteger[Any]]:
    """The narrowest of uint8, uint16 and uint32 that holds a code."""
    return np.uint8 if format.bits <= 8 else np.uint16 if format.bits <= 16 else np.uint32


def require_arithmetic(*casts: Cast | None) -> None:
    """Raise ValueError where a cast's format is no number format: scales have no zero."""
    for cast in casts:
        if cast is not None and cast.format.special is Special.SCALE:
            raise ValueError(
                f"{cast.format} holds block scales (no zero, no sign): arithmetic in it is not defined. "
                "Use it with quantize, encode and decode."
            )
