"""The matrix product under the orders of summation that are not sequential.

As in matmul.py, lanes are neighbouring j and no output sees another. Scratch is a row of the tile for
each partial sum an order keeps (one for chunks and for Kahan, log2 K for pairwise, one a slice for exact
sums) and, where a rounding is stochastic, four for the words of the row's Philox calls.

Every kernel is kernel(a, b, out, how, place, tile): `how` is what the backend lowered for it, `place` and
`tile` are as in matmul.py. In `how`, (width, drop, drop) is the width of a draw and the bits to drop of a
product's and of a sum's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.cpu.bits import bits_of, float_of
from emunum.kernels.cpu.compile import compiled, inlined, widest_vectors
from emunum.kernels.cpu.matmul import draw_at, draws_of, fill, scratch, term_draws
from emunum.kernels.cpu.rounding import (
    counts_events,
    note_nan,
    product,
    round_value,
    total,
    two_sum,
    uses_draw,
)


@inlined
def _add(
    left: Any, right: Any, out: Any, columns: Any, words: Any, index: Any, to: Any, width: Any, drop: Any
) -> None:
    """out = round(left + right), with draw `index` of the row's calls."""
    draws = draws_of(words, index, width)
    for j in range(columns):
        out[j] = total(left[j], right[j], to, draw_at(draws, j, to, width, drop))


# Numba turns assignments to whole slices into loops that no vector unit runs: they are written out.


@inlined
def _clear(out: Any, columns: Any) -> None:
    for j in range(columns):
        out[j] = np.float32(0.0)


@inlined
def _copy(source: Any, out: Any, columns: Any) -> None:
    for j in range(columns):
        out[j] = source[j]


