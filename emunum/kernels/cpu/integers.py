"""The matrix product of int8 matrices in integer accumulators."""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.cpu.compile import compiled, widest_vectors


@compiled
def matmul_wide(a: Any, b: Any, out: Any, tile: Any) -> None:
    """Fill out[r0:r1, c0:c1] with int32 sums that cannot leave their range."""
    widest_vectors()
    r0, r1, c0, c1 = tile
    terms = a.shape[1]
    whole = terms - terms % 4
    for i in range(r0, r1):
        row = out[i][c0:c1]
        row[:] = np.int32(0)
        for k in range(0, whole, 4):  # four at a time: the sums stay in registers between them
            a0, a1, a2, a3 = (
                np.int32(a[i, k]),
                np.int32(a[i, k + 1]),
                np.int32(a[i, k + 2]),
                np.int32(a[i, k + 3]),
            )
            b0, b1, b2, b3 = b[k][c0:c1], b[k + 1][c0:c1], b[k + 2][c0:c1], b[k + 3][c0:c1]
            for j in range(c1 - c0):
                pair = np.int32(np.int32(a0 * np.int32(b0[j])) + np.int32(a1 * np.int32(b1[j])))
                other = np.int32(np.int32(a2 * np.int32(b2[j])) + np.int32(a3 * np.int32(b3[j])))
                row[j] = np.int32(row[j] + np.int32(pair + other))
        for k in range(whole, terms):
            ak, bk = np.int32(a[i, k]), b[k][c0:c1]
            for j in range(c1 - c0):
                row[j] = np.int32(row[j] + np.int32(ak * np.int32(bk[j])))


@compiled
def matmul_narrow(a: Any, b: Any, out: Any, bits: Any, wraps: Any, tile: Any) -> Any:
    """As above in `bits` bits, saturating or wrapping after each addition; return how many left the range."""
    widest_vectors()
    r0, r1, c0, c1 = tile
    top = np.int64(1) << np.int64(bits - 1)
    overflows: Any = 0
    for i in range(r0, r1):
        row = out[i][c0:c1]
        row[:] = np.int32(0)
        for k in range(a.shape[1]):
            ak, bk = np.int64(a[i, k]), b[k][c0:c1]
            for j in range(c1 - c0):
                total = np.int64(row[j]) + ak * np.int64(bk[j])
                overflows += np.int64((total >= top) | (total < -top))
                wrapped = ((total + top) & (top + top - 1)) - top
                row[j] = np.int32(wrapped if wraps else min(max(total, -top), top - 1))
    return overflows
