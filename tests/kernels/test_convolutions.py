"""Convolution is the matrix product of patches: the same bits as NumPy's windows and one cpu.matmul."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from inputs import cast
from numpy.lib.stride_tricks import sliding_window_view
from oracles import assert_same

import emunum
from emunum.formats import Accumulator, Cast, parse_accumulator
from emunum.kernels import cpu
from emunum.kernels.contract import Event, Operation
from emunum.kernels.cpu import convolutions
from emunum.kernels.random import Key
from emunum.kernels.windows import Window

F32 = np.float32
SPREAD = 13
GEOMETRIES = {
    "3x3 padded": ((3, 2, 6, 5), 4, Window(kernel=(3, 3), padding=(1, 1))),
    "5x5": ((2, 1, 7, 9), 3, Window(kernel=(5, 5))),
    "1x1": ((2, 3, 4, 4), 2, Window(kernel=(1, 1))),
    "stride 2": ((2, 2, 7, 8), 3, Window(kernel=(3, 3), stride=(2, 2), padding=(1, 1))),
    "stride 3 beyond": ((1, 2, 9, 8), 2, Window(kernel=(2, 2), stride=(3, 3))),
    "uneven": ((2, 2, 5, 6), 2, Window(kernel=(1, 4), stride=(2, 1), padding=(0, 3))),
    "all padding": ((1, 1, 1, 1), 1, Window(kernel=(2, 2), padding=(2, 2))),
    "one place": ((4, 2, 3, 3), 5, Window(kernel=(3, 3))),
}
ARITHMETIC: dict[str, tuple[Cast | None, Accumulator]] = {
    "full e4m3": (cast("e4m3"), Accumulator(cast=cast("e4m3"))),
    "stochastic": (cast("e4m3", "stochastic"), Accumulator(cast=cast("e4m3", "stochastic"))),
    "32 random bits": (None, Accumulator(cast=cast("e5m2", "stochastic", random_bits=32))),
    "fma float32": (None, Accumulator(cast=cast("float32"))),
    "chunks": (cast("e5m2"), parse_accumulator("chunked:4", cast("e6m9", "stochastic"))),
    "pairwise": (cast("e5m2"), parse_accumulator("pairwise", cast("bfloat16", "down"))),
    "kahan": (cast("float16"), parse_accumulator("kahan", cast("float16"))),
    "tensor core": (None, parse_accumulator("tensor_core:h100_fp8:8", cast("float32"))),
    "one zero": (cast("e4m3fnuz"), Accumulator(cast=cast("bfloat16"))),
}


def patches_of(x: np.ndarray, window: Window) -> np.ndarray:
    """(K, places), by NumPy's windows over the padded image."""
    (rows, columns), (up, left) = window.kernel, window.padding
    padded = np.pad(x, ((0, 0), (0, 0), (up, up), (left, left)))
    views = sliding_window_view(padded, (rows, columns), (2, 3))[
        :, :, :: window.stride[0], :: window.stride[1]
    ]
    return np.ascontiguousarray(views.transpose(1, 4, 5, 0, 2, 3)).reshape(x.shape[1] * rows * columns, -1)


def spread_of(parts: np.ndarray, window: Window, shape: tuple[int, ...]) -> np.ndarray:
    """(R S, entries of x): each patch entry's number where it came from, found with patches of indices."""
    index = np.arange(1, np.prod(shape) + 1, dtype=np.float64).reshape(shape)
    places = patches_of(index, window).astype(int)
    terms = window.kernel[0] * window.kernel[1]
    out = np.zeros((terms, int(np.prod(shape)) + 1), parts.dtype)
    for k, (row, at) in enumerate(zip(parts, places, strict=True)):
        out[k % terms, at] = row
    return out[:, 1:]


def operands(name: str, product: Cast | None) -> tuple[Any, ...]:
    shape, outputs, window = GEOMETRIES[name]
    rng = np.random.default_rng(len(name))
    to = product or cast("e4m3")
    x, w = (
        cpu.cast(rng.normal(size=size).astype(F32), to, Key(1))
        for size in (shape, (outputs, shape[1], *window.kernel))
    )
    y_shape = (shape[0], outputs, *window.output(*shape[2:]))
    return x, w, cpu.cast(rng.normal(size=y_shape).astype(F32), to, Key(2)), window