@compiled
def matmul_chunked(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """Sequential sums of `chunk` terms, added sequentially."""
    widest_vectors()
    to_product, to_sum, to_outer, chunk, (width, product_drop, drop), (outer_width, outer_drop) = how
    r0, r1, c0, c1 = tile
    inner = np.empty(c1 - c0, np.float32)
    of_terms, of_sums = scratch(c1 - c0), scratch(c1 - c0)
    for i in range(r0, r1):
        row = out[i][c0:c1]
        _clear(row, c1 - c0)
        for start in range(0, a.shape[1], chunk):
            _clear(inner, c1 - c0)
            for k in range(start, min(start + chunk, a.shape[1])):
                p, s = term_draws(of_terms, i, c0, k, width, place, to_product, to_sum)
                ak, bk = a[i, k], b[k][c0:c1]
                for j in range(c1 - c0):
                    term = product(ak, bk[j], to_product, draw_at(p, j, to_product, width, product_drop))
                    inner[j] = total(inner[j], term, to_sum, draw_at(s, j, to_sum, width, drop))
            if uses_draw(to_outer):
                fill(of_sums, i, c0, start // chunk, 1, place)
            _add(row, inner, row, c1 - c0, of_sums, 0, to_outer, outer_width, outer_drop)


@compiled
def matmul_pairwise(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """A binary tree over k. waiting[h] holds the sum of 2^h terms that has no neighbour yet."""
    widest_vectors()
    to_product, to_leaf, to_sum, (width, product_drop, drop) = how
    r0, r1, c0, c1 = tile
    count, per_call = a.shape[1], 128 // width
    heights = 1
    while 1 << heights <= count:
        heights += 1
    waiting = np.zeros((heights, c1 - c0), np.float32)
    of_terms, of_sums = scratch(c1 - c0), scratch(c1 - c0)
    for i in range(r0, r1):
        row = out[i][c0:c1]
        _clear(row, c1 - c0)
        for k in range(count):
            p, s = term_draws(of_terms, i, c0, k, width, place, to_product, to_leaf)
            ak, bk = a[i, k], b[k][c0:c1]
            for j in range(c1 - c0):
                term = product(ak, bk[j], to_product, draw_at(p, j, to_product, width, product_drop))
                row[j] = total(np.float32(0.0), term, to_leaf, draw_at(s, j, to_leaf, width, drop))
            sums = 0
            while k >> sums & 1:  # as many sums end in k as there are ones at the end of its bits
                sums += 1
            for height in range(sums):
                if uses_draw(to_sum) and height % per_call == 0:
                    fill(of_sums, i, c0, k, 1 + height // per_call, place)
                left, draws = waiting[height], draws_of(of_sums, height % per_call, width)
                for j in range(c1 - c0):
                    row[j] = total(left[j], row[j], to_sum, draw_at(draws, j, to_sum, width, drop))
            _copy(row, waiting[sums], c1 - c0)
        # What waits are the full subtrees of a K that is no power of two: the last ones are added first.
        lowest = 0
        while lowest < heights and not count >> lowest & 1:
            lowest += 1
        if count > 0:
            _copy(waiting[lowest], row, c1 - c0)
        for height in range(lowest + 1, heights):
            if count >> height & 1:
                if uses_draw(to_sum):
                    fill(of_sums, i, c0, count, 1 + height // per_call, place)
                _add(waiting[height], row, row, c1 - c0, of_sums, height % per_call, to_sum, width, drop)


@compiled
def matmul_kahan(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """Compensated sums, one compensation for each output."""
    widest_vectors()
    to_product, to_term, to_sum, (width, product_drop, drop) = how
    r0, r1, c0, c1 = tile
    sharing = 32 // width  # terms that share a call of sums
    lost, y = np.empty(c1 - c0, np.float32), np.empty(c1 - c0, np.float32)
    of_terms, of_sums = scratch(c1 - c0), scratch(c1 - c0)
    for i in range(r0, r1):
        row = out[i][c0:c1]
        _clear(row, c1 - c0)
        _clear(lost, c1 - c0)
        for k in range(a.shape[1]):
            p, _ = term_draws(of_terms, i, c0, k, width, place, to_product, to_product)
            if uses_draw(to_sum) and k % sharing == 0:
                fill(of_sums, i, c0, k // sharing, 1, place)
            first = 4 * (k % sharing)
            s0, s1 = draws_of(of_sums, first, width), draws_of(of_sums, first + 1, width)
            s2, s3 = draws_of(of_sums, first + 2, width), draws_of(of_sums, first + 3, width)
            ak, bk = a[i, k], b[k][c0:c1]
            # Three loops: in one, LLVM would have too many arrays to tell apart before it takes vectors.
            for j in range(c1 - c0):
                term = product(ak, bk[j], to_product, draw_at(p, j, to_product, width, product_drop))
                y[j] = total(-lost[j], term, to_term, draw_at(s0, j, to_term, width, drop))
            for j in range(c1 - c0):
                old = row[j]
                new = total(old, y[j], to_sum, draw_at(s1, j, to_sum, width, drop))
                lost[j] = total(new, -old, to_sum, draw_at(s2, j, to_sum, width, drop))
                row[j] = new
            for j in range(c1 - c0):
                lost[j] = total(lost[j], -y[j], to_sum, draw_at(s3, j, to_sum, width, drop))


@compiled
def matmul_exact(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """Sums of all the terms, rounded once. magic[n] cuts the n-th slice off a term; see slices_of.

    Adding and subtracting 1.5 2^52 g rounds a term to a multiple of g. Slices are so narrow that K of them
    add up exactly in a float64, and the last grid holds every term.
    """
    widest_vectors()
    to_product, to_sum, zero_down, magic, (width, product_drop, drop) = how
    r0, r1, c0, c1 = tile
    columns, count = c1 - c0, magic.size
    sums = np.empty((count, columns), np.float64)
    rest, plain = np.empty(columns, np.float64), np.empty(columns, np.float64)
    signs = np.empty(columns, np.uint64)
    tainted = np.empty(columns, np.bool_)  # whether a term was NaN; only kept where events are counted
    words = scratch(columns)
    for i in range(r0, r1):
        row = out[i][c0:c1]
        sums[:] = 0.0
        plain[:] = 0.0
        signs[:] = np.uint64(0)
        tainted[:] = False
        for k in range(a.shape[1]):
            p, _ = term_draws(words, i, c0, k, width, place, to_product, to_product)
            ak, bk = a[i, k], b[k][c0:c1]
            for j in range(columns):
                draw = draw_at(p, j, to_product, width, product_drop)
                term = np.float64(product(ak, bk[j], to_product, draw))
                rest[j] = term
                plain[j] += term  # only looked at where it is not finite
                signs[j] |= bits_of(term)
                if counts_events(to_sum):
                    tainted[j] |= np.isnan(term)
            for n in range(count):
                own, cut = sums[n], magic[n]
                for j in range(columns):
                    slice_of_term = (rest[j] + cut) - cut
                    own[j] += slice_of_term
                    rest[j] -= slice_of_term
        if uses_draw(to_sum):
            fill(words, i, c0, 0, 1, place)
        s = draws_of(words, 0, width)
        for j in range(columns):
            x, low = _collapse(sums[:, j])
            finite = abs(plain[j]) < np.inf
            x, low = (x, low) if finite else (plain[j], 0.0)
            x = -0.0 if x == 0.0 and zero_down and signs[j] >> np.uint64(63) else x
            row[j] = round_value(x, low, to_sum, draw_at(s, j, to_sum, width, drop))
            note_nan(np.isnan(plain[j]) & ~tainted[j], to_sum)


@inlined
def _collapse(parts: Any) -> Any:
    """Return x = fl(sum of the parts) and the rest of it, rounded to odd where it is no float64.

    Error-free passes (two_sum from the last part to the first) until no two parts overlap.
    """
    for _ in range(parts.size):
        for n in range(parts.size - 1, 0, -1):
            parts[n - 1], parts[n] = two_sum(parts[n - 1], parts[n])
    low, beyond = 0.0, 0.0
    for n in range(1, parts.size):
        low, error = two_sum(low, parts[n])
        beyond = error if beyond == 0.0 else beyond
    bits = bits_of(low)
    if beyond != 0.0 and bits & np.uint64(1) == np.uint64(0):
        bits = bits + np.uint64(1) if low * beyond > 0.0 else bits - np.uint64(1)
    return parts[0], float_of(bits)


@compiled
def matmul_tensor_core(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """Blocks of `terms` products and the sum so far, aligned, cut and added; promoted every `chunk` terms."""
    widest_vectors()
    to_sum, to_outer, terms, fraction_bits, chunk, promotes, (outer_width, outer_drop) = how
    r0, r1, c0, c1 = tile
    columns = c1 - c0
    inner = np.empty(columns, np.float32)
    top = np.empty(columns, np.int64)
    scale, total_of, plain = np.empty(columns), np.empty(columns), np.empty(columns)
    tainted = np.empty(columns, np.bool_)  # whether a term was NaN; only kept where events are counted
    words = scratch(columns)
    for i in range(r0, r1):
        row = out[i][c0:c1]
        _clear(row, c1 - c0)
        for start in range(0, a.shape[1], chunk):
            stop = min(start + chunk, a.shape[1])
            _clear(inner, c1 - c0)
            for first in range(start, stop, terms):
                last = min(first + terms, stop)
                # 1. The largest exponent among nonzero terms; a product's is not renormalised.
                for j in range(columns):
                    top[j] = _exponent(np.float64(inner[j]))
                for k in range(first, last):
                    of_a, bk = _exponent(np.float64(a[i, k])), b[k][c0:c1]
                    for j in range(columns):
                        top[j] = max(top[j], of_a + _exponent(np.float64(bk[j])))
                # 2. Every term in units of 2^(eta - F), cut toward zero. The sums are exact: a few
                #    more bits than F.
                for j in range(columns):
                    up = max(np.int64(fraction_bits) - top[j], np.int64(-1000)) if top[j] > _NOTHING else 0
                    scale[j] = float_of(np.uint64(np.int64(1023) + up) << np.uint64(52))
                    total_of[j] = np.trunc(np.float64(inner[j]) * scale[j])
                    plain[j] = np.float64(inner[j])
                    if counts_events(to_sum):
                        tainted[j] = np.isnan(inner[j])
                for k in range(first, last):
                    ak, bk = np.float64(a[i, k]), b[k][c0:c1]
                    for j in range(columns):
                        term = ak * np.float64(bk[j])
                        total_of[j] += np.trunc(term * scale[j])
                        plain[j] += term  # only looked at where it is not finite
                        if counts_events(to_sum):
                            note_nan(np.isnan(term) & ~(np.isnan(ak) | np.isnan(bk[j])), to_sum)
                            tainted[j] |= np.isnan(term)
                # 3. One rounding.
                for j in range(columns):
                    exact = total_of[j] / scale[j] + 0.0
                    exact = exact if abs(plain[j]) < np.inf else plain[j]
                    inner[j] = round_value(exact, 0.0, to_sum, _NO_DRAW)
                    note_nan(np.isnan(plain[j]) & ~tainted[j], to_sum)
            if promotes:
                if uses_draw(to_outer):
                    fill(words, i, c0, start // chunk, 1, place)
                _add(row, inner, row, c1 - c0, words, 0, to_outer, outer_width, outer_drop)
            else:
                _copy(inner, row, c1 - c0)


_NOTHING = np.int64(-3000)
_NO_DRAW = np.uint32(0)


@inlined
def _exponent(x: Any) -> Any:
    """floor(log2 |x|) of a float64 that a float32 holds; far below every sum of two such for zero."""
    field = np.int64((bits_of(x) >> np.uint64(52)) & np.uint64(0x7FF))
    return field - np.int64(1023) if field > np.int64(0) else np.int64(-6000)
