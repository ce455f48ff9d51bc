"""What every backend computes: casts lowered to plain numbers, and the frozen random-counter layout.

Two questions are settled here, before any kernel runs:

1. *How to round*: a `Cast` becomes a named tuple of numbers whose class says the algorithm and whose
   dtype says the word it works in.
2. *How wide to compute* before rounding, so that each result is the rounding of the exact real one. The
   answer comes from the `Extent` of the operands: the significand bits and exponents they can have.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emunum.formats import FLOAT32, Cast, Format, Mode, Overflow, Special
from emunum.formats.rounding import Deterministic, Stochastic

# ----------------------------------------------------------------------------------------------------
# Random counters. The layout is frozen: tests/kernels/test_philox.py holds its vectors.
#
#   Philox4x32-10 with key = (low, high) word of a 64-bit key.
#   elementwise  counter (block low, block high, 0, operation); element n of the C-order flattened array
#                uses call (n // (16 D)) 16 + n % 16 and draw (n % (16 D)) // 16 of its D draws: 16
#                neighbours share a draw number, which lets a vector unit make their calls together.
#   matmul       counter (column, row, k // (D / 2), MATMUL); draw 2 (k % (D / 2)) + which, which = 0 for
#                the product and 1 for the sum that takes it in: the running sum, that of a chunk, the
#                leaf of a tree. Rounding the result to another format: counter (column, row, 0xffffffff,
#                MATMUL), draw 0. The other sums of an order, with last word MATMUL + 256:
#                  chunked, tensor_core  third word the number of the chunk, draw 0: the outer sum
#                  exact                 third word 0, draw 0
#                  kahan                 third word k // (D / 4), draws 4 (k % (D / 4)) + 0..3: its four
#                  pairwise              the sum of two of up to 2^h terms: third word its last k (K where
#                                        it has fewer than 2^(h+1) terms), draw h % D, last word
#                                        MATMUL + 256 (1 + h // D)
#   column sum   as matmul, with row 0, operation COLUMN_SUM, which = 1 and the row of x as k. The terms
#                that meet in an entry of a convolution's dx: operation SPREAD, the entry's index as column.
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
    DIVIDE = 9
    SQUARE_ROOT = 10
    RESCALE = 11
    SPREAD = 13


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
        high = format.emax + (2 if format.fixed_point else 1)  # fixed point has -2^emin
        return cls(format.precision, format.emin - format.mantissa_bits, high)

    def times(self, other: Extent) -> Extent:
        """Return the extent of the exact products."""
        if 1 in (self.precision, other.precision):  # powers of two, of at most 2^(high - 1)
            precision = max(self.precision, other.precision)
            return Extent(precision, self.low + other.low, self.high + other.high - 1)
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
# Lowered casts. The class says the algorithm; every field is a numpy scalar of the word's dtype (float32
# with uint32, or float64 with uint64), so that compiled code is chosen by type and no number is ever
# converted on the way.
#
# A rounder rounds magnitudes: what exceeds `max`, Inf too, becomes `overflow`. Whatever a cast asks for
# beyond that is a layer around a rounder, and costs nothing where it is not asked for.
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


class MagicClamped(NamedTuple):
    """The same without the sign of zero, saturating: a few instructions less."""

    max: Any
    floor: Any
    offset: Any


class MagicScaled(NamedTuple):
    """The same without the sign of zero, overflowing to Inf from 2^(emax + 1) on."""

    up: Any  # 2^(127 - emax), which takes 2^(emax + 1) to Inf
    down: Any
    floor: Any
    offset: Any


class BitsNearest(NamedTuple):
    """Nearest even on the bits of a float32, for formats with float32's emin."""

    max: Any
    overflow: Any
    shift: Any  # 23 - m bits go
    half: Any  # half a quantum less one, in those bits


class OffsetDeterministic(NamedTuple):
    """Any deterministic mode on the bits of |x| + 2^emin (of |x| alone from 2^emin on)."""

    max: Any
    overflow: Any
    lossy: Any  # None where that addition is exact: x is a multiple of 2^(emin - 23)
    smallest_normal: Any
    shift: Any  # 23 - m bits go
    table: Any


