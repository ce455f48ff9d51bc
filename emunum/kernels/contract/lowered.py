"""Lowered casts: the class says the algorithm, the fields are the numbers it needs.

Every field is a numpy scalar of the word's dtype (float32 with uint32, or float64 with uint64), so that
compiled code is chosen by type and no number is ever converted on the way.

A rounder rounds magnitudes: what exceeds `max`, Inf too, becomes `overflow`. Whatever a cast asks for
beyond that is a layer around a rounder, and costs nothing where it is not asked for.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple


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
    """Nonzero values that round to zero, or would in a format that has none."""
    FLUSHED = 3
    """Values that round to a subnormal where subnormals are flushed."""
    ABSORBED = 4
    """Additions of a nonzero number that leave the sum as it was."""
    TIE = 5
    """Values halfway between neighbours."""
    NAN = 6
    """NaNs born of operands that are none: by a product, exact or not, by a sum, by a rounding."""
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
    period: Any  # of what wraps, else None


class Watched(NamedTuple):
    """No rounding of products, whose NaNs are counted."""

    rounder: Any
    counts: Any


Lowered = Any
"""One of the classes above."""

LAYERS = (Flushed, Wrapped, Ranged, OneZero, TwoSum, ZeroDown, Counted, Watched)
RANDOM = (OffsetStochastic, OffsetLots, WordStochastic)
