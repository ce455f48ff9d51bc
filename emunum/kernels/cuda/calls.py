"""What every function of the backend needs to launch a kernel: arrays on the device, random bits, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emunum.formats import FLOAT32, Cast
from emunum.kernels import contract
from emunum.kernels.contract import Extent, Operation
from emunum.kernels.cuda.devices import THREADS, current
from emunum.kernels.cuda.structs import Struct, u32s
from emunum.kernels.random import Key

Array = Any
"""float32 on the device, or a NumPy array, which is moved there."""
ANY = Extent.of(FLOAT32)
LIMIT = 1 << 31
"""Indices of kernels that divide them are below this."""


def require_no_counts(counts: Any) -> None:
    """Raise ValueError: events are counted by the CPU's kernels alone."""
    if counts is not None:
        raise ValueError("events are counted on the CPU alone. Leave --events or --backend out.")


def drop_of(to: Cast | None, width: int) -> np.uint32:
    """Return how many low bits of a draw a rounding leaves: R is its top N."""
    return np.uint32(width - to.random_bits if to is not None and to.stochastic else 0)


def random_of(to: Cast, key: Key, operation: Operation) -> Struct:
    """Return what an elementwise operation draws."""
    width = contract.draw_bits(to)
    return u32s("Random", (width, drop_of(to, width), operation, *key.words))


def place_of(origin: tuple[int, int], operation: Operation, key: Key) -> Struct:
    """Return where the output (0, 0) = (row, column) `origin` of a product draws."""
    row, column = origin
    return u32s("Place", (column, row, operation, *key.words))


def each(kernel: str, size: int, arguments: Sequence[Any], random: Struct | None = None) -> None:
    """Launch a kernel with a thread for each of `size` elements, or for each Philox call they take."""
    if size == 0:
        return
    threads = size
    if random is not None:
        per_call = 128 // int(random.fields["f0"][0])
        threads = -(-size // (16 * per_call)) * 16
    current().launch(kernel, -(-threads // THREADS), arguments)


def flat(x: Any, dtype: Any = np.float32) -> Any:
    """Return x on the device, in C order, as one axis."""
    device = current()
    x = device.asarray(x)
    if x.dtype != dtype:
        x = x.astype(dtype)
    return device.contiguous(x).reshape(-1)


def operand(x: Any, shape: tuple[int, ...], dtype: Any = np.float32) -> tuple[Any, np.uint64]:
    """Return x broadcast to a shape and flat, and the step from one element to the next: 0 for one number."""
    if np.size(x) == 1 or x.size == 1:
        return flat(x, dtype), np.uint64(0)
    x = current().asarray(x)
    return flat(x if x.shape == shape else np.broadcast_to(x, shape), dtype), np.uint64(1)


def shape_of(*operands: Any) -> tuple[int, ...]:
    """Return the shape that operands have when broadcast."""
    return np.broadcast_shapes(*(getattr(x, "shape", ()) for x in operands))
