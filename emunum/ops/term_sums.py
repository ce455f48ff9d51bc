"""Sums of exact terms, a matrix of them at a time, in any order, each partial sum rounded once.

A term need not be a float64: it is given as float64 matrices whose exact sum it is. The sum of a rounded
partial sum and a term is first rounded to odd, in float64, then into the format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from emunum.formats import Accumulator, Cast, Order
from emunum.kernels import contract, cpu
from emunum.kernels.contract import Operation
from emunum.kernels.cpu.matmul import round_result
from emunum.kernels.cpu.threads import share
from emunum.kernels.random import Key

Wide = NDArray[np.float64]
Term = Sequence[Wide]
"""Matrices whose exact sum is the term of each entry."""

WORD = 53


def sum_terms(
    term: Callable[[int], Term], count: int, shape: tuple[int, int], accumulator: Accumulator, key: Key
) -> Wide:
    """Sum term(0), ..., term(count - 1); the roundings draw under key.fold(level, step, index).

    Level, step and index are those of formats/exact.py: level 1 for a term (step t), 2 and up for sums. Each
    draw is then that of a result's last rounding at its row and column (kernels/contract/counters.py). Raises
    ValueError for the orders "exact" and "tensor_core".
    """
    to, outer = accumulator.cast, accumulator.last
    zero = np.zeros(shape)

    def leaf(acc: Wide, t: int, index: int = 0) -> Wide:
        return _add(acc, term(t), to, key.fold(1, t, index))

    def fold(begin: int, end: int) -> Wide:
        acc = zero
        for t in range(begin, end):
            acc = leaf(acc, t)
        return acc

    match accumulator.order:
        case Order.CHUNKED:
            n = accumulator.chunk or 1
            acc = zero
            for step, begin in enumerate(range(0, count, n)):
                acc = _add(acc, [fold(begin, min(begin + n, count))], outer, key.fold(2, step))
            return acc
        case Order.PAIRWISE:
            return _tree(lambda t: leaf(zero, t), count, to, key) if count else zero
        case Order.KAHAN:
            acc = lost = zero
            for t in range(count):
                y = leaf(-lost, t)
                grown = _add(acc, [y], to, key.fold(1, t, 1))
                lost = _add(grown, [-acc], to, key.fold(1, t, 2))
                lost = _add(lost, [-y], to, key.fold(1, t, 3))
                acc = grown
            return acc
        case Order.SEQUENTIAL:
            return fold(0, count)
        case Order.EXACT | Order.TENSOR_CORE:
            raise ValueError(
                f"order {accumulator.order} is not defined over blocks. Choose sequential, chunked:N, "
                "pairwise or kahan."
            )


def multiply_once(x: Wide, scale: float, to: Cast, key: Key) -> Wide:
    """round(x scale), for x of 24 bits and a scale of 48."""
    return _round(_sum_to_odd(_times(x, scale)), to, key)


def _tree(leaf: Callable[[int], Wide], count: int, to: Cast, key: Key) -> Wide:
    """Add neighbours, then their sums; one without a neighbour goes up as it is.

    A sum is named by its last t, but by `count` where its right part is not full.
    """
    waiting: list[tuple[int, Wide]] = []  # (height, sum of 2^height leaves), heights falling
    for t in range(count):
        height, found = 0, leaf(t)
        while waiting and waiting[-1][0] == height:
            found = _add(waiting.pop()[1], [found], to, key.fold(2 + height, t))
            height += 1
        waiting.append((height, found))
    _, found = waiting.pop()
    while waiting:
        height, left = waiting.pop()
        found = _add(left, [found], to, key.fold(2 + height, count))
    return found


def _add(acc: Wide, term: Term, to: Cast, key: Key) -> Wide:
    """round(acc + term); the zero of acc = -term is -0 toward -Inf (IEEE 754-2019, 6.3)."""
    total = _sum_to_odd([acc, *term])
    if to.mode.negative_zero_sums:
        negative = (acc != 0) | np.signbit(acc)
        if len(term) == 1:  # of several parts, the sum is +0 where it is zero
            negative |= np.signbit(term[0])
        total = np.where((total == 0) & negative, -0.0, total)
    return _round(total, to, key)


def _round(x: Wide, to: Cast, key: Key) -> Wide:
    """Round each entry of a matrix, with the draw of its row and column."""
    if not to.stochastic:
        return cpu.cast(x, to, key).astype(np.float64)
    rounded = np.array(x, np.float64, order="C")
    rows, columns = rounded.shape
    lowered, width = contract.lower_conversion(to, None), contract.draw_bits(to)
    drop = np.uint32(width - to.random_bits)
    low, high = key.words
    place = (0, 0, 1, 0, 1, 0, np.uint32(Operation.MATMUL), np.uint32(low), np.uint32(high))

    def job(begin: int, end: int) -> None:
        round_result(rounded, lowered, width, drop, place, (begin, end, 0, columns))

    share(job, rows, work=rounded.size)
    return rounded


def _sum_to_odd(parts: Term) -> Wide:
    """The exact sum of the parts rounded to odd: rounding again to 51 bits or fewer is rounding once.

    Source: Boldo and Melquiond, Emulation of FMA and correctly rounded sums (IEEE TC 2008), theorem 3.
    """
    with np.errstate(invalid="ignore"):
        plain = sum(parts[1:], start=parts[0])
    if len(parts) == 1:
        return plain
    finite = np.isfinite(plain)
    parts = list(parts) if finite.all() else [np.where(finite, part, 0.0) for part in parts]
    # 1. Error-free passes from the last part to the first, until each absorbs its successor: then the first
    #    is the sum rounded to nearest, and the second has the sign of all that is left. Two take one pass.
    while True:
        for n in range(len(parts) - 1, 0, -1):
            parts[n - 1], parts[n] = _two_sum(parts[n - 1], parts[n])
        if len(parts) == 2 or all(bool((x + y == x).all()) for x, y in pairwise(parts)):
            break
    nearest, rest = parts[0], parts[1]
    # 2. An even last bit goes to its neighbour on the side of the rest: up in magnitude where signs agree.
    bits = nearest.view(np.int64)
    moves = (rest != 0) & (bits & 1 == 0)
    away = np.signbit(rest) == np.signbit(nearest)
    odd = (bits + np.where(away, moves, -1 * moves)).view(np.float64)
    return odd if finite.all() else np.where(finite, odd, plain)


def _two_sum(a: Wide, b: Wide) -> tuple[Wide, Wide]:
    """Knuth's TwoSum: fl(a + b) and the rest, exactly."""
    x = a + b
    b_part = x - a
    return x, (a - (x - b_part)) + (b - b_part)


def _times(x: Wide, scale: float) -> Term:
    """x times scale, for an x of 24 bits and a scale of 48: two exact products."""
    fraction, exponent = math.frexp(scale)
    high = math.floor(math.ldexp(fraction, 24))
    low = math.ldexp(fraction, 48) - math.ldexp(high, 24)
    parts = [x * math.ldexp(high, exponent - 24)]
    return parts if low == 0 else [*parts, x * math.ldexp(low, exponent - 48)]
