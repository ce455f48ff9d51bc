"""Random counters: which bits of which Philox call an operation draws at which place.

The layout is frozen: tests/kernels/test_philox.py holds its vectors.

Philox4x32-10 with key = (low, high) word of a 64-bit key.

    elementwise  counter (block low, block high, 0, operation); element n of the C-order flattened array
                 uses call (n // (16 D)) 16 + n % 16 and draw (n % (16 D)) // 16 of its D draws: 16
                 neighbours share a draw number, which lets a vector unit make their calls together.
    matmul       counter (column, row, k // (D / 2), MATMUL); draw 2 (k % (D / 2)) + which, which = 0 for
                 the product and 1 for the sum that takes it in: the running sum, that of a chunk, the
                 leaf of a tree. Rounding the result to another format: counter (column, row, 0xffffffff,
                 MATMUL), draw 0. The other sums of an order, with last word MATMUL + 256:
                   chunked, tensor_core  third word the number of the chunk, draw 0: the outer sum
                   exact                 third word 0, draw 0
                   kahan                 third word k // (D / 4), draws 4 (k % (D / 4)) + 0..3: its four
                   pairwise              the sum of two of up to 2^h terms: third word its last k (K where
                                         it has fewer than 2^(h+1) terms), draw h % D, last word
                                         MATMUL + 256 (1 + h // D)
    column sum   as matmul, with row 0, operation COLUMN_SUM, which = 1 and the row of x as k. The terms
                 that meet in an entry of a convolution's dx: operation SPREAD, the entry's index as column.
    keep         as elementwise, with D = 4 draws of 32 bits, whatever N is: element n of a random mask.

D = 8 draws of 16 bits a call where every N of the operation is at most 16, else 4 draws of 32 bits.
Draws are taken from the low bits of word 0 upwards; R is the top N bits of its draw.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from emunum.formats import Cast


class Operation(IntEnum):
    """Last counter word: one number for each operation that draws."""

    CAST = 0
    ADD = 1
    SUBTRACT = 2
    MULTIPLY = 3
    SCALED_ADD_PRODUCT = 4
    SCALED_ADD_SUM = 5
    COLUMN_SUM = 6
    MATMUL = 7
    FOLD = 8
    DIVIDE = 9
    SQUARE_ROOT = 10
    RESCALE = 11
    KEEP = 12
    SPREAD = 13


RESULT_BLOCK = 0xFFFFFFFF
LANES = 16


def draw_bits(*casts: Cast | None) -> int:
    """Width of a draw, 16 or 32, for an operation that rounds with these casts."""
    widest = max((cast.random_bits for cast in casts if cast and cast.stochastic), default=0)
    return 16 if widest <= 16 else 32


def drop_bits(cast: Cast | None, width: int) -> np.uint32:
    """Return how many low bits of a draw a rounding leaves: R is its top N."""
    return np.uint32(width - cast.random_bits if cast is not None and cast.stochastic else 0)
