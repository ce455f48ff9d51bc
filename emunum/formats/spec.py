"""A float format as a value: five facts, everything else derived."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Special(StrEnum):
    """Which code points stand for something other than a finite value."""

    IEEE = "ieee"
    """The top exponent holds the infinities (significand field 0) and the NaNs."""
    FN = "fn"
    """Finite and NaN: only the all-ones magnitude is NaN; no infinity."""
    FNUZ = "fnuz"
    """Finite, one NaN on the code of -0, unsigned zero; no infinity."""
    NONE = "none"
    """Every code is finite."""
    SCALE = "scale"
    """OCP scale: unsigned powers of two, all ones is NaN, no zero, no infinity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A binary float format of at most 32 bits.

    A finite value is (-1)^s S 2^(E - m) with emin <= E <= emax and 0 <= S < 2^p, where p = m + 1
    counts the hidden bit. Codes are laid out sign, exponent field, m stored significand bits; an
    exponent field of 0 marks the subnormals and zero (SCALE formats have neither).

    Every value of every Format is a float32 value, so float32 arrays carry them.
    Source: IEEE 754-2019 section 3; OCP OFP8 1.0 and OCP MX 1.0 for the special values.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    special: Special

    @classmethod
    def from_name(cls, name: str) -> Format:
        """Return the format called `name`: a canonical name, an alias, or eXmY.

        Raises ValueError that says what is wrong with the name and suggests near ones.
        """
        from emunum.formats.catalog import parse_format

        return parse_format(name)

    @property
    def signed(self) -> bool:
        """Whether negative values exist."""
        return self.special is not Special.SCALE

    @property
    def has_zero(self) -> bool:
        """Whether zero exists."""
        return self.special is not Special.SCALE

    @property
    def has_negative_zero(self) -> bool:
        """Whether -0 exists beside +0."""
        return self.special not in (Special.FNUZ, Special.SCALE)

    @property
    def has_subnormals(self) -> bool:
        """Whether there are nonzero values below the smallest normal."""
        return self.special is not Special.SCALE and self.mantissa_bits > 0

    @property
    def has_infinity(self) -> bool:
        """Whether +-Inf exist."""
        return self.special is Special.IEEE

    @property
    def has_nan(self) -> bool:
        """Whether a NaN code exists. (With m = 0 an IEEE top exponent has room for Inf only.)"""
        return self.nan_code is not None

    @property
    def bits(self) -> int:
        """Width of a code in bits."""
        return int(self.signed) + self.exponent_bits + self.mantissa_bits

    @property
    def code_count(self) -> int:
        """Number of code points, 2^bits."""
        return 1 << self.bits

    @property
    def precision(self) -> int:
        """Significand bits p, the hidden one included."""
        return self.mantissa_bits + 1

    @property
    def emin(self) -> int:
        """Exponent of the smallest normal value."""
        return -self.bias if self.special is Special.SCALE else 1 - self.bias

    @property
    def emax(self) -> int:
        """Exponent of the largest finite value."""
        return (self.max_code >> self.mantissa_bits) - self.bias

    @property
    def max_code(self) -> int:
        """Code of the largest finite value."""
        magnitudes = 1 << (self.exponent_bits + self.mantissa_bits)
        match self.special:
            case Special.IEEE:
                return magnitudes - (1 << self.mantissa_bits) - 1
            case Special.FN | Special.SCALE:
                return magnitudes - 2
            case Special.FNUZ | Special.NONE:
                return magnitudes - 1

    @property
    def infinity_code(self) -> int | None:
        """Code of +Inf, or None."""
        return self.max_code + 1 if self.has_infinity else None

    @property
    def nan_code(self) -> int | None:
        """The code NaN is encoded to (positive and quiet where there are several), or None."""
        match self.special:
            case Special.IEEE:
                quiet = (1 << self.mantissa_bits) >> 1
                return self.max_code + 1 + quiet if quiet else None
            case Special.FN | Special.SCALE | Special.FNUZ:
                return self.max_code + 1
            case Special.NONE:
                return None

    @property
    def max(self) -> float:
        """Largest finite value."""
        m = self.mantissa_bits
        significand = (1 << m) | (self.max_code & ((1 << m) - 1))
        return float(significand) * 2.0 ** (self.emax - m)

    @property
    def smallest_normal(self) -> float:
        """2^emin."""
        return 2.0**self.emin

    @property
    def smallest_subnormal(self) -> float | None:
        """2^(emin - m), or None where there are no subnormals."""
        return self.smallest if self.has_subnormals else None

    @property
    def smallest(self) -> float:
        """Smallest positive value, 2^(emin - m)."""
        return 2.0 ** (self.emin - self.mantissa_bits)

    @property
    def eps(self) -> float:
        """Spacing of the values at 1: 2^-m."""
        return 2.0**-self.mantissa_bits

    @property
    def unit_roundoff(self) -> float:
        """u = 2^-p, the largest relative error of rounding a normal value to nearest."""
        return 2.0**-self.precision

    def contains(self, other: Format) -> bool:
        """Whether every finite value of `other`, up to the sign of zero, is a value of this format."""
        return (
            other.precision <= self.precision
            and other.emin - other.mantissa_bits >= self.emin - self.mantissa_bits
            and other.max <= self.max
            and (self.signed or not other.signed)
            and (self.has_zero or not other.has_zero)
        )

    def __str__(self) -> str:
        return self.name
