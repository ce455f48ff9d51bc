"""Matrix products of arrays in block formats: exact inside a block, one rounding for each block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from emunum.formats import Accumulator, Cast, Format, Order, Overflow
from emunum.formats.blocks import BlockFormat
from emunum.formats.rounding import DEFAULT_RANDOM_BITS
from emunum.kernels import contract, cpu
from emunum.kernels.contract import Extent, Operation
from emunum.kernels.cpu.matmul import round_result
from emunum.kernels.cpu.threads import share
from emunum.kernels.random import Key
from emunum.ops.arrays import _accumulator
from emunum.ops.blocks import Blocks

Wide = NDArray[np.float64]
Term = Sequence[Wide]
"""Arrays whose exact sum is the term of each output."""

_WORD = 53


def matmul_blocks(
    a: Blocks,
    b: Blocks,
    *,
    accumulator: str | Format = "float32",
    rounding: str = "nearest",
    overflow: str = "auto",
    order: str = "sequential",
    outer: str | Format | None = None,
    random_bits: int = DEFAULT_RANDOM_BITS,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Matrix product of block formats, every partial sum rounded: the dot product of OCP MX 1.0, section 6.1.

    term_t[i, j] = sa[i, t] sb[t, j] (sum of a[i, k] b[k, j] over k in block t), an exact number;
    acc = round_acc(acc + term_t), t = 0, 1, ..., from +0: one rounding for each block. At the end
    round_acc(acc ta tb) where an operand has a tensor scale t, as matrix units apply it, to the sums.
    OCP leaves the inner precision to the implementation: here it is exact. An exact zero term is +0.

    a: (M, K) in blocks along its last axis, b: (K, N) in blocks along its first; their element formats
    may differ, their block sizes not. Returns (M, N) float32.

    order: "sequential" as above, "chunked:8" (in blocks), "pairwise" or "kahan", over the terms; `outer` is
    the format of sums of chunks. Random bits depend on the seed, the entry (i, j), the block and which
    rounding it is: a leading block of the result is the product of the leading rows and columns.

    Raises ValueError for shapes, axes or block sizes that do not fit, unknown names, the orders "exact" and
    "tensor_core", the overflow rule "wrap", and more random bits than float64 has room for: for an
    accumulator of precision p, p + random_bits + 2 is at most 53 (27 bits for float32).
    """
    _require_fit(a, b)
    summation = _accumulator(accumulator, rounding, overflow, order, outer, random_bits)
    _require_room(summation)
    terms = _terms(a, b)
    shape = a.elements.shape[0], b.elements.shape[1]
    key = Key(seed)
    total = _sum(terms, -(-a.elements.shape[1] // a.format.block_size), shape, summation, key)
    scale = a.tensor_scale * b.tensor_scale  # 24 + 24 bits: exact
    if scale != 1:
        total = _round(_sum_to_odd(_times(total, scale)), summation.last, key.fold(0))
    return total.astype(np.float32)


def _require_fit(a: Blocks, b: Blocks) -> None:
    x, y = a.elements.shape, b.elements.shape
    if len(x) != 2 or len(y) != 2 or x[1] != y[0]:
        raise ValueError(f"shapes {x} and {y} do not multiply: (M, K) and (K, N) are needed.")
    if (a.axis, b.axis) != (1, 0):
        raise ValueError(
            f"blocks lie along axes {a.axis} and {b.axis}: a product sums over blocks along axis 1 of the "
            "left operand and axis 0 of the right one. Quantize with axis=1 and axis=0."
        )
    if a.format.block_size != b.format.block_size:
        raise ValueError(
            f"blocks of {a.format.block_size} ({a.format}) and {b.format.block_size} ({b.format}) do not "
            "multiply: the sizes must agree."
        )


def _require_room(accumulator: Accumulator) -> None:
    if accumulator.order in (Order.EXACT, Order.TENSOR_CORE):
        raise ValueError(
            f"order {accumulator.order} is not defined over blocks. Choose sequential, chunked:N, pairwise "
            "or kahan."
        )
    for cast in (accumulator.cast, accumulator.last):
        contract.require_arithmetic(cast)
        if cast.rule is Overflow.WRAP:
            raise ValueError(f"sums of blocks do not wrap into {cast.format}. Choose saturate.")
        if cast.stochastic and cast.format.precision + cast.random_bits + 2 > _WORD:
            raise ValueError(
                f"random_bits {cast.random_bits} is out of range: sums of blocks in {cast.format} take at "
                f"most {_WORD - 2 - cast.format.precision}."
            )


# ----------------------------------------------------------------------------------------------------
# Terms
# ----------------------------------------------------------------------------------------------------


def _terms(a: Blocks, b: Blocks) -> Callable[[int], Term]:
    """Return t -> term_t, as float64 arrays whose exact sum it is.

    Elements are cut into slices of w bits on fixed grids. A product of slices is a multiple of one number,
    below 2^(2w) of it; a block of them stays below 2^53 once the scales are multiplied in, so a float64
    matrix product is exact, whatever its order.
    """
    size = a.format.block_size
    width = (_WORD - (size - 1).bit_length() - _significand(a.format) - _significand(b.format)) // 2
    with np.errstate(invalid="ignore"):
        left, right = _slices(a, width), _slices(b, width)
    special = not (np.isfinite(a.elements).all() and np.isfinite(b.elements).all())

    def term(t: int) -> Term:
        block = slice(t * size, (t + 1) * size)
        scale = np.multiply.outer(a.scales[:, t].astype(np.float64), b.scales[t].astype(np.float64))
        parts = [(x[:, block] @ y[block]) * scale + 0.0 for x in left for y in right]
        if special:
            with np.errstate(invalid="ignore"):
                plain = (a.elements[:, block].astype(np.float64) @ b.elements[block]) * scale
            parts = [*parts, np.where(np.isfinite(plain), 0.0, plain)]
        return parts

    return term


def _significand(format: BlockFormat) -> int:
    """Bits that multiplying by a scale costs."""
    return 0 if format.power_of_two else format.scale.precision


def _slices(blocks: Blocks, width: int) -> list[Wide]:
    extent = Extent.of(blocks.format.element)
    rest = np.where(np.isfinite(blocks.elements), blocks.elements, 0.0).astype(np.float64)
    found = []
    grid = extent.high
    while grid > extent.low:
        grid -= width
        cut = np.ldexp(np.trunc(np.ldexp(rest, -grid)), grid)
        found.append(cut)
        rest = rest - cut
    return found


def _times(x: Wide, scale: float) -> Term:
    """x times scale, for an x of 24 bits and a scale of 48: two exact products."""
    fraction, exponent = math.frexp(scale)
    high = math.floor(math.ldexp(fraction, 24))
    low = math.ldexp(fraction, 48) - math.ldexp(high, 24)
    parts = [x * math.ldexp(high, exponent - 24)]
    return parts if low == 0 else [*parts, x * math.ldexp(low, exponent - 48)]


# ----------------------------------------------------------------------------------------------------
# Sums
# ----------------------------------------------------------------------------------------------------


def _sum(
    term: Callable[[int], Term], count: int, shape: tuple[int, int], accumulator: Accumulator, key: Key
) -> Wide:
    """Sum term(0), ..., term(count - 1); the roundings draw under key.fold(level, step, index).

    Level, step and index are those of formats/exact.py: level 1 for a term (step t), 2 and up for sums.
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
        case _:
            return fold(0, count)


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
    return rounded if to.format.has_negative_zero else rounded + 0.0


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
