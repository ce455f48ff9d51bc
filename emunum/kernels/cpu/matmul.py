"""The matrix product, its accumulators and every sum in index order.

out[i, j] = acc, with acc = +0 and, for k = 0, 1, ..., K - 1 in this order,
acc = round(acc + round(a[i, k] b[k, j])). Lanes of the vector unit are neighbouring j, so no lane ever
sees another's sum and the order over k is the same for any tiling, thread count or vector width.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.contract import LANES, RESULT_BLOCK
from emunum.kernels.cpu.bits import right
from emunum.kernels.cpu.compile import compiled, inlined, widest_vectors
from emunum.kernels.cpu.philox import draw_of, philox, philox_16_columns, philox_16_rows
from emunum.kernels.cpu.rounding import (
    counts_events,
    limited,
    product,
    round_value,
    total,
    uses_draw,
    zero_like,
)
from emunum.kernels.cpu.stack import on_stack

_NONE = np.uint32(0)


# Rows are sliced to the tile's columns so that every index counts from 0: LLVM vectorises no loop whose
# index might, for all it knows, be negative and wrap around.


@inlined
def _step(acc: Any, a: Any, b: Any, to_product: Any, to_sum: Any) -> Any:
    return total(acc, product(a, b, to_product, _NONE), to_sum, _NONE)


_BLOCK_TERMS, _BLOCK_COLUMNS = 128, 1024
"""A block of b that stays in the second-level cache while every row of a passes over it."""


@compiled
def matmul_plain(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """Fill out[r0:r1, c0:c1], tile = (r0, r1, c0, c1), where neither rounding draws random bits."""
    widest_vectors()
    to_product, to_sum = how
    r0, r1, c0, c1 = tile
    terms = a.shape[1]
    clear(out, tile)
    for k0 in range(0, terms, _BLOCK_TERMS):
        k1 = min(k0 + _BLOCK_TERMS, terms)
        whole = k0 + (k1 - k0) // 4 * 4
        for j0 in range(c0, c1, _BLOCK_COLUMNS):
            j1 = min(j0 + _BLOCK_COLUMNS, c1)
            for i in range(r0, r1):
                row = out[i][j0:j1]
                for k in range(k0, whole, 4):  # four at a time: the sums stay in registers between them
                    a0, a1, a2, a3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
                    b0, b1, b2, b3 = b[k][j0:j1], b[k + 1][j0:j1], b[k + 2][j0:j1], b[k + 3][j0:j1]
                    for j in range(j1 - j0):
                        acc = _step(row[j], a0, b0[j], to_product, to_sum)
                        acc = _step(acc, a1, b1[j], to_product, to_sum)
                        acc = _step(acc, a2, b2[j], to_product, to_sum)
                        row[j] = _step(acc, a3, b3[j], to_product, to_sum)
                for k in range(whole, k1):
                    ak, bk = a[i, k], b[k][j0:j1]
                    for j in range(j1 - j0):
                        row[j] = _step(row[j], ak, bk[j], to_product, to_sum)


@inlined
def clear(out: Any, tile: Any) -> None:
    """Let every sum of a tile start at +0."""
    r0, r1, c0, c1 = tile
    for i in range(r0, r1):
        row = out[i][c0:c1]
        for j in range(c1 - c0):
            row[j] = np.float32(0.0)


@inlined
def call_of(i: Any, j: Any, block: Any, place: Any, level: Any) -> Any:
    """The Philox call of output (i, j), a block of k and a level; see contract/counters.py.

    `place` = (column of output (0, 0), columns a step in i, columns a step in j, the same for rows,
    operation, key low, key high): a transposed problem differs only in its steps.
    """
    column0, column_i, column_j, row0, row_i, row_j, operation, k0, k1 = place
    column = np.uint32(column0 + i * column_i + j * column_j)
    row = np.uint32(row0 + i * row_i + j * row_j)
    operation = np.uint32(operation + np.uint32(256 * level))
    return philox(column, row, np.uint32(block), operation, k0, k1)


# Where a rounding is stochastic, the calls of a row are made first and kept in scratch, the first words of
# all columns, then the second ones, and so on, so that both loops run in whole vectors: calls need 64-bit
# lanes, roundings 32-bit ones. Indices are unsigned: they need no look at whether they count from the end.


@inlined
def scratch(columns: Any) -> Any:
    """Room for the words of a call for each column, and for those that make whole vectors of them."""
    return np.empty(4 * whole(columns), np.uint32)


@inlined
def whole(columns: Any) -> Any:
    """Return the lanes of the vectors that hold so many columns."""
    return (columns + LANES - 1) // LANES * LANES


@inlined
def fill(words: Any, i: Any, c0: Any, step: Any, level: Any, place: Any) -> None:
    """Write the words of the Philox calls of row i at a step and level: those of `call_of`."""
    column0, column_i, column_j, row0, row_i, row_j, operation, k0, k1 = place
    column, row = column0 + i * column_i + c0 * column_j, row0 + i * row_i + c0 * row_j
    operation, step = np.uint32(operation + np.uint32(256 * level)), np.uint32(step)
    columns = words.size // 4
    if column_j:  # one of the two is 1
        for j in range(0, columns, LANES):
            philox_16_columns(words, j, columns, column + j, row, step, operation, k0, k1)
    else:
        for j in range(0, columns, LANES):
            philox_16_rows(words, j, columns, column, row + j, step, operation, k0, k1)


@inlined
def draws_of(words: Any, index: Any, width: Any) -> Any:
    """Return the words, where those that hold draw `index` of every call begin, and how far up it is."""
    begin = index * width // 32 * (words.size // 4)
    return words, np.uint64(begin), np.uint32(index * width % 32)


@inlined
def draw_at(draws: Any, j: Any, to: Any, width: Any, drop: Any) -> Any:
    """Return R of column j: the top bits of the draw, without the lowest `drop`."""
    if uses_draw(to):
        words, begin, up = draws
        mask = np.uint32(0xFFFFFFFF) if width == 32 else np.uint32(0xFFFF)
        return np.uint32(right(words[begin + np.uint64(j)], np.uint32(up + drop)) & right(mask, drop))
    return np.uint32(0)


@inlined
def term_draws(
    words: Any, i: Any, c0: Any, k: Any, width: Any, place: Any, to_product: Any, to_sum: Any
) -> Any:
    """Return the draws of term k's product and of the sum that takes it in, making calls where due."""
    sharing = 64 // width  # terms that share a call
    if (uses_draw(to_product) or uses_draw(to_sum)) and k % sharing == 0:
        fill(words, i, c0, k // sharing, 0, place)
    index = 2 * (k % sharing)
    return draws_of(words, index, width), draws_of(words, index + 1, width)


_TILE_COLUMNS = 512
_TILE_WORDS = 4 * _TILE_COLUMNS
"""A row of sums and its random words, which stay in the first-level cache."""


@compiled
def matmul_random(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """As matmul_plain, where a rounding draws random bits."""
    widest_vectors()
    to_product, to_sum, (width, product_drop, drop) = how
    r0, r1, c0, c1 = tile
    terms = a.shape[1]
    clear(out, tile)
    sums, room = on_stack(np.float32, _TILE_COLUMNS), on_stack(np.uint32, _TILE_WORDS)
    counting = counts_events(to_product) or counts_events(to_sum)
    for k0 in range(0, terms, _BLOCK_TERMS):  # which terms that share a call never straddle
        k1 = min(k0 + _BLOCK_TERMS, terms)
        for j0 in range(c0, c1, _TILE_COLUMNS):
            columns = min(_TILE_COLUMNS, c1 - j0)
            # Columns that fill no whole vectors take some before them along, whose sums are thrown away.
            before = whole(columns) - columns
            if counting or before > j0:
                before = 0
            first, lanes = j0 - before, columns + before
            words = room[: 4 * whole(columns)]
            for j in range(before):
                sums[j] = np.float32(0.0)
            own = sums[before:lanes]
            for i in range(r0, r1):
                row = out[i][j0 : j0 + columns]
                for j in range(columns):
                    own[j] = row[j]
                for k in range(k0, k1):
                    p, s = term_draws(words, i, first, k, width, place, to_product, to_sum)
                    ak, bk = a[i, k], b[k][first : first + lanes]
                    for j in range(lanes):
                        term = product(ak, bk[j], to_product, draw_at(p, j, to_product, width, product_drop))
                        sums[j] = total(sums[j], term, to_sum, draw_at(s, j, to_sum, width, drop))
                for j in range(columns):
                    row[j] = own[j]


@compiled
def round_result(out: Any, to: Any, width: Any, drop: Any, place: Any, tile: Any) -> None:
    """Round a matrix in place to the format of the result, with its own draw for each entry."""
    widest_vectors()
    r0, r1, c0, c1 = tile
    for i in range(r0, r1):
        row = out[i][c0:c1]
        for j in range(c1 - c0):
            words = call_of(i, c0 + j, RESULT_BLOCK, place, 0)
            x = limited(row[j], to)
            row[j] = round_value(x, zero_like(x), to, draw_of(words, 0, width, drop))
