"""One rounding taken apart: every quantity that decides it, exactly, and what was decided.

The result is round_exact's; what is said about it is worked out beside it, from the same definition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from emunum.formats.exact import round_exact
from emunum.formats.rounding import Cast, Deterministic, Mode, Overflow, Stochastic
from emunum.formats.spec import Format

RULES = {
    Mode.NEAREST_EVEN.name: "to the nearer neighbour; from the middle to the one with even S",
    Mode.NEAREST_AWAY.name: "to the nearer neighbour; from the middle to the larger magnitude",
    Mode.TOWARD_ZERO.name: "to the neighbour of smaller magnitude",
    Mode.UP.name: "to the upper neighbour",
    Mode.DOWN.name: "to the lower neighbour",
    Mode.TO_ODD.name: "to the neighbour with odd S",
}
_TAILS = {
    Mode.STOCHASTIC.name: "T = floor(nu 2^N)",
    Mode.STOCHASTIC_B.name: "T = floor(nu 2^N + 1/2)",
    Mode.STOCHASTIC_C.name: "T = nu 2^N rounded to nearest even",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a finite number that is not 0 lies: |x| = (S + nu) q, q = 2^(max(E, emin) - m)."""

    exponent: int
    """E = floor(log2 |x|)."""
    quantum_exponent: int
    s: int
    tail: Fraction
    negative: bool

    @property
    def quantum(self) -> Fraction:
        """q."""
        return Fraction(2) ** self.quantum_exponent

    def neighbour(self, increment: bool) -> Fraction:
        """S q or (S + 1) q, with the sign of x."""
        magnitude = (self.s + increment) * self.quantum
        return -magnitude if self.negative else magnitude


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One way a rounding can end, and for how many of the 2^N draws (1 of 1 where none is drawn)."""

    increment: bool
    draws: int
    of: int
    result: float
    code: int | None
    overflowed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A value, where it lies in the format, the rule, and the outcome or, without a draw, both."""

    value: float
    to: Cast
    place: Place | None
    """None for 0, infinities and NaN, which are not rounded."""
    rule: str
    decision: str
    outcomes: tuple[Outcome, ...]
    remark: str
    """What happened after the rounding: overflow, flushing, or what the format has no value for."""

    @property
    def result(self) -> float | None:
        """The result, or None where it depends on a draw that was not given."""
        results = {str(outcome.result) for outcome in self.outcomes}
        return self.outcomes[0].result if len(results) == 1 else None


def explain(value: float, to: Cast, draw: int | None = None) -> Explanation:
    """Explain the rounding of a float64; `draw` is R of a stochastic mode, all R where it is None.

    Raises ValueError for a draw that the cast has no use for or that is out of range.
    """
    if draw is not None and not to.stochastic:
        raise ValueError(f"draw {draw} has no use: {to.mode} rounding is not stochastic.")
    if draw is not None and not 0 <= draw < 1 << to.random_bits:
        top = (1 << to.random_bits) - 1
        raise ValueError(f"draw {draw} is out of range: {to.random_bits} random bits make 0 to {top}.")
    if not math.isfinite(value) or value == 0:
        result = round_exact(value, to)
        outcome = Outcome(
            increment=False, draws=1, of=1, result=result, code=code_of(result, to.format), overflowed=False
        )
        return Explanation(
            value=value, to=to, place=None, rule="", decision="Nothing to round.", outcomes=(outcome,),
            remark=_remark_special(value, result, to),
        )  # fmt: skip
    place = place_of(value, to.format)
    outcomes = _outcomes(value, place, to, draw)
    remarks = dict.fromkeys(_remark(place, outcome, to) for outcome in outcomes)
    return Explanation(
        value=value, to=to, place=place, rule=_rule(to), decision=_decision(place, to, draw, outcomes),
        outcomes=outcomes, remark=" ".join(filter(None, remarks)),
    )  # fmt: skip


