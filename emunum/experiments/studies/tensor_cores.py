"""Inner products as tensor cores add them up, against their length, with and without promotion.

A core adds a block of products to the sum so far, and first cuts all of them toward zero F bits below the
largest, which in a long sum is the sum s itself. What is cut has the sign of what it is cut from: where the
terms have one sign, each loses half of 2^-F s or so, and the errors add up to about K 2^-(F + 2.5) of the
whole, until terms are below 2^-F s and lost altogether. Signs that change let errors and sum cancel alike.
Terms without bits so far down lose nothing: the product of two e4m3 numbers has 8 bits. Promotion adds the
sums of every 128 terms in float32, and the error grows no longer than for 128. Sources: those of
formats/accumulator.py; DeepSeek-AI, DeepSeek-V3 technical report (2024), section 3.3.2: a largest relative
error of nearly 2 % at K = 4096.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.results.intervals import mean_of
from emunum.experiments.studies.study import Case, Grid, Record, Row, Study
from emunum.ops.arrays import matmul, quantize

NEAREST = "nearest_even"
UNIFORM, NORMAL = "uniform", "normal"
_DIGITS = 9
"""Significant digits that are kept of a mean: its last ones depend on the order of a float64 sum."""


def cases(grid: Grid) -> list[Case]:
    """Return a case for each way to add, kind of numbers, K and seed."""
    promotion = grid["promotion"]
    ways = [{"accumulator": "float32", "order": f"tensor_core:{name}"} for name in promotion["cores"]]
    ways += [way | {"order": f"{way['order']}:{promotion['every']}"} for way in ways]
    return [
        {
            "accumulator": way["accumulator"],
            "order": way["order"],
            "rounding": way.get("rounding", NEAREST),
            "operands": grid["operands"],
            "numbers": numbers,
            "rows": grid["rows"],
            "k": k,
            "seed": seed,
        }
        for way in (*ways, *grid["others"])
        for numbers in grid["numbers"]
        for k in grid["k"]
        for seed in range(grid["seeds"])
    ]


def measure(case: Case) -> Record:
    """Multiply, and return errors over the root mean square of the exact inner products.

    largest_error: of all entries. mean_error: with its sign, positive where the magnitude is too large.
    overflows: entries that are infinite, which count in no error.
    """
    a, b, exact = _operands(case["operands"], case["numbers"], case["rows"], case["k"], case["seed"])
    options = {name: case[name] for name in ("accumulator", "order", "rounding", "seed")}
    y = matmul(a, b, **options).astype(np.float64)
    scale = math.sqrt(math.fsum((exact * exact).ravel().tolist()) / exact.size)
    finite = np.isfinite(y)
    error = ((y - exact) * np.sign(exact))[finite] / scale
    return {
        "largest_error": _kept(float(np.abs(error).max(initial=0))),
        "mean_error": _kept(math.fsum(error.tolist()) / max(1, error.size)),
        "overflows": int((~finite).sum()),
    }


def rows(records: Sequence[Record]) -> list[Row]:
    """Return a row for each way to add, kind of numbers and K.

    largest_error: the largest of all seeds. mean_error: the mean of the seeds, with its 95 % interval.
    promoted: whether chunks of a tensor core's sum are added in float32.
    """
    by_place: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        by_place.setdefault(_place(record), []).append(record)
    table = []
    for (accumulator, order, rounding, numbers, k), own in by_place.items():
        mean = mean_of([record["mean_error"] for record in own])
        assert mean is not None
        row = {
            "accumulator": accumulator,
            "order": order,
            "rounding": rounding,
            "promoted": order.count(":") == 2,
            "numbers": numbers,
            "k": k,
            "seeds": mean.n,
            "largest_error": max(record["largest_error"] for record in own),
            "mean_error": mean.mean,
            "mean_error_ci_low": mean.low,
            "mean_error_ci_high": mean.high,
            "overflows": sum(record["overflows"] for record in own),
        }
        table.append(row)
    return table


def _place(record: Record) -> tuple[Any, ...]:
    return tuple(record[name] for name in ("accumulator", "order", "rounding", "numbers", "k"))


@lru_cache(maxsize=64)
def _operands(format: str, numbers: str, rows: int, k: int, seed: int) -> tuple[NDArray[Any], ...]:
    """The two matrices, and their product in float64, which is exact.

    The products are multiples of 2^-18, their sums below 2^30: no order of them rounds in float64.
    """
    generator = np.random.default_rng(seed)
    draw = generator.random if numbers == UNIFORM else generator.standard_normal
    a, b = (quantize(draw(shape), format) for shape in ((rows, k), (k, rows)))
    return a, b, a.astype(np.float64) @ b.astype(np.float64)


def _kept(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


TENSOR_CORES = Study(name="tensor_cores", cases=cases, measure=measure, rows=rows, rerun_s=10)
