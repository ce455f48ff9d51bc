"""One value, rounded once: the scalar functions that every array kernel inlines.

`round_value(x, residual, to, draw)` rounds the exact real x + residual. What code it becomes is settled
by the types: the class of `to` names the algorithm, its dtype (and so x's) the width; classes that hold a
rounder add a step around it. A cast is lowered in contract.py, which proves that x + residual is exact, or
that the detour through x is innocuous.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from emunum.kernels.contract import (
    LAYERS,
    RANDOM,
    BitsNearest,
    Counted,
    Event,
    Flushed,
    MagicClamped,
    MagicNearest,
    MagicScaled,
    OffsetDeterministic,
    OffsetLots,
    OffsetStochastic,
    OneZero,
    Ranged,
    TwoSum,
    Unrounded,
    WordDeterministic,
    WordStochastic,
    Wrapped,
    ZeroDown,
)
from emunum.kernels.cpu.bits import bits_of, float_of, left, right
from emunum.kernels.cpu.compile import chosen_by_type, inlined

# float32: sign 1, exponent 8, significand 23; the aligned word keeps the hidden bit at bit 30.
_SIGN32, _EXPONENT32, _FRACTION32 = np.uint32(0x80000000), np.uint32(0x7F800000), np.uint32(0x7FFFFF)
_HIDDEN32, _MAGNITUDE32 = np.uint32(0x800000), np.uint32(0x7FFFFFFF)
# float64: sign 1, exponent 11, significand 52; the aligned word keeps the hidden bit at bit 62.
_SIGN64, _FRACTION64 = np.uint64(1 << 63), np.uint64((1 << 52) - 1)
_HIDDEN64, _MAGNITUDE64 = np.uint64(1 << 52), np.uint64((1 << 63) - 1)
_INFINITY64 = np.uint64(0x7FF << 52)


# ----------------------------------------------------------------------------------------------------
# Types
# ----------------------------------------------------------------------------------------------------


def _rounder(to: Any) -> Any:
    """The Numba type of the rounder inside all layers."""
    while to.instance_class in LAYERS:
        to = to.types[0]
    return to


def _is_narrow(to: Any) -> bool:
    return bool(_rounder(to).types[0] == types.float32)  # the first field has the word's dtype


def round_value(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    """Round x + residual, |residual| <= ulp(x) / 2, to a float32 that `to`'s format holds."""


