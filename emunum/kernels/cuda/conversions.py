"""Casts, codes, and what an array's values have in common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from emunum.formats import Cast, Format, Special
from emunum.kernels import contract
from emunum.kernels.contract import Extent, Operation
from emunum.kernels.cuda.calls import ANY, Array, each, flat, random_of, require_no_counts
from emunum.kernels.cuda.devices import current
from emunum.kernels.cuda.structs import layout_struct, lowered_struct
from emunum.kernels.random import Key

_CPP = {"float32": "float", "float64": "double", "uint8": "u8", "uint16": "u16", "uint32": "u32"}
_MEASURING_BLOCKS = 1024


def cast(x: Any, to: Cast, key: Key, *, out: Array | None = None, counts: None = None) -> Array:
    """Round each element of x, float32 or float64 of any shape; as cpu.cast."""
    require_no_counts(counts)
    scale = to.format.special is Special.SCALE
    narrow = x.dtype == np.float32 and not scale
    source = flat(x, np.float32 if narrow else np.float64)
    lowered = lowered_struct(contract.lower_conversion(to, ANY if narrow else None))
    random = random_of(to, key, Operation.CAST)
    result = current().empty(x.shape, np.float32) if out is None else out
    target = result.reshape(-1)
    kernel = f"cast<{lowered.type}, {_CPP[str(source.dtype)]}>"
    arguments = (source, target, np.uint64(target.size), lowered, random)
    each(kernel, target.size, arguments, random if to.stochastic else None)
    if scale:  # no zero and no sign: what rounds to 0 is the smallest one, 0 and negatives are NaN
        target[target == 0] = np.float32(to.format.smallest)
        target[~(source > 0)] = np.float32(math.nan)
    return result


def measure(x: Array) -> Extent:
    """Return an extent that holds every finite value of x. This waits for the device."""
    return _measured(x)[0]


def measured(a: Array, b: Array) -> tuple[Extent, Extent]:
    """Return the extents of two arrays, waiting for the device once."""
    of_a, of_b = _measured(a, b)
    return of_a, of_b


def _measured(*arrays: Array) -> list[Extent]:
    found = current().zeros((len(arrays), 3), np.uint32)
    for index, x in enumerate(arrays):
        source = flat(x)
        arguments = (source, np.uint64(source.size), found, np.uint32(index))
        each("measure", min(source.size, 256 * _MEASURING_BLOCKS), arguments)
    return [_extent(*map(int, row)) for row in current().host(found)]


def _extent(fractions: int, from_255: int, greatest: int) -> Extent:
    if greatest == 0:
        return Extent(1, 0, 1)
    trailing = (fractions & -fractions).bit_length() - 1 if fractions else 23
    return Extent(24 - trailing, 255 - from_255 - 150 + trailing, greatest - 126)


def encode(x: Array, format: Format) -> Array:
    """Return the codes of values of a format, uint8, uint16 or uint32; ValueError names a stranger."""
    source = flat(x)
    dtype = contract.code_dtype(format)
    if format.fixed_point:
        held = np.where(
            abs(source) <= np.float32(-format.min), source / np.float32(format.smallest), np.float32(0)
        )
        out = (held.astype(np.int64) & (format.code_count - 1)).astype(dtype)
        strange = True  # perhaps
    else:
        out = current().empty((source.size,), dtype)
        strangers = current().zeros((1,), np.uint32)
        layout = layout_struct(contract.lower_codes(format))
        each(
            f"encode<{_CPP[np.dtype(dtype).name]}>",
            source.size,
            (source, out, np.uint64(source.size), layout, strangers),
        )
        strange = bool(int(strangers[0]))
    if strange:
        lost = decode(out, format).view(np.uint32) != source.view(np.uint32)
        if format.has_nan:
            lost &= ~np.isnan(source)
        if bool(lost.any()):
            first = int(lost.argmax())
            raise ValueError(
                f"{float(source[first])!r} (element {first}) is not a value of {format}. Round first, for "
                f"example with emunum.quantize(x, {format.name!r})."
            )
    return out.reshape(x.shape)


def decode(code: Any, format: Format) -> Array:
    """Return the values of codes of any shape."""
    if format.fixed_point:
        integers = flat(code, np.int64)
        integers = integers - ((integers >> (format.bits - 1)) << format.bits)  # two's complement
        values = integers.astype(np.float64) * np.float64(format.smallest)
        return values.astype(np.float32).reshape(code.shape)
    source = flat(code, code.dtype)
    out = current().empty((source.size,), np.float32)
    layout = layout_struct(contract.lower_codes(format))
    each(f"decode<{_CPP[str(source.dtype)]}>", source.size, (source, out, np.uint64(source.size), layout))
    return out.reshape(code.shape)
