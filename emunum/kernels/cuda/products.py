"""Matrix products in every order of summation, of matrices and of what lies under windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.formats import Accumulator, Cast, Order
from emunum.kernels import contract
from emunum.kernels.contract import Extent, Operation
from emunum.kernels.cuda.calls import ANY, LIMIT, Array, each, place_of, require_no_counts
from emunum.kernels.cuda.conversions import measure, measured
from emunum.kernels.cuda.devices import current
from emunum.kernels.cuda.structs import Struct, lowered_struct, struct
from emunum.kernels.random import Key

_SIDE, _SLICES = 16, 32  # SIDE and MOST_SLICES of the source
_TILES = ((4, 16, 1 << 19), (2, 16, 1 << 17), (1, 32, 0))
"""(outputs of a thread each way, terms in shared memory, least outputs for which it is worth it)."""


def matmul(
    a: Array,
    b: Array,
    product: Cast | None,
    accumulator: Cast | Accumulator,
    key: Key,
    *,
    result: Cast | None = None,
    extents: tuple[Extent, Extent] | None = None,
    origin: tuple[int, int] = (0, 0),
    operation: Operation = Operation.MATMUL,
    counts: None = None,
) -> Array:
    """acc = round(acc + round(a[i, k] b[k, j])), k = 0, 1, ..., from +0; as cpu.matmul."""
    require_no_counts(counts)
    contract.require_arithmetic(result)
    summation = accumulator if isinstance(accumulator, Accumulator) else Accumulator(cast=accumulator)
    (rows, terms), columns = a.shape, b.shape[1]
    left, right = (current().asarray(operand) for operand in (a, b))
    order = order_struct(product, summation, *(extents or measured(left, right)), terms)
    out = current().empty((rows, columns), np.float32)
    place = place_of(origin, operation, key)
    multiply(order, matrix(left), matrix(right), matrix(out), (rows, columns, terms), place, summation)
    if result is not None:
        width = contract.draw_bits(result)
        lowered = lowered_struct(contract.lower_conversion(result, ANY))
        drop = contract.drop_bits(result, width)
        size = (np.int32(rows), np.int32(columns))
        each(f"round_result<{lowered.type}>", out.size, (out, *size, lowered, np.uint32(width), drop, place))
    return out


def column_sum(x: Array, accumulator: Cast | Accumulator, key: Key, counts: None = None) -> Array:
    """acc = round(acc + x[i, j]), i = 0, 1, ..., from +0, or in another order; x (M, N) -> (N,)."""
    require_no_counts(counts)
    summation = accumulator if isinstance(accumulator, Accumulator) else Accumulator(cast=accumulator)
    terms, columns = x.shape
    right = current().asarray(x)
    order = order_struct(None, summation, ONE, measure(right), terms)
    out = current().empty((columns,), np.float32)
    place = place_of((0, 0), Operation.COLUMN_SUM, key)
    sizes = (1, columns, terms)
    multiply(order, ones("float"), matrix(right), matrix(out.reshape(1, -1)), sizes, place, summation)
    return out


def matmul_integers(a: Any, b: Any, bits: int, wraps: bool) -> tuple[Any, int]:
    """acc = acc + a[i, k] b[k, j] of int8 matrices, in integers of `bits` bits; as cpu.matmul_integers."""
    if a.dtype != np.int8 or b.dtype != np.int8:
        raise ValueError(f"integer products take int8 matrices, not {a.dtype} and {b.dtype}.")
    (rows, terms), columns = a.shape, b.shape[1]
    left, right = (current().asarray(operand) for operand in (a, b))
    out = current().empty((rows, columns), np.int32)
    order, overflows = integer_order(terms, bits, wraps)
    multiply(order, matrix(left), matrix(right), matrix(out), (rows, columns, terms))
    return out, int(overflows[0])


ONE = Extent(1, 0, 1)
"""The extent of 1."""
_NOWHERE = struct("Place", *[np.uint32(0)] * 5)


def multiply(
    order: Struct,
    left: Struct,
    right: Struct,
    target: Struct,
    sizes: tuple[int, int, int],
    place: Struct = _NOWHERE,
    summation: Accumulator | None = None,
) -> None:
    """Launch target[i, j] = the sum over k of left[i, k] right[k, j]; sizes = (rows, columns, terms)."""
    rows, columns, _ = sizes
    if max(sizes) >= LIMIT:
        raise ValueError(f"a product of {sizes} rows, columns and terms is too large: take smaller batches.")
    if rows * columns == 0:
        return
    types = (left.type, right.type, target.type)
    kernel, tile, _ = kernel_of(order, types, rows * columns, summation)
    side = _SIDE * tile
    blocks = -(-rows // side) * -(-columns // side)
    zero = np.float32(0.0 if summation and not summation.last.format.has_negative_zero else -0.0)
    current().launch(kernel, blocks, (order, left, right, target, *map(np.int32, sizes), place, zero))


def kernel_of(
    order: Struct, types: tuple[str, str, str], outputs: int, summation: Accumulator | None
) -> tuple[str, int, int]:
    """Return a kernel's name, the outputs of a thread each way, and the terms that it takes in at a time."""
    most = _most_outputs(order, summation)
    tile, slab, _ = next(entry for entry in _TILES if entry[0] <= most and outputs >= entry[2])
    return f"multiply<{order.type}, {', '.join(types)}, {tile}, {slab}>", tile, slab


