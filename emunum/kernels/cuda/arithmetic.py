"""Elementwise arithmetic: sums, products, quotients, roots, each rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.formats import Cast, Overflow
from emunum.kernels import contract
from emunum.kernels.contract import Operation
from emunum.kernels.cuda.calls import (
    ANY,
    Array,
    each,
    flat,
    operand,
    random_of,
    require_no_counts,
    shape_of,
)
from emunum.kernels.cuda.devices import current
from emunum.kernels.cuda.structs import lowered_struct
from emunum.kernels.random import Key


def add(
    a: Array, b: Array, to: Cast, key: Key, operation: Operation = Operation.ADD, counts: None = None
) -> Array:
    """round(a + b), operands broadcast."""
    return _sum(a, b, np.float32(1), to, key, operation, counts)


def subtract(a: Array, b: Array, to: Cast, key: Key, counts: None = None) -> Array:
    """round(a - b), operands broadcast."""
    return _sum(a, b, np.float32(-1), to, key, Operation.SUBTRACT, counts)


def _sum(
    a: Array, b: Array, sign: np.float32, to: Cast, key: Key, operation: Operation, counts: None
) -> Array:
    require_no_counts(counts)
    contract.require_arithmetic(to)
    lowered = lowered_struct(contract.lower_sum(to, ANY, ANY, one_zero=not to.format.has_negative_zero))
    return _combined(f"sum<{lowered.type}>", a, b, (sign,), (), lowered, to, key, operation)


def multiply(
    a: Array, b: Array, to: Cast, key: Key, operation: Operation = Operation.MULTIPLY, counts: None = None
) -> Array:
    """round(a b), operands broadcast."""
    require_no_counts(counts)
    contract.require_arithmetic(to)
    lowered = lowered_struct(contract.lower_product(to, ANY, ANY, one_zero=not to.format.has_negative_zero))
    return _combined(f"multiply_each<{lowered.type}>", a, b, (), (), lowered, to, key, operation)


def divide(a: Array, b: Array, to: Cast, key: Key, counts: None = None) -> Array:
    """round(a / b), operands broadcast; x / 0 is an infinity, but NaN in a P3109 format."""
    require_no_counts(counts)
    _require_division(to)
    lowered = lowered_struct(contract.lower_quotient(to))
    after = (np.uint32(to.format.p3109),)
    return _combined(f"divide<{lowered.type}>", a, b, (), after, lowered, to, key, Operation.DIVIDE)


def _combined(
    kernel: str,
    a: Any,
    b: Any,
    before: Any,
    after: Any,
    lowered: Any,
    to: Cast,
    key: Key,
    operation: Operation,
) -> Array:
    shape, random = shape_of(a, b), random_of(to, key, operation)
    out = current().empty(shape, np.float32)
    arguments = (*operand(a, shape), *operand(b, shape), *before, out, np.uint64(out.size), *after)
    each(kernel, out.size, (*arguments, lowered, random), random if to.stochastic else None)
    return out


def square_root(x: Array, to: Cast, key: Key, counts: None = None) -> Array:
    """round(sqrt(x)); NaN below zero, -0 for -0."""
    require_no_counts(counts)
    _require_division(to)
    lowered, random = lowered_struct(contract.lower_quotient(to)), random_of(to, key, Operation.SQUARE_ROOT)
    source = flat(x)
    out = current().empty(x.shape, np.float32)
    arguments = (source, out, np.uint64(out.size), lowered, random)
    each(f"square_root_each<{lowered.type}>", out.size, arguments, random if to.stochastic else None)
    return out


def rescale(x: Any, scale: Any, divisor: Any, to: Cast, key: Key) -> Array:
    """round(x scale / divisor), operands broadcast: 31, 48 and 24 significant bits; as cpu.rescale."""
    lowered, random = lowered_struct(contract.lower_quotient(to)), random_of(to, key, Operation.RESCALE)
    shape = shape_of(x, scale, divisor)
    x = current().asarray(x)
    types = {"int32": "i32", "float32": "float"}
    kind = types.get(str(x.dtype), "double")
    source = x if x.shape == shape else np.broadcast_to(x, shape)
    source = flat(source, source.dtype if kind != "double" else np.float64)
    out = current().empty(shape, np.float32)
    arguments = (
        source, *operand(scale, shape, np.float64), *operand(divisor, shape, np.float64),
        out, np.uint64(out.size), lowered, random,
    )  # fmt: skip
    each(f"rescale<{lowered.type}, {kind}>", out.size, arguments, random if to.stochastic else None)
    return out


def _require_division(to: Cast) -> None:
    contract.require_arithmetic(to)
    if to.rule is Overflow.WRAP:
        raise ValueError(
            f"quotients and roots do not wrap: {to.format} has no modular division. Choose saturate."
        )


def scaled_add(y: Array, alpha: np.float32, x: Array, to: Cast, key: Key, counts: None = None) -> Array:
    """round(y + round(alpha x)): both roundings into the same format, alpha a float32 constant."""
    product = multiply(np.asarray(alpha, np.float32), x, to, key, Operation.SCALED_ADD_PRODUCT, counts)
    return add(y, product, to, key, Operation.SCALED_ADD_SUM, counts)


def move(y: Array, alpha: np.float32, x: Array, to: Cast, key: Key, counts: None = None) -> Array:
    """round(y + round(alpha round(x - y))): scaled_add(y, alpha, subtract(x, y))."""
    return scaled_add(y, alpha, subtract(x, y, to, key, counts), to, key, counts)
