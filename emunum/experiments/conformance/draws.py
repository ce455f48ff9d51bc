"""The random bits of an array cast, read off the counter layout in kernels/contract/counters.py, in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emunum.formats import Cast
from emunum.kernels.contract import LANES, Operation, draw_bits
from emunum.kernels.random import Key

_MASK = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def cast_draws(size: int, to: Cast, key: Key) -> NDArray[np.int64]:
    """R of each element of a flat array of `size` that `to` rounds under `key`."""
    width = draw_bits(to)
    per_call = 128 // width
    n = np.arange(size)
    block, place = n // (LANES * per_call), n % (LANES * per_call)
    call, draw = (block * LANES + place % LANES).astype(np.uint64), place // LANES
    words = np.stack(_philox(call & _MASK, call >> _32, int(Operation.CAST), key))
    word = np.take_along_axis(words, (draw * width // 32)[None, :], axis=0)[0]
    shift = (draw * width % 32).astype(np.uint64)
    cut = (word >> shift) & np.uint64((1 << width) - 1)
    draws: NDArray[np.int64] = (cut >> np.uint64(width - to.random_bits)).astype(np.int64)
    return draws


def _philox(
    low: NDArray[np.uint64], high: NDArray[np.uint64], operation: int, key: Key
) -> tuple[NDArray[np.uint64], ...]:
    """Philox4x32-10 of the counters (low, high, 0, operation), each word in the low half of a uint64."""
    c0, c1 = low, high
    c2, c3 = np.zeros_like(low), np.full_like(low, operation)
    k0, k1 = key.words
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (p1 >> _32) ^ c1 ^ np.uint64(k0),
            p1 & _MASK,
            (p0 >> _32) ^ c3 ^ np.uint64(k1),
            p0 & _MASK,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3
