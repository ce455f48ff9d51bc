"""How to round into a format: the mode, the overflow rule, and the two bound to a format."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from emunum.formats.names import unknown
from emunum.formats.spec import Format

RANDOM_BITS = range(1, 33)
DEFAULT_RANDOM_BITS = 16


class Mode(StrEnum):
    """Which neighbour a value between two neighbours goes to."""

    NEAREST_EVEN = "nearest_even"
    """The nearer one; a tie goes to the even significand, in magnitude up where p = 1 leaves both odd."""
    TOWARD_ZERO = "toward_zero"
    """The one nearer zero."""
    STOCHASTIC = "stochastic"
    """Away from zero when floor(nu 2^N) + R >= 2^N, with nu the tail and R an N-bit draw (variant A)."""


class Overflow(StrEnum):
    """What becomes of a rounded value beyond the largest finite one."""

    AUTO = "auto"
    """`ieee` where the format has infinities, `saturate` where it has none."""
    IEEE = "ieee"
    """Inf, or NaN without Inf, or the largest finite value without either; toward_zero gives the latter."""
    SATURATE = "saturate"
    """The largest finite value of that sign, for infinities too."""


MODE_ALIASES = {"nearest": Mode.NEAREST_EVEN}


def parse_mode(name: str) -> Mode:
    """Return the mode called `name`, or raise ValueError."""
    try:
        return MODE_ALIASES.get(name) or Mode(name)
    except ValueError:
        raise unknown("rounding", name, [*MODE_ALIASES, *Mode]) from None


def parse_overflow(name: str) -> Overflow:
    """Return the overflow rule called `name`, or raise ValueError."""
    try:
        return Overflow(name)
    except ValueError:
        raise unknown("overflow rule", name, Overflow) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Rounding into a format: round with unbounded exponent, then test overflow.

    `random_bits` is N of stochastic rounding, 1..32; the other modes ignore it.
    """

    format: Format
    mode: Mode = Mode.NEAREST_EVEN
    overflow: Overflow = Overflow.AUTO
    random_bits: int = DEFAULT_RANDOM_BITS

    def __post_init__(self) -> None:
        if self.random_bits not in RANDOM_BITS:
            raise ValueError(
                f"random_bits {self.random_bits!r} is out of range: stochastic rounding takes "
                f"{RANDOM_BITS[0]} to {RANDOM_BITS[-1]} random bits."
            )

    @classmethod
    def from_names(
        cls, format: str, rounding: str = "nearest", overflow: str = "auto", random_bits: int = 16
    ) -> Cast:
        """Return the cast that the names describe; ValueError says which one is unknown."""
        return cls(
            format=Format.from_name(format),
            mode=parse_mode(rounding),
            overflow=parse_overflow(overflow),
            random_bits=random_bits,
        )

    @property
    def stochastic(self) -> bool:
        """Whether the result depends on random bits."""
        return self.mode is Mode.STOCHASTIC

    @property
    def rule(self) -> Overflow:
        """The overflow rule that applies, `auto` resolved."""
        if self.overflow is not Overflow.AUTO:
            return self.overflow
        return Overflow.IEEE if self.format.has_infinity else Overflow.SATURATE

    @property
    def on_infinity(self) -> float:
        """What +Inf becomes."""
        if self.rule is Overflow.IEEE and self.format.has_infinity:
            return math.inf
        if self.rule is Overflow.IEEE and self.format.has_nan:
            return math.nan
        return self.format.max

    @property
    def on_overflow(self) -> float:
        """What a finite value whose rounding exceeds the largest finite one becomes."""
        return self.format.max if self.mode is Mode.TOWARD_ZERO else self.on_infinity
