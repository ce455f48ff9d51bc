"""Convolution and its two gradients: patches of a few images at a time, and the one matrix product.

With patches P (K, places), K = C R S entries of a window in the order (channel, row, column), and places
in the order (image, row, column):

    y  = w P                      k runs over the entries
    dw = dy P^T                   k runs over the places
    dx = spread(w^T dy)           k runs over the output channels, then the terms that meet in an entry of x
                                  are added up in the order (row, column) of the window, +0 where it has none

Every sum is the accumulator's, from +0 in the order of k; padding takes part as the zeros it is. Scratch is
a fixed size, whatever the number of images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.formats import Accumulator, Cast
from emunum.kernels.contract import LANES, Extent, Operation
from emunum.kernels.cpu import patches
from emunum.kernels.cpu.calls import Array, Counts, key_words
from emunum.kernels.cpu.conversions import measure
from emunum.kernels.cpu.products import (
    integer_kernel,
    matmul,
    matmul_integers,
    order_kernel,
    with_zeros_of,
)
from emunum.kernels.cpu.threads import share
from emunum.kernels.cpu.transposition import transpose
from emunum.kernels.random import Key
from emunum.kernels.windows import Window

_GROUP = 1 << 18  # numbers of a group's patches: what a second-level cache holds
_SLAB = 1 << 22  # numbers of a slab of transposed patches: 16 MiB, which the allocator keeps
_MOST_ERRORS = 1 << 24  # numbers of dy that are put in rows at a time: 64 MiB
_ONE = Extent(1, 0, 1)

Product = Callable[[Any, Any, int], Any]
"""(left, right, number of the right one's first column) -> left right"""


def convolve(
    x: Array,
    w: Array,
    window: Window,
    product: Cast | None,
    accumulator: Accumulator,
    key: Key,
    counts: Counts | None = None,
) -> Array:
    """y[n, o, oh, ow] = sum over (c, r, s) of w[o, c, r, s] x[n, c, oh stride + r - padding, ...].

    x (N, C, H, W), w (O, C, R, S) -> y (N, O, OH, OW). The random counter of matmul, with row o and column
    (n OH + oh) OW + ow.
    """
    multiply = _multiply(product, accumulator, measure(w), measure(x), w[0].size, key, counts)
    y: Array = _correlate(x, w.reshape(len(w), -1), window, np.float32, multiply, counts)
    return with_zeros_of(accumulator.last, y)


def convolve_weights(
    dy: Array,
    x: Array,
    window: Window,
    product: Cast | None,
    accumulator: Accumulator,
    key: Key,
    counts: Counts | None = None,
) -> Array:
    """dw[o, c, r, s] = sum over (n, oh, ow) of dy[n, o, oh, ow] x[n, c, oh stride + r - padding, ...].

    dy (N, O, OH, OW), x (N, C, H, W) -> dw (O, C, R, S). The random counter of matmul, with row o and
    column k.
    """
    extents = measure(dy), measure(x)

    def part(left: Array, right: Array, origin: tuple[int, int]) -> Array:
        return matmul(left, right, product, accumulator, key, extents=extents, origin=origin, counts=counts)

    dw: Array = _weights(dy, x, window, np.float32, part)
    return dw


def convolve_input(
    dy: Array,
    w: Array,
    window: Window,
    shape: tuple[int, ...],
    product: Cast | None,
    accumulator: Accumulator,
    key: Key,
    counts: Counts | None = None,
) -> Array:
    """Return the gradient of x, of this shape (N, C, H, W): see the module.

    dy (N, O, OH, OW), w (O, C, R, S). The random counter of matmul, with row k and the place as column;
    then that of a column sum, with operation SPREAD, the index in x as column and r S + s as k.
    """
    multiply = _multiply(product, accumulator, measure(w), measure(dy), len(w), key, counts)
    terms, own = window.kernel[0] * window.kernel[1], Extent.of(accumulator.last.format)
    kernel, how = order_kernel(None, accumulator, _ONE, own, terms, counts)
    ones, tail = np.ones((1, terms), np.float32), (np.uint32(Operation.SPREAD), *key_words(key))

    def fold(spread: Array, out: Array, first: int) -> None:
        kernel(ones, spread, out, how, (first, 0, 1, 0, 1, 0, *tail), (0, 1, 0, out.shape[1]))

    dx = _input(dy, w, window, shape, np.float32, multiply, fold, counts)
    return with_zeros_of(accumulator.last, dx)


def convolve_integers(
    x: NDArray[np.int8], w: NDArray[np.int8], window: Window, bits: int, wraps: bool
) -> tuple[NDArray[np.int32], int]:
    """As convolve, of int8 in integers of `bits` bits: (y, how many additions left their range)."""
    multiply, overflows = _multiply_integers(w[0].size, bits, wraps)
    y = _correlate(x, w.reshape(len(w), -1), window, np.int32, multiply, None)
    return y, sum(overflows)


def convolve_weights_integers(
    dy: NDArray[np.int8], x: NDArray[np.int8], window: Window, bits: int, wraps: bool
) -> tuple[NDArray[np.int32], int]:
    """As convolve_weights, of int8 in integers of `bits` bits."""
    overflows: list[int] = []

    def part(left: Any, right: Any, origin: tuple[int, int]) -> Any:
        out, left_range = matmul_integers(left, right, bits, wraps)
        overflows.append(left_range)
        return out

    return _weights(dy, x, window, np.int32, part), sum(overflows)


def convolve_input_integers(
    dy: NDArray[np.int8],
    w: NDArray[np.int8],
    window: Window,
    shape: tuple[int, ...],
    bits: int,
    wraps: bool,
) -> tuple[NDArray[np.int32], int]:
    """As convolve_input, of int8 in integers of `bits` bits."""
    multiply, overflows = _multiply_integers(len(w), bits, wraps)
    top = np.int64(1) << np.int64(bits - 1)

    def fold(spread: Any, out: Any, first: int) -> None:
        total = np.zeros(out.shape[1], np.int64)
        for term in spread:
            total += term
            beyond = (total >= top) | (total < -top)
            if beyond.any():
                overflows.append(int(beyond.sum()))
                total = ((total + top) & (2 * top - 1)) - top if wraps else np.clip(total, -top, top - 1)
        out[0] = total

    return _input(dy, w, window, shape, np.int32, multiply, fold, None), sum(overflows)


def _multiply(
    product: Cast | None,
    accumulator: Accumulator,
    left: Extent,
    right: Extent,
    terms: int,
    key: Key,
    counts: Counts | None,
) -> Product:
    kernel, how = order_kernel(product, accumulator, left, right, terms, counts)
    tail = (np.uint32(Operation.MATMUL), *key_words(key))

    def multiply(a: Array, b: Array, column: int) -> Array:
        out = np.empty((len(a), b.shape[1]), np.float32)
        kernel(a, b, out, how, (column, 0, 1, 0, 1, 0, *tail), (0, len(a), 0, b.shape[1]))
        return out

    return multiply


def _multiply_integers(terms: int, bits: int, wraps: bool) -> tuple[Product, list[int]]:
    kernel, overflows = integer_kernel(terms, bits, wraps), []

    def multiply(a: Any, b: Any, column: int) -> Any:
        out = np.empty((len(a), b.shape[1]), np.int32)
        overflows.append(kernel(a, b, out, (0, len(a), 0, b.shape[1])))
        return out

    return multiply, overflows


def _correlate(
    x: Any, rows: Any, window: Window, dtype: Any, multiply: Product, counts: Counts | None
) -> Any:
    x, rows = np.ascontiguousarray(x), np.ascontiguousarray(rows)
    places = window.output(*x.shape[2:])
    images, per_image, (outputs, entries) = len(x), places[0] * places[1], rows.shape
    y = np.empty((images, outputs, *places), dtype)

    def run(first: int, last: int) -> None:
        for n0, n1 in _groups(first, last, entries * per_image):
            under = _patches(x, window, places, (n0, n1), (0, entries))
            part = multiply(rows, under, n0 * per_image)
            y[n0:n1] = part.reshape(outputs, n1 - n0, *places).swapaxes(0, 1)

    _over_images(run, images, per_image * rows.size, counts)
    return y


def _weights(dy: Any, x: Any, window: Window, dtype: Any, multiply: Callable[..., Any]) -> Any:
    dy, x = np.ascontiguousarray(dy), np.ascontiguousarray(x)
    images, outputs, *places = dy.shape
    entries, per_image = x.shape[1] * window.kernel[0] * window.kernel[1], places[0] * places[1]
    dw = np.empty((outputs, entries), dtype)
    rows, columns = max(_MOST_ERRORS // (images * per_image), 1), max(_SLAB // (images * per_image), 1)
    lanes = LANES if columns >= LANES else 1
    slabs = -(-entries // (columns - columns % lanes))
    columns = -(-entries // (slabs * lanes)) * lanes  # slabs of one size, in whole vectors
    for o in range(0, outputs, rows):
        left = np.ascontiguousarray(dy[:, o : o + rows].swapaxes(0, 1)).reshape(-1, images * per_image)
        for k0 in range(0, entries, columns):
            right = _transposed_patches(x, window, (k0, min(k0 + columns, entries)), (places[0], places[1]))
            dw[o : o + rows, k0 : k0 + columns] = multiply(left, right, (o, k0))
    return dw.reshape(outputs, x.shape[1], *window.kernel)


def _transposed_patches(x: Any, window: Window, entries: tuple[int, int], places: tuple[int, int]) -> Any:
    k0, k1 = entries
    per_image = places[0] * places[1]
    out = np.empty((len(x) * per_image, k1 - k0), x.dtype)

    def run(first: int, last: int) -> None:
        for n0, n1 in _groups(first, last, (k1 - k0) * per_image):
            under = _patches(x, window, places, (n0, n1), entries)
            if x.dtype == np.float32:
                transpose(under, out[n0 * per_image : n1 * per_image], 0)
            else:
                out[n0 * per_image : n1 * per_image] = under.T

    share(run, len(x), work=out.size)
    return out


def _patches(
    x: Any, window: Window, places: tuple[int, int], images: tuple[int, int], entries: tuple[int, int]
) -> Any:
    """(entries k0..k1, places of images n0..n1)."""
    (n0, n1), (k0, k1) = images, entries
    height, width = (size + 2 * padding for size, padding in zip(x.shape[2:], window.padding, strict=True))
    sizes = (n1 - n0, x.shape[1], height, width)
    padded = np.empty(math.prod(sizes) + patches.SLACK, x.dtype)
    patches.surround(x, window.numbers, padded[: -patches.SLACK].reshape(sizes), n0)
    out = np.empty((k1 - k0) * (n1 - n0) * places[0] * places[1] + patches.SLACK, x.dtype)
    patches.gather(padded, sizes, window.numbers, places, out, k0)
    return out[: -patches.SLACK].reshape(k1 - k0, -1)


def _input(
    dy: Any,
    w: Any,
    window: Window,
    shape: tuple[int, ...],
    dtype: Any,
    multiply: Product,
    fold: Callable[[Any, Any, int], None],
    counts: Counts | None,
) -> Any:
    images, outputs, *places = dy.shape
    rows = np.ascontiguousarray(w.reshape(outputs, -1).T)
    terms, per_image, per_input = window.kernel[0] * window.kernel[1], places[0] * places[1], shape[1:]
    dx = np.empty((images, int(np.prod(per_input))), dtype)
    size = len(rows) * per_image + terms * dx.shape[1]

    def run(first: int, last: int) -> None:
        for n0, n1 in _groups(first, last, size):
            group = n1 - n0
            right = np.ascontiguousarray(dy[n0:n1].swapaxes(0, 1)).reshape(outputs, group * per_image)
            part = multiply(rows, right, n0 * per_image)
            spread = np.empty((terms, group, *per_input), dtype)
            patches.spread(part, window.numbers, (places[0], places[1]), spread)
            fold(spread.reshape(terms, -1), dx[n0:n1].reshape(1, -1), n0 * dx.shape[1])

    _over_images(run, images, per_image * rows.size, counts)
    return dx.reshape(shape)


def _groups(first: int, last: int, size: int) -> list[tuple[int, int]]:
    """Ranges of images whose patches, `size` numbers each, fit the cache."""
    group = max(_GROUP // size, 1)
    return [(n, min(n + group, last)) for n in range(first, last, group)]


def _over_images(
    run: Callable[[int, int], None], images: int, work_of_each: int, counts: Counts | None
) -> None:
    if counts is not None:
        run(0, images)
    else:
        share(run, images, work=images * work_of_each)
