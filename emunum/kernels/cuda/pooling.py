"""Windows over images, exactly: the largest of each, their terms side by side, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.cuda.calls import LIMIT, each, flat
from emunum.kernels.cuda.devices import current
from emunum.kernels.cuda.elementary import TYPES
from emunum.kernels.cuda.structs import Struct, struct
from emunum.kernels.windows import Window


def window_struct(window: Window, shape: tuple[int, ...]) -> Struct:
    """Return a window that slides over images of this shape (N, C, H, W)."""
    _, channels, height, width = shape
    numbers = (channels, height, width, *window.output(height, width), *window.numbers)
    return struct("Window", *(np.int32(number) for number in numbers))


def max_pool(x: Any, window: Window) -> tuple[Any, Any]:
    """Return the largest number of each window and where it is there, r S + s; as cpu.max_pool."""
    assert all(pad < size for pad, size in zip(window.padding, window.kernel, strict=True)), "empty windows"
    shape = (*x.shape[:2], *window.output(*x.shape[2:]))
    source = flat(x, x.dtype)
    y = current().empty(shape, source.dtype)
    winners = current().empty(shape, np.min_scalar_type(window.kernel[0] * window.kernel[1]))
    kernel = f"max_pool<{TYPES[str(y.dtype)]}, {TYPES[str(winners.dtype)]}>"
    each(kernel, y.size, (source, y, winners, np.uint64(y.size), window_struct(window, x.shape)))
    return y, winners


def window_terms(x: Any, window: Window) -> Any:
    """Return (R S, N, C, OH, OW): row r S + s has number (r, s) of every window, +0 where it is padding."""
    taps = window.kernel[0] * window.kernel[1]
    out = current().empty((taps, *x.shape[:2], *window.output(*x.shape[2:])), x.dtype)
    arguments = (flat(x, x.dtype), out, np.uint64(out.size), window_struct(window, x.shape))
    each(f"window_terms<{TYPES[str(out.dtype)]}>", out.size, arguments)
    return out


def pixel_terms(dy: Any, winners: Any, window: Window, shape: tuple[int, ...]) -> Any:
    """Return (T, N, C, H, W): what each pixel gets from the windows that cover it; as cpu.pixel_terms."""
    (rows, columns), (down, right) = window.kernel, window.stride
    out = current().zeros((-(-rows // down) * -(-columns // right), *shape), dy.dtype)
    source = flat(dy, dy.dtype)
    chosen = flat(winners, winners.dtype) if winners is not None else current().zeros((1,), np.uint8)
    to_winners = "false" if winners is None else "true"
    kernel = f"pixel_terms<{TYPES[str(source.dtype)]}, {TYPES[str(chosen.dtype)]}, {to_winners}>"
    plane_numbers = np.uint64(out.size // len(out))
    arguments = (source, chosen, out, np.uint64(source.size), plane_numbers, window_struct(window, shape))
    each(kernel, source.size, arguments)
    return out


def require_small(what: str, size: int) -> None:
    """Raise ValueError for sizes whose indices do not fit 31 bits."""
    if size >= LIMIT:
        raise ValueError(f"{what} of {size} numbers is too large for one kernel: take smaller batches.")
