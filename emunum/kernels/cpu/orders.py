"""The matrix product under the orders of summation that are not sequential.

As in matmul.py, lanes are neighbouring j and no output sees another. Scratch is a row of the tile for
each partial sum an order keeps (one for chunks and for Kahan, log2 K for pairwise, one a slice for exact
sums) and, where a rounding is stochastic, four for the words of the row's Philox calls.

Every kernel is kernel(a, b, out, how, place, tile): `how` is what the backend lowered for it, `place` and
`tile` are as in matmul.py. Among `how`, `random` is (width of a draw, bits to drop of a product's, bits
to drop of a sum's).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.cpu.bits import bits_of, float_of
from emunum.kernels.cpu.compile import compiled, inlined, widest_vectors
from emunum.kernels.cpu.matmul import call_of
from emunum.kernels.cpu.rounding import product, round_value, total, two_sum, uses_draw

_WORDS = 4  # of a Philox call


@inlined
def _scratch(columns: Any) -> Any:
    return np.zeros((_WORDS, columns), np.uint32)


@inlined
def _fill(words: Any, to: Any, i: Any, c0: Any, step: Any, level: Any, place: Any) -> None:
    """Make the calls of row i at a step and level, where `to` draws at all."""
    if uses_draw(to):
        w0, w1, w2, w3 = words[0], words[1], words[2], words[3]
        for j in range(w0.size):
            w0[j], w1[j], w2[j], w3[j] = call_of(i, c0 + j, step, place, level)


@inlined
def _row(words: Any, index: Any, width: Any) -> Any:
    """The words that hold draw `index` of every call, and how far up in them."""
    return words[index * width // 32], np.uint32(index * width % 32)


@inlined
def _draw(row: Any, j: Any, to: Any, width: Any, drop: Any) -> Any:
    if uses_draw(to):
        word, up = row
        return ((word[j] >> up) & np.uint32((1 << width) - 1)) >> drop
    return np.uint32(0)


@inlined
def _products(words: Any, to: Any, i: Any, c0: Any, k: Any, width: Any, place: Any) -> Any:
    """The draws of the products of term k, laid out as the sequential product's."""
    sharing = 64 // width  # terms that share a call
    if k % sharing == 0:
        _fill(words, to, i, c0, k // sharing, 0, place)
    return _row(words, 2 * (k % sharing), width)


@inlined
def _add(
    left: Any, right: Any, out: Any, words: Any, i: Any, c0: Any, step: Any, level: Any, to: Any, width: Any,
    drop: Any, place: Any,
) -> None:  # fmt: skip
    """out = round(left + right), with draw 0 of the row's calls at this step and level."""
    _fill(words, to, i, c0, step, level, place)
    row = _row(words, 0, width)
    for j in range(out.size):
        out[j] = total(left[j], right[j], to, _draw(row, j, to, width, drop))


@compiled
def matmul_chunked(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """Sequential sums of `chunk` terms, added sequentially."""
    widest_vectors()
    to_product, to_sum, to_outer, chunk, random, outer_random = how
    r0, r1, c0, c1 = tile
    width, product_drop, drop = random
    outer_width, _, outer_drop = outer_random
    inner = np.empty(c1 - c0, np.float32)
    of_products, of_sums = _scratch(c1 - c0), _scratch(c1 - c0)
    for i in range(r0, r1):
        row = out[i][c0:c1]
        row[:] = np.float32(0.0)
        for start in range(0, a.shape[1], chunk):
            inner[:] = np.float32(0.0)
            for k in range(start, min(start + chunk, a.shape[1])):
                p = _products(of_products, to_product, i, c0, k, width, place)
                _fill(of_sums, to_sum, i, c0, k, 1, place)
                s = _row(of_sums, 0, width)
                ak, bk = a[i, k], b[k][c0:c1]
                for j in range(c1 - c0):
                    term = product(ak, bk[j], to_product, _draw(p, j, to_product, width, product_drop))
                    inner[j] = total(inner[j], term, to_sum, _draw(s, j, to_sum, width, drop))
            step = start // chunk
            _add(row, inner, row, of_sums, i, c0, step, 2, to_outer, outer_width, outer_drop, place)


@compiled
def matmul_pairwise(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """A binary tree over k. waiting[l] holds the sum of 2^l terms that has no neighbour yet."""
    widest_vectors()
    to_product, to_leaf, to_sum, random = how
    r0, r1, c0, c1 = tile
    width, product_drop, drop = random
    count = a.shape[1]
    levels = 1
    while 1 << levels <= count:
        levels += 1
    waiting = np.zeros((levels, c1 - c0), np.float32)
    of_products, of_sums = _scratch(c1 - c0), _scratch(c1 - c0)
    for i in range(r0, r1):
        row = out[i][c0:c1]
        row[:] = np.float32(0.0)
        for k in range(count):
            p = _products(of_products, to_product, i, c0, k, width, place)
            _fill(of_sums, to_leaf, i, c0, k, 1, place)
            s = _row(of_sums, 0, width)
            ak, bk = a[i, k], b[k][c0:c1]
            for j in range(c1 - c0):
                term = product(ak, bk[j], to_product, _draw(p, j, to_product, width, product_drop))
                row[j] = total(np.float32(0.0), term, to_leaf, _draw(s, j, to_leaf, width, drop))
            level = 0
            while k >> level & 1:
                _add(waiting[level], row, row, of_sums, i, c0, k, 2 + level, to_sum, width, drop, place)
                level += 1
            waiting[level][:] = row
        # What waits are the full subtrees of a K that is no power of two: the last ones are added first.
        lowest = 0
        while lowest < levels and not count >> lowest & 1:
            lowest += 1
        if count > 0:
            row[:] = waiting[lowest]
        for level in range(lowest + 1, levels):
            if count >> level & 1:
                _add(waiting[level], row, row, of_sums, i, c0, count, 2 + level, to_sum, width, drop, place)


@compiled
def matmul_kahan(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """Compensated sums, one compensation for each output."""
    widest_vectors()
    to_product, to_term, to_sum, random = how
    r0, r1, c0, c1 = tile
    width, product_drop, drop = random
    lost = np.empty(c1 - c0, np.float32)
    of_products, of_sums = _scratch(c1 - c0), _scratch(c1 - c0)
    for i in range(r0, r1):
        row = out[i][c0:c1]
        row[:] = np.float32(0.0)
        lost[:] = np.float32(0.0)
        for k in range(a.shape[1]):
            p = _products(of_products, to_product, i, c0, k, width, place)
            _fill(of_sums, to_sum, i, c0, k, 1, place)
            s0, s1 = _row(of_sums, 0, width), _row(of_sums, 1, width)
            s2, s3 = _row(of_sums, 2, width), _row(of_sums, 3, width)
            ak, bk = a[i, k], b[k][c0:c1]
            for j in range(c1 - c0):
                term = product(ak, bk[j], to_product, _draw(p, j, to_product, width, product_drop))
                old = row[j]
                y = total(-lost[j], term, to_term, _draw(s0, j, to_term, width, drop))
                new = total(old, y, to_sum, _draw(s1, j, to_sum, width, drop))
                grown = total(new, -old, to_sum, _draw(s2, j, to_sum, width, drop))
                lost[j] = total(grown, -y, to_sum, _draw(s3, j, to_sum, width, drop))
                row[j] = new


@compiled
def matmul_exact(a: Any, b: Any, out: Any, how: Any, place: Any, tile: Any) -> None:
    """Sums of all the terms, rounded once. magic[n] cuts the n-th slice off a term; see slices_of.

    Adding and subtracting 1.5 2^52 g rounds a term to a multiple of g. Slices are so narrow that K of them
    add up exactly in a float64, and the last grid holds every term.
    """
    widest_vectors()
    to_product, to_sum, zero_down, magic, random = how
    r0, r1, c0, c1 = tile
    width, product_drop, drop = random
    columns, count = c1 - c0, magic.size
    sums = np.empty((count, columns), np.float64)
    rest, plain = np.empty(columns, np.float64), np.empty(columns, np.float64)
    signs = np.empty(columns, np.uint64)
    of_products, of_sums = _scratch(columns), _scratch(columns)
    for i in range(r0, r1):
        row = out[i][c0:c1]
        sums[:] = 0.0
        plain[:] = 0.0
        signs[:] = np.uint64(0)
        for k in range(a.shape[1]):
            p = _products(of_products, to_product, i, c0, k, width, place)
            ak, bk = a[i, k], b[k][c0:c1]
            for j in range(columns):
                draw = _draw(p, j, to_product, width, product_drop)
                term = np.float64(product(ak, bk[j], to_product, draw))
                rest[j] = term
                plain[j] += term  # only looked at where it is not finite
                signs[j] |= bits_of(term)
            for n in range(count):
                own, cut = sums[n], magic[n]
                for j in range(columns):
                    slice_of_term = (rest[j] + cut) - cut
                    own[j] += slice_of_term
                    rest[j] -= slice_of_term
        _fill(of_sums, to_sum, i, c0, 0, 1, place)
        s = _row(of_sums, 0, width)
        for j in range(columns):
            x, low = _collapse(sums[:, j])
            finite = abs(plain[j]) < np.inf
            x, low = (x, low) if finite else (plain[j], 0.0)
            x = -0.0 if x == 0.0 and zero_down and signs[j] >> np.uint64(63) else x
            row[j] = round_value(x, low, to_sum, _draw(s, j, to_sum, width, drop))


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
    to_sum, to_outer, terms, fraction_bits, chunk, promotes, outer_random = how
    r0, r1, c0, c1 = tile
    outer_width, _, outer_drop = outer_random
    columns = c1 - c0
    inner = np.empty(columns, np.float32)
    top = np.empty(columns, np.int64)
    scale, total_of, plain = np.empty(columns), np.empty(columns), np.empty(columns)
    of_sums = _scratch(columns)
    for i in range(r0, r1):
        row = out[i][c0:c1]
        row[:] = np.float32(0.0)
        for start in range(0, a.shape[1], chunk):
            stop = min(start + chunk, a.shape[1])
            inner[:] = np.float32(0.0)
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
                for k in range(first, last):
                    ak, bk = np.float64(a[i, k]), b[k][c0:c1]
                    for j in range(columns):
                        term = ak * np.float64(bk[j])
                        total_of[j] += np.trunc(term * scale[j])
                        plain[j] += term  # only looked at where it is not finite
                # 3. One rounding.
                for j in range(columns):
                    exact = total_of[j] / scale[j] + 0.0
                    exact = exact if abs(plain[j]) < np.inf else plain[j]
                    inner[j] = round_value(exact, 0.0, to_sum, _NO_DRAW)
            if promotes:
                step = start // chunk
                _add(row, inner, row, of_sums, i, c0, step, 2, to_outer, outer_width, outer_drop, place)
            else:
                row[:] = inner


_NOTHING = np.int64(-3000)
_NO_DRAW = np.uint32(0)


@inlined
def _exponent(x: Any) -> Any:
    """floor(log2 |x|) of a float64 that a float32 holds; far below every sum of two such for zero."""
    field = np.int64((bits_of(x) >> np.uint64(52)) & np.uint64(0x7FF))
    return field - np.int64(1023) if field > np.int64(0) else np.int64(-6000)