class OffsetStochastic(NamedTuple):
    """Stochastic, variant A, on the same bits, to the lowest of which the draw is added."""

    max: Any
    overflow: Any
    lossy: Any
    smallest_normal: Any
    kept: Any  # the bits that stay
    lift: Any  # from the N bits of a draw to the top of the bits that go


class OffsetLots(NamedTuple):
    """Any stochastic variant on the same bits; the residual supplies those a float32 has no room for."""

    max: Any
    overflow: Any
    lossy: Any
    smallest_normal: Any
    shift: Any  # 23 - m bits go
    up: Any  # bits of the tail that come from the residual
    down: Any  # or bits of the tail below the variant's guard bits
    scale: Any  # 2^(23 + up), from units of 2^E to those of the last guard bit
    random_bits: Any
    spare: Any  # guard bits that the variant rounds away
    addend: Any  # what it adds before it cuts them
    sticky: Any  # 1 where it rounds to nearest even, and looks at everything below


class WordDeterministic(NamedTuple):
    """Any deterministic mode by integer arithmetic on the aligned significand."""

    max: Any
    overflow: Any
    unit: Any  # 2^-m
    floor: Any  # biased exponent of emin
    shift: Any  # bits below the guard bits of a normal value in the aligned word
    guard: Any  # bits kept below the quantum: two
    parity: Any  # 1 where the exponent decides whether S = 1 is odd
    table: Any  # bit (tail class + 4 odd + 8 negative): S is incremented


class WordStochastic(NamedTuple):
    """Any stochastic variant by integer arithmetic on the aligned significand."""

    max: Any
    overflow: Any
    unit: Any
    floor: Any
    shift: Any
    guard: Any  # N and those the variant rounds away first
    spare: Any  # how many the variant rounds away
    addend: Any  # what it adds before it cuts them
    sticky: Any  # 1 where it rounds to nearest even, and looks at everything below


class Flushed(NamedTuple):
    """A rounder whose subnormal results become zero."""

    rounder: Any
    smallest_normal: Any


class Wrapped(NamedTuple):
    """A fixed-point rounder whose results are taken modulo the period."""

    rounder: Any
    period: Any


class Ranged(NamedTuple):
    """A rounder without a maximum inside bounds that differ by sign, or treat infinities differently."""

    rounder: Any
    max: Any
    min: Any
    overflow: Any
    negative_overflow: Any
    infinity: Any
    negative_infinity: Any


class OneZero(NamedTuple):
    """A rounder into a format without -0, where the sign of zero matters at once."""

    rounder: Any


class TwoSum(NamedTuple):
    """A rounder of sums that are not exact in its word: the residual decides with them."""

    rounder: Any


class ZeroDown(NamedTuple):
    """A rounder of sums toward -Inf: the exact zero sum of opposite numbers is -0."""

    rounder: Any


class Event(IntEnum):
    """What a rounding can do to a number that is worth counting: the index of its counter."""

    ROUNDINGS = 0
    """All roundings."""
    OVERFLOW = 1
    """Finite values that exceed the largest one once rounded."""
    UNDERFLOW = 2
    """Nonzero values that round to zero."""
    FLUSHED = 3
    """Values that round to a subnormal where subnormals are flushed."""
    ABSORBED = 4
    """Additions of a nonzero number that leave the sum as it was."""
    TIE = 5
    """Values halfway between neighbours."""
    NAN = 6
    """NaNs born of operands that are none."""
    ROUNDED_UP = 7
    """Values moved away from zero."""


class Counted(NamedTuple):
    """A rounder, in float64, whose events are counted."""

    rounder: Any
    unbounded: Any  # the same rounding without a largest value
    counts: Any  # int64, one for each Event
    max: Any
    min: Any
    eps: Any  # 2^-m
    smallest_normal: Any


Lowered = Any
"""One of the classes above."""

