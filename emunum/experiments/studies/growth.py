"""How the error of a matrix-vector product grows with n, to nearest and stochastically.

Rounding errors to nearest have a direction once terms are small beside the sum: they add up, like n u, until
the sum no longer moves and nearly all of it is lost. Stochastic ones have mean zero and grow like sqrt(n) u
(Connolly, Higham and Mary, Stochastic rounding and its probabilistic backward error analysis, 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.results.intervals import Mean, mean_of, student_spread
from emunum.experiments.studies.study import Case, Grid, Record, Row, Study, published
from emunum.ops.arrays import matmul_error

NEAREST, STOCHASTIC = "nearest_even", "stochastic"
_DIGITS = 9
"""Significant digits that are kept: the float64 product beside ours depends on its library beyond 13."""


def cases(grid: Grid) -> list[Case]:
    """Return a case for each n and format: one to nearest, `seeds` stochastic ones."""
    return [
        {
            "format": format,
            "n": n,
            "rounding": rounding,
            "seed": seed,
            **{key: grid[key] for key in ("rows", "scale", "numbers_seed")},
        }
        for n in grid["n"]
        for format in grid["formats"]
        for rounding, seeds in ((NEAREST, 1), (STOCHASTIC, grid["seeds"]))
        for seed in range(seeds)
    ]


def measure(case: Case) -> Record:
    """Multiply, and return the backward error max_i |y - y'|_i / (|A| |x|)_i and the unit roundoff."""
    a, x = _operands(case["n"], case["rows"], case["scale"], case["numbers_seed"])
    format, rounding = case["format"], case["rounding"]
    options: dict[str, Any] = {"rounding": rounding, "seed": case["seed"]}
    error = matmul_error(a, x, product=format, accumulator=format, **options)
    return {
        "backward_error": float(f"{error.backward:.{_DIGITS}g}"),
        "unit_roundoff": error.unit_roundoff,
    }


def rows(records: Sequence[Record]) -> list[Row]:
    """Return a row for each format, n and rounding, with n u and sqrt(n) u.

    The error of several seeds is their mean: *_ci_low, *_ci_high are its 95 % interval, *_run_low,
    *_run_high where one more run falls, 95 times in 100. `agrees`: the published value, known to half a unit
    of its last digit, is ours, or lies where one more run falls; null where none was published.
    """
    theirs = {(line["format"], line["n"]): line for line in published("growth")}
    table = []
    for place in dict.fromkeys((r["format"], r["n"], r["rounding"]) for r in records):
        own = [r for r in records if (r["format"], r["n"], r["rounding"]) == place]
        format, n, rounding = place
        line = theirs.get((format, str(n)))
        errors = [record["backward_error"] for record in own]
        mean, u = mean_of(errors), own[0]["unit_roundoff"]
        assert mean is not None
        beyond = student_spread(errors) * math.sqrt(1 + 1 / mean.n) if mean.n > 1 else 0.0
        row = {
            "format": format,
            "n": n,
            "rounding": rounding,
            "runs": mean.n,
            "backward_error": mean.mean,
            "backward_error_ci_low": mean.low,
            "backward_error_ci_high": mean.high,
            "backward_error_run_low": mean.low and mean.mean - beyond,
            "backward_error_run_high": mean.high and mean.mean + beyond,
            "published": line and float(line[rounding]),
            "n_u": n * u,
            "sqrt_n_u": math.sqrt(n) * u,
            "agrees": _agrees(mean, beyond, line[rounding]) if line else None,
        }
        table.append(row)
    return sorted(table, key=lambda row: (row["format"], row["n"]))


def _agrees(ours: Mean, beyond: float, printed: str) -> bool:
    """Whether a printed value is ours to its last digit, or one that another run could have."""
    half_unit = 0.5 * 10.0 ** -len(printed.partition(".")[2])
    return abs(ours.mean - float(printed)) <= beyond + half_unit


@lru_cache(maxsize=1)
def _operands(n: int, rows: int, scale: float, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    generator = np.random.default_rng(seed)
    a = scale * generator.random((rows, n))
    x = generator.random((n, 1))
    return a.astype(np.float32), x.astype(np.float32)


GROWTH = Study(name="growth", cases=cases, measure=measure, rows=rows, rerun_s=20)
