"""The variance that sums keep: the prediction against another formula, the measurement against NumPy."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.integrate import quad

from emunum.experiments.studies import accumulator_width, study_named
from emunum.experiments.studies.accumulator_width import least_bits, retained

SUMS = {
    "part": "sums", "n": 64, "count": 40, "numbers_seed": 3, "order": "chunked:65536",
    "rounding": "nearest_even", "mantissa_bits": 10,
}  # fmt: skip


def inside(t: float, b: float) -> float:
    """P(Brownian motion has not left (-b, b) by t), by reflection: sum over the images of the barriers."""
    normal = NormalDist(sigma=math.sqrt(t))
    return sum(
        (-1) ** k * (normal.cdf((2 * k + 1) * b) - normal.cdf((2 * k - 1) * b)) for k in range(-40, 41)
    )


@pytest.mark.parametrize(("n", "bits"), [(64, 1), (64, 2), (256, 2), (1024, 4), (4096, 4)])
def test_the_retained_variance_is_the_mean_time_inside(n, bits):
    mean_time, _ = quad(inside, 1e-9, n, args=(2.0 ** (bits + 2),), epsrel=1e-8, limit=200)
    assert retained(n, bits) == pytest.approx(mean_time / n, rel=1e-6)


def test_a_sum_that_is_long_enough_keeps_the_barrier_squared():
    assert retained(2**20, 1) * 2**20 == pytest.approx(64, rel=1e-6)


def test_four_times_as_many_terms_want_one_bit_more():
    assert retained(4096, 5) == pytest.approx(retained(1024, 4), rel=1e-9)


@pytest.mark.parametrize("bits", [6, 8, 12])
def test_sums_that_never_reach_the_barrier_keep_all(bits):
    assert retained(16, bits) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("n", [16, 64, 256, 1024, 4096])
def test_the_least_bits_satisfy_the_rule_and_one_less_does_not(n):
    bits = least_bits(n)
    assert n * (1 - retained(n, bits)) < math.log(50) <= n * (1 - retained(n, bits - 1))


def test_the_ratios_of_sums_with_ten_bits_are_those_of_numpys_float16():
    x = np.random.default_rng(3).standard_normal((64, 40)).astype(np.float32)
    s = np.zeros(40)
    for row in x:  # exact in float64, then rounded once; no sum is near float16's subnormals
        s = (s + row).astype(np.float16).astype(np.float64)
    exact = x.astype(np.float64).sum(axis=0)
    record = accumulator_width.measure(SUMS)
    assert record["variance_ratio"] == pytest.approx(np.sum(s * s) / np.sum(exact**2), rel=1e-8)
    assert record["error_ratio"] == pytest.approx(np.sum((s - exact) ** 2) / np.sum(exact**2), rel=1e-6)


def test_sums_of_four_thousand_terms_lose_as_much_as_predicted():
    table = study_named("accumulator_width").rows(study_named("accumulator_width").records())
    kept = {
        row["mantissa_bits"]: (row["variance_ratio"], row["predicted"])
        for row in table
        if (row["n"], row["order"], row["rounding"]) == (4096, "chunked:65536", "nearest_even")
    }
    for bits, (measured, predicted) in kept.items():
        assert abs(measured - predicted) < 0.2, bits  # the prediction is one for terms of one size
    assert kept[2][0] < 0.1 and kept[8][0] > 0.98
