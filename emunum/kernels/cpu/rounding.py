"""One value, rounded once: the scalar functions that every array kernel inlines.

`round_value(x, residual, to, draw)` rounds the exact real x + residual. What code it becomes is settled
by the types: the class of `to` names the algorithm, its dtype (and so x's) the width. A cast is lowered
in contract.py, which proves that x + residual is exact, or that the detour through x is innocuous.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from emunum.kernels.contract import (
    MagicNearest,
    NearestEven,
    OffsetStochastic,
    Stochastic,
    TowardZero,
    Unrounded,
)
from emunum.kernels.cpu.bits import bits_of, float_of
from emunum.kernels.cpu.compile import chosen_by_type, inlined

# float32: sign 1, exponent 8, significand 23; the aligned word keeps the hidden bit at bit 30.
_SIGN32, _EXPONENT32, _FRACTION32 = np.uint32(0x80000000), np.uint32(0x7F800000), np.uint32(0x7FFFFF)
_HIDDEN32, _MAGNITUDE32 = np.uint32(0x800000), np.uint32(0x7FFFFFFF)
# float64: sign 1, exponent 11, significand 52; the aligned word keeps the hidden bit at bit 62.
_SIGN64, _FRACTION64 = np.uint64(1 << 63), np.uint64((1 << 52) - 1)
_HIDDEN64, _MAGNITUDE64 = np.uint64(1 << 52), np.uint64((1 << 63) - 1)
_INFINITY64 = np.uint64(0x7FF << 52)


def round_value(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    """Round x + residual, |residual| <= ulp(x) / 2, to a float32 that `to`'s format holds."""


