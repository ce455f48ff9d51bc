"""How to round into a format: the mode, the overflow rule, and the two bound to a format.

A mode is data. Write |x| = (S + nu) q with q the quantum, S an integer and 0 <= nu < 1: a mode says when S
is incremented. The rational reference and the kernels both read it off the same few fields.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import ClassVar

from emunum.formats.names import unknown
from emunum.formats.spec import Format

RANDOM_BITS = range(1, 33)
DEFAULT_RANDOM_BITS = 16


class When(StrEnum):
    """A condition on the number to round: on S or on the sign of x."""

    NEVER = "never"
    ALWAYS = "always"
    ODD = "odd"
    EVEN = "even"
    POSITIVE = "positive"
    NEGATIVE = "negative"

    def holds(self, odd: bool, negative: bool) -> bool:
        """Whether the condition holds for an odd (even) S and a negative (positive) x."""
        match self:
            case When.NEVER:
                return False
            case When.ALWAYS:
                return True
            case When.ODD:
                return odd
            case When.EVEN:
                return not odd
            case When.POSITIVE:
                return not negative
            case When.NEGATIVE:
                return negative


@dataclass(frozen=True, slots=True, kw_only=True)
class Deterministic:
    """When S is incremented, by where the tail lies: below a half, at it, above it. No tail, no increment."""

    below: When
    tie: When
    above: When

    def increments(self, tail: Fraction, odd: bool, negative: bool) -> bool:
        """Whether (S + tail) q becomes (S + 1) q."""
        if tail == 0:
            return False
        half = Fraction(1, 2)
        when = self.below if tail < half else self.tie if tail == half else self.above
        return when.holds(odd, negative)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stochastic:
    """S is incremented when T + R >= 2^N, T the tail in 2^-N and R an N-bit draw.

    T is nu 2^N rounded to an integer: to nearest even with `nearest`, else as floor(nu 2^N + offset),
    where the offset is 0 or 1/2.
    """

    half: bool = False
    nearest: bool = False

    def increments(self, tail: Fraction, random_bits: int, draw: int) -> bool:
        """Whether (S + tail) q becomes (S + 1) q for a draw R in [0, 2^N)."""
        scaled = tail * (1 << random_bits)
        t = round(scaled) if self.nearest else math.floor(scaled + Fraction(int(self.half), 2))
        return t + draw >= 1 << random_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """Which neighbour a value between two neighbours goes to."""

    name: str
    rule: Deterministic | Stochastic

    NEAREST_EVEN: ClassVar[Mode]
    NEAREST_AWAY: ClassVar[Mode]
    TOWARD_ZERO: ClassVar[Mode]
    UP: ClassVar[Mode]
    DOWN: ClassVar[Mode]
    TO_ODD: ClassVar[Mode]
    STOCHASTIC: ClassVar[Mode]
    STOCHASTIC_B: ClassVar[Mode]
    STOCHASTIC_C: ClassVar[Mode]

    @property
    def stochastic(self) -> bool:
        """Whether the decision depends on random bits."""
        return isinstance(self.rule, Stochastic)

    @property
    def negative_zero_sums(self) -> bool:
        """Whether an exact zero sum of opposite numbers is -0: toward -Inf only (IEEE 754-2019, 6.3)."""
        return isinstance(self.rule, Deterministic) and self.rule.below is When.NEGATIVE

    def leaves_range(self, negative: bool) -> bool:
        """Whether a finite value beyond the largest one goes outward, as it would between two values.

        toward_zero, to_odd, and up or down against the sign stay at the largest (IEEE 754-2019, 7.4).
        """
        return isinstance(self.rule, Stochastic) or (
            self.rule.above in (When.ALWAYS, When.NEGATIVE if negative else When.POSITIVE)
        )

    def __str__(self) -> str:
        return self.name


def _deterministic(name: str, below: When, tie: When, above: When) -> Mode:
    return Mode(name=name, rule=Deterministic(below=below, tie=tie, above=above))


Mode.NEAREST_EVEN = _deterministic("nearest_even", When.NEVER, When.ODD, When.ALWAYS)
Mode.NEAREST_AWAY = _deterministic("nearest_away", When.NEVER, When.ALWAYS, When.ALWAYS)
Mode.TOWARD_ZERO = _deterministic("toward_zero", When.NEVER, When.NEVER, When.NEVER)
Mode.UP = _deterministic("up", When.POSITIVE, When.POSITIVE, When.POSITIVE)
Mode.DOWN = _deterministic("down", When.NEGATIVE, When.NEGATIVE, When.NEGATIVE)
Mode.TO_ODD = _deterministic("to_odd", When.EVEN, When.EVEN, When.EVEN)
Mode.STOCHASTIC = Mode(name="stochastic", rule=Stochastic())
Mode.STOCHASTIC_B = Mode(name="stochastic_b", rule=Stochastic(half=True))
Mode.STOCHASTIC_C = Mode(name="stochastic_c", rule=Stochastic(nearest=True))

MODES: Mapping[str, Mode] = MappingProxyType(
    {
        mode.name: mode
        for mode in (
            Mode.NEAREST_EVEN,
            Mode.NEAREST_AWAY,
            Mode.TOWARD_ZERO,
            Mode.UP,
            Mode.DOWN,
            Mode.TO_ODD,
            Mode.STOCHASTIC,
            Mode.STOCHASTIC_B,
            Mode.STOCHASTIC_C,
        )
    }
)
"""Name to mode. The stochastic ones are P3109's StochasticA, B and C."""

