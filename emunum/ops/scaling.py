"""Integers with a scale: int8 tensors, their products in wide integers, and once-rounded requantisation.

A value is q s with q an integer and s > 0 a scale, one for the tensor or one for each row (channel).
Symmetric: q = clip(round(x / s), -127, 127), and s = max|x| / 127 as a float32 (`absmax`) or the least
power of two that is no smaller (`power_of_two`); s = 1 where every x is 0. The quotient is exact and
rounded once, whatever x is: a float32, or an integer with a scale of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.formats import FLOAT32, Cast, Format, Overflow
from emunum.formats.exact import round_exact
from emunum.kernels import cpu
from emunum.kernels.random import Key

LARGEST = 127
"""int8 without -128: the range is symmetric."""


class Scale(StrEnum):
    """How a scale follows from the largest magnitude."""

    ABSMAX = "absmax"
    """max|x| / 127, rounded to float32."""
    POWER_OF_TWO = "power_of_two"
    """The least power of two of at least max|x| / 127."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """codes (integers of any shape) times scale (float64, a number or broadcast against codes).

    Codes are a backend's array; the scale, a few numbers that are computed with one by one, is NumPy's.
    """

    codes: NDArray[np.signedinteger[Any]]
    scale: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.codes.shape

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.codes.size

    @property
    def T(self) -> Scaled:  # noqa: N802 - NumPy's name
        """The transpose of a matrix."""
        return Scaled(codes=self.codes.T, scale=self.scale.T)

    def __le__(self, other: float) -> NDArray[np.bool_]:
        """Compare with 0: a scale is positive."""
        if other != 0:
            raise ValueError(f"{other!r}: an integer tensor compares with 0 alone.")
        return self.codes <= 0

    def values(self) -> NDArray[np.float32]:
        """Return codes times scale: exact in float64 up to 53 bits, then rounded to float32."""
        scale = np.asarray(self.scale, like=self.codes)
        return (self.codes.astype(np.float64) * scale).astype(np.float32)


def quantize_int8(
    x: NDArray[np.float32] | Scaled,
    to: Cast,
    key: Key,
    *,
    scale: Scale = Scale.ABSMAX,
    axis: int | None = None,
    backend: ModuleType = cpu,
) -> Scaled:
    """Return x as int8 with a scale; with `axis`, one for each index along it.

    `to` rounds into int8; its mode is used. Raises ValueError where x is not finite.
    """
    codes, own = (x.codes, x.scale) if isinstance(x, Scaled) else (x, np.asarray(1.0))
    if axis is not None and not -codes.ndim <= axis < codes.ndim:
        raise ValueError(f"axis {axis} is out of range: the tensor has {codes.ndim} axes.")
    own = np.reshape(own, (1,) * codes.ndim if own.size == 1 else (1,) * (codes.ndim - own.ndim) + own.shape)
    ends = _farthest(codes, own.shape, axis, backend)
    if codes.dtype.kind == "f" and not np.isfinite(ends).all():
        raise ValueError("an int8 tensor cannot hold NaN or infinities. Clip or drop them first.")
    if axis is None:
        s = _scale_of(ends, own, scale)
    else:
        place = axis % codes.ndim
        wide = np.broadcast_to(own, ends.shape[1:])
        channels = zip(np.moveaxis(ends, place + 1, 0), np.moveaxis(wide, place, 0), strict=True)
        one = [codes.shape[axis] if n == place else 1 for n in range(codes.ndim)]
        s = np.array([_scale_of(*channel, scale) for channel in channels], np.float64).reshape(one)
    q = backend.rescale(codes, own, s, to, key)
    np.clip(q, -LARGEST, LARGEST, out=q)
    return Scaled(codes=q.astype(np.int8), scale=s)


def _scale_of(codes: Any, own: Any, scale: Scale) -> NDArray[np.float64]:
    """The scale of max|codes own| / 127, which is taken exactly."""
    sizes = np.abs(codes.astype(np.float64)) * own
    top = sizes.max(initial=0.0)
    if top == 0:
        return np.asarray(1.0)
    near = np.flatnonzero(sizes.reshape(-1) >= top * (1 - 2.0**-51))  # rounded, the greatest is one of these
    wide = np.broadcast_to(own, codes.shape).reshape(-1)
    flat = codes.reshape(-1)
    pairs = {(abs(flat[n].item()), wide[n].item()) for n in near[:_MOST]}
    largest = max(Fraction(code) * Fraction(factor) for code, factor in pairs) / LARGEST
    if scale is Scale.POWER_OF_TWO:
        exponent = largest.numerator.bit_length() - largest.denominator.bit_length() - 1
        while Fraction(2) ** exponent < largest:
            exponent += 1
        return np.asarray(2.0**exponent)
    s = round_exact(largest, _FLOAT32)
    if s == float("inf"):
        raise ValueError(f"the scale of {float(top)!r} is beyond float32. Divide the tensor first.")
    return np.asarray(max(s, FLOAT32.smallest))


def _farthest(codes: Any, own: tuple[int, ...], axis: int | None, backend: ModuleType) -> Any:
    """The least and the greatest code of each scale (of shape `own`), along `axis` of each index: NumPy's.

    Of codes with one scale, none is larger than the larger of these two. (2, ...), with an axis of 1 for
    each that was left out. NaN where there is one.
    """
    kept = {n for n, size in enumerate(own) if size > 1}
    kept |= set() if axis is None else {axis % codes.ndim}
    if codes.size == 0:
        shape = [size if n in kept else 1 for n, size in enumerate(codes.shape)]
        return np.zeros((2, *shape), codes.dtype)
    over, ends = tuple(n for n in range(codes.ndim) if n not in kept), (codes, codes)
    if over:
        with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
            ends = codes.min(axis=over, keepdims=True), codes.max(axis=over, keepdims=True)
    return backend.host(np.stack(ends))


_FLOAT32, _MOST = Cast(format=FLOAT32), 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerAccumulator:
    """A signed integer of `bits` bits in which products add up, in index order; 2..32.

    Beyond its range it saturates or wraps. 32 bits hold 2^17 products of int8 numbers.
    """

    bits: int = 32
    overflow: Overflow = Overflow.SATURATE

    def __post_init__(self) -> None:
        if self.bits not in range(2, 33):
            raise ValueError(f"an accumulator of {self.bits!r} bits is out of range: int2 to int32 exist.")
        if self.overflow not in (Overflow.SATURATE, Overflow.WRAP):
            raise ValueError(f"overflow rule {self.overflow} is none of integers: choose saturate or wrap.")


def matmul_int8(
    a: Scaled, b: Scaled, accumulator: IntegerAccumulator, *, backend: ModuleType = cpu
) -> tuple[Scaled, int]:
    """acc = acc + a[i, k] b[k, j], k = 0, 1, ..., in the accumulator; a (M, K), b (K, N).

    Returns the product, whose scale is that of a times that of b, and how many additions left the range.
    Raises ValueError where a scale varies along k: it cannot be taken out of the sum.
    """
    for operand in (a, b):
        if operand.codes.dtype != np.int8:
            raise ValueError(
                f"codes are {operand.codes.dtype}: products take int8. Requantise with quantize_int8 first."
            )
    if np.shape(a.scale)[-1:] not in ((), (1,)) or np.shape(b.scale)[:1] not in ((), (1,)):
        raise ValueError("a scale that varies along the summed axis cannot be taken out of the sum.")
    wraps = accumulator.overflow is Overflow.WRAP
    out, overflows = backend.matmul_integers(a.codes, b.codes, accumulator.bits, wraps)
    return Scaled(codes=out, scale=np.asarray(a.scale * b.scale)), overflows


INT8 = Format.from_name("int8")
