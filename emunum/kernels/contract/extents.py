"""Extents: the significand bits and exponents that numbers can have, and sums and products of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emunum.formats import Format


@dataclass(frozen=True, slots=True)
class Extent:
    """A set of reals: multiples of 2^low below 2^high in magnitude, of at most `precision` bits."""

    precision: int
    low: int
    high: int

    @classmethod
    def of(cls, format: Format) -> Extent:
        """Return the extent of a format's finite values."""
        high = format.emax + (2 if format.fixed_point else 1)  # fixed point has -2^emin
        return cls(format.precision, format.emin - format.mantissa_bits, high)

    def times(self, other: Extent) -> Extent:
        """Return the extent of the exact products."""
        if 1 in (self.precision, other.precision):  # powers of two, of at most 2^(high - 1)
            precision = max(self.precision, other.precision)
            return Extent(precision, self.low + other.low, self.high + other.high - 1)
        return Extent(self.precision + other.precision, self.low + other.low, self.high + other.high)

    def plus(self, other: Extent) -> Extent:
        """Return the extent of the exact sums."""
        low, high = min(self.low, other.low), max(self.high, other.high) + 1
        return Extent(high - low, low, high)

    @property
    def exact_in_float32(self) -> bool:
        """Whether each value is a finite float32."""
        return self.precision <= 24 and self.low >= -149 and self.high <= 128


def slices_of(terms: Extent, count: int) -> NDArray[np.float64]:
    """Return the magic numbers 1.5 2^52 g of the grids g on which `count` such terms add up exactly.

    A slice of w bits, count times, needs w + log2(count) + 1 bits; the grids end at the terms' own.
    """
    width = 51 - max(count, 1).bit_length()
    grids = range(terms.high - width, terms.low - width, -width)
    return np.array([1.5 * 2.0 ** (52 + max(grid, terms.low)) for grid in grids], np.float64)
