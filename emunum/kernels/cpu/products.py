"""Matrix products in every order of summation, and the sums that are matrix products with ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.formats import Accumulator, Cast, Order
from emunum.kernels import contract
from emunum.kernels.contract import Extent, Operation
from emunum.kernels.cpu import integers, orders
from emunum.kernels.cpu import matmul as sequential
from emunum.kernels.cpu.calls import ANY, Array, Counts, Result, counted, key_words
from emunum.kernels.cpu.conversions import measure
from emunum.kernels.cpu.threads import get_threads, share
from emunum.kernels.cpu.transposition import transpose
from emunum.kernels.random import Key

_NARROW = 32  # outputs with fewer columns than this are computed transposed
_PANEL = 1 << 18  # numbers of a transposed panel: what a second-level cache holds
_LEAST_ROWS = 32  # rows of a tile, over which blocks of b are used again
_LEAST_PANEL, _MOST_PANEL = 64, 256  # rows of a panel


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
    counts: Counts | None = None,
) -> Array:
    """acc = round(acc + round(a[i, k] b[k, j])), k = 0, 1, ..., from +0; a (M, K), b (K, N) -> (M, N).

    `product` None leaves the products exact (fma). `result` rounds once more at the end. `extents` bound
    what a and b hold and are measured where not given. `origin` is the (row, column) of the output's
    first entry in a larger product of which this is a part: its random bits are that entry's.
    """
    summation = accumulator if isinstance(accumulator, Accumulator) else Accumulator(cast=accumulator)
    contract.require_arithmetic(result)
    kernel, how = order_kernel(product, summation, *(extents or (measure(a), measure(b))), a.shape[1], counts)
    final = summation.last

    def run(a: Array, b: Array, out: Array, place: tuple[Any, ...], tile: tuple[int, int, int, int]) -> None:
        kernel(a, b, out, how, place, tile)
        if result is not None:
            r0, r1, c0, c1 = tile
            with_zeros_of(final, out[r0:r1, c0:c1])
            bits = contract.draw_bits(result)
            lowered = counted(result, counts) or contract.lower_conversion(result, ANY)
            sequential.round_result(out, lowered, bits, contract.drop_bits(result, bits), place, tile)

    tail = (np.uint32(operation), *key_words(key))
    (m, terms), n = a.shape, b.shape[1]
    if n >= _NARROW or n >= m:
        out = np.empty((m, n), np.float32)
        place = (origin[1], 0, 1, origin[0], 1, 0, *tail)
        x, y = np.ascontiguousarray(a), np.ascontiguousarray(b)
        _share_tiles(lambda tile: run(x, y, out, place, tile), out.shape, terms, counts)
        return with_zeros_of(result or final, out)
    # Few columns: rows become the lanes.
    out = np.empty((n, m), np.float32)
    left, source = np.ascontiguousarray(b.T), np.ascontiguousarray(a)
    if m <= _MOST_PANEL:
        whole = np.empty((terms, m), np.float32)
        transpose(source, whole, 0)
        place = (origin[1], 1, 0, origin[0], 0, 1, *tail)
        _share_tiles(lambda tile: run(left, whole, out, place, tile), out.shape, terms, counts)
        return with_zeros_of(result or final, np.ascontiguousarray(out.T))
    # Many rows: a panel of them at a time, transposed by the thread that uses it.
    rows = min(max(_PANEL // max(terms, 1), _LEAST_PANEL), _MOST_PANEL)

    def panels(first: int, last: int) -> None:
        room = np.empty(terms * rows, np.float32)
        for begin in range(first, last, rows):
            width = min(rows, last - begin)
            panel = room[: terms * width].reshape(terms, width)
            transpose(source, panel, begin)
            part = np.empty((n, width), np.float32)
            place = (origin[1], 1, 0, origin[0] + begin, 0, 1, *tail)
            run(left, panel, part, place, (0, n, 0, width))
            out[:, begin : begin + width] = part

    if counts is not None:
        panels(0, m)
    else:
        share(panels, m, work=m * n * terms, grain=_LEAST_PANEL)
    return with_zeros_of(result or final, np.ascontiguousarray(out.T))


def order_kernel(
    product: Cast | None, accumulator: Accumulator, a: Extent, b: Extent, terms: int, counts: Counts | None
) -> tuple[Callable[..., None], tuple[Any, ...]]:
    """Return the kernel of an order of summation and what it needs to know: kernel(a, b, out, how, ...)."""
    s = contract.lower_summation(product, accumulator, a, b, counts)
    random, outer_random = (s.width, s.product_drop, s.drop), (s.outer_width, s.outer_drop)
    match accumulator.order:
        case Order.CHUNKED:
            how = (s.to_product, s.to_sum, s.to_outer, accumulator.chunk, random, outer_random)
            return orders.matmul_chunked, how
        case Order.PAIRWISE:
            return orders.matmul_pairwise, (s.to_product, s.to_sum, s.to_tree, random)
        case Order.KAHAN:
            return orders.matmul_kahan, (s.to_product, s.to_sum, s.to_tree, random)
        case Order.EXACT:
            slices = contract.slices_of(s.term, terms)
            return orders.matmul_exact, (s.to_product, s.to_result, s.zero_down, slices, random)
        case Order.TENSOR_CORE:
            core = accumulator.core
            assert core is not None
            promotes = accumulator.chunk is not None
            chunk = accumulator.chunk or max(terms, 1)
            return orders.matmul_tensor_core, (
                s.to_result, s.to_outer, core.terms, core.fraction_bits, chunk, promotes, outer_random,
            )  # fmt: skip
        case Order.SEQUENTIAL:
            if not any(cast is not None and cast.stochastic for cast in (product, accumulator.cast)):
                return sequential.matmul_plain, (s.to_product, s.to_sum)
            return sequential.matmul_random, (s.to_product, s.to_sum, random)


def matmul_integers(a: Any, b: Any, bits: int, wraps: bool) -> tuple[NDArray[np.int32], int]:
    """acc = acc + a[i, k] b[k, j] of int8 matrices (M, K), (K, N) in integers of `bits` bits, 2..32.

    Beyond their range sums saturate or wrap. Returns the int32 product and how many additions left it.
    """
    if a.dtype != np.int8 or b.dtype != np.int8:
        raise ValueError(f"integer products take int8 matrices, not {a.dtype} and {b.dtype}.")
    x, y = np.ascontiguousarray(a), np.ascontiguousarray(b)
    out = np.empty((x.shape[0], y.shape[1]), np.int32)
    kernel = integer_kernel(x.shape[1], bits, wraps)
    overflows = _share_tiles(lambda tile: kernel(x, y, out, tile), out.shape, work=x.shape[1])
    return out, sum(overflows)


def integer_kernel(terms: int, bits: int, wraps: bool) -> Callable[..., int]:
    """Return the kernel of sums of so many products: kernel(a, b, out, tile) -> additions out of range."""
    if bits == 32 and terms < 1 << 17:  # 2^17 products of at most 2^14 each

        def wide(a: Any, b: Any, out: Any, tile: tuple[int, int, int, int]) -> int:
            integers.matmul_wide(a, b, out, tile)
            return 0

        return wide
    return lambda a, b, out, tile: int(integers.matmul_narrow(a, b, out, bits, wraps, tile))


def column_sum(x: Array, accumulator: Cast | Accumulator, key: Key, counts: Counts | None = None) -> Array:
    """acc = round(acc + x[i, j]), i = 0, 1, ..., from +0, or in another order; x (M, N) -> (N,)."""
    ones = np.ones((1, x.shape[0]), np.float32)
    out = matmul(ones, x, None, accumulator, key, operation=Operation.COLUMN_SUM, counts=counts)
    return out.reshape(-1)


def _share_tiles(
    job: Callable[[tuple[int, int, int, int]], Result],
    shape: tuple[int, int],
    work: int,
    counts: Counts | None = None,
) -> list[Result]:
    rows, columns = shape
    total = rows * columns * work
    if counts is not None:
        return [job((0, rows, 0, columns))]
    if rows >= get_threads():
        grain = min(_LEAST_ROWS, -(-rows // get_threads()))
        return share(lambda begin, end: job((begin, end, 0, columns)), rows, total, grain=grain)
    return share(lambda begin, end: job((0, rows, begin, end)), columns, total, grain=64)


def with_zeros_of(to: Cast, out: Array) -> Array:
    """Formats without -0 have one zero. Inside a sum in such a format its sign decides nothing."""
    if not to.format.has_negative_zero:
        with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
            out += np.float32(0.0)
    return out
