"""exp, log and cos of a float64 from IEEE basic operations alone: the same bits on every machine.

Each function is made of +, -, *, /, comparisons and scaling by powers of two, in the order written, and
lies within 1 ulp of the exact value everywhere (the bounds are derived below in units of u = 2^-53; an
ulp of a value in [1/2, 1) is u). Coefficients are those of the Taylor series, quotients of small integers
rounded once; the other constants are roundings of ln 2 and pi. There are no tables.

These are functions of Python floats. The CPU backend compiles these same lines for arrays; only `_split`
and `_two_to` have a twin there.
"""

from __future__ import annotations

import math

_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42fefa38p-1"), float.fromhex("0x1.ef35793c7673p-45")
"""ln 2 cut to 42 bits, so that its product with |k| < 2^11 is exact, and the rest, within 2^-102."""
_PER_LN2 = float.fromhex("0x1.71547652b82fep+0")
_HALF_PI, _HALF_PI_LOW = float.fromhex("0x1.921fb54442d18p+0"), float.fromhex("0x1.1a62633145c07p-54")
_TO_INTEGER = 1.5 * 2.0**52
"""Added and taken away again, it rounds |x| < 2^51 to the nearest integer."""
_TO_26_BITS = 2.0**27 + 1.0
_INFINITY, _NAN = math.inf, math.nan

ROOT_HALF = float.fromhex("0x1.6a09ep-1")
"""A little below sqrt(1/2)."""

_EXP = tuple(1.0 / math.factorial(n) for n in range(13, 1, -1))
"""1/13!, ..., 1/2!."""
_LOG = tuple(2.0 / n for n in range(21, 1, -2))
"""2/21, 2/19, ..., 2/3."""
_COS = tuple((1 - n % 4) / math.factorial(n) for n in range(18, 2, -2))
"""-1/18!, 1/16!, ..., 1/4!."""
_SIN = tuple((2 - n % 4) / math.factorial(n) for n in range(15, 1, -2))
"""-1/15!, 1/13!, ..., -1/3!."""


def exp(x: float) -> float:
    """e^x within 0.87 ulp, 0.94 ulp where the result is subnormal; NaN, Inf, 0, overflow as they should be.

    1. k = the integer nearest x / ln 2, and r = x - k ln 2, |r| <= 0.347, as a sum r + low: k _LN2_HIGH is
       exact, so is its difference with x (they agree within a factor of two, or k = 0), and what
       k _LN2_LOW and the difference lose is below 2^-80, or kept in `low`.
    2. e^r = 1 + r + t, t = r^2 (1/2 + r/6 + ... + r^11/13!). The terms left out come to 4.2e-18, 0.04 u.
       |t| is at most 0.054 for r < 0 and 0.068 above; forming it costs 4 u of itself.
    3. 1 + r is kept with its error (Dekker's fast sum, |r| < 1). The small parts add up with two roundings,
       of at most u |t| each, and the last sum rounds by half an ulp of e^r, which is in [0.7, 1.42].
       Below 1, where an ulp is u: 0.5 + 0.04 + 6 * 0.054 < 0.87; above, where it is 2 u, less.
    4. Times 2^k in two steps, the first of them exact. Only a subnormal result rounds there, by another
       half of its ulp; the error so far is at most half of 0.87 of that.
    """
    x = 750.0 if x > 750.0 else x  # e^750 overflows, and e^-750 is below half the smallest subnormal
    x = -750.0 if x < -750.0 else x
    k = (x * _PER_LN2 + _TO_INTEGER) - _TO_INTEGER
    high, rest = x - k * _LN2_HIGH, k * _LN2_LOW
    r = high - rest
    low = (high - r) - rest
    p = 0.0
    for c in _EXP:
        p = p * r + c
    t = r * r * p
    one_r = 1.0 + r
    y = one_r + ((r - (one_r - 1.0)) + (t + low))
    first = (k * 0.5 + _TO_INTEGER) - _TO_INTEGER
    return y * _two_to(first) * _two_to(k - first)