LAYERS = (Flushed, Wrapped, Ranged, OneZero, TwoSum, ZeroDown, Counted)
RANDOM = (OffsetStochastic, OffsetLots, WordStochastic)


def is_native(cast: Cast) -> bool:
    """Whether the hardware's float32 operations already round as asked."""
    return cast.format == FLOAT32 and cast.mode == Mode.NEAREST_EVEN and cast.rule is Overflow.IEEE


@cache
def lower_conversion(cast: Cast, source: Extent | None) -> Lowered:
    """Lower the rounding of values that are at hand exactly: float32 of this extent, or None for float64.

    The extent bounds only what is finite; Inf and NaN may always occur.
    """
    if source is None:
        return _one_zero(cast, _with_range(cast, None))
    cut = _alike_beyond(cast)  # values may be limited to the format's size: beyond, they are all alike
    return _one_zero(cast, _with_range(cast, lambda limits: _narrow(cast, source, limits, cut=cut)))


@cache
def lower_product(
    cast: Cast | None, a: Extent, b: Extent, one_zero: bool = False, zero_sign: bool = True
) -> Lowered:
    """Lower round(a b); `cast` None keeps the product exact.

    A product of two float32 values has at most 48 bits and is always exact in float64. `one_zero` asks
    for the one zero of a format without -0 at once: needed where a format that has -0 adds the product,
    for -0 + -0 is -0. Elsewhere the sign of a zero term decides nothing and is set right at the end:
    without `zero_sign` it may be any.
    """
    product = a.times(b)
    if cast is None:
        return _unrounded(np.float32 if product.exact_in_float32 else np.float64)
    if is_native(cast):
        return _unrounded(np.float32)
    fits = product.exact_in_float32
    lowered = _with_range(cast, (lambda limits: _narrow(cast, product, limits)) if fits else None)
    if one_zero:
        return _one_zero(cast, lowered)
    return lowered if zero_sign else _without_zero_sign(cast, lowered)


@cache
def lower_sum(
    cast: Cast,
    a: Extent,
    b: Extent,
    b_carrier: type[np.floating[Any]] = np.float32,
    one_zero: bool = False,
    zero_sign: bool = True,
) -> Lowered:
    """Lower round(a + b), where a and b are float32 values, or b is a float64 (an exact product).

    float32 is wide enough when the sum is exact in it, or when rounding twice is innocuous: nearest even,
    both operands in the target format and 24 >= 2p + 1 (Figueroa 1995). Sums of such operands that are
    subnormal in the target are exact. Otherwise TwoSum's residual decides: beside a float32 where its
    bits reach down to the last one that the mode looks at, else beside a float64. A sum beyond float32 is
    beyond the target's range too, and so may be taken for Inf where both become the same. `one_zero` is
    as in lower_product. Without `zero_sign` a is no -0; then no sum is that a multiple of the target's
    smallest value makes, and the rounding need not look for one.
    """
    if is_native(cast) and b_carrier is np.float32 and not one_zero:
        return _unrounded(np.float32)
    target, total = Extent.of(cast.format), a.plus(b)
    innocuous = (
        cast.mode == Mode.NEAREST_EVEN
        and all(
            x.precision <= target.precision and x.low >= target.low and x.high <= target.high for x in (a, b)
        )
        and 2 * target.precision + 1 <= 24
    )
    lowered = None
    if b_carrier is np.float32 and (total.high <= 128 or _alike_beyond(cast)):
        exact = (total.exact_in_float32 and total.high <= 128) or innocuous

        def narrow(limits: _Limits) -> Lowered | None:
            found = _narrow(cast, total, limits, exact=exact)
            return found if exact or found is None else TwoSum(found)

        lowered = _with_range(cast, narrow, otherwise=TwoSum)
    else:
        lowered = _with_range(cast, None, otherwise=TwoSum)
    if not zero_sign and total.low >= target.low:
        lowered = _without_zero_sign(cast, lowered)
    lowered = OneZero(lowered) if one_zero else lowered  # outside TwoSum
    return ZeroDown(lowered) if cast.mode.negative_zero_sums and cast.format.has_negative_zero else lowered


