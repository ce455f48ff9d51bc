"""Masks: which elements are kept at random, and what an array is under a mask."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.kernels.contract import LANES, Operation
from emunum.kernels.cpu.calls import key_words, share_elements
from emunum.kernels.cpu.compile import compiled, widest_vectors
from emunum.kernels.cpu.philox import philox
from emunum.kernels.cpu.threads import share
from emunum.kernels.random import Key

_BLOCK = 4 * LANES
"""Elements whose 32-bit draws come from one round of calls."""


def keep(shape: tuple[int, ...], rate: float, key: Key) -> NDArray[np.bool_]:
    """Return a mask, True with probability 1 - rate: element n is kept where its draw >= rate 2^32.

    Draws have 32 bits; see KEEP in the layout of contract.py. `rate` is a float64 of [0, 1), and the
    comparison is exact.
    """
    out = np.empty(math.prod(shape), np.bool_)
    threshold = np.uint64(math.ceil(rate * 2.0**32))  # the least integer that is kept: the product is exact
    low, high = key_words(key)
    share(partial(_keep, out, threshold, np.uint32(Operation.KEEP), low, high), out.size, out.size, _BLOCK)
    return out.reshape(shape)


def select(condition: NDArray[np.bool_], x: NDArray[Any]) -> NDArray[Any]:
    """x where the condition, broadcast to it, holds, else +0, whatever x is there."""
    mask = np.ascontiguousarray(np.broadcast_to(condition, x.shape)).reshape(-1)
    flat = np.ascontiguousarray(x).reshape(-1)
    out = np.empty_like(flat)
    share_elements(partial(_select, mask.view(np.uint8), flat, out), out.size)
    return out.reshape(x.shape)


@compiled
def _keep(out: Any, threshold: Any, operation: Any, k0: Any, k1: Any, begin: Any, end: Any) -> None:
    """Fill out[begin:end], begin a multiple of 64, a block of 16 calls at a time."""
    widest_vectors()
    kept = np.empty((4, LANES), np.bool_)
    for start in range(begin, end, _BLOCK):
        kept_0, kept_1, kept_2, kept_3 = kept[0], kept[1], kept[2], kept[3]
        first = start // 4
        for lane in range(LANES):
            call = np.uint64(first + lane)
            low, high = np.uint32(call), np.uint32(call >> np.uint64(32))
            w0, w1, w2, w3 = philox(low, high, np.uint32(0), operation, k0, k1)
            kept_0[lane], kept_1[lane] = np.uint64(w0) >= threshold, np.uint64(w1) >= threshold
            kept_2[lane], kept_3[lane] = np.uint64(w2) >= threshold, np.uint64(w3) >= threshold
        for n in range(min(_BLOCK, end - start)):
            out[start + n] = kept[n // LANES, n % LANES]


@compiled
def _select(condition: Any, x: Any, out: Any, begin: Any, end: Any) -> None:
    """out = x or +0, which is the zero of every type."""
    widest_vectors()
    mask, source, target = condition[begin:end], x[begin:end], out[begin:end]
    zero = np.zeros(1, x.dtype)[0]
    for n in range(end - begin):
        target[n] = source[n] if mask[n] else zero