def place_of(value: float, format: Format) -> Place:
    """Return E, q, S and nu of a finite number that is not 0."""
    magnitude = abs(Fraction(value))
    exponent = math.frexp(value)[1] - 1
    quantum_exponent = max(exponent, format.emin) - format.mantissa_bits
    scaled = magnitude / Fraction(2) ** quantum_exponent
    s = math.floor(scaled)
    return Place(
        exponent=exponent, quantum_exponent=quantum_exponent, s=s, tail=scaled - s, negative=value < 0
    )  # fmt: skip


def code_of(value: float, format: Format) -> int | None:
    """Return the code of a value of the format, or None where it has none."""
    m, sign = format.mantissa_bits, 1 << (format.bits - 1) if format.signed else 0
    if math.isnan(value):
        return format.nan_code
    negative = math.copysign(1.0, value) < 0
    if math.isinf(value):
        code = format.infinity_code
    elif value == 0:
        code = 0 if format.has_zero and (not negative or format.has_negative_zero) else None
    else:
        place = place_of(value, format)
        inside = format.min <= value <= format.max and place.tail == 0
        if format.fixed_point:
            return int(Fraction(value) / place.quantum) % format.code_count if inside else None
        small = place.exponent < format.emin
        inside = inside and not (small and not format.has_subnormals)
        field = 0 if small else place.exponent + format.bias
        code = (field << m) + (place.s if small else place.s - (1 << m)) if inside else None
    if code is None or (negative and not format.signed):
        return None
    return code | sign if negative else code


def fields(code: int, format: Format) -> list[str]:
    """Return the binary fields of a code: sign, exponent, significand, those the format has."""
    digits = f"{code:0{format.bits}b}"
    if format.fixed_point:
        return [digits]
    ends = [0, int(format.signed), format.bits - format.mantissa_bits, format.bits]
    return [digits[a:b] for a, b in pairwise(ends) if b > a]


def _outcomes(value: float, place: Place, to: Cast, draw: int | None) -> tuple[Outcome, ...]:
    def outcome(increment: bool, draws: int, of: int, example: int) -> Outcome:
        result, rounded = round_exact(value, to, example), place.neighbour(increment)
        inside = Fraction(to.format.min) <= rounded <= Fraction(to.format.max)
        return Outcome(
            increment=increment, draws=draws, of=of, result=result, code=code_of(result, to.format),
            overflowed=(not inside and to.format.has_zero) or rounded > Fraction(to.format.max),
        )  # fmt: skip

    rule = to.mode.rule
    if isinstance(rule, Deterministic):
        return (outcome(rule.increments(place.tail, _odd(place, to.format), place.negative), 1, 1, 0),)
    total = 1 << to.random_bits
    if draw is not None:
        return (outcome(rule.increments(place.tail, to.random_bits, draw), 1, 1, draw),)
    ups = threshold(place.tail, rule, to.random_bits)
    both = ((False, total - ups, 0), (True, ups, total - 1))
    return tuple(outcome(up, count, total, example) for up, count, example in both if count)


def threshold(tail: Fraction, rule: Stochastic, random_bits: int) -> int:
    """T, the number of draws R in [0, 2^N) with which S is incremented: those with T + R >= 2^N."""
    scaled = tail * (1 << random_bits)
    return round(scaled) if rule.nearest else math.floor(scaled + Fraction(int(rule.half), 2))


def _odd(place: Place, format: Format) -> bool:
    odd = place.s % 2 == 1
    if format.p3109 and format.precision == 1:  # S is 1 throughout: the code decides
        odd = odd and (place.quantum_exponent + format.bias) % 2 == 1
    return odd


def _rule(to: Cast) -> str:
    if to.stochastic:
        return (
            f"S + 1 where T + R >= 2^N, {_TAILS.get(to.mode.name, 'T from nu')}, "
            f"R a random integer from 0 to 2^N - 1, N = {to.random_bits}"
        )
    return RULES.get(to.mode.name, "see formats/rounding.py")


