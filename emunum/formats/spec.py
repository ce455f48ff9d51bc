"""A number format as a value: a few facts, everything else derived."""

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
    EXTENDED = "extended"
    """P3109 with infinities: the largest magnitude is Inf; NaN on the code of -0 (unsigned: all ones)."""
    FIXED = "fixed"
    """Fixed point: two's complement integers times a power of two; every code is finite."""
    SCALE = "scale"
    """OCP scale: unsigned powers of two, all ones is NaN, no zero, no infinity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A binary number format of at most 32 bits.

    A finite value is (-1)^s S 2^(E - m) with emin <= E <= emax and 0 <= S < 2^p, where p = m + 1
    counts the hidden bit. Codes are laid out sign, exponent field, m stored significand bits; an
    exponent field of 0 marks the subnormals and zero (SCALE formats have neither). Without `subnormals`
    they are flushed: codes of subnormals read as zero, and results below 2^emin become zero.

    FIXED formats are the case in which everything is subnormal: no exponent field, S 2^(emin - m), and
    one value more below zero than above.

    Every value of every Format is a float32 value, so float32 arrays carry them.
    Source: IEEE 754-2019 section 3; OCP OFP8 1.0, OCP MX 1.0 and IEEE P3109 for the special values.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    special: Special
    signed: bool = True
    subnormals: bool = True
    p3109: bool = False
    """P3109's conventions: with p = 1 ties go to the even code (others: up in magnitude); x / 0 is NaN."""

    @classmethod
    def from_name(cls, name: str) -> Format:
        """Return the format called `name`: a canonical name, an alias, or eXmY.

        Raises ValueError that says what is wrong with the name and suggests near ones.
        """
        from emunum.formats.catalog import parse_format

        return parse_format(name)

    @property
    def fixed_point(self) -> bool:
        """Whether the values are evenly spaced integers times a power of two."""
        return self.special is Special.FIXED

    @property
    def has_zero(self) -> bool:
        """Whether zero exists."""
        return self.special is not Special.SCALE

    @property
    def has_negative_zero(self) -> bool:
        """Whether -0 exists beside +0."""
        return self.signed and self.special in (Special.IEEE, Special.FN, Special.NONE)

    @property
    def has_subnormals(self) -> bool:
        """Whether there are nonzero values below the smallest normal."""
        return self.has_zero and self.subnormals and self.mantissa_bits > 0

    @property
    def has_infinity(self) -> bool:
        """Whether Inf exists."""
        return self.special in (Special.IEEE, Special.EXTENDED)

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
        """Significand bits p, the hidden one included (fixed point has none)."""
        return self.mantissa_bits + (0 if self.fixed_point else 1)

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
            case Special.EXTENDED:
                return magnitudes - (2 if self.signed else 3)
            case Special.FNUZ | Special.NONE | Special.FIXED:
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
            case Special.EXTENDED:
                return self.max_code + 2
            case Special.NONE | Special.FIXED:
                return None

    @property
    def max(self) -> float:
        """Largest finite value."""
        m = self.mantissa_bits
        if self.fixed_point:
            return float(self.max_code) * 2.0 ** (self.emin - m)
        significand = (1 << m) | (self.max_code & ((1 << m) - 1))
        return float(significand) * 2.0 ** (self.emax - m)

    @property
    def min(self) -> float:
        """Least finite value: -max, but 0 (or the least scale) where unsigned and -2^emin in fixed point."""
        if self.fixed_point:
            return -(2.0**self.emin)
        return -self.max if self.signed else 0.0 if self.has_zero else self.smallest

    def limit(self, negative: bool) -> float:
        """Return the finite value furthest out on that side of zero."""
        return self.min if negative else self.max

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
        """Smallest positive value: 2^(emin - m), or 2^emin where subnormals are flushed."""
        return 2.0 ** (self.emin - (self.mantissa_bits if self.subnormals else 0))

    @property
    def eps(self) -> float:
        """Spacing of the values at 1: 2^-m, or that of all values in fixed point."""
        return self.smallest if self.fixed_point else 2.0**-self.mantissa_bits

    @property
    def unit_roundoff(self) -> float:
        """u = 2^-p, the largest relative error of rounding a normal value to nearest."""
        return 2.0**-self.precision

    def contains(self, other: Format) -> bool:
        """Whether every finite value of `other`, up to the sign of zero, is a value of this format."""
        return (
            other.precision <= self.precision
            and other.emin - other.mantissa_bits >= self.emin - self.mantissa_bits
            and (self.subnormals or other.smallest >= self.smallest)
            and other.max <= self.max
            and other.min >= self.min
            and (self.has_zero or not other.has_zero)
        )

    def __str__(self) -> str:
        return self.name
