"""The published regression study: its fifteen rows, the runs that answer them, and ours beside theirs.

The study trained one linear layer on toy, diabetes and boston for 30 epochs of one full batch each, and
rounded the layer's output and the error coming back into float8 (e5m2), float16 (e6m9) or float32. That
is the policy `output`. Under the policy `full` the same rows show what happens when everything is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from types import ModuleType
from typing import Any

from emunum.experiments.config import RunConfig
from emunum.experiments.results.intervals import student_spread
from emunum.experiments.run import execute
from emunum.experiments.studies.study import Study
from emunum.experiments.studies.study import published as published_lines
from emunum.kernels import cpu

FORMATS = {"float8": "float8_e5m2", "float16": "e6m9", "float32": "float32"}
SIGNIFICANT_DIGITS = 4  # of the published numbers

_MEASURED = (
    "status", "final_step_mse", "train_mse", "test_mse", "test_mse_over_n", "weights_sha256",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A row of the published table."""

    dataset: str
    format: str
    rounding: str
    train_mse: float
    test_mse_over_n: float
    options: dict[str, Any]


def published() -> list[Published]:
    """Read the fifteen rows from paper/regression_published.csv."""
    return [
        Published(
            dataset=row["dataset"],
            format=FORMATS[row["precision"]],
            rounding="stochastic" if row["rounding"] == "stochastic" else "nearest_even",
            train_mse=float(row["train_mse"]),
            test_mse_over_n=float(row["test_mse_over_n"]),
            options={
                "epochs": int(row["epochs"]),
                "learning_rate": float(row["learning_rate"]),
                "batch_size": int(row["batch_size"]),
                "test_split": float(row["test_split"]),
                "seed": int(row["seed"]),
            },
        )
        for row in published_lines("regression")
    ]


def cases(grid: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every run: one for a deterministic row, `seeds` of them for a stochastic one.

    Split and initial weights are the published seed's in all of them; only the random bits differ.
    """
    return [
        {
            "dataset": row.dataset,
            "format": row.format,
            "rounding": row.rounding,
            "policy": policy,
            "rounding_seed": rounding_seed,
        }
        for policy in grid["policies"]
        for row in published()
        for rounding_seed in (range(grid["seeds"]) if row.rounding == "stochastic" else [row.options["seed"]])
    ]


def configuration(case: dict[str, Any]) -> RunConfig:
    """Return the run of a case: the published options, batches in order."""
    options = next(row.options for row in published() if row.dataset == case["dataset"])
    return RunConfig(**case, **options, shuffle=False)


def measure(case: dict[str, Any], backend: ModuleType = cpu) -> dict[str, Any]:
    """Train, and return the part of the run's record that tables and figures need.

    Raises KeyboardInterrupt where the run is stopped by Ctrl-C.
    """
    losses: list[float] = []
    record = execute(
        configuration(case), backend=backend, on_epoch=lambda epoch: losses.extend(epoch.step_loss)
    )
    if record["status"] == "interrupted":
        raise KeyboardInterrupt
    return {key: record[key] for key in _MEASURED} | {"step_mse": losses}


def rows(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each dataset, format, rounding and policy, ours beside the published numbers.

    Numbers are means over the row's runs. For the two published quantities there are also, with the
    sample mean m, standard deviation s and Student's t at 0.975 with n - 1 degrees of freedom,
    *_ci_low, *_ci_high    m -+ t s / sqrt(n): the 95 % interval of the mean,
    *_run_low, *_run_high  m -+ t s sqrt(1 + 1/n): where one more run falls, 95 times in 100,
    *_rank                 the share of the runs below the published value.
    All are null for a single run; the means too where a run diverged. `agrees`: a deterministic row has
    the published digits; in a stochastic row both published values, known to half a unit of their last
    digit, lie where one more run falls; null under policies that were not published.
    """
    table = []
    for policy in dict.fromkeys(record["policy"] for record in records):
        for row in published():
            own = [
                record
                for record in records
                if (record["dataset"], record["format"], record["rounding"], record["policy"])
                == (row.dataset, row.format, row.rounding, policy)
            ]
            if own:
                table.append(_row(row, policy, own))
    return table


def _row(row: Published, policy: str, own: list[dict[str, Any]]) -> dict[str, Any]:
    train = _compared("final_step_mse", [record["final_step_mse"] for record in own], row.train_mse)
    test = _compared("test_mse_over_n", [record["test_mse_over_n"] for record in own], row.test_mse_over_n)
    agrees = [train.pop("agrees"), test.pop("agrees")]
    return {
        "dataset": row.dataset,
        "format": row.format,
        "rounding": row.rounding,
        "policy": policy,
        "runs": len(own),
        **train,
        "train_mse": _mean([record["train_mse"] for record in own]),
        **test,
        "test_mse": _mean([record["test_mse"] for record in own]),
        "published_train_mse": row.train_mse,
        "published_test_mse_over_n": row.test_mse_over_n,
        "agrees": all(agrees) if policy == "output" else None,
    }


def _mean(values: list[float | None]) -> float | None:
    """The mean, or None where a run that diverged has no value."""
    finite = [value for value in values if value is not None]
    return fmean(finite) if len(finite) == len(values) else None


def _compared(key: str, values: list[float | None], theirs: float) -> dict[str, Any]:
    names = [f"{key}_{suffix}" for suffix in ("ci_low", "ci_high", "run_low", "run_high", "rank")]
    finite = [value for value in values if value is not None]
    if len(finite) < len(values):
        return {key: None, **dict.fromkeys(names), "agrees": False}
    n, mean = len(finite), fmean(finite)
    if n == 1:
        same = float(f"{mean:.{SIGNIFICANT_DIGITS}g}") == theirs
        return {key: mean, **dict.fromkeys(names), "agrees": same}
    spread = student_spread(finite)
    of_mean, of_run = spread / math.sqrt(n), spread * math.sqrt(1 + 1 / n)
    rank = sum(value < theirs for value in finite) / n
    numbers = (mean - of_mean, mean + of_mean, mean - of_run, mean + of_run, rank)
    half_unit = 0.5 * 10.0 ** (math.floor(math.log10(theirs)) + 1 - SIGNIFICANT_DIGITS)
    return {
        key: mean,
        **dict(zip(names, numbers, strict=True)),
        "agrees": mean - of_run - half_unit <= theirs <= mean + of_run + half_unit,
    }


REGRESSION = Study(name="regression", cases=cases, measure=measure, trains=True, rows=rows, rerun_s=45)
