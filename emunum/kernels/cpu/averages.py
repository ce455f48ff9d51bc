"""Moving averages: three roundings in one pass over the arrays, with the bits of three passes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from emunum.formats import Cast
from emunum.kernels import contract
from emunum.kernels.contract import Operation
from emunum.kernels.cpu.arithmetic import scaled_add, subtract
from emunum.kernels.cpu.calls import ANY, Array, Counts, random_of, share_elements
from emunum.kernels.cpu.compile import compiled, widest_vectors
from emunum.kernels.cpu.elementwise import CHUNK, _draw, _fill
from emunum.kernels.cpu.rounding import product, total
from emunum.kernels.random import Key


def move(y: Array, alpha: np.float32, x: Array, to: Cast, key: Key, counts: Counts | None = None) -> Array:
    """round(y + round(alpha round(x - y))): scaled_add(y, alpha, subtract(x, y)), for arrays of one shape."""
    if counts is not None:
        return scaled_add(y, alpha, subtract(x, y, to, key, counts), to, key, counts)
    contract.require_arithmetic(to)
    one_zero = not to.format.has_negative_zero
    sums = contract.lower_sum(to, ANY, ANY, one_zero=one_zero)
    products = contract.lower_product(to, ANY, ANY, one_zero=one_zero)
    operations = (Operation.SUBTRACT, Operation.SCALED_ADD_PRODUCT, Operation.SCALED_ADD_SUM)
    random = tuple(random_of(to, key, operation) for operation in operations)
    flat_y, flat_x = (np.ascontiguousarray(v).reshape(-1) for v in (y, x))
    out = np.empty(flat_y.size, np.float32)
    job = partial(_move, flat_y, np.float32(alpha), flat_x, out, sums, products, random)
    share_elements(job, out.size)
    return out.reshape(y.shape)


@compiled
def _move(
    y: Any, alpha: Any, x: Any, out: Any, sums: Any, products: Any, random: Any, begin: Any, end: Any
) -> None:
    """A chunk at a time, which stays in the first-level cache; each rounding in a loop of its own width."""
    widest_vectors()
    draws, part = np.empty(CHUNK, np.uint32), np.empty(CHUNK, np.float32)
    for start in range(begin, end, CHUNK):
        stop = min(start + CHUNK, end)
        y_block, x_block, out_block = y[start:stop], x[start:stop], out[start:stop]
        _fill(draws, sums, random[0], start, stop)
        for n in range(stop - start):
            part[n] = total(x_block[n], -y_block[n], sums, _draw(draws, sums, n))
        _fill(draws, products, random[1], start, stop)
        for n in range(stop - start):
            part[n] = product(alpha, part[n], products, _draw(draws, products, n))
        _fill(draws, sums, random[2], start, stop)
        for n in range(stop - start):
            out_block[n] = total(y_block[n], part[n], sums, _draw(draws, sums, n))
