"""Operations in floats and what they lose: sums and products exactly, quotients and roots far enough."""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.cpu.compile import inlined


@inlined
def two_sum(a: Any, b: Any) -> Any:
    """Knuth's TwoSum: x = fl(a + b) and the residual a + b - x, exactly."""
    x = a + b
    b_part = x - a
    return x, (a - (x - b_part)) + (b - b_part)


@inlined
def remainder(x: Any, residual: Any, period: Any) -> Any:
    """Return x + residual modulo a power of two, with the sign of x: a float64 and a residual.

    Each modulo the period, with its own sign, then their sum; all of it is exact.
    """
    high, low = two_sum(x - period * np.trunc(x / period), residual - period * np.trunc(residual / period))
    turned = np.copysign(period, x) if high * x < 0.0 else 0.0
    high, rest = two_sum(high, turned)
    return high, low + rest


@inlined
def two_product(a: Any, b: Any) -> Any:
    """Dekker's product of float64: p = fl(a b) and a b - p, exactly."""
    spread_a, spread_b = a * 134217729.0, b * 134217729.0  # Veltkamp: halves of 26 bits
    a_high, b_high = spread_a - (spread_a - a), spread_b - (spread_b - b)
    a_low, b_low = a - a_high, b - b_high
    p = a * b
    return p, ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


@inlined
def quotient(a: Any, b: Any) -> Any:
    """Return q = fl(a / b) and the rest of a / b, for float64 a and b, b of at most 44 significant bits.

    The remainder a - q b is exact (Dekker's product finds q b), and its quotient is rounded once. It is
    used for its integer part in units of 2^-10 ulp(q) and for being an integer there. What is no integer
    is at least 2^-44 of such a unit from one, as a multiple of b's last bit, and off by less.
    """
    q = a / b
    p, low = two_product(q, b)
    return q, ((a - p) - low) / b


@inlined
def scaled_quotient(x: Any, scale: Any, b: Any) -> Any:
    """Return q near x scale / b and the rest, for float64 of at most 53, 48 and 24 significant bits.

    As in quotient, with the product's own low part in the remainder; then |rest| may be more than half an
    ulp of q, which Dekker's fast sum mends. With scale = 1 it is quotient.
    """
    a, a_low = two_product(x, scale)
    q = a / b
    p, low = two_product(q, b)
    rest = (((a - p) - low) + a_low) / b
    whole = q + rest if rest != 0.0 else q  # which keeps -0
    return whole, rest - (whole - q)


@inlined
def root(x: Any) -> Any:
    """Return s = fl(sqrt(x)) and the rest, for a float64 x that a float32 holds.

    (x - s^2) / (2 s) is the rest but for a factor of 1 + 2^-53. No irrational root of a float32 comes
    close enough to a multiple of 2^-10 ulp(s) for that to matter: tests/kernels/test_division.py.
    """
    s = np.sqrt(x)
    p, low = two_product(s, s)
    return s, ((x - p) - low) / (s + s)
