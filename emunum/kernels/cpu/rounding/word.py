"""Every mode by integer arithmetic: the significand aligned in a word of 32 or of 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.contract import WordDeterministic, WordStochastic
from emunum.kernels.cpu.bits import bits_of, float_of, left, right
from emunum.kernels.cpu.compile import chosen_by_type
from emunum.kernels.cpu.rounding.choice import rounds

# float32: sign 1, exponent 8, significand 23; the aligned word keeps the hidden bit at bit 30.
_SIGN32, _EXPONENT32, _FRACTION32 = np.uint32(0x80000000), np.uint32(0x7F800000), np.uint32(0x7FFFFF)
_HIDDEN32, _MAGNITUDE32 = np.uint32(0x800000), np.uint32(0x7FFFFFFF)
# float64: sign 1, exponent 11, significand 52; the aligned word keeps the hidden bit at bit 62.
_SIGN64, _FRACTION64 = np.uint64(1 << 63), np.uint64((1 << 52) - 1)
_HIDDEN64, _MAGNITUDE64 = np.uint64(1 << 52), np.uint64((1 << 63) - 1)
_INFINITY64 = np.uint64(0x7FF << 52)


@rounds(WordDeterministic, WordStochastic, words=(32,))
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


@rounds(WordDeterministic, WordStochastic, words=(64,))
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