@cache
def lower_quotient(cast: Cast) -> Lowered:
    """Lower the rounding of a float64 with a residual: a quotient, a root."""
    return _one_zero(cast, _with_range(cast, None))


def _one_zero(cast: Cast, lowered: Lowered) -> Lowered:
    """Make every zero +0 where the format has no other."""
    if cast.format.has_negative_zero:
        return lowered
    signless = _without_zero_sign(cast, lowered)
    return OneZero(lowered) if signless is lowered else signless


def _without_zero_sign(cast: Cast, lowered: Lowered) -> Lowered:
    if isinstance(lowered, MagicNearest) and lowered.input_limit == np.inf:  # the others do not cut
        if lowered.overflow == lowered.max:
            return MagicClamped(lowered.max, lowered.floor, lowered.offset)
        emax = cast.format.emax
        next_up = (2 - cast.format.eps) * 2.0**emax == cast.format.max  # 2^(emax + 1) comes after max
        if lowered.overflow == np.inf and next_up:
            up, down = np.float32(2.0 ** (127 - emax)), np.float32(2.0 ** (emax - 127))
            return MagicScaled(up, down, lowered.floor, lowered.offset)
    return lowered


def slices_of(terms: Extent, count: int) -> NDArray[np.float64]:
    """Return the magic numbers 1.5 2^52 g of the grids g on which `count` such terms add up exactly.

    A slice of w bits, count times, needs w + log2(count) + 1 bits; the grids end at the terms' own.
    """
    width = 51 - max(count, 1).bit_length()
    grids = range(terms.high - width, terms.low - width, -width)
    return np.array([1.5 * 2.0 ** (52 + max(grid, terms.low)) for grid in grids], np.float64)


def counted(cast: Cast, counts: NDArray[np.int64], *, sums: bool = False) -> Counted:
    """Lower a rounding whose events are to be counted: of values, products and quotients, or of sums.

    It works in float64, where what is rounded is at hand exactly, and gives the same bits.
    """
    format = cast.format
    lowered = _with_range(cast, None, otherwise=TwoSum) if sums else _with_range(cast, None)
    lowered = _one_zero(cast, lowered)
    if sums and cast.mode.negative_zero_sums and format.has_negative_zero:
        lowered = ZeroDown(lowered)
    return Counted(
        lowered,
        unbounded=_word(cast, np.float64, (math.inf, math.inf)),
        counts=counts,
        max=np.float64(format.max),
        min=np.float64(format.min),
        eps=np.float64(2.0**-format.mantissa_bits),
        smallest_normal=np.float64(format.smallest_normal),
    )


def _unrounded(dtype: type[np.floating[Any]]) -> Unrounded:
    return Unrounded(max=dtype(FLOAT32.max))


_Limits = tuple[float, float]
"""(largest magnitude, what becomes of larger ones and of Inf)"""


def _alike_beyond(cast: Cast) -> bool:
    """Whether finite values beyond the largest become what Inf becomes."""
    pairs = ((cast.on_overflow(negative), cast.on_infinity(negative)) for negative in (False, True))
    return all(x == y or x != x for x, y in pairs)


def _with_range(
    cast: Cast,
    narrow: Callable[[_Limits], Lowered | None] | None,
    otherwise: Callable[[Lowered], Lowered] = lambda lowered: lowered,
) -> Lowered:
    """Return the rounder `narrow` finds, or float64's word, in the layers that the cast asks for.

    The layers of a residual (`otherwise`, or what `narrow` adds) come last: they see operands.
    """
    format = cast.format
    plain = format.signed and not format.fixed_point and _alike_beyond(cast)
    limits = (format.max, abs(cast.on_overflow())) if plain else (math.inf, math.inf)
    lowered = None if narrow is None or cast.rule is Overflow.WRAP else narrow(limits)
    add_residual: Callable[[Lowered], Lowered] = lambda lowered: lowered  # noqa: E731
    if lowered is None:
        lowered, add_residual = _word(cast, np.float64, limits), otherwise
    elif isinstance(lowered, TwoSum):
        lowered, add_residual = lowered.rounder, TwoSum
    if not format.subnormals:
        lowered = Flushed(lowered, np.float32(format.smallest_normal))
    if cast.rule is Overflow.WRAP:
        lowered = Wrapped(lowered, np.float64(2.0 ** (format.emin + 1)))
    elif not plain:
        lowered = Ranged(
            lowered,
            max=np.float32(format.max),
            min=np.float32(format.min if format.has_zero else 0),  # what rounds to 0 is no overflow
            overflow=np.float32(cast.on_overflow(False)),
            negative_overflow=np.float32(cast.on_overflow(True)),
            infinity=np.float32(cast.on_infinity(False)),
            negative_infinity=np.float32(cast.on_infinity(True)),
        )
    return add_residual(lowered)


