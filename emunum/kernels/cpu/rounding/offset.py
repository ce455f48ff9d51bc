"""Every other mode on the bits of a float32, lifted above 2^emin: cut at the quantum, as the mode says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from emunum.kernels.contract import OffsetDeterministic, OffsetLots, OffsetStochastic
from emunum.kernels.cpu.bits import bits_of, float_of, left, right
from emunum.kernels.cpu.compile import chosen_by_type
from emunum.kernels.cpu.rounding.choice import rounds

_SIGN, _EXPONENT = np.uint32(0x80000000), np.uint32(0x7F800000)
_MAGNITUDE = np.uint32(0x7FFFFFFF)


@rounds(OffsetDeterministic, OffsetStochastic, OffsetLots)
def _round_by_offset(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # 1. The sign goes aside; that of the residual counts relative to it.
    bits = bits_of(x)
    magnitude = float_of(np.uint32(bits & _MAGNITUDE))
    rest = float_of(np.uint32(bits_of(residual) ^ np.uint32(bits & _SIGN)))
    # 2. Below 2^emin the quantum stays that of emin: adding 2^emin lifts |x| to where a float32's bits
    #    have that weight. `rest` takes what the addition loses.
    offset, lifted, rest = lift(magnitude, rest, to)
    # 3. The bits cut at 24: one less where the rest is negative, which then counts from there.
    below = rest < np.float32(0.0)
    word = np.uint32(bits_of(lifted) - np.uint32(below))
    # 4. The mode: add something below the quantum, then cut. A NaN stays as it is.
    rounded = float_of(cut_bits(word, rest, below, bits, to, draw)) - offset
    rounded = rounded if magnitude <= np.float32(np.inf) else magnitude
    # 5. Overflow, as above; then the sign.
    rounded = to.overflow if rounded > to.max else rounded
    return float_of(np.uint32(bits_of(rounded) | np.uint32(bits & _SIGN)))


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
    inverse = float_of(np.uint32(np.uint32(254 << 23) - np.uint32(word & _EXPONENT)))
    scaled = (rest * inverse) * to.scale
    scaled = scaled if abs(scaled) < np.float32(1 << 30) else np.float32(0.0)  # NaN beside an infinity
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
