"""Quantize arrays into block formats (OCP MX, NVFP4) and back."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emunum.formats import FLOAT32, Cast, Mode, Overflow, parse_mode
from emunum.formats.blocks import BlockFormat, ScaleRule, parse_block_format, parse_scale_rule
from emunum.formats.rounding import DEFAULT_RANDOM_BITS, Deterministic, When
from emunum.kernels import cpu
from emunum.kernels.random import Key
from emunum.ops.arrays import real

_FAR = 2.0**300
"""Beyond every value of every block format, as 1 / _FAR is below every one and every tail a mode sees."""

_SMALLEST_TENSOR_SCALE = FLOAT32.smallest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Blocks:
    """An array in a block format: x = elements x scales, each scale spread over its block, x tensor_scale.

    `elements` has x's shape; `scales` has ceil(n / block_size) in place of n at `axis`. Both are float32
    arrays of values: `emunum.encode(blocks.elements, blocks.format.element)` gives the codes, and
    `emunum.encode(blocks.scales, blocks.format.scale)` those of the scales. Raises ValueError if shapes do
    not fit, or `tensor_scale` is no positive float32 value.
    """

    elements: NDArray[np.float32]
    scales: NDArray[np.float32]
    format: BlockFormat
    axis: int
    tensor_scale: float = 1.0

    def __post_init__(self) -> None:
        shape = self.elements.shape
        if not 0 <= self.axis < len(shape):
            raise ValueError(f"axis {self.axis} is out of range: the elements have {len(shape)} axes.")
        count = -(-shape[self.axis] // self.format.block_size)
        expected = (*shape[: self.axis], count, *shape[self.axis + 1 :])
        if self.scales.shape != expected:
            raise ValueError(
                f"scales of shape {self.scales.shape} do not fit elements of shape {shape}: blocks of "
                f"{self.format.block_size} along axis {self.axis} have scales of shape {expected}."
            )
        if (
            not 0 < self.tensor_scale <= FLOAT32.max
            or float(np.float32(self.tensor_scale)) != self.tensor_scale
        ):
            raise ValueError(
                f"tensor_scale {self.tensor_scale!r} is no positive float32 value: float(numpy.float32(...)) "
                "makes it one."
            )


def quantize_blocks(
    x: ArrayLike,
    format: str | BlockFormat,
    axis: int = -1,
    *,
    scale: str | None = None,
    rounding: str | Mode = "nearest",
    random_bits: int = DEFAULT_RANDOM_BITS,
    seed: int = 0,
) -> Blocks:
    """Round an array into a block format, in blocks along an axis; the last block may be short.

    1. t = A / (L M), rounded once to float32 and at least 2^-149: A the largest finite magnitude of x, L the
       largest element, M the largest scale. 1 where A = 0 or the format has no scale of the tensor.
    2. s, the scale of each block, by the rule `scale`: for MX "floor" (the default, OCP MX 1.0 section 6.3)
       or "ceil"; for nvfp4 "nearest" (the default) or "ceil". emunum.formats.blocks.ScaleRule defines them.
    3. element = round(x / (s t)), one rounding of the exact quotient, saturating. `rounding` and
       `random_bits` are as in quantize; element n of the flattened x always gets the same random bits.

    A block of zeros has the smallest scale (2^-127; 0 in nvfp4) and keeps the signs of its zeros. Where
    the scale is 0, elements are zeros with the signs of x. A block with a NaN or an infinity has a NaN for
    a scale (code 0xFF; 0x7F in nvfp4) and elements +0: all of it dequantizes to NaN. OCP leaves that to the
    implementation. mxint8's -2 is not used: elements lie in -127/64..127/64.

    x: any shape with an axis; float64 is rounded from float64 directly. Raises ValueError for an unknown
    name or rule, an axis out of range, or numbers out of range; TypeError for data that is not real.

    >>> blocks = quantize_blocks([1.0, -3.0, 0.2, 14.0], "mxfp4_e2m1")
    >>> blocks.elements.tolist(), blocks.scales.tolist()
    ([0.5, -1.5, 0.0, 6.0], [2.0])
    """
    fmt = parse_block_format(format) if isinstance(format, str) else format
    rule = parse_scale_rule(scale, fmt)
    mode = rounding if isinstance(rounding, Mode) else parse_mode(rounding)
    to = Cast(format=fmt.element, mode=mode, overflow=Overflow.SATURATE, random_bits=random_bits)
    values = _within_reach(real(x, "x"))
    place = _axis(axis, values.ndim)
    count = values.shape[place]
    largest = np.maximum.reduceat(np.abs(values), np.arange(0, count, fmt.block_size), axis=place)
    finite = np.isfinite(largest)
    largest = np.where(finite, largest, 0.0).astype(np.float64)
    tensor_scale = _tensor_scale(largest, fmt) if fmt.tensor_scaled else 1.0
    scales = _scales(largest, tensor_scale, fmt, rule)
    if not finite.all():
        values = np.where(_spread(finite, fmt.block_size, place, count), values, values.dtype.type(0))
    elements = _elements(values, _spread(scales, fmt.block_size, place, count), tensor_scale, fmt, to, seed)
    scales[~finite] = np.nan
    return Blocks(elements=elements, scales=scales, format=fmt, axis=place, tensor_scale=tensor_scale)


def dequantize_blocks(blocks: Blocks) -> NDArray[np.float64]:
    """element x scale x tensor scale, exactly: at most 16 + 8 + 24 significant bits, so float64.

    MX values of float32 input under the "floor" rule are float32 values, and `astype(np.float32)` keeps
    them; the others it rounds once, to nearest.
    """
    size, axis = blocks.format.block_size, blocks.axis
    scales = _spread(blocks.scales, size, axis, blocks.elements.shape[axis]).astype(np.float64)
    return blocks.elements * (scales * blocks.tensor_scale)


def _within_reach(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return x, nonzero float64 held to 1 / _FAR..._FAR in magnitude, where no quotient underflows."""
    if x.dtype == np.float32:
        return x
    held = np.copysign(np.clip(np.abs(x), 1 / _FAR, _FAR), x)
    return np.where(np.isfinite(x) & (x != 0), held, x)


