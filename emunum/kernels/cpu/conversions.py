"""Casts, codes, and what an array's values have in common."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.formats import Cast, Format, Special
from emunum.kernels import contract
from emunum.kernels.contract import Event, Extent, Operation
from emunum.kernels.cpu import codes, elementwise
from emunum.kernels.cpu.calls import ANY, Array, Counts, counted, random_of, share_elements
from emunum.kernels.random import Key


def cast(
    x: NDArray[np.floating[Any]],
    to: Cast,
    key: Key,
    *,
    out: Array | None = None,
    counts: Counts | None = None,
) -> Array:
    """Round each element of x, float32 or float64 of any shape; draws as in contract/counters.py.

    `out`, contiguous and of x's shape, takes the result in place of a new array.
    """
    narrow = x.dtype == np.float32
    if to.format.special is Special.SCALE:
        return _cast_to_scale(x, to, key, out, counts)
    lowered = counted(to, counts) or contract.lower_conversion(to, ANY if narrow else None)
    random = random_of(to, key, Operation.CAST)
    result = np.empty(x.shape, np.float32) if out is None else out
    source, target = np.ascontiguousarray(x).reshape(-1), result.reshape(-1)

    share_elements(partial(elementwise.cast, source, target, lowered, random), target.size, counts)
    return result


def _cast_to_scale(
    x: NDArray[np.floating[Any]], to: Cast, key: Key, out: Array | None, counts: Counts | None
) -> Array:
    """Scales have no zero and no sign: what rounds to 0 is the smallest one, 0 and negatives are NaN."""
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        source = np.ascontiguousarray(x, np.float64).reshape(-1)
    result = np.empty(x.shape, np.float32) if out is None else out
    target = result.reshape(-1)
    random = random_of(to, key, Operation.CAST)
    lowered = counted(to, counts) or contract.lower_conversion(to, None)
    if counts is not None:  # what is no scale becomes NaN: nothing else happens to it
        counts[Event.NAN] += np.count_nonzero(source <= 0)
        source = np.where(source > 0, source, np.nan)
    share_elements(partial(elementwise.cast, source, target, lowered, random), target.size, counts)
    target[target == 0] = np.float32(to.format.smallest)
    target[~(source > 0)] = np.nan
    return result


def measure(x: Array) -> Extent:
    """Return an extent that holds every finite value of x."""
    flat = np.ascontiguousarray(x).reshape(-1)
    parts = share_elements(partial(codes.measure, flat), flat.size)
    greatest = max(int(part[2]) for part in parts)
    if greatest == 0:
        return Extent(1, 0, 1)
    fractions, least = int(np.bitwise_or.reduce([part[0] for part in parts])), min(int(p[1]) for p in parts)
    trailing = (fractions & -fractions).bit_length() - 1 if fractions else 23
    return Extent(24 - trailing, least - 150 + trailing, greatest - 126)


def encode(x: Array, format: Format) -> NDArray[np.unsignedinteger[Any]]:
    """Return the codes of values of a format, uint8, uint16 or uint32; ValueError names a stranger."""
    flat = np.ascontiguousarray(x).reshape(-1)
    out = np.empty(flat.size, contract.code_dtype(format))
    if format.fixed_point:
        with np.errstate(invalid="ignore"):
            integers = np.where(abs(flat) <= -format.min, flat / np.float32(format.smallest), 0)
        out[:] = integers.astype(np.int64) & (format.code_count - 1)
        strangers = [1]  # perhaps
    else:
        strangers = share_elements(partial(codes.encode, flat, out, contract.lower_codes(format)), flat.size)
    wrong = _without_code(flat, out, format) if any(strangers) else []
    if wrong:
        value = float(flat[wrong[0]])
        raise ValueError(
            f"{value!r} (element {wrong[0]}) is not a value of {format}. Round first, for example with "
            f"emunum.quantize(x, {format.name!r})."
        )
    return out.reshape(x.shape)


def _without_code(x: Array, code: NDArray[np.unsignedinteger[Any]], format: Format) -> list[int]:
    """Return the indices of the values that their codes do not give back."""
    lost = decode(code, format).view(np.uint32) != x.view(np.uint32)
    if format.has_nan:
        lost &= ~np.isnan(x)
    return np.flatnonzero(lost).tolist()


def decode(code: NDArray[np.unsignedinteger[Any]], format: Format) -> Array:
    """Return the values of codes of any shape."""
    flat = np.ascontiguousarray(code).reshape(-1)
    if format.fixed_point:
        integers = flat.astype(np.int64)
        integers -= integers >> (format.bits - 1) << format.bits  # two's complement
        return (integers * format.smallest).astype(np.float32).reshape(code.shape)
    out = np.empty(flat.size, np.float32)
    layout = contract.lower_codes(format)
    share_elements(partial(codes.decode, flat, out, layout), flat.size)
    return out.reshape(code.shape)
