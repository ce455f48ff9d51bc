"""Matrix products of arrays in block formats: exact inside a block, one rounding for each block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from emunum.formats import Accumulator, Format, Mode, Overflow
from emunum.formats.blocks import BlockFormat
from emunum.formats.rounding import DEFAULT_RANDOM_BITS
from emunum.kernels import contract
from emunum.kernels.contract import Extent
from emunum.kernels.random import Key
from emunum.ops.arrays import accumulator_of
from emunum.ops.blocks import Blocks
from emunum.ops.term_sums import WORD, Term, Wide, multiply_once, sum_terms


def matmul_blocks(
    a: Blocks,
    b: Blocks,
    *,
    accumulator: str | Format | Accumulator = "float32",
    rounding: str | Mode = "nearest",
    overflow: str = "auto",
    order: str = "sequential",
    outer: str | Format | None = None,
    random_bits: int = DEFAULT_RANDOM_BITS,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Matrix product of block formats, every partial sum rounded: the dot product of OCP MX 1.0, section 6.1.

    term_t[i, j] = sa[i, t] sb[t, j] (sum of a[i, k] b[k, j] over k in block t), an exact number;
    acc = round_acc(acc + term_t), t = 0, 1, ..., from +0: one rounding for each block. At the end
    round_acc(acc ta tb) where operands have scales ta, tb of their tensors: matrix units apply them last.
    OCP leaves the inner precision to the implementation: here it is exact. An exact zero term is +0.

    a: (M, K) in blocks along its last axis, b: (K, N) in blocks along its first; their element formats
    may differ, their block sizes not. Returns (M, N) float32.

    accumulator: a format, which `order` and `outer` complete, or an emunum.Accumulator as it is.
    order: "sequential" as above, "chunked:8" (in blocks), "pairwise" or "kahan", over the terms; `outer` is
    the format of sums of chunks. Random bits depend on the seed, the entry (i, j), the block and which
    rounding it is: a leading block of the result is the product of the leading rows and columns.

    Raises ValueError for shapes, axes or block sizes that do not fit, unknown names, the orders "exact" and
    "tensor_core", the overflow rule "wrap", and more random bits than float64 has room for: for an
    accumulator of precision p, p + random_bits + 2 is at most 53 (27 bits for float32).
    """
    _require_fit(a, b)
    summation = accumulator_of(accumulator, rounding, overflow, order, outer, random_bits)
    _require_room(summation)
    terms = _terms(a, b)
    shape = a.elements.shape[0], b.elements.shape[1]
    key = Key(seed)
    total = sum_terms(terms, -(-a.elements.shape[1] // a.format.block_size), shape, summation, key)
    scale = a.tensor_scale * b.tensor_scale  # 24 + 24 bits: exact
    if scale != 1:
        total = multiply_once(total, scale, summation.last, key.fold(0))
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
    for cast in (accumulator.cast, accumulator.last):
        contract.require_arithmetic(cast)
        if cast.rule is Overflow.WRAP:
            raise ValueError(f"sums of blocks do not wrap into {cast.format}. Choose saturate.")
        if cast.stochastic and cast.format.precision + cast.random_bits + 2 > WORD:
            raise ValueError(
                f"random_bits {cast.random_bits} is out of range: sums of blocks in {cast.format} take at "
                f"most {WORD - 2 - cast.format.precision}."
            )


def _terms(a: Blocks, b: Blocks) -> Callable[[int], Term]:
    """Return t -> term_t, as float64 arrays whose exact sum it is.

    Elements are cut into slices of w bits on fixed grids. A product of slices is a multiple of one number,
    below 2^(2w) of it; a block of them stays below 2^53 once the scales are multiplied in, so a float64
    matrix product is exact, whatever its order.
    """
    size = a.format.block_size
    width = (WORD - (size - 1).bit_length() - _significand(a.format) - _significand(b.format)) // 2
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
