"""Values to code points and back, and what an array's values have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.cpu.bits import bits_of, float_of, left, right
from emunum.kernels.cpu.compile import compiled, inlined, widest_vectors

_SIGN, _MAGNITUDE, _INFINITY = np.uint32(0x80000000), np.uint32(0x7FFFFFFF), np.uint32(0x7F800000)
_NONE = np.uint32(0xFFFFFFFF)


@inlined
def _value_of(code: Any, layout: Any) -> Any:
    # 1. Sign and magnitude; an unsigned format has layout.sign = 0.
    negative = code & layout.sign
    magnitude = np.uint32(code & np.uint32(~layout.sign))
    # 2. A normal value's fields need only a shift and another bias. Below, the code counts quanta, and so
    #    it does in the first binade, which may begin at 2^-127, where float32 has subnormals.
    shifted = left(magnitude, np.uint32(np.uint32(23) - layout.mantissa_bits))
    normal = float_of(np.uint32(shifted + layout.rebias))
    value = np.float32(np.int32(magnitude)) * layout.quantum if magnitude < layout.counted else normal
    value = layout.zero if magnitude < layout.least_code else value
    # 3. Codes beyond the largest finite value, and the NaN that some formats keep on -0.
    value = value if magnitude <= layout.max_code else np.float32(np.nan)
    value = np.float32(np.inf) if magnitude == layout.infinity else value
    value = np.float32(np.nan) if code == layout.nan else value
    return (-value if negative != np.uint32(0) else value) + layout.zero_sign


@inlined
def _code_of(x: Any, layout: Any) -> Any:
    bits = bits_of(x)
    magnitude = np.uint32(bits & _MAGNITUDE)
    # The two cases of _value_of, backwards; what x loses here, the caller sees by decoding.
    normal = right(np.uint32(magnitude - layout.rebias), np.uint32(np.uint32(23) - layout.mantissa_bits))
    value = float_of(magnitude)
    small = value < layout.counted_value
    count = np.uint32(np.int32(value / layout.quantum)) if small else np.uint32(0)
    code = count if small else normal
    code = layout.infinity if magnitude == _INFINITY else code
    code = np.uint32(code | layout.sign) if bits >= _SIGN else code
    return layout.nan if magnitude > _INFINITY else code


@compiled
def encode(x: Any, out: Any, layout: Any, begin: Any, end: Any) -> Any:
    """Write the codes of x[begin:end]; return how many values have none."""
    widest_vectors()
    x_block, out_block = x[begin:end], out[begin:end]
    strangers = np.uint32(0)
    for n in range(end - begin):
        bits = bits_of(x_block[n])
        code = _code_of(x_block[n], layout)
        out_block[n] = code
        stored = np.uint32(code & layout.stored)
        same = bits_of(_value_of(stored, layout)) == bits
        has_code = layout.nan != _NONE if np.uint32(bits & _MAGNITUDE) > _INFINITY else same
        strangers = np.uint32(strangers + (np.uint32(0) if has_code else np.uint32(1)))
    return strangers


@compiled
def decode(codes: Any, out: Any, layout: Any, begin: Any, end: Any) -> None:
    """out = the values of codes."""
    widest_vectors()
    codes_block, out_block = codes[begin:end], out[begin:end]
    for n in range(end - begin):
        out_block[n] = _value_of(np.uint32(codes_block[n]), layout)


@compiled
def measure(x: Any, begin: Any, end: Any) -> Any:
    """Return (significand bits or'ed, least, greatest exponent field) of the finite nonzero x[begin:end].

    Every finite value is then a multiple of the last bit set at the least field; (0, 255, 0) if none is.
    """
    widest_vectors()
    fractions, least, greatest = np.uint32(0), np.uint32(255), np.uint32(0)
    part = x[begin:end]
    for n in range(part.size):
        magnitude = np.uint32(bits_of(part[n]) & _MAGNITUDE)
        counts = (magnitude > np.uint32(0)) & (magnitude < _INFINITY)
        field = max(np.uint32(magnitude >> np.uint32(23)), np.uint32(1))
        fractions = np.uint32(fractions | (magnitude if counts else np.uint32(0)))
        least = min(least, field if counts else np.uint32(255))
        greatest = max(greatest, field if counts else np.uint32(0))
    return np.uint32(fractions & np.uint32(0x7FFFFF)), least, greatest
