"""Windows over images, exactly: the largest of each, their terms side by side, and the way back.

x (N, C, H, W) holds images, y (N, C, OH, OW) a number a window; kernels see N C planes and fill
begin..end-1 of them. Nothing is rounded: sums over what is laid out here are the accumulator's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.kernels.cpu.compile import compiled, inlined, widest_vectors
from emunum.kernels.cpu.threads import share
from emunum.kernels.windows import Window

Numbers = NDArray[Any]
"""float32, or the integers of a tensor with a scale."""
Winners = NDArray[np.unsignedinteger[Any]]

_HALVES = Window(kernel=(2, 2), stride=(2, 2))


def max_pool(x: Numbers, window: Window) -> tuple[Numbers, Winners]:
    """Return the largest number of each window and where it is there, r S + s: both (N, C, OH, OW).

    Padding never wins. The first of equal numbers does, in index order, and the first NaN before all.
    """
    assert all(pad < size for pad, size in zip(window.padding, window.kernel, strict=True)), "empty windows"
    planes, places = _planes(x), window.output(*x.shape[2:])
    taps = window.kernel[0] * window.kernel[1]
    y = np.empty((len(planes), *places), x.dtype)
    winners = np.empty(y.shape, np.min_scalar_type(taps))
    job = partial(_max_pool, planes, y, winners, window.numbers)
    if window == _HALVES:
        job = partial(_max_pool_2x2, planes, y, winners)
    share(job, len(planes), work=y.size * taps)
    shape = (*x.shape[:2], *places)
    return y.reshape(shape), winners.reshape(shape)


def window_terms(x: Numbers, window: Window) -> Numbers:
    """Return (R S, N, C, OH, OW): row r S + s has number (r, s) of every window, +0 where it is padding."""
    planes, places = _planes(x), window.output(*x.shape[2:])
    out = np.zeros((window.kernel[0] * window.kernel[1], len(planes), *places), x.dtype)
    share(partial(_window_terms, planes, out, window.numbers), len(planes), work=out.size)
    return out.reshape(len(out), *x.shape[:2], *places)


def pixel_terms(dy: Numbers, winners: Winners | None, window: Window, shape: tuple[int, ...]) -> Numbers:
    """Return (T, N, C, H, W): what each pixel gets from the up to T windows that cover it, in index order.

    dy (N, C, OH, OW), shape = (N, C, H, W), T = ceil(R / row stride) ceil(S / column stride). A window hands
    its dy to every pixel, or to its winner alone; the rest is +0.
    """
    planes = _planes(dy)
    (rows, columns), (down, right) = window.kernel, window.stride
    out = np.zeros((-(-rows // down) * -(-columns // right), len(planes), *shape[2:]), dy.dtype)
    if winners is None:
        job = partial(_spread, planes, out, window.numbers)
    else:
        job = partial(_hand_to_winners, planes, _planes(winners), out, window.numbers)
    share(job, len(planes), work=out.size)
    return out.reshape(len(out), *shape)


def _planes(x: Numbers) -> Numbers:
    return np.ascontiguousarray(x).reshape(x.shape[0] * x.shape[1], *x.shape[2:])


@inlined
def _inside(tap: Any, stride: Any, pad: Any, size: Any, count: Any) -> Any:
    """Return the range of windows n in 0..count - 1 with 0 <= n stride + tap - pad < size."""
    low = max((pad - tap + stride - 1) // stride, 0)
    high = max((size - 1 + pad - tap) // stride + 1, 0)
    return min(low, count), min(high, count)


@inlined
def _wins(value: Any, top: Any) -> Any:
    return (value > top) | ((value != value) & (top == top))


@compiled
def _max_pool(x: Any, y: Any, winners: Any, window: Any, begin: Any, end: Any) -> None:
    """One number of every window of a row at a time: windows are lanes."""
    widest_vectors()
    rows, columns, stride_h, stride_w, pad_h, pad_w = window
    _, height, width = x.shape
    _, out_height, out_width = y.shape
    nobody = rows * columns
    ranges = np.empty((columns, 2), np.int64)
    for s in range(columns):
        ranges[s] = _inside(s, stride_w, pad_w, width, out_width)
    for p in range(begin, end):
        for i in range(out_height):
            tops, places = y[p, i], winners[p, i]
            for j in range(out_width):
                tops[j], places[j] = 0, nobody
            for r in range(rows):
                h = i * stride_h + r - pad_h
                if 0 <= h < height:
                    for s in range(columns):
                        low, high = ranges[s]
                        source = x[p, h][low * stride_w + s - pad_w :]
                        top, place, own = tops[low:high], places[low:high], r * columns + s
                        if stride_w == 2:
                            _compare(source, 2, top, place, own, nobody)
                        else:
                            _compare(source, stride_w, top, place, own, nobody)


@inlined
def _compare(source: Any, stride: Any, top: Any, place: Any, own: Any, nobody: Any) -> None:
    """Let numbers of a row, a stride apart, compete for their windows."""
    for j in range(top.size):
        value = source[j * stride]
        wins = _wins(value, top[j]) | (place[j] == nobody)
        top[j], place[j] = value if wins else top[j], own if wins else place[j]


@compiled
def _max_pool_2x2(x: Any, y: Any, winners: Any, begin: Any, end: Any) -> None:
    """As _max_pool for windows of 2 x 2 side by side, the usual ones: neighbours are lanes."""
    widest_vectors()
    _, out_height, out_width = y.shape
    for p in range(begin, end):
        for i in range(out_height):
            upper, lower = x[p, 2 * i][: 2 * out_width], x[p, 2 * i + 1][: 2 * out_width]
            tops, places = y[p, i], winners[p, i]
            for j in range(out_width):
                top, winner = upper[2 * j], np.uint8(0)
                value = upper[2 * j + 1]
                wins = _wins(value, top)
                top, winner = value if wins else top, np.uint8(1) if wins else winner
                value = lower[2 * j]
                wins = _wins(value, top)
                top, winner = value if wins else top, np.uint8(2) if wins else winner
                value = lower[2 * j + 1]
                wins = _wins(value, top)
                tops[j], places[j] = value if wins else top, np.uint8(3) if wins else winner


@compiled
def _window_terms(x: Any, out: Any, window: Any, begin: Any, end: Any) -> None:
    """Fill the rows of terms one by one; out is 0 so far."""
    widest_vectors()
    rows, columns, stride_h, stride_w, pad_h, pad_w = window
    _, height, width = x.shape
    _, _, out_height, out_width = out.shape
    for r in range(rows):
        top, bottom = _inside(r, stride_h, pad_h, height, out_height)
        for s in range(columns):
            low, high = _inside(s, stride_w, pad_w, width, out_width)
            terms = out[r * columns + s]
            for p in range(begin, end):
                for i in range(top, bottom):
                    source = x[p, i * stride_h + r - pad_h][low * stride_w + s - pad_w :]
                    line = terms[p, i][low:high]
                    for j in range(high - low):
                        line[j] = source[j * stride_w]


# Of the T_h = ceil(R / stride) windows that can cover a row h of pixels, counted so that the last is the
# floor((h + pad) / stride)-th one, window i with h = i stride - pad + r is number T_h - 1 - r div stride:
# 0, 1, ... in index order. So it is r, and nothing else, that says which row of terms a number goes to.


@inlined
def _slots(window: Any) -> Any:
    """Return the row of terms of each number (r, s) of a window."""
    rows, columns, stride_h, stride_w, _, _ = window
    slots_h, slots_w = (rows + stride_h - 1) // stride_h, (columns + stride_w - 1) // stride_w
    slots = np.empty((rows, columns), np.int64)
    for r in range(rows):
        for s in range(columns):
            slots[r, s] = (slots_h - 1 - r // stride_h) * slots_w + slots_w - 1 - s // stride_w
    return slots


@compiled
def _hand_to_winners(dy: Any, winners: Any, out: Any, window: Any, begin: Any, end: Any) -> None:
    rows, columns, stride_h, stride_w, pad_h, pad_w = window
    _, _, height, width = out.shape
    _, out_height, out_width = dy.shape
    slots = _slots(window)
    offsets = np.empty(rows * columns, np.int64)
    for r in range(rows):
        for s in range(columns):
            offsets[r * columns + s] = slots[r, s] * (out.size // len(out)) + r * width + s
    flat = out.reshape(-1)
    for p in range(begin, end):
        for i in range(out_height):
            origin = (p * height + i * stride_h - pad_h) * width - pad_w
            for j in range(out_width):
                flat[origin + j * stride_w + offsets[winners[p, i, j]]] = dy[p, i, j]


@compiled
def _spread(dy: Any, out: Any, window: Any, begin: Any, end: Any) -> None:
    rows, columns, stride_h, stride_w, pad_h, pad_w = window
    _, _, height, width = out.shape
    _, out_height, out_width = dy.shape
    slots = _slots(window)
    for r in range(rows):
        top, bottom = _inside(r, stride_h, pad_h, height, out_height)
        for s in range(columns):
            low, high = _inside(s, stride_w, pad_w, width, out_width)
            terms = out[slots[r, s]]
            for p in range(begin, end):
                for i in range(top, bottom):
                    line = terms[p, i * stride_h + r - pad_h][low * stride_w + s - pad_w :]
                    source = dy[p, i][low:high]
                    for j in range(high - low):
                        line[j * stride_w] = source[j]