def _narrow(
    cast: Cast, source: Extent, limits: _Limits, *, cut: bool = False, exact: bool = True
) -> Lowered | None:
    """Return a float32 rounder for values of an extent, or None where float64 is needed.

    `cut`: the values are limited to the format's size first. Not `exact`: they come with a residual.
    """
    format, m, rule = cast.format, cast.format.mantissa_bits, cast.mode.rule
    if format.emin < -126:
        return None
    largest, beyond = np.float32(limits[0]), np.float32(limits[1])
    by_exponent = format.p3109 and format.precision == 1  # whether S = 1 is odd
    reach = Extent.of(format).high
    if cast.mode == Mode.NEAREST_EVEN and exact and not by_exponent:
        if format.emin == -126 and 1 <= m <= 22:
            shift = 23 - m
            half = np.uint32((1 << (shift - 1)) - 1)
            return BitsNearest(max=largest, overflow=beyond, shift=np.uint32(shift), half=half)
        if m <= 20 and (reach if cut else max(reach, min(source.high, 128))) - m + 23 <= 127:
            return MagicNearest(
                max=largest,
                overflow=beyond,
                floor=np.uint32((format.emin + 127) << 23),
                offset=np.uint32(((23 - m) << 23) | 0x400000),
                input_limit=np.float32(2.0**reach if cut else math.inf),
            )
    lossy = None if source.low >= format.emin - 23 else np.float32(0)
    smallest_normal = np.float32(format.smallest_normal)
    if isinstance(rule, Deterministic) and 1 <= m <= 22:
        return OffsetDeterministic(
            max=largest,
            overflow=beyond,
            lossy=lossy,
            smallest_normal=smallest_normal,
            shift=np.uint32(23 - m),
            table=np.uint32(_table(rule)),
        )
    if rule == Mode.STOCHASTIC.rule and m + cast.random_bits <= 23:
        return OffsetStochastic(
            max=largest,
            overflow=beyond,
            lossy=lossy,
            smallest_normal=smallest_normal,
            kept=np.uint32(0xFFFFFFFF << (23 - m) & 0xFFFFFFFF),
            lift=np.uint32(23 - m - cast.random_bits),
        )
    guard = _guard_bits(cast)
    one_rest = exact or lossy is None  # a residual and a loss are two, and their sum may be no float32
    if isinstance(rule, Stochastic) and guard <= 30 and format.emax < 127 and one_rest:
        up, spare = max(guard - (23 - m), 0), _spare_bits(rule)
        return OffsetLots(
            max=largest,
            overflow=beyond,
            lossy=lossy,
            smallest_normal=smallest_normal,
            shift=np.uint32(23 - m),
            up=np.uint32(up),
            down=np.uint32(max(23 - m - guard, 0)),
            scale=np.float32(2.0 ** (23 + up)),
            random_bits=np.uint32(cast.random_bits),
            spare=np.uint32(spare),
            addend=np.uint32(1 if spare else 0),
            sticky=np.uint32(rule.nearest),
        )
    return _word(cast, np.float32, limits) if exact and m + guard <= 30 else None


