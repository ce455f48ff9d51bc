"""Conversions and elementwise arithmetic over flat arrays.

Every kernel fills out[begin:end] of flat arrays; begin is a multiple of CHUNK. Draws are made for a chunk
at a time, so that both loops, over calls and over elements, run in vectors. `random` is (width of a draw,
bits to drop of it, operation, key low, key high).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.contract import LANES
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


@inlined
def _chunk_size(to: Any, begin: Any, end: Any) -> Any:
    return CHUNK if uses_draw(to) else max(end - begin, 1)


@inlined
def _fill(draws: Any, to: Any, random: Any, start: Any, stop: Any) -> None:
    """Write the draws of elements start, start + 1, ..., stop - 1; the layout is in contract/counters.py."""
    if uses_draw(to):
        width, drop, operation, k0, k1 = random
        size = 128 // width * LANES
        for block in range(start // size, (stop + size - 1) // size):
            first = block * size - start
            of_block = draws[first : first + size]
            if width == 16:
                _fill_block_16(of_block, block, drop, operation, k0, k1)
            else:
                _fill_block_32(of_block, block, drop, operation, k0, k1)


@inlined
def _call(block: Any, lane: Any, operation: Any, k0: Any, k1: Any) -> Any:
    call = np.uint64(block * LANES + lane)
    return philox(np.uint32(call), np.uint32(call >> np.uint64(32)), np.uint32(0), operation, k0, k1)


@inlined
def _fill_block_16(draws: Any, block: Any, drop: Any, operation: Any, k0: Any, k1: Any) -> None:
    d0, d1, d2, d3 = draws[0:16], draws[16:32], draws[32:48], draws[48:64]
    d4, d5, d6, d7 = draws[64:80], draws[80:96], draws[96:112], draws[112:128]
    for lane in range(LANES):
        w0, w1, w2, w3 = _call(block, lane, operation, k0, k1)
        d0[lane], d1[lane] = (w0 & _HALF) >> drop, (w0 >> _16) >> drop
        d2[lane], d3[lane] = (w1 & _HALF) >> drop, (w1 >> _16) >> drop
        d4[lane], d5[lane] = (w2 & _HALF) >> drop, (w2 >> _16) >> drop
        d6[lane], d7[lane] = (w3 & _HALF) >> drop, (w3 >> _16) >> drop


@inlined
def _fill_block_32(draws: Any, block: Any, drop: Any, operation: Any, k0: Any, k1: Any) -> None:
    d0, d1, d2, d3 = draws[0:16], draws[16:32], draws[32:48], draws[48:64]
    for lane in range(LANES):
        w0, w1, w2, w3 = _call(block, lane, operation, k0, k1)
        d0[lane], d1[lane], d2[lane], d3[lane] = w0 >> drop, w1 >> drop, w2 >> drop, w3 >> drop


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
    """out = round(x scale / divisor), float64 of at most 31, 48 and 24 significant bits."""
    widest_vectors()
    draws = np.empty(CHUNK, np.uint32)
    size = _chunk_size(to, begin, end)
    for start in range(begin, end, size):
        stop = min(start + size, end)
        _fill(draws, to, random, start, stop)
        x_block, scale_block, out_block = x[start:stop], scale[start:stop], out[start:stop]
        divisor_block = divisor[start:stop]
        for n in range(stop - start):
            q, rest = scaled_quotient(x_block[n], scale_block[n], divisor_block[n])
            out_block[n] = round_value(q, rest, to, _draw(draws, to, n))
