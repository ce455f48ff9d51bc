"""The definition of correct, in rational arithmetic: slow, short, and the first oracle of every kernel.

Operands and results are Python floats, which hold every value of every Format (and NaN, Inf and -0).
Each operation forms the exact real result as a Fraction and rounds it once, by `round_exact`. Special
values follow IEEE 754: they are computed by Python's own float operations on the operands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from emunum.formats.accumulator import Accumulator, Order
from emunum.formats.rounding import Cast, Overflow, Stochastic
from emunum.formats.spec import Format

SumDraw = Callable[[int, int, int], int]
"""Random bits of a sum's rounding: (level, step, index) -> R.

Level 1 takes in term `step` (index 0, Kahan's four 0..3); level 2 + h adds two sums of up to 2^h terms, the
last of them `step` (K where fewer); chunks are added at level 2 by number, and exact sums rounded there.
"""

Draw = Callable[[int, int], int]
"""Random bits of a matrix product's rounding: (k, which) -> R, which = 0 product, 1 sum."""


def decode_exact(code: int, format: Format) -> float:
    """Return the value of a code point."""
    m = format.mantissa_bits
    if format.fixed_point:
        return math.ldexp(code - (code >> m << (m + 1)), format.emin - m)
    sign = code >> (format.bits - 1) if format.signed else 0
    magnitude = code - (sign << (format.bits - 1)) if format.signed else code
    if code == format.nan_code:
        return math.nan
    if magnitude > format.max_code:
        is_infinity = magnitude == format.infinity_code
        return (-math.inf if sign else math.inf) if is_infinity else math.nan
    field, fraction = magnitude >> m, magnitude & ((1 << m) - 1)
    if field == 0 and not format.subnormals:
        fraction = 0
    hidden = int(field > 0 or not format.has_zero)
    exponent = max(field - format.bias, format.emin)
    value = math.ldexp((hidden << m) + fraction, exponent - m)
    return _held(-value if sign else value, format)


def round_exact(x: float | Fraction, to: Cast, draw: int = 0) -> float:
    """Round x once into a format.

    Write |x| = (S + nu) q, q the quantum 2^(max(E, emin) - m) and 0 <= nu < 1; the mode decides between
    S and S + 1, with `draw` = R in [0, 2^N) where it is stochastic. Then the overflow rule applies.
    """
    format = to.format
    if isinstance(x, float) and math.isnan(x):
        return math.nan
    negative = math.copysign(1.0, x) < 0 if isinstance(x, float) else x < 0
    if negative and not format.has_zero:
        return math.nan  # scales have no sign
    if isinstance(x, float) and math.isinf(x):
        return _held(to.on_infinity(negative), format)
    magnitude = abs(Fraction(x))
    if to.rule is Overflow.WRAP:
        magnitude %= _period(format)
    exponent = max(_exponent(magnitude), format.emin)
    quantum = Fraction(2) ** (exponent - format.mantissa_bits)
    s = math.floor(magnitude / quantum)
    if _increments(s, exponent, magnitude / quantum - s, negative, to, draw):
        s += 1
    value = s * quantum
    if value < Fraction(2) ** format.emin and not format.subnormals:
        value = Fraction(0)  # flushed
    if value == 0 and magnitude > 0 and not format.has_zero:
        value = Fraction(format.smallest)
    value = -value if negative else value
    if to.rule is Overflow.WRAP:
        half = _period(format) / 2
        return _held(float((value + half) % (2 * half) - half), format)
    if not Fraction(format.min) <= value <= Fraction(format.max) and value != 0:
        return _held(to.on_overflow(negative), format)
    return _held(math.copysign(float(value), -1.0 if negative else 1.0), format)


def divide_exact(a: float, b: float, to: Cast, draw: int = 0) -> float:
    """round(a / b); x / 0 is an infinity, but NaN in a P3109 format."""
    if math.isnan(a) or math.isnan(b) or (a == 0 and b == 0) or (math.isinf(a) and math.isinf(b)):
        return math.nan
    sign = math.copysign(1.0, a) * math.copysign(1.0, b)
    if b == 0 and not math.isinf(a) and to.format.p3109:
        return math.nan
    if math.isinf(a) or b == 0:
        return round_exact(sign * math.inf, to)
    if math.isinf(b) or a == 0:
        return round_exact(sign * 0.0, to)
    return round_exact(Fraction(a) / Fraction(b), to, draw)


def sqrt_exact(x: float, to: Cast, draw: int = 0) -> float:
    """round(sqrt(x)); NaN for x < 0, and sqrt(-0) = -0.

    An irrational root is replaced by a number on its side of every number of at most 200 fraction bits.
    """
    if math.isnan(x) or x < 0:
        return math.nan
    if x == 0 or math.isinf(x):
        return round_exact(x, to)
    scaled = Fraction(x) * (1 << 600)  # an integer, for x is a multiple of 2^-149
    root = Fraction(math.isqrt(int(scaled)))
    if root * root != scaled:
        root += Fraction(1, 2)
    return round_exact(root / (1 << 300), to, draw)


def add_exact(a: float, b: float, to: Cast, draw: int = 0) -> float:
    """round(a + b)."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return round_exact(a + b, to)
    if a == -b:  # the sign of an exact zero sum: IEEE 754-2019 6.3
        either_negative = math.copysign(1, a) < 0 or math.copysign(1, b) < 0
        return round_exact(-0.0 if to.mode.negative_zero_sums and either_negative else a + b, to)
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
    return _round_sum(Fraction(a) * Fraction(b) + Fraction(c), to, draw)


def _round_sum(exact: Fraction, to: Cast, draw: int) -> float:
    """round(exact), a sum of numbers that are not all zero."""
    zero = -0.0 if to.mode.negative_zero_sums else 0.0
    return round_exact(exact if exact else zero, to, draw)


def sum_exact(
    terms: Sequence[Fraction | float],
    accumulator: Accumulator,
    draw: SumDraw = lambda level, step, index: 0,
) -> float:
    """The sum of terms (exact numbers) under any order but the tensor cores'.

    `draw(level, step, index)` is as in kernels/contract/counters.py.
    """
    to = accumulator.cast

    def fold(terms: Sequence[Any], cast: Cast, level: int, first: int) -> float:
        s = 0.0
        for step, term in enumerate(terms, first):
            s = _plus(s, term, cast, draw(level, step, 0))
        return s

    match accumulator.order:
        case Order.SEQUENTIAL:
            return fold(terms, to, 1, 0)
        case Order.CHUNKED:
            n = accumulator.chunk or 1
            sums = [fold(terms[at : at + n], to, 1, at) for at in range(0, len(terms), n)]
            return fold(sums, accumulator.outer or to, 2, 0)
        case Order.KAHAN:
            s = c = 0.0
            for k, term in enumerate(terms):
                y = _plus(-c, term, to, draw(1, k, 0))
                u = add_exact(s, y, to, draw(1, k, 1))
                c = add_exact(add_exact(u, -s, to, draw(1, k, 2)), -y, to, draw(1, k, 3))
                s = u
            return s
        case Order.PAIRWISE:
            level = [(k, _plus(0.0, term, to, draw(1, k, 0))) for k, term in enumerate(terms)]
            height = 0
            while len(level) > 1:
                # a sum is named by its last k, or by K where it is not a full 2^height of terms
                pairs = zip(level[::2], level[1::2], strict=False)
                full = 2 << height
                after = []
                for index, ((_, x), (last, y)) in enumerate(pairs):
                    step = last if (index + 1) * full <= len(terms) else len(terms)
                    after.append((last, add_exact(x, y, to, draw(2 + height, step, 0))))
                level = after + level[len(after) * 2 :]
                height += 1
            return level[0][1] if level else 0.0
        case Order.EXACT:
            special = [term for term in terms if isinstance(term, float) and not math.isfinite(term)]
            if special:
                return round_exact(sum(special), to)
            exact = sum((Fraction(term) for term in terms), Fraction(0))
            if all(term == 0 for term in terms):  # as a chain of additions from +0 ends
                return fold(list(terms), to, 1, 0)
            return _round_sum(exact, to, draw(2, 0, 0))
        case Order.TENSOR_CORE:
            raise ValueError("a tensor core looks at operands, not at products: use tensor_core_exact.")


def tensor_core_exact(a: Sequence[float], b: Sequence[float], accumulator: Accumulator) -> float:
    """A dot product as a tensor core computes it, block by block of its K terms.

    The terms of a block are c, the sum so far, and the exact products. eta is the largest exponent among
    the nonzero ones; a product's is the sum of its operands' (it is not renormalised). Each term is cut
    toward zero to a multiple of 2^(eta - F); their exact sum is rounded by the accumulator's cast.
    """
    core, to = accumulator.core, accumulator.cast
    assert core is not None
    c = 0.0
    for at in range(0, len(a), core.terms):
        pairs = list(zip(a[at : at + core.terms], b[at : at + core.terms], strict=True))
        if not all(map(math.isfinite, [c, *(x for pair in pairs for x in pair)])):
            c = round_exact(sum([x * y for x, y in pairs], c), to)
            continue
        terms = [(_exponent(abs(Fraction(x))) + _exponent(abs(Fraction(y))), Fraction(x) * Fraction(y))
                 for x, y in pairs]  # fmt: skip
        terms.append((_exponent(abs(Fraction(c))), Fraction(c)))
        terms = [(exponent, term) for exponent, term in terms if term != 0]
        if not terms:
            c = 0.0
            continue
        unit = Fraction(2) ** (max(exponent for exponent, _ in terms) - core.fraction_bits)
        total = sum((math.trunc(term / unit) for _, term in terms), 0) * unit
        c = round_exact(total, to) if total else 0.0
    return c


def _plus(s: float, term: Fraction | float, to: Cast, draw: int) -> float:
    if isinstance(term, float):
        return add_exact(s, term, to, draw)
    if not math.isfinite(s):
        return round_exact(s, to)
    if s == 0 and term == 0:
        return add_exact(s, 0.0, to)
    return _round_sum(Fraction(s) + term, to, draw)


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


def _increments(s: int, exponent: int, tail: Fraction, negative: bool, to: Cast, draw: int) -> bool:
    rule = to.mode.rule
    if isinstance(rule, Stochastic):
        return rule.increments(tail, to.random_bits, draw)
    odd = s % 2 == 1
    if to.format.p3109 and to.format.precision == 1:
        odd = odd and (exponent + to.format.bias) % 2 == 1  # S is 1 throughout: the code decides
    return rule.increments(tail, odd, negative)


def _period(format: Format) -> Fraction:
    return Fraction(2) ** (format.emin + 1)


def _exponent(magnitude: Fraction) -> int:
    """floor(log2(magnitude)), from bit lengths; any small number for 0."""
    if magnitude == 0:
        return -(10**6)
    guess = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    return guess if magnitude >= Fraction(2) ** guess else guess - 1


def _held(value: float, format: Format) -> float:
    """The one zero of a format that has no -0; NaN for what a scale cannot be."""
    if not format.has_zero and not value > 0:
        return math.nan
    return 0.0 if value == 0 and not format.has_negative_zero else value