def _table(rule: Deterministic) -> int:
    """Bit (tail + 4 odd + 8 negative) says whether S is incremented.

    Tails: 0 none, 1 below a half, 2 a half, 3 above.
    """
    table = 0
    for tail, when in enumerate((rule.below, rule.tie, rule.above), 1):
        for odd in (False, True):
            for negative in (False, True):
                table |= when.holds(odd, negative) << (tail + 4 * odd + 8 * negative)
    return table


def _spare_bits(rule: Stochastic) -> int:
    return 2 if rule.nearest else 1 if rule.half else 0


def _guard_bits(cast: Cast) -> int:
    rule = cast.mode.rule
    return cast.random_bits + _spare_bits(rule) if isinstance(rule, Stochastic) else 2


def _word(cast: Cast, dtype: type[np.floating[Any]], limits: _Limits) -> Lowered:
    word, top, bias = (np.uint32, 30, 127) if dtype is np.float32 else (np.uint64, 62, 1023)
    format, rule, guard = cast.format, cast.mode.rule, _guard_bits(cast)
    if cast.rule is Overflow.WRAP:  # two bits more above, so that nothing overflows before it is wrapped
        format = replace(format, mantissa_bits=format.mantissa_bits + 2, bias=format.bias - 2)
    common = {
        "max": dtype(limits[0]),
        "overflow": dtype(limits[1]),
        "unit": dtype(2.0**-format.mantissa_bits),
        "floor": word(format.emin + bias),
        "shift": word(top - format.mantissa_bits - guard),
        "guard": word(guard),
    }
    if isinstance(rule, Stochastic):
        spare = _spare_bits(rule)
        addend, sticky = word(1 if spare else 0), word(rule.nearest)
        return WordStochastic(**common, spare=word(spare), addend=addend, sticky=sticky)
    parity = word(format.p3109 and format.precision == 1)
    return WordDeterministic(**common, parity=parity, table=word(_table(rule)))


# ----------------------------------------------------------------------------------------------------
# Codes
# ----------------------------------------------------------------------------------------------------


class CodeLayout(NamedTuple):
    """A float format's bit layout, for encode and decode."""

    sign: Any  # sign bit, or 0
    mantissa_bits: Any
    rebias: Any  # exponent field of float32 minus that of the format, in place in a float32
    quantum: Any  # 2^(emin - m)
    counted: Any  # codes below this count quanta: the subnormals and the first binade; 0 where none need to
    counted_value: Any  # 2^(emin + 1), the value of that code
    least_code: Any  # codes below this read as `zero`
    zero: Any
    zero_sign: Any  # -0, which changes nothing when added, or +0 where the format has no -0
    max_code: Any
    infinity: Any  # code of Inf, or all ones where there is none
    nan: Any  # code of NaN, or all ones where there is none
    stored: Any  # the bits of a code that its array keeps


@cache
def lower_codes(format: Format) -> CodeLayout:
    """Lower the layout of a format's codes. Fixed point has none: its codes are the integers."""
    none, one = 0xFFFFFFFF, 1 << format.mantissa_bits
    counts = format.has_zero and format.bias != 127  # float32's own subnormals need only a shift
    return CodeLayout(
        sign=np.uint32(1 << (format.bits - 1) if format.signed else 0),
        mantissa_bits=np.uint32(format.mantissa_bits),
        rebias=np.uint32(((127 - format.bias) << 23) & none),
        quantum=np.float32(2.0 ** (format.emin - format.mantissa_bits) if counts else 1),
        counted=np.uint32(2 * one if counts else 0),
        counted_value=np.float32(2.0 ** (format.emin + 1) if counts else 0),
        least_code=np.uint32(1 if format.subnormals else one),
        zero=np.float32(0 if format.has_zero else format.smallest),
        zero_sign=np.float32(-0.0 if format.has_negative_zero else 0.0),
        max_code=np.uint32(format.max_code),
        infinity=np.uint32(none if format.infinity_code is None else format.infinity_code),
        nan=np.uint32(none if format.nan_code is None else format.nan_code),
        stored=np.uint32(np.iinfo(code_dtype(format)).max),
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