def _tensor_scale(largest: NDArray[np.float64], format: BlockFormat) -> float:
    top = largest.max(initial=0.0)
    if top == 0:
        return 1.0
    to = Cast(format=FLOAT32, overflow=Overflow.SATURATE)
    rounded = cpu.rescale([top], 1.0, format.largest * format.scale.max, to, Key(0))
    return max(float(rounded[0]), _SMALLEST_TENSOR_SCALE)


def _scales(
    largest: NDArray[np.float64], tensor_scale: float, format: BlockFormat, rule: ScaleRule
) -> NDArray[np.float32]:
    """Return the scale of each block, `largest` the magnitudes A."""
    if not format.power_of_two:
        mode = Mode.UP if rule is ScaleRule.CEIL else Mode.NEAREST_EVEN
        to = Cast(format=format.scale, mode=mode, overflow=Overflow.SATURATE)
        return cpu.rescale(largest, 1.0, format.largest * tensor_scale, to, Key(0))
    # A = f 2^e and L = f' 2^e' with 1/2 <= f, f' < 1: A / 2^(e - e') <= L exactly where f <= f'.
    fraction, exponent = np.frexp(largest)
    of_largest, exponent_of_largest = math.frexp(format.largest)
    power = exponent - exponent_of_largest
    if rule is ScaleRule.CEIL:
        power = power + (fraction > of_largest)
    power = np.where(largest > 0, power, format.scale.emin)
    held = np.clip(power, format.scale.emin, format.scale.emax)
    scales: NDArray[np.float32] = np.ldexp(1.0, held).astype(np.float32)
    return scales


def _elements(
    values: NDArray[np.floating[Any]],
    scales: NDArray[np.float32],
    tensor_scale: float,
    format: BlockFormat,
    to: Cast,
    seed: int,
) -> NDArray[np.float32]:
    """Return round(values / (scales tensor_scale))."""
    if format.power_of_two:
        carrier = np.float64 if _sees_underflow(to) else values.dtype.type
        elements = cpu.cast(np.divide(values, scales, dtype=carrier), to, Key(seed))
    else:
        # The divisor is exact, of 8 + 24 bits, and the dividend one float64. Then the remainder r of the
        # quotient q is exact, r / b is rounded once, and the true one, in units of 2^-10 ulp(q), is at most
        # 2^9 and lies 1 / B or more from an integer it is not: B < 2^32, the divisor's significand. The
        # error, 2^-44, is less: the kernel sees the right side of every integer.
        divisor = scales * np.float64(tensor_scale)
        none = divisor == 0
        elements = cpu.rescale(values, 1.0, np.where(none, 1.0, divisor), to, Key(seed))
        zero = np.copysign(np.float32(0), elements) if format.element.has_negative_zero else np.float32(0)
        np.copyto(elements, zero, where=none)
    if format.element.min < -format.largest:
        np.maximum(elements, np.float32(-format.largest), out=elements)
    return elements


def _sees_underflow(to: Cast) -> bool:
    """Whether rounding to `to` sees that a float32 quotient by a power of two underflowed.

    Above 2^-126 such a quotient is exact. Modes that round the least tail away from zero must see what is
    below; the others look at no bit below 2^-34 of the quantum, and most formats' quantum is above 2^-60.
    """
    least_counts = isinstance(to.mode.rule, Deterministic) and to.mode.rule.below is not When.NEVER
    return least_counts or to.format.smallest < 2.0**-60


def _spread(x: NDArray[Any], block_size: int, axis: int, count: int) -> NDArray[Any]:
    """Repeat the entries of x, one a block, over the `count` places along an axis."""
    return np.take(x, np.arange(count) // block_size, axis=axis)


def _axis(axis: int, axes: int) -> int:
    """Return an axis counted from 0."""
    place = operator.index(axis)
    if not -axes <= place < axes:
        raise ValueError(f"axis {axis} is out of range: x has {axes} axes. Blocks lie along one of them.")
    return place % axes