def log(x: float) -> float:
    """The natural logarithm within 0.85 ulp; -Inf at 0, NaN below.

    1. x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)]; f is exact (Sterbenz).
    2. With s = f / (2 + f): log(1 + f) = 2 atanh s = 2 s + s R, R = 2 s^2/3 + 2 s^4/5 + ... + 2 s^20/21. As
       2 s = f - f^2/2 + s f^2/2 this is f - f^2/2 + t, t = s (f^2/2 + R). The terms left out come to
       |s| 2 s^22/23 < 3e-19, and |t| <= 0.019 has an error of at most 6 u of itself: together 0.12 u.
    3. f^2/2 = high + low, where high is the exact half square of f's first 26 bits (`_half_square`).
    4. k ln 2 + f - high is kept with what its two sums lose (Dekker's fast sums: |f| > high, and
       |k ln 2| > |f| or k = 0). The small parts, at most 0.02, add up with errors far below 0.1 u, and only
       the last sum rounds. Where |result| >= 1/4, and so an ulp is at least u/2, that makes
       0.5 + 0.24 + 0.1 ulp at the most. Below 1/4, k = 0 and t shrinks as f^3/3, faster than the result.
    """
    k, m = _split(x)
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    p = 0.0
    for c in _LOG:
        p = p * z + c
    high, low = _half_square(f)
    t = s * ((high + low) + z * p)
    main = f - high
    lost = (f - main) - high
    multiple = k * _LN2_HIGH
    y = multiple + main
    lost_too = main - (y - multiple)
    y = y + (lost_too + (lost + ((t - low) + k * _LN2_LOW)))
    y = _INFINITY if x == _INFINITY else y
    y = -_INFINITY if x == 0.0 else y
    return y if x >= 0.0 else _NAN


def cos(x: float) -> float:
    """The cosine within 0.9 ulp, for |x| <= pi; NaN beyond.

    1. y = |x|, |pi/2 - |x|| or pi - |x|, at most 1.042: the differences with the rounded constants are exact
       (Sterbenz), and what rounding took from them, `rest` <= 1.2e-16, enters by its first-order term, in
       which 1 % of sin y or cos y is enough.
    2. Between 1.04 and 2.1, cos x = sin(y + rest) = y + (y^3 (-1/6 + y^2/120 - ...) + rest cos y), signed.
       Terms left out come to 6e-20; the bracket, at most 0.025, has an error of 7 u of itself, 0.18 u,
       where an ulp is at least u/2 (below y = 1/4 both shrink, the bracket faster). This holds near pi/2 too.
    3. Elsewhere it is 1 - y^2/2 + y^4 (1/24 - y^2/720 + ...) - rest sin y, at least 1/2. Terms left out come
       to 2e-18, 0.02 u; y^2/2 and its difference from 1 are kept in two parts; the fourth power's term,
       at most 0.05, has an error of 8 u of itself with the sums it goes through: 0.4 u, and an ulp is u.
    """
    a = abs(x)
    if not a <= 2.0 * _HALF_PI:
        return _NAN
    if 1.04 < a < 2.1:
        y = _HALF_PI - a
        z = y * y
        p = 0.0
        for c in _SIN:
            p = p * z + c
        return y + (y * z * p + _HALF_PI_LOW * (1.0 - 0.5 * z))
    far = a > _HALF_PI
    y, rest = (2.0 * _HALF_PI - a, 2.0 * _HALF_PI_LOW) if far else (a, 0.0)
    z = y * y
    p = 0.0
    for c in _COS:
        p = p * z + c
    high, low = _half_square(y)
    main = 1.0 - high
    lost = (1.0 - main) - high
    near = main + (lost + ((z * z * p - low) - rest * (y * (1.0 - z / 6.0))))
    return -near if far else near


def power(x: float, n: int) -> float:
    """x^n for n >= 0 by repeated squaring: the product, from 1, of x^(2^i) over the bits i of n, low first.

    Every product rounds; with n below 2^b, the relative error is at most about n + b units of 2^-53.
    """
    result = 1.0
    while n:
        if n & 1:
            result *= x
        x *= x
        n >>= 1
    return result


def _half_square(f: float) -> tuple[float, float]:
    """f^2/2 as high + low, |f| < 2^900: high is half the square of f's first 26 bits (Veltkamp), exactly.

    low = (f - head) (f + head) / 2 has an error of at most 2 u of itself, and is below 2^-25 high.
    """
    product = _TO_26_BITS * f
    head = product - (product - f)
    return head * head * 0.5, (f - head) * (f + head) * 0.5


def _two_to(k: float) -> float:
    """2^k for an integer k from -1022 to 1023; NaN for NaN."""
    return math.ldexp(1.0, int(k)) if k == k else k


def _split(x: float) -> tuple[float, float]:
    """Return k and m with x = 2^k m, ROOT_HALF <= m < 2 ROOT_HALF, for finite x > 0; else 0 and 1."""
    if not 0.0 < x < _INFINITY:
        return 0.0, 1.0
    m, k = math.frexp(x)
    return (float(k), m) if m >= ROOT_HALF else (float(k - 1), 2.0 * m)
