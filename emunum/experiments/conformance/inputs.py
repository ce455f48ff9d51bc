"""What both sides are asked: numbers around a format, pairs near a tie, sums; all of them reproducible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.formats import Format

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How much of everything: all of it, or a tenth (`quick`)."""

    quick: bool = False
    seed: int = 0

    def count(self, full: int) -> int:
        """How many random cases to draw where a full run draws `full`."""
        return max(full // 10, 1) if self.quick else full

    def some(self, x: Array, limit: int | None = None) -> Array:
        """All of x, a random tenth, or `limit` of them where that is fewer."""
        count = self.count(x.size) if limit is None else min(self.count(limit), self.count(x.size))
        if count >= x.size:
            return x
        chosen: Array = self.random(x.size).choice(x, count, replace=False)
        return chosen

    def random(self, salt: int) -> np.random.Generator:
        """A generator of its own for each purpose."""
        return np.random.default_rng([self.seed, salt])


def numbers_32(
    format: Format, sampling: Sampling, patterns: int = 1 << 19, limit: int | None = None
) -> Array:
    """float32 numbers for a conversion into `format`.

    Every value of float16 and of bfloat16 (specials among them), every midpoint of the format with the
    float32 one ulp either side, and random bit patterns, all exponents alike.
    """
    held = np.concatenate([_every_float16(), _every_bfloat16()])
    middle = midpoints(format)
    with np.errstate(over="ignore", under="ignore"):
        middle = middle[(middle <= np.finfo(np.float32).max) & (middle >= 2.0**-149)].astype(np.float32)
        ties = np.concatenate(
            [middle, np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf))]
        )
    ties = np.concatenate([ties, -ties]).astype(np.float64)
    bits = sampling.random(1).integers(0, 2**32, sampling.count(patterns), np.uint32)
    parts = [sampling.some(held, limit), sampling.some(ties, limit), _quiet(bits.view(np.float32))]
    return np.concatenate([*parts, SPECIALS])


def numbers_64(
    format: Format, sampling: Sampling, patterns: int = 1 << 18, limit: int | None = None
) -> Array:
    """float64 numbers for a conversion into `format`: midpoints and one ulp of float64 either side, and
    random significands with the exponents around the format's.
    """
    middle = midpoints(format)
    ties = np.concatenate([middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf)])
    rng, count = sampling.random(2), sampling.count(patterns)
    low, high = format.emin - format.mantissa_bits - 4, format.emax + 4
    spread = np.ldexp(rng.uniform(1, 2, count), rng.integers(low, high, count)) * rng.choice(
        [-1.0, 1.0], count
    )
    wild = np.ldexp(rng.uniform(1, 2, count // 8), rng.integers(-1070, 1020, count // 8))
    return np.concatenate([sampling.some(np.concatenate([ties, -ties]), limit), spread, wild, SPECIALS])


def inside(format: Format, sampling: Sampling, count: int) -> Array:
    """float32 numbers of the format's range, exponents alike, both signs."""
    rng = sampling.random(8)
    exponents = rng.integers(max(format.emin - format.mantissa_bits - 1, -148), format.emax, count)
    x = np.ldexp(rng.uniform(1, 2, count), exponents) * rng.choice([-1.0, 1.0], count)
    narrow: NDArray[np.float32] = x.astype(np.float32)
    return narrow.astype(np.float64)


SPECIALS = np.array([0.0, -0.0, np.inf, -np.inf, np.nan])


def midpoints(format: Format) -> Array:
    """The positive reals halfway between neighbours, 0 and the successor of the largest value included.

    Of formats of more than 16 bits, those next to random and to extreme values.
    """
    top, m = format.max_code, format.mantissa_bits
    codes = np.arange(min(top + 1, 1 << 16), dtype=np.int64)
    if top >= codes.size:
        chosen = np.random.default_rng(0).integers(0, top + 1, 1 << 15)
        codes = np.unique(np.concatenate([codes[:64], chosen, top - codes[:64]]))
    field, fraction = codes >> m, codes & ((1 << m) - 1)
    hidden = (field > 0) | (not format.has_zero)
    exponent = np.maximum(field - format.bias, format.emin)
    if format.fixed_point:
        hidden, fraction, exponent = np.zeros_like(codes), codes, np.full_like(codes, format.emin)
    middle: Array = np.ldexp((hidden << m) + fraction + 0.5, exponent - m)
    return middle


def every_pair(values: Array, sampling: Sampling) -> tuple[Array, Array]:
    """All pairs of a small format's values."""
    a, b = np.repeat(values, values.size), np.tile(values, values.size)
    if sampling.quick:
        chosen = sampling.random(3).choice(a.size, sampling.count(a.size), replace=False)
        a, b = a[chosen], b[chosen]
    return a, b


def some_pairs(format: Format, sampling: Sampling, count: int = 1 << 20) -> tuple[Array, Array]:
    """Pairs of a larger IEEE-like format's values: half of them at random, half near ties of their sum."""
    rng, n = sampling.random(4), sampling.count(count)
    field = rng.integers(0, format.max_code + 2, (2, n // 2))  # the largest code is Inf's
    a, b = (value_of(codes, format) * rng.choice([-1.0, 1.0], n // 2) for codes in field)
    m, least = format.mantissa_bits, format.emin - format.mantissa_bits
    n -= n // 2
    e = rng.integers(format.emin, format.emax, n)
    c = np.ldexp((1 << m) + np.where(rng.random(n) < 0.5, 0.0, rng.integers(0, 1 << m, n)), e - m)
    half = np.maximum(e - m - rng.choice([1, 1, 2, 2, 3, 30], n), least)
    step = np.ldexp(1.0, np.maximum(half - m, least))
    d = np.ldexp(1.0, half) + rng.choice([0.0, 0.0, 1.0, 2.0], n) * step
    c, d = c * rng.choice([-1.0, 1.0], n), d * rng.choice([-1.0, 1.0], n)
    return np.concatenate([a, c]), np.concatenate([b, d])


def terms(format: Format, sampling: Sampling, *, count: int, sums: int) -> tuple[Array, ...]:
    """`count` arrays: the terms of `sums` sums, values of the format of mixed sign and size."""
    rng, n = sampling.random(5), sampling.count(sums)
    span = max(format.max_code // 2, 1)
    codes = span // 2 + rng.integers(0, span, (count, n))
    return tuple(value_of(codes, format) * rng.choice([-1.0, 1.0, 1.0], (count, n)))


def value_of(codes: NDArray[Any], format: Format) -> Array:
    """The values of non-negative codes up to Inf's, in NumPy."""
    m = format.mantissa_bits
    field, fraction = codes >> m, codes & ((1 << m) - 1)
    exponent = np.maximum(field, 1) - format.bias - m
    value = np.ldexp(((field > 0) << m) + fraction.astype(np.float64), exponent.astype(np.int64))
    return np.where(codes > format.max_code, np.inf, value)


def _every_float16() -> Array:
    return _quiet(np.arange(1 << 16, dtype=np.uint16).view(np.float16))


def _every_bfloat16() -> Array:
    return _quiet((np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)).view(np.float32))


def _quiet(x: NDArray[Any]) -> Array:
    """float64, every NaN a quiet one."""
    with np.errstate(invalid="ignore"):
        wide = x.astype(np.float64)
    return np.where(np.isnan(wide), np.nan, wide)
