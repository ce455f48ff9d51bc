"""Sums that stop growing, and what keeps them growing: published and exactly known numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from oracles import assert_same

import emunum
from emunum.formats import Cast
from emunum.kernels import cpu
from emunum.kernels.random import Key, philox4x32

F32 = np.float32


def partial_sums(terms: np.ndarray, format: str, counts: list[int]) -> list[float]:
    """Sums of the first n terms in a format, for each n: every partial sum rounded to nearest even."""
    return [float(emunum.sum(terms[:n], accumulator=format)) for n in counts]


# ----------------------------------------------------------------------------------------------------
# Harmonic sums: s = round(s + round(1/n)), n = 1, 2, ...
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "value", "stalls_at"),
    [
        ("float8_e5m2", 2.0, 5),
        ("float8_e4m3fn", 3.0, 9),
        ("float8_e3m4", 3.5, 16),
        ("bfloat16", 5.0625, 65),
        ("e6m9", 6.40625, 257),
        ("float16", 7.0859375, 513),
        ("float32", 15.403683, 2097152),
    ],
)
def test_harmonic_sums_stop(format: str, value: float, stalls_at: int) -> None:
    # The terms never grow. Once one of them leaves the sum as it is, so does each after it: rounding is
    # monotonic, and s <= s + later <= s + earlier.
    n = np.arange(1, stalls_at + 65, dtype=F32)
    terms = cpu.divide(np.ones_like(n), n, Cast.from_names(format), Key(0))
    assert (terms[1:] <= terms[:-1]).all()
    last_growth, stalled, later = partial_sums(terms, format, [stalls_at - 2, stalls_at - 1, stalls_at + 64])
    assert F32(stalled) == F32(value)
    assert last_growth < stalled == later


# ----------------------------------------------------------------------------------------------------
# Sums of uniform numbers
# ----------------------------------------------------------------------------------------------------


def test_ten_thousand_uniform_bfloat16_stop_at_256() -> None:
    # The README of ml_dtypes adds these and gets 256, where the exact sum is near 5000.
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="the experiment is its README's")
    x = np.random.default_rng(0).uniform(size=10000).astype(ml_dtypes.bfloat16)
    terms = x.astype(F32)
    # From the 466th term on nothing changes: beside 256 a term below 1 is less than half a quantum.
    assert (terms <= 1).all()
    assert partial_sums(terms, "bfloat16", [464, 465, 10000]) == [255, 256, 256]
    assert 4900 < math.fsum(terms.tolist()) < 5100


# Terms of mean 1: n of them, `chunk` at a time.
CHUNKED = [
    (1, 8192, 4096.0),
    (1, 65536, 4096.0),
    (8, 65536, 16800.0),
    (32, 65536, 64960.0),
    (64, 65536, 65664.0),
    (256, 65536, 65152.0),
]


@pytest.mark.parametrize(("chunk", "n", "value"), CHUNKED)
def test_chunks_keep_sums_of_e6m9_growing(chunk: int, n: int, value: float) -> None:
    # The figure of Wang et al. (Training deep neural networks with 8-bit floating point numbers, 2018).
    x = np.random.default_rng(0).uniform(1 - 3**0.5, 1 + 3**0.5, 65536)
    terms = emunum.quantize(x, "e6m9")[:n]
    assert emunum.sum(terms, accumulator="e6m9", order=f"chunked:{chunk}") == value
    if chunk == 1:  # chunks of one term are no chunks
        assert emunum.sum(terms, accumulator="e6m9") == value


# ----------------------------------------------------------------------------------------------------
# Small updates: w = 1, then w = round(w + 2^-10) in bfloat16, T times. The quantum is 2^-7.
# ----------------------------------------------------------------------------------------------------


def updated(steps: int, samples: int, **options: Any) -> np.ndarray:
    """`samples` weights after so many updates: each column has its own random bits."""
    terms = np.full((steps + 1, samples), 2.0**-10, F32)
    terms[0] = 1
    return emunum.sum(terms, axis=0, accumulator="bfloat16", **options)


@pytest.mark.parametrize("mode", ["nearest", "nearest_away", "toward_zero", "down"])
def test_weights_that_round_to_nearest_stay_at_one(mode: str) -> None:
    assert_same(updated(1000, 3, rounding=mode), np.ones(3))


@pytest.mark.parametrize("random_bits", [3, 4, 8, 16, 17, 32])
def test_stochastic_weights_grow_as_a_binomial_number_of_quanta(random_bits: int) -> None:
    # Each update is an eighth of a quantum, so each goes up with probability 1/8: floor(2^N / 8) + R >= 2^N
    # for an eighth of all R where N >= 3. The mean of 4096 weights is off by five standard errors once in a
    # million times, and their variance too (that of a sample variance is near 2 sigma^4 / n).
    steps, samples = 64, 4096
    w = updated(steps, samples, rounding="stochastic", random_bits=random_bits, seed=12)
    ups = (w.astype(np.float64) - 1) * 2**7
    assert_same(ups, np.rint(ups))
    assert (ups >= 0).all() and (ups <= steps).all()
    mean, variance = steps / 8, steps * 7 / 64
    assert abs(ups.mean() - mean) < 5 * math.sqrt(variance / samples)
    assert abs(ups.var() - variance) < 5 * variance * math.sqrt(2 / samples)
    # P(0 ups) = (7/8)^64 is 0.0002, P(8 ups) is 0.15: counts of single values are binomial too.
    for k in range(4, 13):
        p = math.comb(steps, k) * 7 ** (steps - k) / 8**steps
        assert abs((ups == k).sum() - samples * p) < 5 * math.sqrt(samples * p)


@pytest.mark.parametrize("random_bits", [1, 2])
def test_with_fewer_than_three_bits_an_eighth_is_nothing(random_bits: int) -> None:
    # floor(2^N / 8) = 0: no R carries. This is the bias of variant A; B adds a half first.
    assert_same(updated(500, 4, rounding="stochastic", random_bits=random_bits), np.ones(4))
    assert (updated(500, 4, rounding="stochastic_b", random_bits=2) > 1).all()


def test_of_the_eight_draws_of_three_bits_one_goes_up() -> None:
    # 1 + 2^-10 = (128 + 1/8) 2^-7: 1 + R >= 8 for R = 7. A seed's draw for the second sum (k = 1) of column
    # j is the top three bits of draw 3 of the call (j, 0, 0, COLUMN_SUM = 6): the upper half of word 1.
    samples, seed = 64, 5
    w = updated(1, samples, rounding="stochastic", random_bits=3, seed=seed)
    draws = [philox4x32((j, 0, 0, 6), (seed, 0))[1] >> 29 for j in range(samples)]
    assert set(draws) == set(range(8))
    assert_same(w, [1 + 2.0**-7 if r == 7 else 1.0 for r in draws])


def test_chunks_and_compensation_keep_what_nearest_loses() -> None:
    # 512 updates make 1.5. The first chunk of 64 terms, 1 and 63 updates, stays 1; seven make 2^-4 each, and
    # the last update alone is lost.
    steps = 512
    assert_same(updated(steps, 2, order="kahan"), [1.5, 1.5])
    assert_same(updated(steps, 2, order="exact"), [1.5, 1.5])
    assert_same(updated(steps, 2, order="chunked:64"), [1 + 7 / 16] * 2)