MODE_ALIASES = {"nearest": Mode.NEAREST_EVEN, "stochastic_a": Mode.STOCHASTIC}


class Overflow(StrEnum):
    """What becomes of a rounded value beyond the largest finite one."""

    AUTO = "auto"
    """`ieee` where the format has infinities, `saturate` where it has none."""
    IEEE = "ieee"
    """Inf, or NaN without Inf, or the largest finite value without either. A finite value that rounds
    toward_zero, to_odd, or up or down against its sign becomes the largest finite one of that sign.
    P3109's SatNone."""
    SATURATE = "saturate"
    """The largest finite value of that sign, for infinities too. P3109's SatFinite."""
    PROPAGATE = "propagate"
    """The largest finite value of that sign for finite ones; infinities as `ieee`. P3109's SatPropagate."""
    WRAP = "wrap"
    """Fixed point only: modulo 2^I, as two's complement registers do; infinities become NaN."""


def parse_mode(name: str) -> Mode:
    """Return the mode called `name`, or raise ValueError."""
    mode = MODE_ALIASES.get(name) or MODES.get(name)
    if mode is None:
        raise unknown("rounding", name, [*MODE_ALIASES, *MODES])
    return mode


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
        if self.overflow is Overflow.WRAP and not self.format.fixed_point:
            raise ValueError(
                f"overflow rule 'wrap' needs a fixed-point format, such as 'q4.4' or 'int8': {self.format} "
                "is none. Choose ieee, saturate, propagate or auto."
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
        return self.mode.stochastic

    @property
    def rule(self) -> Overflow:
        """The overflow rule that applies, `auto` resolved."""
        if self.overflow is not Overflow.AUTO:
            return self.overflow
        return Overflow.IEEE if self.format.has_infinity else Overflow.SATURATE

    def on_infinity(self, negative: bool = False) -> float:
        """What an infinity of that sign becomes."""
        if self.rule is Overflow.WRAP:
            return math.nan
        if self.rule is Overflow.SATURATE:
            return self.format.limit(negative)
        if self.format.has_infinity and (self.format.signed or not negative):
            return -math.inf if negative else math.inf
        return math.nan if self.format.has_nan else self.format.limit(negative)

    def on_overflow(self, negative: bool = False) -> float:
        """What a finite value of that sign becomes whose rounding exceeds the largest finite one."""
        if self.rule is Overflow.IEEE and self.mode.leaves_range(negative):
            return self.on_infinity(negative)
        return self.format.limit(negative)