def _most_outputs(order: Struct, summation: Accumulator | None) -> int:
    """Return how many outputs a thread can have each way, by what an order keeps of each in registers."""
    if not order.type.startswith(("Sequential", "Chunked", "WideIntegers")):
        return 1
    return 2 if summation is not None and summation.stochastic else 4


def order_struct(product: Cast | None, accumulator: Accumulator, a: Extent, b: Extent, terms: int) -> Struct:
    """Return an order of summation as the class of source/orders.cuh that adds in it."""
    s = contract.lower_summation(product, accumulator, a, b)
    drops = (s.product_drop, s.drop)
    of_product, of_sum, of_tree, of_outer, of_result = (lowered_struct(lowered) for lowered in s[:5])
    chunk = np.int32(min(accumulator.chunk or max(terms, 1), LIMIT - 1))
    match accumulator.order:
        case Order.SEQUENTIAL:
            return _order("Sequential", (of_product, of_sum), (s.width,), *drops)
        case Order.CHUNKED:
            widths = (s.width, s.outer_width)
            return _order("Chunked", (of_product, of_sum, of_outer), widths, chunk, *drops, s.outer_drop)
        case Order.PAIRWISE:
            return _order("Pairwise", (of_product, of_sum, of_tree), (s.width,), *drops)
        case Order.KAHAN:
            return _order("Kahan", (of_product, of_sum, of_tree), (s.width,), *drops)
        case Order.EXACT:
            magic, slices = np.zeros(_SLICES), contract.slices_of(s.term, terms)
            magic[: slices.size] = slices
            numbers = (np.uint32(s.zero_down), np.uint32(slices.size), magic)
            return _order("Exact", (of_product, of_result), (s.width,), *drops, *numbers)
        case Order.TENSOR_CORE:
            core = accumulator.core
            assert core is not None
            promotes = np.uint32(accumulator.chunk is not None)
            sizes = (np.int32(core.terms), np.int32(core.fraction_bits), chunk, promotes)
            return _order("TensorCore", (of_result, of_outer), (s.outer_width,), *sizes, s.outer_drop)


def _order(name: str, roundings: tuple[Struct, ...], widths: tuple[int, ...], *rest: Any) -> Struct:
    arguments = ", ".join([*(rounding.type for rounding in roundings), *map(str, widths)])
    return struct(f"{name}<{arguments}>", *roundings, *rest)


def integer_order(terms: int, bits: int, wraps: bool) -> tuple[Struct, Any]:
    """Return sums of so many products in integers of `bits` bits, and where additions out of range count."""
    overflows = current().zeros((1,), np.uint64)
    if bits == 32 and terms < 1 << 17:  # 2^17 products of at most 2^14 each
        return struct("WideIntegers", np.uint8(0)), overflows
    return narrow_integers(bits, wraps, overflows), overflows


def narrow_integers(bits: int, wraps: bool, overflows: Any) -> Struct:
    """Return sums in integers of `bits` bits that are looked at after each addition."""
    top, pointer = np.int64(1 << (bits - 1)), np.uint64(current().pointer(overflows))
    return struct("NarrowIntegers", top, pointer, np.uint32(wraps))


def matrix(x: Any) -> Struct:
    """Return a matrix of the device, transposed or not, as an operand or a target."""
    row, column = (stride // x.dtype.itemsize for stride in x.strides)
    return struct(f"Matrix<{cpp(x)}>", _pointer(x), np.int64(row), np.int64(column))


def images(x: Any) -> Struct:
    """Return contiguous images (N, C, H, W) as a matrix of C rows and N H W columns."""
    numbers = (np.int32(x.shape[1]), np.int32(x.shape[2] * x.shape[3]))
    return struct(f"Images<{cpp(x)}>", _pointer(x), *numbers)


def ones(type: str) -> Struct:
    """Return the matrix of ones."""
    return struct(f"Ones<{type}>", np.int32(0))


def cpp(x: Any) -> str:
    """Return the C++ type of an array's elements."""
    return {"float32": "float", "int8": "i8", "int32": "i32"}[str(x.dtype)]


def _pointer(x: Any) -> np.uint64:
    return np.uint64(current().pointer(x))