def _decision(place: Place, to: Cast, draw: int | None, outcomes: tuple[Outcome, ...]) -> str:
    rule = to.mode.rule
    if place.tail == 0:
        return "The tail is 0: the number is on the grid, and no mode moves it."
    if isinstance(rule, Stochastic):
        total = 1 << to.random_bits
        t = threshold(place.tail, rule, to.random_bits)
        if draw is None:
            return f"T = {t}: S goes up for {t} of {total} draws, with probability {Fraction(t, total)}."
        kept = "goes up" if outcomes[0].increment else "stays"
        sign = ">=" if outcomes[0].increment else "<"
        return f"T + R = {t} + {draw} = {t + draw} {sign} {total}: S {kept}."
    half = Fraction(1, 2)
    where = "below" if place.tail < half else "exactly at" if place.tail == half else "above"
    by_code = to.format.p3109 and to.format.precision == 1
    parity = f"{'its code' if by_code else 'S'} is {'odd' if _odd(place, to.format) else 'even'}"
    sign = "negative" if place.negative else "positive"
    verb = "goes up" if outcomes[0].increment else "stays"
    return f"The tail is {where} one half, {parity}, the number {sign}: S {verb}."


def _remark(place: Place, outcome: Outcome, to: Cast) -> str:
    """What follows the rounding, in a sentence."""
    format, rounded = to.format, place.neighbour(outcome.increment)
    if place.negative and not format.has_zero:
        return f"{format} has no negative values: NaN."
    if abs(rounded) < Fraction(format.smallest) and not format.has_zero:
        return f"{format} has no zero: its least value takes the place."
    if rounded != 0 and abs(rounded) < Fraction(2) ** format.emin and not format.has_subnormals:
        return "" if format.fixed_point else "The format has no subnormals: the result is flushed to zero."
    if not outcome.overflowed:
        return ""
    end = f"{'least' if place.negative else 'largest'} value {format.limit(place.negative)!r}"
    given = f"The rule {_chosen(to)} makes it {outcome.result!r}."
    return f"{shown(rounded)} lies beyond the {end}. {given}"


def _remark_special(value: float, result: float, to: Cast) -> str:
    if math.isnan(value):
        return "NaN stays NaN" + ("." if to.format.has_nan else f", though {to.format} has no code for it.")
    if math.isinf(value):
        return f"The rule {_chosen(to)} makes an infinity {result!r}."
    if math.isnan(result):
        return f"{to.format} has no zero: NaN."
    if math.copysign(1.0, value) < 0 <= math.copysign(1.0, result):
        return f"{to.format} has one zero, without a sign."
    return "Zero is a value of the format."


def _chosen(to: Cast) -> str:
    if to.overflow is not Overflow.AUTO:
        return f"'{to.rule}'"
    has = "has infinities" if to.format.has_infinity else "has no infinities"
    return f"'{to.rule}' ('auto': the format {has})"


def shown(x: Fraction) -> str:
    """The dyadic number as a float prints, as a power of two where it is beyond float64."""
    try:
        return repr(float(x))
    except OverflowError:
        return f"{'-' if x < 0 else ''}2^{abs(x).numerator.bit_length() - 1}"


def significand(place: Place, format: Format, most: int = 64) -> str:
    """S with the tail behind a bar, in binary: 1.001|1001 (fixed point: the point where it stands)."""
    point = -place.quantum_exponent if format.fixed_point else format.mantissa_bits
    width = format.bits if format.fixed_point else format.precision
    digits = f"{place.s:0{max(width, point + 1)}b}"
    head = f"{digits[: len(digits) - point]}.{digits[len(digits) - point :]}"
    length = place.tail.denominator.bit_length() - 1
    tail = f"{place.tail.numerator:0{length}b}" if length else "0"
    return f"{head}|{tail}" if len(tail) <= most else f"{head}|{tail[:most]}... ({len(tail)} digits)"
