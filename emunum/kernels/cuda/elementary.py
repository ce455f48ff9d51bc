"""exp and log of float64 arrays, masks: elementwise kernels that round nothing of a format."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from emunum.kernels.contract import Operation
from emunum.kernels.cuda.calls import each, flat
from emunum.kernels.cuda.devices import current
from emunum.kernels.cuda.structs import u32s
from emunum.kernels.random import Key

TYPES = {
    "float32": "float",
    "float64": "double",
    "int8": "i8",
    "int32": "i32",
    "int64": "i64",
    "uint8": "u8",
    "uint16": "u16",
}
"""C++ types of arrays that are moved as they are."""


def exp(x: Any) -> Any:
    """e^x of float32 or float64 numbers, as float64 within 1 ulp; kernels/elementary.py says how."""
    return _each("exp_each", x)


def log(x: Any) -> Any:
    """Natural logarithm of float32 or float64 numbers, as float64 within 1 ulp."""
    return _each("log_each", x)


def _each(kernel: str, x: Any) -> Any:
    source = flat(x, np.float64)
    out = current().empty(x.shape, np.float64)
    each(kernel, out.size, (source, out, np.uint64(out.size)))
    return out


def keep(shape: tuple[int, ...], rate: float, key: Key) -> Any:
    """Return a mask, True with probability 1 - rate: element n is kept where its draw >= rate 2^32."""
    random = u32s("Random", (32, 0, Operation.KEEP, *key.words))
    out = current().empty(shape, np.bool_)
    threshold = np.uint64(math.ceil(rate * 2.0**32))
    each("keep", out.size, (out, np.uint64(out.size), threshold, random), random)
    return out


def select(condition: Any, x: Any) -> Any:
    """x where the condition, broadcast to it, holds, else +0, whatever x is there."""
    condition, source = current().asarray(condition), flat(x, x.dtype)
    if condition.shape != x.shape:
        condition = np.broadcast_to(condition, x.shape)
    out = current().empty(x.shape, source.dtype)
    each(
        f"select<{TYPES[str(source.dtype)]}>",
        out.size,
        (flat(condition, np.bool_), source, out, np.uint64(out.size)),
    )
    return out
