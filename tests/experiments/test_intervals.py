"""Means of a few runs: Student's interval from printed tables, and differences seed by seed."""

import math

import pytest

from emunum.experiments.results.intervals import Mean, mean_of, paired_difference, student_spread

# Student's t at 0.975, from printed tables, to their three decimals: degrees of freedom to quantile.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 29: 2.045}


@pytest.mark.parametrize(("freedom", "t"), STUDENT.items())
def test_the_spread_is_students_t_times_the_sample_deviation(freedom, t):
    # n - 1 values of 0 and one of sqrt(n): the mean is 1 / sqrt(n), the sample variance exactly 1.
    n = freedom + 1
    values = [0.0] * freedom + [math.sqrt(n)]
    assert student_spread(values) == pytest.approx(t, abs=5e-4)  # half a unit of the tables' last digit


def test_the_interval_of_three_values_is_the_one_worked_out_by_hand():
    # m = 2, s = 1, t = 4.303: 2 -+ 4.303 / sqrt(3) = 2 -+ 2.4843
    found = mean_of([1.0, 2.0, 3.0])
    assert (found.n, found.mean) == (3, 2.0)
    assert found.low == pytest.approx(2 - 2.4843, abs=5e-4)
    assert found.high == pytest.approx(2 + 2.4843, abs=5e-4)
    assert found.half_width == pytest.approx(2.4843, abs=5e-4)


def test_a_single_value_has_no_interval_and_nothing_has_no_mean():
    assert mean_of([7.0]) == Mean(n=1, mean=7.0, low=None, high=None)
    assert mean_of([7.0]).half_width is None
    assert mean_of([]) is None


def test_a_difference_is_over_the_shared_keys_alone():
    ours, theirs = {1: 10.0, 2: 21.0, 3: 5.0}, {2: 20.0, 1: 8.0, 4: 99.0}
    found = paired_difference(ours, theirs)
    assert (found.n, found.mean) == (2, 1.5)  # 10 - 8 and 21 - 20
    assert paired_difference({1: 1.0}, {2: 1.0}) is None


def test_what_seeds_share_cancels_in_a_difference():
    theirs = {seed: 100.0 * seed for seed in range(5)}
    ours = {seed: value + 1.0 for seed, value in theirs.items()}
    found = paired_difference(ours, theirs)
    assert (found.mean, found.low, found.high) == (1.0, 1.0, 1.0)
