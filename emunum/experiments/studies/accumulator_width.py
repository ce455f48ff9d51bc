"""How many bits the sums of a network need, by the variance that they keep and by the accuracy.

A sum s of n terms of mean 0 and standard deviation sigma has the variance n sigma^2. In an accumulator with m
mantissa bits, terms of less than half a quantum of s are lost, and s stays where it is: the variance that
arrives is smaller. Sakr et al. (Accumulation bit-width scaling for ultra-low precision training of deep
networks, ICLR 2019) call the ratio of the two the variance retention ratio, VRR, and ask for
n (1 - VRR) < ln 50. They find VRR by adding up, over the term i at which s is swamped, what arrived until
then. The prediction here rests on the same picture and is ours: s is a random walk that stops at
|s| = b = 2^(m+2) sigma, where the quantum becomes 4 sigma and half of it 2 sigma, more than 95 in 100 normal
terms are. By optional stopping its variance is sigma^2 times the mean number of steps it has made:

    VRR = E min(T, n) / n,   T the time at which Brownian motion leaves (-b, b),
        = 4 / (pi n) sum_k (-1)^k / (2k + 1) (1 - exp(-a_k n)) / a_k,   a_k = ((2k + 1) pi sigma / b)^2 / 8,

a function of 4^m / n: four times as many terms want one bit more. Stochastic rounding loses no term on
average. Its sums keep all of the variance, and rounding adds more to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.results.intervals import paired_difference
from emunum.experiments.studies.study import Case, Grid, Record, Row, Study
from emunum.experiments.studies.training import means, trained, with_equal_keys
from emunum.kernels import cpu
from emunum.ops.arrays import sum as emulated_sum

NEAREST, STOCHASTIC = "nearest_even", "stochastic"
FLOAT32 = "float32"
MEASURES = ("test_accuracy", "test_loss")
_WANTED = ("status", *MEASURES, "weights_sha256")
_OF_SUMS = ("part", "n", "count", "numbers_seed", "mantissa_bits")
_SUMS = ("variance_ratio", "error_ratio")
_DIGITS = 9
"""Significant digits that are kept: the last ones depend on the order of float64 sums."""


def cases(grid: Grid) -> list[Case]:
    """Return a case for each n, M and way of the sums, and each run of training, the baseline first."""
    ways = [{**way, "mantissa_bits": m} for m in grid["mantissa_bits"] for way in grid["ways"]]
    sums, training = grid["sums"], grid["training"]
    whole = {"order": grid["ways"][0]["order"], "rounding": NEAREST, "mantissa_bits": None}
    numbers = {"count": sums["count"], "numbers_seed": sums["numbers_seed"]}
    added = [{"part": "sums", "n": n, **numbers, **way} for n in sums["n"] for way in ways]
    runs = [
        {"part": "training", **way, **training, "seed": seed}
        for way in (whole, *ways)
        for seed in range(grid["seeds"])
    ]
    return with_equal_keys(added + runs)


def measure(case: Case, backend: ModuleType = cpu) -> Record:
    """Add numbers, or train.

    variance_ratio: the mean square of the sums over that of the exact ones; error_ratio: the mean square of
    their errors over the same.
    """
    if case["part"] == "training":
        options = {name: case[name] for name in case if name not in _OF_SUMS}
        return trained(options | {"accumulator": _format(case["mantissa_bits"])}, _WANTED, backend=backend)
    x, exact = _terms(case["n"], case["count"], case["numbers_seed"])
    y = emulated_sum(
        x,
        axis=0,
        accumulator=_format(case["mantissa_bits"]),
        order=case["order"],
        outer=FLOAT32,
        rounding=case["rounding"],
        seed=case["numbers_seed"],
    ).astype(np.float64)
    total = _total(exact * exact)
    return {
        "variance_ratio": _kept(_total(y * y) / total),
        "error_ratio": _kept(_total((y - exact) ** 2) / total),
    }


def rows(records: Sequence[Record]) -> list[Row]:
    """Return a row for each n, M and way of the sums, and each M and way of training.

    variance_ratio, error_ratio and predicted are of sums; test_accuracy and test_loss of training, means
    over the seeds with their 95 % intervals (Student t). against_float32: the mean difference of accuracies
    to the float32 run of the same seed.
    """
    by_place: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        by_place.setdefault(_place(record), []).append(record)
    wide = _accuracies([r for r in records if r["part"] == "training" and r["mantissa_bits"] is None])
    table = []
    for (part, n, bits, order, rounding), own in by_place.items():
        row: Row = {
            "part": part,
            "n": n,
            "mantissa_bits": bits,
            "order": order,
            "rounding": rounding,
            **{key: own[0].get(key) for key in _SUMS},
            "predicted": None if n is None else retained(n, bits),
            "runs": len(own),
        }
        row |= means([dict.fromkeys(MEASURES) | record for record in own], MEASURES)
        lost = paired_difference(_accuracies(own), wide) if part == "training" else None
        row |= {
            "against_float32": lost and lost.mean,
            "against_float32_ci_low": lost and lost.low,
            "against_float32_ci_high": lost and lost.high,
        }
        table.append(row)
    return table


def retained(n: int, mantissa_bits: float) -> float:
    """Return the predicted VRR of n terms summed to nearest, in one chunk."""
    barrier = 2.0 ** (mantissa_bits + 2)
    terms = 200 + int(4 * barrier / math.sqrt(n))  # beyond b / sqrt(n) or so they fall like 1 / k^3
    rates = [((2 * k + 1) * math.pi / barrier) ** 2 / 8 for k in range(terms)]
    parts = [(-1) ** k / (2 * k + 1) * -math.expm1(-rate * n) / rate for k, rate in enumerate(rates)]
    parts[-1] /= 2  # the signs alternate: the limit lies half-way between the last two sums
    return min(1.0, 4 / (math.pi * n) * math.fsum(parts))


def least_bits(n: int) -> int:
    """Return the least M for which n (1 - VRR) is below ln 50."""
    return next(m for m in range(24) if n * (1 - retained(n, m)) < math.log(50))


def _accuracies(runs: Sequence[Record]) -> dict[int, float]:
    """Seed to accuracy, of the runs that have one."""
    return {run["seed"]: run["test_accuracy"] for run in runs if run["test_accuracy"] is not None}


def _place(record: Record) -> tuple[Any, ...]:
    names = ("part", "n", "mantissa_bits", "order", "rounding")
    return tuple(record[name] for name in names)


def _format(mantissa_bits: int | None) -> str:
    return FLOAT32 if mantissa_bits is None else f"e6m{mantissa_bits}"


@lru_cache(maxsize=8)
def _terms(n: int, count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    x = np.random.default_rng(seed).standard_normal((n, count)).astype(np.float32)
    return x, x.astype(np.float64).sum(axis=0)


def _total(values: NDArray[np.float64]) -> float:
    return math.fsum(values.tolist())


def _kept(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


ACCUMULATOR_WIDTH = Study(
    name="accumulator_width", cases=cases, measure=measure, trains=True, rows=rows, rerun_s=100
)