@chosen_by_type(round_value)
def _(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    if to.instance_class is Unrounded:
        return _keep
    if to.instance_class is MagicNearest:
        return _round_by_magic
    if to.instance_class is OffsetStochastic:
        return _round_by_offset
    return _round_word32 if to.types[0] == types.float32 else _round_word64


def _keep(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    return x


def _round_by_magic(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # 1. The sign goes aside: nearest is symmetric.
    bits = bits_of(x)
    magnitude = float_of(np.uint32(bits & _MAGNITUDE32))
    # 2. magic = 1.5 2^(E - m + 23) with E >= emin, so that its ulp is the quantum of |x|.
    magic = float_of(np.uint32(max(np.uint32(bits & _EXPONENT32), to.floor) + to.offset))
    # 3. The addition rounds |x| to a multiple of the quantum, ties to even because magic / quantum is
    #    even; the subtraction is exact. Subnormals need nothing more: their quantum is that of emin.
    rounded = (magnitude + magic) - magic
    # 4. Overflow is tested on the rounded value. NaN compares false and passes; Inf overflows.
    rounded = to.overflow if rounded > to.max else rounded
    return float_of(np.uint32(bits_of(rounded) | np.uint32(bits & _SIGN32)))


def _round_by_offset(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # 1. The sign goes aside.
    bits = bits_of(x)
    magnitude = float_of(np.uint32(bits & _MAGNITUDE32))
    # 2. Below 2^emin the quantum stays that of emin: adding 2^emin lifts |x| to where a float32's bits
    #    have that weight. The addition is exact because |x| is a multiple of 2^(emin - 23).
    offset = to.smallest_normal if magnitude < to.smallest_normal else np.float32(0.0)
    lifted = bits_of(magnitude + offset)
    # 3. Variant A as it is told: the N bits of the draw are added to the tail, the carry goes out, the
    #    tail goes away. Tail bits below the draw's last one cannot carry. The bits of Inf have no tail.
    cut = float_of(np.uint32(np.uint32(lifted + np.uint32(draw << to.lift)) & to.kept))
    rounded = cut - offset
    # 4. Overflow, as above; what was done to the bits of a NaN means nothing.
    rounded = to.overflow if rounded > to.max else rounded
    rounded = float_of(np.uint32(bits_of(rounded) | np.uint32(bits & _SIGN32)))
    return rounded if magnitude <= np.float32(np.inf) else x


def _round_word32(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # 1. Take the number apart; subnormals have no hidden bit and the exponent of field 1.
    bits = bits_of(x)
    magnitude = np.uint32(bits & _MAGNITUDE32)
    field = np.uint32(magnitude >> np.uint32(23))
    hidden = _HIDDEN32 if field > np.uint32(0) else np.uint32(0)
    exponent = max(field, np.uint32(1))
    word = np.uint32(np.uint32(np.uint32(magnitude & _FRACTION32) | hidden) << np.uint32(7))
    # 2. Cut to a whole number of quanta and `guard` bits below. Below emin the quantum stays, so more is
    #    dropped; the word's top bit is clear, so that 31 drops everything.
    scale = max(exponent, to.floor)
    dropped = min(np.uint32(to.shift + np.uint32(scale - exponent)), np.uint32(31))
    cut = np.uint32(word >> dropped)
    lost = np.uint32(cut << dropped) != word
    # 3. The mode: add something below the quantum, then cut.
    quanta = np.uint32(np.uint32(decide(cut, lost, to, draw)) >> to.guard)
    # 4. quanta 2^-m 2^E, in two exact steps because 2^(E - m) may be no float32.
    power = float_of(np.uint32(scale << np.uint32(23)))
    rounded = (np.float32(np.int32(quanta)) * to.unit) * power
    # 5. Overflow on the rounded value; then what was never a number to round.
    rounded = to.overflow if rounded > to.max else rounded
    rounded = to.infinity if magnitude == _EXPONENT32 else rounded
    rounded = float_of(np.uint32(bits_of(rounded) | np.uint32(bits & _SIGN32))) + to.zero
    return x if magnitude > _EXPONENT32 else rounded


def _round_word64(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # 1. As in 32 bits.
    bits = bits_of(x)
    magnitude = bits & _MAGNITUDE64
    field = magnitude >> np.uint64(52)
    hidden = _HIDDEN64 if field > np.uint64(0) else np.uint64(0)
    exponent = max(field, np.uint64(1))
    word = ((magnitude & _FRACTION64) | hidden) << np.uint64(10)
    # 2. The residual, in units of the word's last bit: |residual| <= 2^9 of them. floor() goes into the
    #    word, what is left below is only remembered. Signs are taken relative to x. A NaN or infinite x
    #    has no residual worth the name.
    unit = float_of(np.uint64(((np.uint64(2108) - exponent) & np.uint64(0x7FF)) << np.uint64(52)))
    extra = residual * unit
    extra = -extra if bits > _MAGNITUDE64 else extra
    extra = extra if abs(extra) <= 1024.0 else 0.0
    whole = np.int64(extra)
    whole = whole - np.int64(1) if np.float64(whole) > extra else whole
    word = np.uint64(np.int64(word) + whole)
    # 3. Where x is a power of two and the residual takes the sum below it, the sum is in the lower
    #    binade. The bit shifted in is below every guard bit.
    below = (whole < np.int64(0)) & (word < np.uint64(1 << 62)) & (field > np.uint64(1))
    exponent = exponent - np.uint64(1) if below else exponent
    word = word << np.uint64(1) if below else word
    # 4. As in 32 bits.
    scale = max(exponent, to.floor)
    dropped = min(to.shift + (scale - exponent), np.uint64(63))
    cut = word >> dropped
    lost = ((cut << dropped) != word) | (np.float64(whole) != extra)
    quanta = np.uint64(decide(cut, lost, to, np.uint64(draw))) >> to.guard
    power = float_of(np.uint64(scale << np.uint64(52)))
    rounded = (np.float64(np.int64(quanta)) * to.unit) * power
    # 5. As in 32 bits. The result is a float32: the last conversion is exact.
    rounded = to.overflow if rounded > to.max else rounded
    rounded = to.infinity if magnitude == _INFINITY64 else rounded
    rounded = float_of(np.uint64(bits_of(rounded) | (bits & _SIGN64))) + to.zero
    return np.float32(x if magnitude > _INFINITY64 else rounded)


def decide(cut: Any, lost: Any, to: Any, draw: Any) -> Any:
    """Add to a word of quanta and guard bits what makes truncation at the quantum round as asked.

    `lost` says that something nonzero lies below the guard bits.
    """


@chosen_by_type(decide)
def _(cut: Any, lost: Any, to: Any, draw: Any) -> Any:
    return _DECISIONS[to.instance_class]


def _nearest_even(cut: Any, lost: Any, to: Any, draw: Any) -> Any:
    # Two guard bits, the lower one sticky: 00 exact, 01 below, 10 tie, 11 above. Adding 1 carries from
    # 11 only; adding 2, where the quotient is odd, from 10 too.
    one = np.uint32(1)
    sticky = cut | np.uint32(lost)
    return sticky + one + ((sticky >> to.guard) & one)


def _toward_zero(cut: Any, lost: Any, to: Any, draw: Any) -> Any:
    return cut


def _stochastic(cut: Any, lost: Any, to: Any, draw: Any) -> Any:
    # The guard bits are floor(nu 2^N); R carries when their sum reaches 2^N.
    return cut + draw


_DECISIONS = {NearestEven: _nearest_even, TowardZero: _toward_zero, Stochastic: _stochastic}


def uses_draw(to: Any) -> Any:
    """Whether `to` is stochastic: a constant at compile time."""


@chosen_by_type(uses_draw)
def _(to: Any) -> Any:
    return _yes if to.instance_class in (Stochastic, OffsetStochastic) else _no


def _yes(to: Any) -> Any:
    return True


def _no(to: Any) -> Any:
    return False


def product(a: Any, b: Any, to: Any, draw: Any) -> Any:
    """round(a b); exact in the word of `to`."""


@chosen_by_type(product)
def _(a: Any, b: Any, to: Any, draw: Any) -> Any:
    return _product32 if to.types[0] == types.float32 else _product64


def _product32(a: Any, b: Any, to: Any, draw: Any) -> Any:
    return round_value(a * b, np.float32(0.0), to, draw)


def _product64(a: Any, b: Any, to: Any, draw: Any) -> Any:
    return round_value(np.float64(a) * np.float64(b), 0.0, to, draw)


def total(a: Any, b: Any, to: Any, draw: Any) -> Any:
    """round(a + b)."""


@chosen_by_type(total)
def _(a: Any, b: Any, to: Any, draw: Any) -> Any:
    return _total32 if to.types[0] == types.float32 else _total64


def _total32(a: Any, b: Any, to: Any, draw: Any) -> Any:
    return round_value(a + b, np.float32(0.0), to, draw)


def _total64(a: Any, b: Any, to: Any, draw: Any) -> Any:
    x, residual = two_sum(np.float64(a), np.float64(b))
    return round_value(x, residual, to, draw)


@inlined
def two_sum(a: Any, b: Any) -> Any:
    """Knuth's TwoSum: x = fl(a + b) and the residual a + b - x, exactly."""
    x = a + b
    b_part = x - a
    return x, (a - (x - b_part)) + (b - b_part)


def limited(x: Any, to: Any) -> Any:
    """Cut a float32 of any size to where a magic number exists; what is cut overflows all the same."""


@chosen_by_type(limited)
def _(x: Any, to: Any) -> Any:
    if to.instance_class is MagicNearest:
        return _limited_for_magic
    return _as_is if to.types[0] == types.float32 else _widened


def _as_is(x: Any, to: Any) -> Any:
    return x


def _widened(x: Any, to: Any) -> Any:
    return np.float64(x)


def zero_like(x: Any) -> Any:
    """Zero of x's dtype: the residual of a value that is exact."""


@chosen_by_type(zero_like)
def _(x: Any) -> Any:
    return _zero32 if x == types.float32 else _zero64


def _zero32(x: Any) -> Any:
    return np.float32(0.0)


def _zero64(x: Any) -> Any:
    return np.float64(0.0)


def _limited_for_magic(x: Any, to: Any) -> Any:
    upper = to.input_limit if to.input_limit < x else x
    return -to.input_limit if -to.input_limit > upper else upper
