"""The bit layout of a format's codes, lowered to plain numbers."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from emunum.formats import Format


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
