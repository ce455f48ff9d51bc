"""How to round: the algorithm and the word a cast gets, and the layers around it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from emunum.formats import Cast, Format, Mode, Overflow
from emunum.formats.rounding import Deterministic, Stochastic
from emunum.kernels.contract.extents import Extent
from emunum.kernels.contract.lowered import (
    BitsNearest,
    Flushed,
    Lowered,
    MagicNearest,
    OffsetDeterministic,
    OffsetLots,
    OffsetStochastic,
    Ranged,
    TwoSum,
    WordDeterministic,
    WordStochastic,
    Wrapped,
)

Limits = tuple[float, float]
"""(largest magnitude, what becomes of larger ones and of Inf)"""


def alike_beyond(cast: Cast) -> bool:
    """Whether finite values beyond the largest become what Inf becomes."""
    pairs = ((cast.on_overflow(negative), cast.on_infinity(negative)) for negative in (False, True))
    return all(x == y or x != x for x, y in pairs)


def with_range(
    cast: Cast,
    narrow: Callable[[Limits], Lowered | None] | None,
    otherwise: Callable[[Lowered], Lowered] = lambda lowered: lowered,
) -> Lowered:
    """Return the rounder `narrow` finds, or float64's word, in the layers that the cast asks for.

    The layers of a residual (`otherwise`, or what `narrow` adds) come last: they see operands.
    """
    format = cast.format
    plain = format.signed and not format.fixed_point and alike_beyond(cast)
    limits = (format.max, abs(cast.on_overflow())) if plain else (math.inf, math.inf)
    lowered = None if narrow is None or cast.rule is Overflow.WRAP else narrow(limits)
    add_residual: Callable[[Lowered], Lowered] = lambda lowered: lowered  # noqa: E731
    if lowered is None:
        lowered, add_residual = word_rounder(cast, np.float64, limits), otherwise
    elif isinstance(lowered, TwoSum):
        lowered, add_residual = lowered.rounder, TwoSum
    if not format.subnormals:
        lowered = Flushed(lowered, np.float32(format.smallest_normal))
    if cast.rule is Overflow.WRAP:
        lowered = Wrapped(lowered, period_of(format))
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


def period_of(format: Format) -> np.float64:
    """Return how far apart numbers are that wrap to the same value."""
    return np.float64(2.0 ** (format.emin + 1))


def narrow_rounder(
    cast: Cast, source: Extent, limits: Limits, *, cut: bool = False, exact: bool = True
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
    return word_rounder(cast, np.float32, limits) if exact and m + guard <= 30 else None


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


def word_rounder(cast: Cast, dtype: type[np.floating[Any]], limits: Limits) -> Lowered:
    """Return the rounder by integer arithmetic, which any cast has, in the word of float32 or of float64."""
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
