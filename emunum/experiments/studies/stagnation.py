"""Sums that stop growing: s = round(s + round(x_n)), to nearest and stochastically, in each format.

To nearest, a sum of positive terms stops for good once they are less than half its quantum. Stochastic
rounding adds such a term with the probability that its size calls for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.results.intervals import mean_of
from emunum.experiments.studies.study import Case, Grid, Record, Row, Study, published
from emunum.formats import Cast
from emunum.kernels import cpu
from emunum.kernels.random import Key
from emunum.ops.arrays import quantize
from emunum.ops.arrays import sum as emulated_sum

NEAREST, STOCHASTIC = "nearest_even", "stochastic"


def cases(grid: Grid) -> list[Case]:
    """Return a case for each sum and format: one to nearest, `seeds` stochastic ones."""
    return [
        {
            "sum": asked["name"],
            "format": format,
            "rounding": rounding,
            "seed": seed,
            "overflow": grid["overflow"],
            "terms": asked["terms"],
            "numbers_seed": asked.get("numbers_seed"),
        }
        for asked in grid["sums"]
        for format in grid["formats"]
        for rounding, seeds in ((NEAREST, 1), (STOCHASTIC, grid["seeds"]))
        for seed in range(seeds)
    ]


def measure(case: Case) -> Record:
    """Add the terms of a case.

    value: the whole sum. exact: that of the unrounded terms. stalls_at: of a sum to nearest, the term from
    which it never changes. partial: the sums of the first n terms, n = 1, 2, 4, ..., and of all.
    """
    terms = _rounded(case)
    marks = [*_powers_of_two(len(terms)), len(terms)]
    nearest = case["rounding"] == NEAREST
    return {
        "value": _partial(case, terms, len(terms)),
        "exact": _exact(case["sum"], case["terms"], case["numbers_seed"]),
        "stalls_at": _stalls_at(case, terms) if nearest else None,
        "n": marks,
        "partial": [_partial(case, terms, n) for n in marks],
    }


def rows(records: Sequence[Record]) -> list[Row]:
    """Return a row for each sum and format: exact, to nearest beside the published value, stochastic.

    The stochastic value is the mean over the seeds, with its 95 % interval. `agrees`: value and term are
    the published ones; null where none was published.
    """
    theirs = {(line["sum"], line["format"]): line for line in published("stagnation")}
    table = []
    for place in dict.fromkeys((record["sum"], record["format"]) for record in records):
        own = [record for record in records if (record["sum"], record["format"]) == place]
        nearest = next((record for record in own if record["rounding"] == NEAREST), None)
        mean = mean_of([record["value"] for record in own if record["rounding"] == STOCHASTIC])
        line = theirs.get(place)
        row: Row = {
            "sum": place[0],
            "format": place[1],
            "terms": own[0]["terms"],
            "exact": own[0]["exact"],
            "nearest": nearest and nearest["value"],
            "published": line and float(line["value"]),
            "stalls_at": nearest and nearest["stalls_at"],
            "published_stalls_at": line and int(line["stalls_at"]),
            "stochastic": mean and mean.mean,
            "stochastic_ci_low": mean and mean.low,
            "stochastic_ci_high": mean and mean.high,
            "seeds": mean.n if mean else 0,
        }
        table.append(row | {"agrees": _agrees(row)})
    return table


def _agrees(row: Row) -> bool | None:
    if row["published"] is None or row["nearest"] is None:
        return None
    same_value = np.float32(row["nearest"]) == np.float32(row["published"])
    return bool(same_value) and row["stalls_at"] == row["published_stalls_at"]


def _rounded(case: Case) -> NDArray[np.float32]:
    """The terms, each rounded once to the format, in the case's mode."""
    if case["sum"] == "harmonic":
        n = np.arange(1, case["terms"] + 1, dtype=np.float32)
        to = Cast.from_names(case["format"], case["rounding"], case["overflow"])
        return cpu.divide(np.ones_like(n), n, to, Key(case["seed"]))
    numbers = _uniform(case["terms"], case["numbers_seed"])
    return quantize(numbers, case["format"], **_options(case))


@cache
def _uniform(terms: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(size=terms)


@cache
def _exact(sum: str, terms: int, seed: int | None) -> float:
    """The sum of the unrounded terms, rounded once to float64 (1 / n: each term, too)."""
    if sum == "harmonic":
        return math.fsum((1 / np.arange(1, terms + 1)).tolist())
    assert seed is not None
    return math.fsum(_uniform(terms, seed).tolist())


def _partial(case: Case, terms: NDArray[Any], n: int) -> float:
    return float(emulated_sum(terms[:n], accumulator=case["format"], **_options(case)))


def _options(case: Case) -> dict[str, Any]:
    return {key: case[key] for key in ("rounding", "overflow", "seed")}


def _stalls_at(case: Case, terms: NDArray[Any]) -> int | None:
    """The term from which the sum stays, if there is one: partial sums of positive terms never fall."""
    last = _partial(case, terms, len(terms))
    low, high = 0, len(terms)  # the sum of the first `low` terms is below `last`, that of `high` is not
    while high - low > 1:
        middle = (low + high) // 2
        if _partial(case, terms, middle) < last:
            low = middle
        else:
            high = middle
    return None if high == len(terms) else high + 1


def _powers_of_two(below: int) -> list[int]:
    return [1 << k for k in range(below.bit_length()) if 1 << k < below]


STAGNATION = Study(name="stagnation", cases=cases, measure=measure, rows=rows, rerun_s=20)
