"""The bias of few random bits: what is predicted follows from the contract's definition of the variants."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from emunum.experiments.studies import few_bits, study_named
from emunum.experiments.studies.few_bits import A, B, C

PLACES = [(variant, n, d) for variant in (A, B, C) for n in (1, 2, 3, 5) for d in (1, 2, 3, 4, 7)]


def biases(variant: str, n: int, d: int) -> list[Fraction]:
    """P(S + 1) - nu for nu = j 2^-d, counted over all R of n bits (paper/numerics.md, section 3)."""
    found = []
    for j in range(2**d):
        nu = Fraction(j, 2**d)
        if variant == A:
            ups = sum((nu * 2**n).__floor__() + r >= 2**n for r in range(2**n))
        elif variant == B:
            ups = sum((nu * 2 ** (n + 1)).__floor__() + 2 * r + 1 >= 2 ** (n + 1) for r in range(2**n))
        else:
            ups = sum(round(nu * 2**n) + r >= 2**n for r in range(2**n))
        found.append(Fraction(ups, 2**n) - nu)
    return found


@pytest.mark.parametrize(("variant", "n", "d"), PLACES)
def test_the_predicted_mean_is_that_of_every_tail_and_every_random_number(variant, n, d):
    exact = biases(variant, n, d)
    assert few_bits.mean_bias(variant, n, d) == sum(exact) / len(exact)


@pytest.mark.parametrize(("variant", "n", "d"), PLACES)
def test_the_predicted_worst_is_that_of_every_tail_and_every_random_number(variant, n, d):
    exact = biases(variant, n, d)
    worst = few_bits.worst_bias(variant, n, d)
    assert worst in exact and abs(worst) == max(map(abs, exact))


@pytest.mark.parametrize(("variant", "n", "d"), PLACES)
def test_the_worst_tails_are_those_of_the_worst_bias(variant, n, d):
    exact = np.array([float(bias) for bias in biases(variant, n, d)])
    worst = few_bits.worst_bias(variant, n, d)
    expected = exact == worst if worst else np.zeros(2**d, bool)
    np.testing.assert_array_equal(few_bits._worst_tails(variant, n, d), expected)


def test_every_measured_bias_is_the_predicted_one():
    table = study_named("few_bits").rows(study_named("few_bits").records())
    agrees = [row["agrees"] for row in table if row["predicted"] is not None]
    assert len(agrees) > 80 and all(agrees)


def test_training_breaks_with_few_bits_of_variant_a_and_of_no_other():
    table = study_named("few_bits").rows(study_named("few_bits").records())
    loss = {
        (row["format"], row["rounding"], row["random_bits"]): row["value"]
        for row in table
        if row["quantity"] == "train_mse"
    }
    wide = loss["float32", "nearest_even", None]
    assert loss["bfloat16", A, 1] > loss["bfloat16", "nearest_even", None] > 1.005 * wide
    assert all(loss["bfloat16", variant, 1] < 1.002 * wide for variant in (B, C))
    assert loss["bfloat16", A, 8] < 1.002 * wide
