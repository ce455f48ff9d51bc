"""Conversions and elementwise arithmetic over flat arrays, in blocks that share their random calls.

Every kernel fills out[begin:end] of flat arrays; begin is a multiple of MOST_DRAWS. `random` is
(width of a draw, bits to drop of it, operation, key low, key high).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.contract import LANES
from emunum.kernels.cpu.compile import compiled, inlined
from emunum.kernels.cpu.philox import draw_of, philox
from emunum.kernels.cpu.rounding import limited, product, round_value, total, uses_draw, zero_like

MOST_DRAWS = 8 * LANES


@inlined
def _block_size(to: Any, random: Any, begin: Any, end: Any) -> Any:
    return 128 // random[0] * LANES if uses_draw(to) else max(end - begin, 1)


@inlined
def _fill(draws: Any, to: Any, random: Any, block: Any) -> None:
    """Write the draws of a block's elements; the layout is in contract.py."""
    if uses_draw(to):
        width, drop, operation, k0, k1 = random
        for lane in range(LANES):
            call = np.uint64(block * LANES + lane)
            low, high = np.uint32(call), np.uint32(call >> np.uint64(32))
            words = philox(low, high, np.uint32(0), operation, k0, k1)
            for index in range(128 // width):
                draws[index * LANES + lane] = draw_of(words, index, width, drop)


@inlined
def _draw(draws: Any, to: Any, n: Any) -> Any:
    return draws[n] if uses_draw(to) else np.uint32(0)


@compiled
def cast(x: Any, out: Any, to: Any, random: Any, begin: Any, end: Any) -> None:
    """out = round(x)."""
    draws = np.empty(MOST_DRAWS, np.uint32)
    size = _block_size(to, random, begin, end)
    for start in range(begin, end, size):
        _fill(draws, to, random, start // size)
        stop = min(start + size, end)
        x_block, out_block = x[start:stop], out[start:stop]
        for n in range(stop - start):
            value = limited(x_block[n], to)
            out_block[n] = round_value(value, zero_like(value), to, _draw(draws, to, n))


@compiled
def add(a: Any, b: Any, sign: Any, out: Any, to: Any, random: Any, begin: Any, end: Any) -> None:
    """out = round(a + sign b), sign = +1 or -1."""
    draws = np.empty(MOST_DRAWS, np.uint32)
    size = _block_size(to, random, begin, end)
    for start in range(begin, end, size):
        _fill(draws, to, random, start // size)
        stop = min(start + size, end)
        a_block, b_block, out_block = a[start:stop], b[start:stop], out[start:stop]
        for n in range(stop - start):
            out_block[n] = total(a_block[n], sign * b_block[n], to, _draw(draws, to, n))


@compiled
def multiply(a: Any, b: Any, out: Any, to: Any, random: Any, begin: Any, end: Any) -> None:
    """out = round(a b)."""
    draws = np.empty(MOST_DRAWS, np.uint32)
    size = _block_size(to, random, begin, end)
    for start in range(begin, end, size):
        _fill(draws, to, random, start // size)
        stop = min(start + size, end)
        a_block, b_block, out_block = a[start:stop], b[start:stop], out[start:stop]
        for n in range(stop - start):
            out_block[n] = product(a_block[n], b_block[n], to, _draw(draws, to, n))
