"""Conversions and elementwise arithmetic over flat arrays.

Every kernel fills out[begin:end] of flat arrays; begin is a multiple of CHUNK. Draws are made for a chunk
at a time, so that both loops, over calls and over elements, run in vectors. `random` is (width of a draw,
bits to drop of it, operation, key low, key high).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.contract import LANES
from emunum.kernels.cpu.bits import right
from emunum.kernels.cpu.compile import compiled, inlined, widest_vectors
from emunum.kernels.cpu.philox import philox
from emunum.kernels.cpu.rounding import (
    limited,
    note_nan,
    product,
    quotient,
    root,
    round_value,
    scaled_quotient,
    total,
    uses_draw,
    zero_like,
)  # fmt: skip

CHUNK = 4096
_HALF, _16 = np.uint32(0xFFFF), np.uint32(16)
_1, _2, _3, _4, _5, _6, _7 = (np.uint64(number * LANES) for number in range(1, 8))
"""Where the draws of a number lie: after those of the numbers before it, for all lanes."""


@inlined
def _chunk_size(to: Any, begin: Any, end: Any) -> Any:
    return CHUNK if uses_draw(to) else max(end - begin, 1)


@inlined
def _fill(draws: Any, to: Any, random: Any, start: Any, stop: Any) -> None:
    """Write the draws of elements start, start + 1, ..., stop - 1; the layout is in contract/counters.py."""
    if uses_draw(to):
        width, drop, operation, k0, k1 = random
        size = 128 // width * LANES
        first = start // size
        for block in range((stop - start + size - 1) // size):
            for lane in range(LANES):
                words = _call(first + block, lane, operation, k0, k1)
                # An unsigned index needs no look at whether it counts from the end.
                if width == 16:
                    _store_16(draws, np.uint64(block * size + lane), words, drop)
                else:
                    _store_32(draws, np.uint64(block * size + lane), words, drop)


@inlined
def _call(block: Any, lane: Any, operation: Any, k0: Any, k1: Any) -> Any:
    call = np.uint64(block * LANES + lane)
    return philox(np.uint32(call), np.uint32(call >> np.uint64(32)), np.uint32(0), operation, k0, k1)


@inlined
def _store_16(draws: Any, n: Any, words: Any, drop: Any) -> None:
    w0, w1, w2, w3 = words
    draws[n], draws[n + _1] = right(np.uint32(w0 & _HALF), drop), right(right(w0, _16), drop)
    draws[n + _2], draws[n + _3] = right(np.uint32(w1 & _HALF), drop), right(right(w1, _16), drop)
    draws[n + _4], draws[n + _5] = right(np.uint32(w2 & _HALF), drop), right(right(w2, _16), drop)
    draws[n + _6], draws[n + _7] = right(np.uint32(w3 & _HALF), drop), right(right(w3, _16), drop)


@inlined
def _store_32(draws: Any, n: Any, words: Any, drop: Any) -> None:
    w0, w1, w2, w3 = words
    draws[n], draws[n + _1] = right(w0, drop), right(w1, drop)
    draws[n + _2], draws[n + _3] = right(w2, drop), right(w3, drop)


@inlined
def _draw(draws: Any, to: Any, n: Any) -> Any:
    return draws[n] if uses_draw(to) else np.uint32(0)


@compiled
def cast(x: Any, out: Any, to: Any, random: Any, begin: Any, end: Any) -> None:
    """out = round(x)."""
    widest_vectors()
    draws = np.empty(CHUNK, np.uint32)
    size = _chunk_size(to, begin, end)
    for start in range(begin, end, size):
        stop = min(start + size, end)
        _fill(draws, to, random, start, stop)
        x_block, out_block = x[start:stop], out[start:stop]
        for n in range(stop - start):
            value = limited(x_block[n], to)
            out_block[n] = round_value(value, zero_like(value), to, _draw(draws, to, n))


@compiled
def add(a: Any, b: Any, sign: Any, out: Any, to: Any, random: Any, begin: Any, end: Any) -> None:
    """out = round(a + sign b), sign = +1 or -1."""
    widest_vectors()
    draws = np.empty(CHUNK, np.uint32)
    size = _chunk_size(to, begin, end)
    for start in range(begin, end, size):
        stop = min(start + size, end)
        _fill(draws, to, random, start, stop)
        a_block, b_block, out_block = a[start:stop], b[start:stop], out[start:stop]
        for n in range(stop - start):
            out_block[n] = total(a_block[n], sign * b_block[n], to, _draw(draws, to, n))


@compiled
def multiply(a: Any, b: Any, out: Any, to: Any, random: Any, begin: Any, end: Any) -> None:
    """out = round(a b)."""
    widest_vectors()
    draws = np.empty(CHUNK, np.uint32)
    size = _chunk_size(to, begin, end)
    for start in range(begin, end, size):
        stop = min(start + size, end)
        _fill(draws, to, random, start, stop)
        a_block, b_block, out_block = a[start:stop], b[start:stop], out[start:stop]
        for n in range(stop - start):
            out_block[n] = product(a_block[n], b_block[n], to, _draw(draws, to, n))


@compiled
def divide(a: Any, b: Any, out: Any, to: Any, random: Any, begin: Any, end: Any) -> None:
    """out = round(a / b)."""
    widest_vectors()
    draws = np.empty(CHUNK, np.uint32)
    size = _chunk_size(to, begin, end)
    for start in range(begin, end, size):
        stop = min(start + size, end)
        _fill(draws, to, random, start, stop)
        a_block, b_block, out_block = a[start:stop], b[start:stop], out[start:stop]
        for n in range(stop - start):
            q, rest = quotient(np.float64(a_block[n]), np.float64(b_block[n]))
            out_block[n] = round_value(q, rest, to, _draw(draws, to, n))
            note_nan(np.isnan(q) & ~(np.isnan(a_block[n]) | np.isnan(b_block[n])), to)


@compiled
def square_root(x: Any, out: Any, to: Any, random: Any, begin: Any, end: Any) -> None:
    """out = round(sqrt(x))."""
    widest_vectors()
    draws = np.empty(CHUNK, np.uint32)
    size = _chunk_size(to, begin, end)
    for start in range(begin, end, size):
        stop = min(start + size, end)
        _fill(draws, to, random, start, stop)
        x_block, out_block = x[start:stop], out[start:stop]
        for n in range(stop - start):
            s, rest = root(np.float64(x_block[n]))
            out_block[n] = round_value(s, rest, to, _draw(draws, to, n))
            note_nan(np.isnan(s) & ~np.isnan(x_block[n]), to)


@compiled
def rescale(x: Any, scale: Any, divisor: Any, out: Any, to: Any, random: Any, begin: Any, end: Any) -> None:
    """out = round(x scale / divisor), float64 of at most 31, 48 and 24 significant bits.

    A scale or divisor of no more than CHUNK elements is used again for every chunk.
    """
    widest_vectors()
    draws = np.empty(CHUNK, np.uint32)
    for start in range(begin, end, CHUNK):
        stop = min(start + CHUNK, end)
        _fill(draws, to, random, start, stop)
        x_block, out_block = x[start:stop], out[start:stop]
        scale_block = scale[start:stop] if scale.size > CHUNK else scale
        divisor_block = divisor[start:stop] if divisor.size > CHUNK else divisor
        for n in range(stop - start):
            q, rest = scaled_quotient(np.float64(x_block[n]), scale_block[n], divisor_block[n])
            out_block[n] = round_value(q, rest, to, _draw(draws, to, n))
