"""The definition of correct, in rational arithmetic: slow, short, and the first oracle of every kernel.

Operands and results are Python floats, which hold every value of every Format (and NaN, Inf and -0).
Each operation forms the exact real result as a Fraction and rounds it once, by `round_exact`. Special
values follow IEEE 754: they are computed by Python's own float operations on the operands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from emunum.formats.rounding import Cast, Mode
from emunum.formats.spec import Format

Draw = Callable[[int, int], int]
"""Random bits of a matrix product's rounding: (k, which) -> R, which = 0 product, 1 sum."""


def decode_exact(code: int, format: Format) -> float:
    """Return the value of a code point."""
    m = format.mantissa_bits
    sign = code >> (format.bits - 1) if format.signed else 0
    magnitude = code - (sign << (format.bits - 1)) if format.signed else code
    if magnitude > format.max_code:
        is_infinity = magnitude == format.infinity_code
        return (-math.inf if sign else math.inf) if is_infinity else math.nan
    if code == format.nan_code:
        return math.nan
    field, fraction = magnitude >> m, magnitude & ((1 << m) - 1)
    hidden = int(field > 0 or not format.has_zero)
    exponent = max(field - format.bias, format.emin)
    value = math.ldexp((hidden << m) + fraction, exponent - m)
    return -value if sign else value


def round_exact(x: float | Fraction, to: Cast, draw: int = 0) -> float:
    """Round x once into a format.

    Write |x| = (S + nu) q, q the quantum 2^(max(E, emin) - m) and 0 <= nu < 1; the mode decides between
    S and S + 1, with `draw` = R in [0, 2^N) where it is stochastic. Then the overflow rule applies.
    """
    format = to.format
    if isinstance(x, float) and (math.isnan(x) or math.isinf(x)):
        return _signed(to.on_infinity if math.isinf(x) else math.nan, x < 0, format)
    negative = math.copysign(1.0, x) < 0 if isinstance(x, float) else x < 0
    magnitude = abs(Fraction(x))
    quantum = Fraction(2) ** (max(_exponent(magnitude), format.emin) - format.mantissa_bits)
    scaled = magnitude / quantum
    s = math.floor(scaled)
    if _increments(s, scaled - s, to, draw):
        s += 1
    value = s * quantum
    if value == 0 and magnitude > 0 and not format.has_zero:
        value = Fraction(format.smallest)
    if value > Fraction(format.max):
        return _signed(to.on_overflow, negative, format)
    return _signed(float(value), negative, format)


def add_exact(a: float, b: float, to: Cast, draw: int = 0) -> float:
    """round(a + b)."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return round_exact(a + b, to)
    if a == 0 and b == 0:
        return round_exact(a + b, to)  # the sign of an exact zero sum
    return round_exact(Fraction(a) + Fraction(b), to, draw)


def multiply_exact(a: float, b: float, to: Cast, draw: int = 0) -> float:
    """round(a b)."""
    if not (math.isfinite(a) and math.isfinite(b)) or a == 0 or b == 0:
        return round_exact(a * b, to)
    return round_exact(Fraction(a) * Fraction(b), to, draw)


def fma_exact(a: float, b: float, c: float, to: Cast, draw: int = 0) -> float:
    """round(a b + c), the product exact."""
    if not (math.isfinite(a) and math.isfinite(b)) or a == 0 or b == 0:
        return add_exact(a * b, c, to, draw)
    if not math.isfinite(c):
        return round_exact(c, to)
    return round_exact(Fraction(a) * Fraction(b) + Fraction(c), to, draw)


def dot_exact(
    a: Sequence[float],
    b: Sequence[float],
    product: Cast | None,
    accumulator: Cast,
    draw: Draw = lambda k, which: 0,
) -> float:
    """One entry of a matrix product: acc = round(acc + round(a[k] b[k])), k = 0, 1, ..., from +0.

    `product` None leaves the product exact, so that acc = round(acc + a[k] b[k]) is one fma.
    """
    acc = 0.0
    for k, (x, y) in enumerate(zip(a, b, strict=True)):
        if product is None:
            acc = fma_exact(x, y, acc, accumulator, draw(k, 1))
        else:
            acc = add_exact(acc, multiply_exact(x, y, product, draw(k, 0)), accumulator, draw(k, 1))
    return acc


def _increments(s: int, tail: Fraction, to: Cast, draw: int) -> bool:
    match to.mode:
        case Mode.NEAREST_EVEN:
            return tail > Fraction(1, 2) or (tail == Fraction(1, 2) and s % 2 == 1)
        case Mode.TOWARD_ZERO:
            return False
        case Mode.STOCHASTIC:
            return math.floor(tail * (1 << to.random_bits)) + draw >= 1 << to.random_bits


def _exponent(magnitude: Fraction) -> int:
    """floor(log2(magnitude)), from bit lengths; any small number for 0."""
    if magnitude == 0:
        return -(10**6)
    guess = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    return guess if magnitude >= Fraction(2) ** guess else guess - 1


def _signed(magnitude: float, negative: bool, format: Format) -> float:
    if not format.signed:
        return math.nan if negative or magnitude == 0 else magnitude
    if magnitude == 0 and not format.has_negative_zero:
        return 0.0
    return -magnitude if negative else magnitude
