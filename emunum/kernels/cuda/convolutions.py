"""Convolution and its two gradients: the one matrix product, of patches that are never laid out.

The three sums, their orders and their random counters are those of the CPU's (kernels/cpu/convolutions.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from emunum.formats import Accumulator, Cast
from emunum.kernels.contract import Extent, Operation
from emunum.kernels.cuda.calls import Array, flat, place_of, require_no_counts
from emunum.kernels.cuda.conversions import measured
from emunum.kernels.cuda.devices import current
from emunum.kernels.cuda.pooling import require_small, window_struct
from emunum.kernels.cuda.products import (
    ONE,
    cpp,
    images,
    integer_order,
    matrix,
    multiply,
    narrow_integers,
    ones,
    order_struct,
)
from emunum.kernels.cuda.structs import Struct, struct
from emunum.kernels.random import Key
from emunum.kernels.windows import Window

_SLAB = 1 << 26
"""Numbers of the terms of dx that are there at a time: 256 MiB."""


def convolve(
    x: Array,
    w: Array,
    window: Window,
    product: Cast | None,
    accumulator: Accumulator,
    key: Key,
    counts: None = None,
) -> Array:
    """y[n, o, oh, ow] = sum over (c, r, s) of w[o, c, r, s] x[n, c, oh stride + r - padding, ...]."""
    require_no_counts(counts)
    x, w = _on_device(x), _on_device(w)
    order = order_struct(product, accumulator, *measured(w, x), w.size // len(w))
    place = place_of((0, 0), Operation.MATMUL, key)
    return _correlate(x, w, window, np.float32, order, place, accumulator)


def convolve_weights(
    dy: Array,
    x: Array,
    window: Window,
    product: Cast | None,
    accumulator: Accumulator,
    key: Key,
    counts: None = None,
) -> Array:
    """dw[o, c, r, s] = sum over (n, oh, ow) of dy[n, o, oh, ow] x[n, c, oh stride + r - padding, ...]."""
    require_no_counts(counts)
    dy, x = _on_device(dy), _on_device(x)
    order = order_struct(product, accumulator, *measured(dy, x), _places(dy))
    place = place_of((0, 0), Operation.MATMUL, key)
    return _weights(dy, x, window, np.float32, order, place, accumulator)


def convolve_input(
    dy: Array,
    w: Array,
    window: Window,
    shape: tuple[int, ...],
    product: Cast | None,
    accumulator: Accumulator,
    key: Key,
    counts: None = None,
) -> Array:
    """Return the gradient of x, of this shape (N, C, H, W)."""
    require_no_counts(counts)
    dy, w = _on_device(dy), _on_device(w)
    order = order_struct(product, accumulator, *measured(w, dy), len(w))
    own = Extent.of(accumulator.last.format)
    fold = order_struct(None, accumulator, ONE, own, window.kernel[0] * window.kernel[1])

    def at(operation: Operation, column: int) -> tuple[Any, ...]:
        return place_of((0, column), operation, key), accumulator

    return _input(dy, w, window, shape, np.float32, order, fold, at)


def convolve_integers(x: Any, w: Any, window: Window, bits: int, wraps: bool) -> tuple[Any, int]:
    """As convolve, of int8 in integers of `bits` bits: (y, how many additions left their range)."""
    x, w = _on_device(x), _on_device(w)
    order, overflows = integer_order(w.size // len(w), bits, wraps)
    return _correlate(x, w, window, np.int32, order), int(overflows[0])


def convolve_weights_integers(dy: Any, x: Any, window: Window, bits: int, wraps: bool) -> tuple[Any, int]:
    """As convolve_weights, of int8 in integers of `bits` bits."""
    dy, x = _on_device(dy), _on_device(x)
    order, overflows = integer_order(_places(dy), bits, wraps)
    return _weights(dy, x, window, np.int32, order), int(overflows[0])


def convolve_input_integers(
    dy: Any, w: Any, window: Window, shape: tuple[int, ...], bits: int, wraps: bool
) -> tuple[Any, int]:
    """As convolve_input, of int8 in integers of `bits` bits."""
    dy, w = _on_device(dy), _on_device(w)
    order, overflows = integer_order(len(w), bits, wraps)
    fold = narrow_integers(bits, wraps, overflows)
    return _input(dy, w, window, shape, np.int32, order, fold), int(overflows[0])


def _correlate(x: Any, w: Any, window: Window, dtype: Any, order: Struct, *place: Any) -> Any:
    y = current().empty((len(x), len(w), *window.output(*x.shape[2:])), dtype)
    sizes = (len(w), _places(y), w.size // len(w))
    multiply(order, matrix(w.reshape(len(w), -1)), _patches(x, window), images(y), sizes, *place)
    return y


def _weights(dy: Any, x: Any, window: Window, dtype: Any, order: Struct, *place: Any) -> Any:
    outputs, entries = dy.shape[1], x.shape[1] * window.kernel[0] * window.kernel[1]
    dw = current().empty((outputs, entries), dtype)
    under = _patches(x, window)
    right = struct(f"Transposed<{under.type}>", under)
    multiply(order, images(dy), right, matrix(dw), (outputs, entries, _places(dy)), *place)
    return dw.reshape(outputs, x.shape[1], *window.kernel)


def _input(
    dy: Any,
    w: Any,
    window: Window,
    shape: tuple[int, ...],
    dtype: Any,
    order: Struct,
    fold: Struct,
    at: Callable[[Operation, int], tuple[Any, ...]] = lambda operation, column: (),
) -> Any:
    rows = w.reshape(len(w), -1).T
    entries, per_image, per_input = len(rows), dy.shape[2] * dy.shape[3], int(np.prod(shape[1:]))
    dx = current().empty((len(dy), per_input), dtype)
    slab = max(_SLAB // (entries * per_image), 1)
    taps = window.kernel[0] * window.kernel[1]
    for n0 in range(0, len(dy), slab):
        part, out = dy[n0 : n0 + slab], dx[n0 : n0 + slab].reshape(1, -1)
        terms = current().empty((entries, _places(part)), dtype)
        require_small("a gradient", out.size)
        where = at(Operation.MATMUL, n0 * per_image)
        multiply(order, matrix(rows), images(part), matrix(terms), (*terms.shape, len(w)), *where)
        numbers = window_struct(window, (len(part), *shape[1:]))
        spread = struct(
            f"Spread<{cpp(terms)}>", np.uint64(current().pointer(terms)), np.int64(terms.shape[1]), numbers
        )
        where = at(Operation.SPREAD, n0 * per_input)
        multiply(fold, ones(cpp(terms)), spread, matrix(out), (1, out.size, taps), *where)
    return dx.reshape(shape)


def _patches(x: Any, window: Window) -> Struct:
    pointer = np.uint64(current().pointer(x))
    return struct(f"Patches<{cpp(x)}>", pointer, window_struct(window, x.shape))


def _places(y: Any) -> int:
    """N OH OW."""
    return int(y.shape[0] * y.shape[2] * y.shape[3])


def _on_device(x: Any) -> Any:
    return flat(x, x.dtype).reshape(x.shape)
