"""Elementwise arithmetic: sums, products, quotients, roots, each rounded once."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.formats import Cast, Overflow
from emunum.kernels import contract
from emunum.kernels.contract import Event, Operation
from emunum.kernels.cpu import elementwise
from emunum.kernels.cpu.calls import ANY, Array, Counts, counted, random_of, share_elements
from emunum.kernels.random import Key


def add(
    a: Array,
    b: Array,
    to: Cast,
    key: Key,
    operation: Operation = Operation.ADD,
    counts: Counts | None = None,
) -> Array:
    """round(a + b), operands broadcast."""
    return _sum(a, b, np.float32(1), to, key, operation, counts)


def subtract(a: Array, b: Array, to: Cast, key: Key, counts: Counts | None = None) -> Array:
    """round(a - b), operands broadcast."""
    return _sum(a, b, np.float32(-1), to, key, Operation.SUBTRACT, counts)


def _sum(
    a: Array, b: Array, sign: np.float32, to: Cast, key: Key, operation: Operation, counts: Counts | None
) -> Array:
    contract.require_arithmetic(to)
    one_zero = not to.format.has_negative_zero
    lowered = counted(to, counts, sums=True) or contract.lower_sum(to, ANY, ANY, one_zero=one_zero)
    random = random_of(to, key, operation)
    x, y, shape = _flat_pair(a, b)
    out = np.empty(x.size, np.float32)
    share_elements(partial(elementwise.add, x, y, sign, out, lowered, random), out.size, counts)
    return out.reshape(shape)


def multiply(
    a: Array,
    b: Array,
    to: Cast,
    key: Key,
    operation: Operation = Operation.MULTIPLY,
    counts: Counts | None = None,
) -> Array:
    """round(a b), operands broadcast."""
    contract.require_arithmetic(to)
    one_zero = not to.format.has_negative_zero
    lowered = counted(to, counts) or contract.lower_product(to, ANY, ANY, one_zero=one_zero)
    random = random_of(to, key, operation)
    x, y, shape = _flat_pair(a, b)
    out = np.empty(x.size, np.float32)
    share_elements(partial(elementwise.multiply, x, y, out, lowered, random), out.size, counts)
    return out.reshape(shape)


def divide(a: Array, b: Array, to: Cast, key: Key, counts: Counts | None = None) -> Array:
    """round(a / b), operands broadcast; x / 0 is an infinity, but NaN in a P3109 format."""
    contract.require_arithmetic(to)
    _require_division(to)
    lowered = counted(to, counts) or contract.lower_quotient(to)
    random = random_of(to, key, Operation.DIVIDE)
    x, y, shape = _flat_pair(a, b)
    out = np.empty(x.size, np.float32)
    share_elements(partial(elementwise.divide, x, y, out, lowered, random), out.size, counts)
    if to.format.p3109:
        undefined = (y == 0) & np.isfinite(x)
        if counts is not None:
            counts[Event.NAN] += np.count_nonzero(undefined & ~np.isnan(out))
        out[undefined] = np.nan
    return out.reshape(shape)


def square_root(x: Array, to: Cast, key: Key, counts: Counts | None = None) -> Array:
    """round(sqrt(x)); NaN below zero, -0 for -0."""
    contract.require_arithmetic(to)
    _require_division(to)
    lowered = counted(to, counts) or contract.lower_quotient(to)
    random = random_of(to, key, Operation.SQUARE_ROOT)
    flat = np.ascontiguousarray(x).reshape(-1)
    out = np.empty(flat.size, np.float32)
    share_elements(partial(elementwise.square_root, flat, out, lowered, random), out.size, counts)
    return out.reshape(x.shape)


def rescale(x: Any, scale: Any, divisor: Any, to: Cast, key: Key) -> Array:
    """round(x scale / divisor), operands broadcast: 31, 48 and 24 significant bits.

    With scale = 1, x may be any float64 and the divisor have 44 bits: see rounding.quotient.
    """
    lowered, random = contract.lower_quotient(to), random_of(to, key, Operation.RESCALE)
    shape = np.broadcast_shapes(np.shape(x), np.shape(scale), np.shape(divisor))
    flat = np.ascontiguousarray(np.broadcast_to(x, shape)).reshape(-1)
    if flat.dtype not in (np.int32, np.float32):
        flat = flat.astype(np.float64)
    scales, divisors = (_repeated(part, shape) for part in (scale, divisor))
    out = np.empty(flat.size, np.float32)
    share_elements(partial(elementwise.rescale, flat, scales, divisors, out, lowered, random), out.size)
    return out.reshape(shape)


def _repeated(x: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """x broadcast and flat; of one number, as many as the kernel reads at a time."""
    if np.size(x) == 1:
        return np.full(min(math.prod(shape), elementwise.CHUNK), x, np.float64)
    return np.ascontiguousarray(np.broadcast_to(x, shape), np.float64).reshape(-1)


def _require_division(to: Cast) -> None:
    if to.rule is Overflow.WRAP:
        raise ValueError(
            f"quotients and roots do not wrap: {to.format} has no modular division. Choose saturate."
        )


def scaled_add(
    y: Array, alpha: np.float32, x: Array, to: Cast, key: Key, counts: Counts | None = None
) -> Array:
    """round(y + round(alpha x)): both roundings into the same format, alpha a float32 constant."""
    product = multiply(np.asarray(alpha, np.float32), x, to, key, Operation.SCALED_ADD_PRODUCT, counts)
    return add(y, product, to, key, Operation.SCALED_ADD_SUM, counts)


def _flat_pair(a: Array, b: Array) -> tuple[Array, Array, tuple[int, ...]]:
    shape = np.broadcast_shapes(a.shape, b.shape)
    x, y = (v if v.shape == shape else np.broadcast_to(v, shape).copy() for v in (a, b))
    return np.ascontiguousarray(x).reshape(-1), np.ascontiguousarray(y).reshape(-1), shape
