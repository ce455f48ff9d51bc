"""Means of a few runs, and how far they are to be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TypeVar

CONFIDENCE = 0.95
_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """The mean of n values and, from two on, its 95 % interval (Student's t)."""

    n: int
    mean: float
    low: float | None = None
    high: float | None = None

    @property
    def half_width(self) -> float | None:
        """Half of the interval's width."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def student_spread(values: Sequence[float]) -> float:
    """Return t s: the sample standard deviation times Student's t at 0.975 with n - 1 degrees of freedom.

    With the mean m of n values, m -+ t s / sqrt(n) is the 95 % interval of the mean, and a further value
    falls into m -+ t s sqrt(1 + 1/n) 95 times in 100. Raises StatisticsError for fewer than two values.
    """
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * stdev(values)


def mean_of(values: Sequence[float]) -> Mean | None:
    """Return the mean and its interval; None of nothing, and no interval of a single value."""
    if not values:
        return None
    mean = fmean(values)
    if len(values) == 1:
        return Mean(n=1, mean=mean)
    half = student_spread(values) / math.sqrt(len(values))
    return Mean(n=len(values), mean=mean, low=mean - half, high=mean + half)


def paired_difference(ours: Mapping[_Key, float], theirs: Mapping[_Key, float]) -> Mean | None:
    """Return the mean of ours - theirs over the keys that both have, and its interval.

    What two runs of one seed share, their split and initial weights for instance, cancels in their
    difference, whose interval is the narrower for it.
    """
    return mean_of([ours[key] - theirs[key] for key in ours if key in theirs])
