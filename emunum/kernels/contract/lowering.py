"""How wide to compute: each operation lowered so that its result is the exact real one, rounded once.

Which rounder that takes, and in what layers, is for rounders.py to say.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.formats import FLOAT32, Cast, Mode, Overflow, Special
from emunum.kernels.contract.extents import Extent
from emunum.kernels.contract.lowered import (
    Counted,
    Lowered,
    MagicClamped,
    MagicNearest,
    MagicScaled,
    OneZero,
    TwoSum,
    Unrounded,
    Watched,
    ZeroDown,
)
from emunum.kernels.contract.rounders import (
    Limits,
    alike_beyond,
    narrow_rounder,
    period_of,
    with_range,
    word_rounder,
)


@cache
def lower_conversion(cast: Cast, source: Extent | None) -> Lowered:
    """Lower the rounding of values that are at hand exactly: float32 of this extent, or None for float64.

    The extent bounds only what is finite; Inf and NaN may always occur.
    """
    if source is None:
        return _one_zero(cast, with_range(cast, None))
    cut = alike_beyond(cast)  # values may be limited to the format's size: beyond, they are all alike
    return _one_zero(cast, with_range(cast, lambda limits: narrow_rounder(cast, source, limits, cut=cut)))


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
    if _is_native(cast):
        return _unrounded(np.float32)
    fits = product.exact_in_float32
    lowered = with_range(cast, (lambda limits: narrow_rounder(cast, product, limits)) if fits else None)
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
    if _is_native(cast) and b_carrier is np.float32 and not one_zero:
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
    if b_carrier is np.float32 and (total.high <= 128 or alike_beyond(cast)):
        exact = (total.exact_in_float32 and total.high <= 128) or innocuous

        def narrow(limits: Limits) -> Lowered | None:
            found = narrow_rounder(cast, total, limits, exact=exact)
            return found if exact or found is None else TwoSum(found)

        lowered = with_range(cast, narrow, otherwise=TwoSum)
    else:
        lowered = with_range(cast, None, otherwise=TwoSum)
    if not zero_sign and total.low >= target.low:
        lowered = _without_zero_sign(cast, lowered)
    lowered = OneZero(lowered) if one_zero else lowered  # outside TwoSum
    return ZeroDown(lowered) if cast.mode.negative_zero_sums and cast.format.has_negative_zero else lowered


@cache
def lower_quotient(cast: Cast) -> Lowered:
    """Lower the rounding of a float64 with a residual: a quotient, a root."""
    return _one_zero(cast, with_range(cast, None))


def counted(cast: Cast, counts: NDArray[np.int64], *, sums: bool = False) -> Counted:
    """Lower a rounding whose events are to be counted: of values, products and quotients, or of sums.

    It works in float64, where what is rounded is at hand exactly, and gives the same bits.
    """
    format = cast.format
    lowered = with_range(cast, None, otherwise=TwoSum) if sums else with_range(cast, None)
    lowered = _one_zero(cast, lowered)
    if sums and cast.mode.negative_zero_sums and format.has_negative_zero:
        lowered = ZeroDown(lowered)
    return Counted(
        lowered,
        unbounded=word_rounder(cast, np.float64, (math.inf, math.inf)),
        counts=counts,
        max=np.float64(format.max),
        min=np.float64(format.min if format.has_zero else 0),
        eps=np.float64(2.0**-format.mantissa_bits),
        smallest_normal=np.float64(format.smallest_normal),
        period=period_of(format) if cast.rule is Overflow.WRAP else None,
    )


def watched(unrounded: Lowered, counts: NDArray[np.int64]) -> Watched:
    """Lower exact products, of which only the NaNs that are born are counted."""
    return Watched(unrounded, counts)


def require_arithmetic(*casts: Cast | None) -> None:
    """Raise ValueError where a cast's format is no number format: scales have no zero."""
    for cast in casts:
        if cast is not None and cast.format.special is Special.SCALE:
            raise ValueError(
                f"{cast.format} holds block scales (no zero, no sign): arithmetic in it is not defined. "
                "Use it with quantize, encode and decode."
            )


def _is_native(cast: Cast) -> bool:
    """Whether the hardware's float32 operations already round as asked."""
    return cast.format == FLOAT32 and cast.mode == Mode.NEAREST_EVEN and cast.rule is Overflow.IEEE


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


def _unrounded(dtype: type[np.floating[Any]]) -> Unrounded:
    return Unrounded(max=dtype(FLOAT32.max))