@chosen_by_type(round_value)
def _(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    if to.instance_class in (WordDeterministic, WordStochastic):
        return _round_word32 if _is_narrow(to) else _round_word64
    return _ALGORITHMS[to.instance_class]


# ----------------------------------------------------------------------------------------------------
# Rounders
# ----------------------------------------------------------------------------------------------------


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


@inlined
def _signed_magic(x: Any, to: Any) -> Any:
    # Steps 2 and 3 of _round_by_magic work for either sign: 1.5 2^k and what is added to it lie in one
    # binade. Only -0 is lost, for (-0 + magic) - magic is +0.
    magic = float_of(np.uint32(max(np.uint32(bits_of(x) & _EXPONENT32), to.floor) + to.offset))
    return (x + magic) - magic


def _round_and_clamp(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    rounded = _signed_magic(x, to)
    rounded = to.max if rounded > to.max else rounded
    return -to.max if rounded < -to.max else rounded


def _round_and_scale(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # Both products are exact, but for the first where it overflows, as the format does.
    return (_signed_magic(x, to) * to.up) * to.down


def _round_bits(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # 1. Where emin is float32's, the bits of |x|, read as an integer, are evenly spaced numbers whose
    #    tail is the same 23 - m bits everywhere, subnormals included; a carry moves on to the next binade.
    bits = bits_of(x)
    magnitude = np.uint32(bits & _MAGNITUDE32)
    # 2. Half a quantum less one, and one more where S is odd: the carry goes out of tails above a half
    #    and of ties to an odd S.
    odd = np.uint32(right(magnitude, to.shift) & np.uint32(1))
    word = np.uint32(np.uint32(magnitude + to.half) + odd)
    rounded = float_of(left(right(word, to.shift), to.shift))
    # 3. Overflow; what was done to the bits of a NaN means nothing.
    rounded = to.overflow if rounded > to.max else rounded
    rounded = float_of(np.uint32(bits_of(rounded) | np.uint32(bits & _SIGN32)))
    return x if magnitude > _EXPONENT32 else rounded


def _round_by_offset(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # 1. The sign goes aside; that of the residual counts relative to it.
    bits = bits_of(x)
    magnitude = float_of(np.uint32(bits & _MAGNITUDE32))
    rest = float_of(np.uint32(bits_of(residual) ^ np.uint32(bits & _SIGN32)))
    # 2. Below 2^emin the quantum stays that of emin: adding 2^emin lifts |x| to where a float32's bits
    #    have that weight. `rest` takes what the addition loses.
    offset, lifted, rest = lift(magnitude, rest, to)
    # 3. The bits cut at 24: one less where the rest is negative, which then counts from there.
    below = rest < np.float32(0.0)
    word = np.uint32(bits_of(lifted) - np.uint32(below))
    # 4. The mode: add something below the quantum, then cut.
    rounded = float_of(cut_bits(word, rest, below, bits, to, draw)) - offset
    # 5. Overflow, as above.
    rounded = to.overflow if rounded > to.max else rounded
    rounded = float_of(np.uint32(bits_of(rounded) | np.uint32(bits & _SIGN32)))
    return rounded if magnitude <= np.float32(np.inf) else x


def lift(magnitude: Any, rest: Any, to: Any) -> Any:
    """Return (offset, fl(magnitude + offset), what is left), the offset being 2^emin below it, else 0."""


@chosen_by_type(lift)
def _(magnitude: Any, rest: Any, to: Any) -> Any:
    return _lift_exactly if isinstance(to.types[2], types.NoneType) else _lift_lossily


def _lift_exactly(magnitude: Any, rest: Any, to: Any) -> Any:
    offset = to.smallest_normal if magnitude < to.smallest_normal else np.float32(0.0)
    return offset, magnitude + offset, rest


def _lift_lossily(magnitude: Any, rest: Any, to: Any) -> Any:
    # 2^emin with a negative rest lies below 2^emin. The loss is exact (Dekker: the offset is the larger)
    # and, where there is one, larger than the rest.
    below = (magnitude < to.smallest_normal) | ((magnitude == to.smallest_normal) & (rest < np.float32(0.0)))
    offset = to.smallest_normal if below else np.float32(0.0)
    lifted = magnitude + offset
    loss = magnitude - (lifted - offset)
    return offset, lifted, loss if loss != np.float32(0.0) else rest


def cut_bits(word: Any, rest: Any, below: Any, bits: Any, to: Any, draw: Any) -> Any:
    """Cut a word of 23 - m tail bits, and a rest below them, at the quantum as the mode asks.

    The rest is NaN beside an infinity, whose tail is zero and stays so.
    """


@chosen_by_type(cut_bits)
def _(word: Any, rest: Any, below: Any, bits: Any, to: Any, draw: Any) -> Any:
    return _CUTS[to.instance_class]


def _cut_by_table(word: Any, rest: Any, below: Any, bits: Any, to: Any, draw: Any) -> Any:
    # The last bit of S and the first of the tail stand together: 2 (tail >= 1/2) + 4 odd after a shift.
    one = np.uint32(1)
    half = np.uint32(to.shift - one)
    upper = np.uint32(right(word, half) & np.uint32(3))
    lower = np.uint32(word & np.uint32(left(one, half) - one))
    tail = np.uint32(1) if (lower != np.uint32(0)) | below | (rest > np.float32(0.0)) else np.uint32(0)
    negative = left(right(bits, np.uint32(31)), np.uint32(3))
    index = np.uint32(np.uint32(tail | left(upper, one)) | negative)
    up = np.uint32(right(to.table, index) & one)
    return left(np.uint32(right(word, to.shift) + up), to.shift)


def _cut_by_draw(word: Any, rest: Any, below: Any, bits: Any, to: Any, draw: Any) -> Any:
    # Variant A as it is told: the N bits of the draw are added to the tail, the carry goes out, the tail
    # goes away. Tail bits below the draw's last one cannot carry, and so the rest does not matter.
    return np.uint32(np.uint32(word + left(draw, to.lift)) & to.kept)


def _cut_by_lots(word: Any, rest: Any, below: Any, bits: Any, to: Any, draw: Any) -> Any:
    one = np.uint32(1)
    # 1. The rest in units of the last guard bit: 2^-E times 2^(23 + up). The fraction is only remembered.
    inverse = float_of(np.uint32(np.uint32(254 << 23) - np.uint32(word & _EXPONENT32)))
    scaled = (rest * inverse) * to.scale
    scaled = scaled if abs(scaled) < np.float32(1 << 24) else np.float32(0.0)  # NaN beside an infinity
    whole = np.floor(scaled)
    # 2. The guard bits: those of the word, then those of the rest, which counts from one ulp below the
    #    word's successor where it is negative.
    own = left(np.uint32(word & np.uint32(left(one, to.shift) - one)), to.up)
    more = np.uint32(np.int32(whole)) + left(np.uint32(below), to.up)
    guard = np.uint32(own + np.uint32(more))
    kept = right(guard, to.down)
    lost = (left(kept, to.down) != guard) | (whole != scaled)
    # 3. The spare ones are rounded away as the variant does, then R carries at 2^N.
    sticky = np.uint32(kept | (to.sticky if lost else np.uint32(0)))
    odd = np.uint32(right(sticky, to.spare) & to.sticky)
    tail = right(np.uint32(np.uint32(sticky + to.addend) + odd), to.spare)
    up = right(np.uint32(tail + draw), to.random_bits)
    return left(np.uint32(right(word, to.shift) + up), to.shift)


_CUTS = {
    OffsetDeterministic: _cut_by_table,
    OffsetStochastic: _cut_by_draw,
    OffsetLots: _cut_by_lots,
}


def _round_word32(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # 1. Take the number apart; subnormals have no hidden bit and the exponent of field 1.
    bits = bits_of(x)
    magnitude = np.uint32(bits & _MAGNITUDE32)
    field = right(magnitude, np.uint32(23))
    hidden = _HIDDEN32 if field > np.uint32(0) else np.uint32(0)
    exponent = max(field, np.uint32(1))
    word = left(np.uint32(np.uint32(magnitude & _FRACTION32) | hidden), np.uint32(7))
    # 2. Cut to a whole number of quanta and `guard` bits below. Below emin the quantum stays, so more is
    #    dropped; the word's top bit is clear, so that 31 drops everything.
    scale = max(exponent, to.floor)
    dropped = min(np.uint32(to.shift + np.uint32(scale - exponent)), np.uint32(31))
    cut = right(word, dropped)
    lost = left(cut, dropped) != word
    # 3. The mode.
    quanta = np.uint32(decide(cut, lost, bits > _MAGNITUDE32, np.uint32(scale - to.floor), to, draw))
    # 4. quanta 2^-m 2^E, in two exact steps because 2^(E - m) may be no float32.
    power = float_of(left(scale, np.uint32(23)))
    rounded = (np.float32(np.int32(quanta)) * to.unit) * power
    # 5. Overflow on the rounded value; then what was never a number to round.
    rounded = to.overflow if rounded > to.max else rounded
    rounded = to.overflow if magnitude == _EXPONENT32 else rounded
    rounded = float_of(np.uint32(bits_of(rounded) | np.uint32(bits & _SIGN32)))
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
    quanta = np.uint64(decide(cut, lost, bits > _MAGNITUDE64, scale - to.floor, to, np.uint64(draw)))
    power = float_of(np.uint64(scale << np.uint64(52)))
    rounded = (np.float64(np.int64(quanta)) * to.unit) * power
    # 5. As in 32 bits. The result is a float32: the last conversion is exact.
    rounded = to.overflow if rounded > to.max else rounded
    rounded = to.overflow if magnitude == _INFINITY64 else rounded
    rounded = float_of(np.uint64(bits_of(rounded) | (bits & _SIGN64)))
    return np.float32(x if magnitude > _INFINITY64 else rounded)


def decide(cut: Any, lost: Any, negative: Any, above: Any, to: Any, draw: Any) -> Any:
    """Return the quanta that a word of quanta and guard bits rounds to.

    `lost` says that something nonzero lies below the guard bits; 2^(emin + above) is the binade.
    """


@chosen_by_type(decide)
def _(cut: Any, lost: Any, negative: Any, above: Any, to: Any, draw: Any) -> Any:
    return _look_up if to.instance_class is WordDeterministic else _draw_lots


def _look_up(cut: Any, lost: Any, negative: Any, above: Any, to: Any, draw: Any) -> Any:
    # Two guard bits, the lower one sticky: 00 exact, 01 below the middle, 10 the middle, 11 above.
    one = np.uint32(1)
    quanta = cut >> to.guard
    tail = (cut | np.uint32(lost)) & np.uint32(3)
    odd = (quanta & one) & ~(above & to.parity)  # with parity, S = 1 is odd in every other binade
    index = tail | (odd << np.uint32(2)) | (np.uint32(negative) << np.uint32(3))
    return quanta + ((to.table >> index) & one)


def _draw_lots(cut: Any, lost: Any, negative: Any, above: Any, to: Any, draw: Any) -> Any:
    # The guard bits are floor(nu 2^(N + spare)), the last one sticky where the variant rounds to nearest
    # even. First the spare bits are rounded away, as the variant does, then R carries at 2^N.
    one = np.uint32(1)
    sticky = cut | (np.uint32(lost) & to.sticky)
    odd = (sticky >> to.spare) & to.sticky
    tail = (sticky + to.addend + (odd & one)) >> to.spare
    return (tail + draw) >> (to.guard - to.spare)


# ----------------------------------------------------------------------------------------------------
# Layers
# ----------------------------------------------------------------------------------------------------


def _flush(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    rounded = np.float32(round_value(x, residual, to.rounder, draw))
    return rounded * np.float32(0.0) if abs(rounded) < to.smallest_normal else rounded


def _wrap(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # 1. x and the residual modulo the period, exactly, each with its sign; then their sum, with x's.
    period = to.period
    high, low = two_sum(x - period * np.trunc(x / period), residual - period * np.trunc(residual / period))
    turned = np.copysign(period, x) if high * x < 0.0 else 0.0
    high, rest = two_sum(high, turned)
    # 2. Rounded two bits wider than the format, then moved into [-period / 2, period / 2).
    rounded = np.float64(round_value(high, low + rest, to.rounder, draw))
    turns = np.floor((rounded + period * 0.5) / period)
    return np.float32(rounded - period * turns)


def _bound(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    rounded = np.float32(round_value(x, residual, to.rounder, draw))
    bounded = to.overflow if rounded > to.max else rounded
    bounded = to.negative_overflow if rounded < to.min else bounded
    bounded = to.infinity if x == np.float32(np.inf) else bounded
    return to.negative_infinity if x == np.float32(-np.inf) else bounded


def _join_zeros(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    return np.float32(round_value(x, residual, to.rounder, draw)) + np.float32(0.0)


def _count(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    rounded = np.float32(round_value(x, residual, to.rounder, draw))
    _note(x, residual, rounded, not np.isnan(x), to, draw)
    return rounded


_ROUNDINGS, _OVERFLOW, _UNDERFLOW = int(Event.ROUNDINGS), int(Event.OVERFLOW), int(Event.UNDERFLOW)
_FLUSHED, _ABSORBED, _TIE = int(Event.FLUSHED), int(Event.ABSORBED), int(Event.TIE)
_NAN, _ROUNDED_UP = int(Event.NAN), int(Event.ROUNDED_UP)


@inlined
def _note(x: Any, residual: Any, rounded: Any, numbers: Any, to: Any, draw: Any) -> None:
    """Count the events of rounding x + residual; `numbers`: no operand was NaN."""
    counts = to.counts
    counts[_ROUNDINGS] += 1
    counts[_NAN] += np.int64(numbers & np.isnan(rounded))
    if abs(x) < np.inf:
        # The rounding as it would be with unbounded exponents; the tail, in quanta.
        whole = np.float64(round_value(x, residual, to.unbounded, draw))
        nonzero = (x != 0.0) | (residual != 0.0)
        scale = max(abs(x), to.smallest_normal)
        quanta = abs(x) / (float_of(np.uint64(bits_of(scale) & _INFINITY64)) * to.eps)
        counts[_OVERFLOW] += np.int64((whole > to.max) | (whole < to.min))
        counts[_UNDERFLOW] += np.int64(nonzero & (whole == 0.0))
        counts[_FLUSHED] += np.int64((whole != 0.0) & (rounded == 0.0) & (abs(whole) < to.smallest_normal))
        counts[_TIE] += np.int64((residual == 0.0) & (quanta - np.floor(quanta) == 0.5))
        outward = (abs(whole) - abs(x)) - (residual if x > 0.0 else -residual)
        counts[_ROUNDED_UP] += np.int64(outward > 0.0)


def _inner(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    return round_value(x, residual, to.rounder, draw)


_ALGORITHMS = {
    Unrounded: _keep,
    MagicNearest: _round_by_magic,
    MagicClamped: _round_and_clamp,
    MagicScaled: _round_and_scale,
    BitsNearest: _round_bits,
    OffsetDeterministic: _round_by_offset,
    OffsetStochastic: _round_by_offset,
    OffsetLots: _round_by_offset,
    Flushed: _flush,
    Wrapped: _wrap,
    Ranged: _bound,
    OneZero: _join_zeros,
    TwoSum: _inner,
    ZeroDown: _inner,
    Counted: _count,
}


def uses_draw(to: Any) -> Any:
    """Whether `to` is stochastic: a constant at compile time."""


@chosen_by_type(uses_draw)
def _(to: Any) -> Any:
    return _yes if _rounder(to).instance_class in RANDOM else _no


def _yes(to: Any) -> Any:
    return True


def _no(to: Any) -> Any:
    return False


# ----------------------------------------------------------------------------------------------------
# Operations
# ----------------------------------------------------------------------------------------------------


def product(a: Any, b: Any, to: Any, draw: Any) -> Any:
    """round(a b); exact in the word of `to`."""


@chosen_by_type(product)
def _(a: Any, b: Any, to: Any, draw: Any) -> Any:
    if to.instance_class is Counted:
        return _product_counted
    return _product32 if _is_narrow(to) else _product64


def _product32(a: Any, b: Any, to: Any, draw: Any) -> Any:
    return round_value(a * b, np.float32(0.0), to, draw)


def _product64(a: Any, b: Any, to: Any, draw: Any) -> Any:
    return round_value(np.float64(a) * np.float64(b), 0.0, to, draw)


def _product_counted(a: Any, b: Any, to: Any, draw: Any) -> Any:
    x = np.float64(a) * np.float64(b)
    rounded = np.float32(round_value(x, 0.0, to.rounder, draw))
    _note(x, 0.0, rounded, not (np.isnan(a) | np.isnan(b)), to, draw)
    return rounded


def total(a: Any, b: Any, to: Any, draw: Any) -> Any:
    """round(a + b)."""


@chosen_by_type(total)
def _(a: Any, b: Any, to: Any, draw: Any) -> Any:
    if to.instance_class is Counted:
        return _total_counted
    if to.instance_class is ZeroDown:
        return _total_down
    if to.instance_class is OneZero:
        return _total_one_zero
    if to.instance_class is TwoSum:
        return _total32_with_residual if _is_narrow(to) else _total64_with_residual
    return _total32


def _total32(a: Any, b: Any, to: Any, draw: Any) -> Any:
    return round_value(a + b, np.float32(0.0), to, draw)


def _total32_with_residual(a: Any, b: Any, to: Any, draw: Any) -> Any:
    x, residual = two_sum(a, b)
    return round_value(x, residual, to.rounder, draw)


def _total64_with_residual(a: Any, b: Any, to: Any, draw: Any) -> Any:
    x, residual = two_sum(np.float64(a), np.float64(b))
    return round_value(x, residual, to.rounder, draw)


def _total_counted(a: Any, b: Any, to: Any, draw: Any) -> Any:
    rounded = np.float32(total(a, b, to.rounder, draw))
    x, residual = two_sum(np.float64(a), np.float64(b))
    _note(x, residual, rounded, not (np.isnan(a) | np.isnan(b)), to, draw)
    to.counts[_ABSORBED] += np.int64((b != 0.0) & (rounded == a) & (abs(a) < np.inf))
    return rounded


def _total_one_zero(a: Any, b: Any, to: Any, draw: Any) -> Any:
    return np.float32(total(a, b, to.rounder, draw)) + np.float32(0.0)


def _total_down(a: Any, b: Any, to: Any, draw: Any) -> Any:
    # Toward -Inf an exact zero sum is -0 unless both terms are +0 (IEEE 754-2019, 6.3).
    rounded = np.float32(total(a, b, to.rounder, draw))
    either = np.float32(-0.0) if np.signbit(a) | np.signbit(b) else np.float32(0.0)
    return either if (a == -b) & (abs(a) < np.float32(np.inf)) else rounded


@inlined
def two_sum(a: Any, b: Any) -> Any:
    """Knuth's TwoSum: x = fl(a + b) and the residual a + b - x, exactly."""
    x = a + b
    b_part = x - a
    return x, (a - (x - b_part)) + (b - b_part)


@inlined
def two_product(a: Any, b: Any) -> Any:
    """Dekker's product of float64: p = fl(a b) and a b - p, exactly."""
    spread_a, spread_b = a * 134217729.0, b * 134217729.0  # Veltkamp: halves of 26 bits
    a_high, b_high = spread_a - (spread_a - a), spread_b - (spread_b - b)
    a_low, b_low = a - a_high, b - b_high
    p = a * b
    return p, ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


@inlined
def quotient(a: Any, a_low: Any, b: Any) -> Any:
    """Return q = fl(a / b) and the rest of (a + a_low) / b, for a float64 b of at most 24 significant bits.

    The remainder a - q b is exact; its quotient is off by a few 2^-53 of itself. It is used for its
    integer part in units of 2^-10 ulp(q) and for being an integer there: the true one is a multiple of
    b's last bit, 2^-24 of such a unit, and so lies on the same side of every integer. With a_low = 0 the
    quotient of the remainder is rounded once, and b may have up to 44 bits.
    """
    q = a / b
    p, low = two_product(q, b)
    return q, (((a - p) - low) + a_low) / b


@inlined
def root(x: Any) -> Any:
    """Return s = fl(sqrt(x)) and the rest, for a float64 x that a float32 holds.

    (x - s^2) / (2 s) is the rest but for a factor of 1 + 2^-53. No irrational root of a float32 comes
    close enough to a multiple of 2^-10 ulp(s) for that to matter: tests/kernels/test_division.py.
    """
    s = np.sqrt(x)
    p, low = two_product(s, s)
    return s, ((x - p) - low) / (s + s)


def limited(x: Any, to: Any) -> Any:
    """Cut a float32 of any size to where a magic number exists; what is cut overflows all the same."""


@chosen_by_type(limited)
def _(x: Any, to: Any) -> Any:
    if to.instance_class in LAYERS:
        return _limited_inside
    if to.instance_class is MagicNearest:
        return _limited_for_magic
    return _as_is if _is_narrow(to) else _widened


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


def _limited_inside(x: Any, to: Any) -> Any:
    return limited(x, to.rounder)


def _limited_for_magic(x: Any, to: Any) -> Any:
    upper = to.input_limit if to.input_limit < x else x
    return -to.input_limit if -to.input_limit > upper else upper
