"""The matrix product, its accumulators and every sum in index order.

out[i, j] = acc, with acc = +0 and, for k = 0, 1, ..., K - 1 in this order,
acc = round(acc + round(a[i, k] b[k, j])). Lanes of the vector unit are neighbouring j, so no lane ever
sees another's sum and the order over k is the same for any tiling, thread count or vector width.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.contract import RESULT_BLOCK
from emunum.kernels.cpu.compile import compiled, inlined
from emunum.kernels.cpu.philox import draw_of, philox
from emunum.kernels.cpu.rounding import limited, product, round_value, total, zero_like

_NONE = np.uint32(0)


# Rows are sliced to the tile's columns so that every index counts from 0: LLVM vectorises no loop whose
# index might, for all it knows, be negative and wrap around.


@inlined
def _step(acc: Any, a: Any, b: Any, to_product: Any, to_sum: Any) -> Any:
    return total(acc, product(a, b, to_product, _NONE), to_sum, _NONE)


@compiled
def matmul_plain(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """Fill out[r0:r1, c0:c1], tile = (r0, r1, c0, c1), where neither rounding draws random bits."""
    to_product, to_sum = how
    r0, r1, c0, c1 = tile
    terms = a.shape[1]
    whole = terms - terms % 4
    for i in range(r0, r1):
        row = out[i][c0:c1]
        for j in range(c1 - c0):
            row[j] = np.float32(0.0)
        for k in range(0, whole, 4):  # four at a time: the sums stay in registers between them
            a0, a1, a2, a3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
            b0, b1, b2, b3 = b[k][c0:c1], b[k + 1][c0:c1], b[k + 2][c0:c1], b[k + 3][c0:c1]
            for j in range(c1 - c0):
                acc = _step(row[j], a0, b0[j], to_product, to_sum)
                acc = _step(acc, a1, b1[j], to_product, to_sum)
                acc = _step(acc, a2, b2[j], to_product, to_sum)
                row[j] = _step(acc, a3, b3[j], to_product, to_sum)
        for k in range(whole, terms):
            ak, bk = a[i, k], b[k][c0:c1]
            for j in range(c1 - c0):
                row[j] = _step(row[j], ak, bk[j], to_product, to_sum)


@inlined
def call_of(i: Any, j: Any, block: Any, place: Any, level: Any) -> Any:
    """The Philox call of output (i, j), a block of k and a level; see the layout in contract.py.

    `place` = (column of output (0, 0), columns a step in i, columns a step in j, the same for rows,
    operation, key low, key high): a transposed problem differs only in its steps.
    """
    column0, column_i, column_j, row0, row_i, row_j, operation, k0, k1 = place
    column = np.uint32(column0 + i * column_i + j * column_j)
    row = np.uint32(row0 + i * row_i + j * row_j)
    operation = np.uint32(operation + np.uint32(256 * level))
    return philox(column, row, np.uint32(block), operation, k0, k1)


@inlined
def _random_step(
    acc: Any, a: Any, b: Any, to_product: Any, to_sum: Any, words: Any, index: Any, width: Any, drops: Any
) -> Any:
    of_product = draw_of(words, 2 * index, width, drops[0])
    of_sum = draw_of(words, 2 * index + 1, width, drops[1])
    return total(acc, product(a, b, to_product, of_product), to_sum, of_sum)


@compiled
def matmul_random16(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """As matmul_plain, where a rounding draws at most 16 bits: one Philox call feeds four k."""
    to_product, to_sum, drops = how
    r0, r1, c0, c1 = tile
    terms = a.shape[1]
    whole = terms - terms % 4
    for i in range(r0, r1):
        row = out[i][c0:c1]
        for j in range(c1 - c0):
            row[j] = np.float32(0.0)
        for k in range(0, whole, 4):
            a0, a1, a2, a3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
            b0, b1, b2, b3 = b[k][c0:c1], b[k + 1][c0:c1], b[k + 2][c0:c1], b[k + 3][c0:c1]
            for j in range(c1 - c0):
                words = call_of(i, c0 + j, k // 4, place, 0)
                acc = _random_step(row[j], a0, b0[j], to_product, to_sum, words, 0, 16, drops)
                acc = _random_step(acc, a1, b1[j], to_product, to_sum, words, 1, 16, drops)
                acc = _random_step(acc, a2, b2[j], to_product, to_sum, words, 2, 16, drops)
                row[j] = _random_step(acc, a3, b3[j], to_product, to_sum, words, 3, 16, drops)
        for k in range(whole, terms):
            ak, bk = a[i, k], b[k][c0:c1]
            for j in range(c1 - c0):
                words = call_of(i, c0 + j, k // 4, place, 0)
                row[j] = _random_step(row[j], ak, bk[j], to_product, to_sum, words, k % 4, 16, drops)


@compiled
def matmul_random32(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """As matmul_plain, where a rounding draws more than 16 bits: one Philox call feeds two k."""
    to_product, to_sum, drops = how
    r0, r1, c0, c1 = tile
    for i in range(r0, r1):
        row = out[i][c0:c1]
        for j in range(c1 - c0):
            row[j] = np.float32(0.0)
        for k in range(a.shape[1]):
            ak, bk = a[i, k], b[k][c0:c1]
            for j in range(c1 - c0):
                words = call_of(i, c0 + j, k // 2, place, 0)
                row[j] = _random_step(row[j], ak, bk[j], to_product, to_sum, words, k % 2, 32, drops)


@compiled
def round_result(out: Any, to: Any, width: Any, drop: Any, place: Any, tile: Any) -> None:
    """Round a matrix in place to the format of the result, with its own draw for each entry."""
    r0, r1, c0, c1 = tile
    for i in range(r0, r1):
        row = out[i][c0:c1]
        for j in range(c1 - c0):
            words = call_of(i, c0 + j, RESULT_BLOCK, place, 0)
            x = limited(row[j], to)
            row[j] = round_value(x, zero_like(x), to, draw_of(words, 0, width, drop))
