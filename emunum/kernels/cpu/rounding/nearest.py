"""Nearest even in a handful of float32 instructions: by magic number, or on the bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.contract import BitsNearest, MagicClamped, MagicNearest, MagicScaled, Unrounded
from emunum.kernels.cpu.bits import bits_of, float_of, left, right
from emunum.kernels.cpu.compile import inlined
from emunum.kernels.cpu.rounding.choice import rounds

# float32: sign 1, exponent 8, significand 23.
_SIGN, _EXPONENT = np.uint32(0x80000000), np.uint32(0x7F800000)
_MAGNITUDE = np.uint32(0x7FFFFFFF)


@rounds(Unrounded)
def _keep(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    return x


@rounds(MagicNearest)
def _round_by_magic(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # 1. The sign goes aside: nearest is symmetric.
    bits = bits_of(x)
    magnitude = float_of(np.uint32(bits & _MAGNITUDE))
    # 2. magic = 1.5 2^(E - m + 23) with E >= emin, so that its ulp is the quantum of |x|.
    magic = float_of(np.uint32(max(np.uint32(bits & _EXPONENT), to.floor) + to.offset))
    # 3. The addition rounds |x| to a multiple of the quantum, ties to even because magic / quantum is
    #    even; the subtraction is exact. Subnormals need nothing more: their quantum is that of emin.
    rounded = (magnitude + magic) - magic
    # 4. Overflow is tested on the rounded value. NaN compares false and passes; Inf overflows.
    rounded = to.overflow if rounded > to.max else rounded
    return float_of(np.uint32(bits_of(rounded) | np.uint32(bits & _SIGN)))


@inlined
def _signed_magic(x: Any, to: Any) -> Any:
    # Steps 2 and 3 of _round_by_magic work for either sign: 1.5 2^k and what is added to it lie in one
    # binade. Only -0 is lost, for (-0 + magic) - magic is +0.
    magic = float_of(np.uint32(max(np.uint32(bits_of(x) & _EXPONENT), to.floor) + to.offset))
    return (x + magic) - magic


@rounds(MagicClamped)
def _round_and_clamp(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    rounded = _signed_magic(x, to)
    rounded = to.max if rounded > to.max else rounded
    return -to.max if rounded < -to.max else rounded


@rounds(MagicScaled)
def _round_and_scale(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # Both products are exact, but for the first where it overflows, as the format does.
    return (_signed_magic(x, to) * to.up) * to.down


@rounds(BitsNearest)
def _round_bits(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # 1. Where emin is float32's, the bits of |x|, read as an integer, are evenly spaced numbers whose
    #    tail is the same 23 - m bits everywhere, subnormals included; a carry moves on to the next binade.
    bits = bits_of(x)
    magnitude = np.uint32(bits & _MAGNITUDE)
    # 2. Half a quantum less one, and one more where S is odd: the carry goes out of tails above a half
    #    and of ties to an odd S.
    odd = np.uint32(right(magnitude, to.shift) & np.uint32(1))
    word = np.uint32(np.uint32(magnitude + to.half) + odd)
    rounded = float_of(left(right(word, to.shift), to.shift))
    # 3. Overflow; what was done to the bits of a NaN means nothing.
    rounded = to.overflow if rounded > to.max else rounded
    rounded = float_of(np.uint32(bits_of(rounded) | np.uint32(bits & _SIGN)))
    return x if magnitude > _EXPONENT else rounded
