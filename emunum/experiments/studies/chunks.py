"""Sums in chunks: their error against the size of a chunk (Wang et al. 2018).

A long sum in a short significand stops growing where a term is less than half its quantum: in e6m9, numbers
near 1 at 4096. Chunks keep both sums short: that of a chunk has `chunk` terms, that of the chunks n / chunk.
The error is least between the two; chunks of one term, and one chunk of all, are the plain sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.results.intervals import mean_of
from emunum.experiments.studies.study import Case, Grid, Record, Row, Study, published
from emunum.ops.arrays import quantize
from emunum.ops.arrays import sum as emulated_sum

NEAREST = "nearest_even"


def cases(grid: Grid) -> list[Case]:
    """Return a case for each n, chunk and rounding of the grid's two parts, and each seed."""
    places = dict.fromkeys(
        (n, chunk, rounding)
        for part in (grid["errors"], grid["sums"])
        for n in part["n"]
        for chunk in part["chunks"]
        if chunk <= n
        for rounding in grid["roundings"]
    )
    return [
        {
            "format": grid["format"],
            "numbers": grid["numbers"],
            "n": n,
            "chunk": chunk,
            "rounding": rounding,
            "seed": seed,
        }
        for n, chunk, rounding in places
        for seed in range(grid["seeds"])
    ]


def measure(case: Case) -> Record:
    """Add the first n numbers in chunks; exact is the sum of the same rounded numbers."""
    terms, exact = _terms(case["format"], case["numbers"], case["seed"], case["n"])
    value = emulated_sum(
        terms,
        accumulator=case["format"],
        order=f"chunked:{case['chunk']}",
        rounding=case["rounding"],
        seed=case["seed"],
    )
    return {"value": float(value), "exact": exact}


def rows(records: Sequence[Record]) -> list[Row]:
    """Return a row for each n, chunk and rounding: the sum of seed 0 and the relative error over the seeds.

    relative_error is the mean of |sum - exact| / exact, with its 95 % interval. `agrees`: the sum of seed 0
    is the published one; null where none was published.
    """
    theirs = {(int(p["n"]), int(p["chunk"]), NEAREST): float(p["value"]) for p in published("chunks")}
    by_place: dict[tuple[int, int, str], list[Record]] = {}
    for record in records:
        by_place.setdefault((record["n"], record["chunk"], record["rounding"]), []).append(record)
    table = []
    for (n, chunk, rounding), own in sorted(by_place.items()):
        error = mean_of([abs(record["value"] / record["exact"] - 1) for record in own])
        first = next((record for record in own if record["seed"] == 0), None)
        assert error is not None
        value, wanted = first and first["value"], theirs.get((n, chunk, rounding))
        row = {
            "n": n,
            "chunk": chunk,
            "rounding": rounding,
            "seeds": error.n,
            "value": value,
            "exact": first and first["exact"],
            "published": wanted,
            "relative_error": error.mean,
            "relative_error_ci_low": error.low,
            "relative_error_ci_high": error.high,
            "agrees": None if wanted is None or value is None else value == wanted,
        }
        table.append(row)
    return table


@lru_cache(maxsize=64)
def _terms(format: str, numbers: int, seed: int, n: int) -> tuple[NDArray[Any], float]:
    x = np.random.default_rng(seed).uniform(1 - 3**0.5, 1 + 3**0.5, numbers)
    terms = quantize(x, format)[:n]
    return terms, math.fsum(terms.tolist())


CHUNKS = Study(name="chunks", cases=cases, measure=measure, rows=rows, rerun_s=15)