@pytest.mark.parametrize("how", ARITHMETIC)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_forward_and_gradients_are_matrix_products_of_patches(name: str, how: str) -> None:
    product, accumulator = ARITHMETIC[how]
    x, w, dy, window = operands(name, product)
    key, (images, outputs), places = Key(99), dy.shape[:2], dy.shape[2:]
    patches, rows = patches_of(x, window), w.reshape(outputs, -1)
    errors = np.ascontiguousarray(dy.swapaxes(0, 1)).reshape(outputs, -1)

    expected = cpu.matmul(rows, patches, product, accumulator, key)
    y = cpu.convolve(x, w, window, product, accumulator, key)
    assert_same(y, expected.reshape(outputs, images, *places).swapaxes(0, 1))

    expected = cpu.matmul(errors, patches.T, product, accumulator, key)
    dw = cpu.convolve_weights(dy, x, window, product, accumulator, key)
    assert_same(dw, expected.reshape(w.shape))

    parts = cpu.matmul(rows.T, errors, product, accumulator, key)
    terms = spread_of(parts, window, x.shape)
    ones = np.ones((1, len(terms)), F32)
    expected = cpu.matmul(ones, terms, None, accumulator, key, operation=Operation(SPREAD))
    dx = cpu.convolve_input(dy, w, window, x.shape, product, accumulator, key)
    assert_same(dx, expected.reshape(x.shape))


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("bits", [32, 11])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_integers_are_added_in_their_order(name: str, bits: int, wraps: bool) -> None:
    shape, outputs, window = GEOMETRIES[name]
    rng = np.random.default_rng(bits)
    x = rng.integers(-127, 128, shape).astype(np.int8)
    w = rng.integers(-127, 128, (outputs, shape[1], *window.kernel)).astype(np.int8)
    places = window.output(*shape[2:])
    dy = rng.integers(-127, 128, (shape[0], outputs, *places)).astype(np.int8)
    patches, rows = patches_of(x, window), w.reshape(outputs, -1)
    errors = np.ascontiguousarray(dy.swapaxes(0, 1)).reshape(outputs, -1)

    y, overflows = cpu.convolve_integers(x, w, window, bits, wraps)
    expected, beyond = cpu.matmul_integers(rows, patches, bits, wraps)
    assert (y.reshape(shape[0], outputs, -1).swapaxes(0, 1).reshape(outputs, -1) == expected).all()
    assert overflows == beyond
    dw, overflows = cpu.convolve_weights_integers(dy, x, window, bits, wraps)
    expected, beyond = cpu.matmul_integers(errors, np.ascontiguousarray(patches.T), bits, wraps)
    assert (dw.reshape(outputs, -1) == expected).all()
    assert overflows == beyond

    dx, overflows = cpu.convolve_input_integers(dy, w, window, shape, bits, wraps)
    parts, beyond = cpu.matmul_integers(np.ascontiguousarray(rows.T), errors, bits, wraps)
    total, top = [0] * int(np.prod(shape)), 1 << (bits - 1)
    for term in spread_of(parts.astype(np.int64), window, shape):
        for n, value in enumerate(term.tolist()):
            total[n] += value
            if not -top <= total[n] < top:
                beyond += 1
                wrapped = (total[n] + top) % (2 * top) - top
                total[n] = wrapped if wraps else min(max(total[n], -top), top - 1)
    assert dx.reshape(-1).tolist() == total
    assert overflows == beyond


@pytest.mark.parametrize("how", ["full e4m3", "stochastic", "chunks"])
def test_groups_slabs_and_threads_decide_nothing(
    how: str, threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    product, accumulator = ARITHMETIC[how]
    rng = np.random.default_rng(0)
    to = product or cast("e4m3")
    window = Window(kernel=(3, 3), padding=(1, 1))
    x, w, dy = (
        cpu.cast(rng.normal(size=size).astype(F32), to, Key(1))
        for size in ((9, 4, 12, 11), (5, 4, 3, 3), (9, 5, 12, 11))
    )

    def results() -> list[np.ndarray]:
        return [
            cpu.convolve(x, w, window, product, accumulator, Key(3)),
            cpu.convolve_weights(dy, x, window, product, accumulator, Key(3)),
            cpu.convolve_input(dy, w, window, x.shape, product, accumulator, Key(3)),
        ]

    emunum.set_threads(1)
    expected = results()
    for count, group, slab in (
        (1, 1, 1 << 11),
        (2, 1 << 12, 1 << 13),
        (4, 1 << 14, 1),
        (2, 1 << 14, 20 * 9 * 12 * 11),  # slabs of 16 columns, and the rest
        (3, 1 << 20, 1 << 20),
    ):
        emunum.set_threads(count)
        monkeypatch.setattr(convolutions, "_GROUP", group)
        monkeypatch.setattr(convolutions, "_SLAB", slab)
        monkeypatch.setattr(convolutions, "_MOST_ERRORS", 2 * slab)
        for found, asked in zip(results(), expected, strict=True):
            assert_same(found, asked)


def test_counting_changes_no_bit_and_counts_every_rounding() -> None:
    product, accumulator = ARITHMETIC["stochastic"]
    x, w, dy, window = operands("3x3 padded", product)
    counts = np.zeros(len(Event), np.int64)
    y = cpu.convolve(x, w, window, product, accumulator, Key(4), counts)
    assert_same(y, cpu.convolve(x, w, window, product, accumulator, Key(4)))
    assert counts[Event.ROUNDINGS] == 2 * y.size * w[0].size
    counts[:] = 0
    dw = cpu.convolve_weights(dy, x, window, product, accumulator, Key(4), counts)
    assert_same(dw, cpu.convolve_weights(dy, x, window, product, accumulator, Key(4)))
    assert counts[Event.ROUNDINGS] == 2 * w.size * dy[:, 0].size
    counts[:] = 0
    dx = cpu.convolve_input(dy, w, window, x.shape, product, accumulator, Key(4), counts)
    assert_same(dx, cpu.convolve_input(dy, w, window, x.shape, product, accumulator, Key(4)))
    # a product and a sum for each of the places' patch entries and output channels, then R S sums an entry
    assert counts[Event.ROUNDINGS] == 2 * w.size * dy[:, 0].size + 9 * x.size


def test_windows_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Window(kernel=(0, 3))
    with pytest.raises(ValueError, match="2 x 2 is smaller than a window of 3 x 3"):
        Window(kernel=(3, 3)).output(2, 2)
    assert Window(kernel=(3, 3), stride=(2, 2), padding=(1, 1)).output(7, 8) == (4, 4)
