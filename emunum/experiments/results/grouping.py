"""Runs that differ in nothing but their seeds, taken together; what a study varied and what it kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from emunum.experiments.config import RunConfig
from emunum.experiments.results.intervals import Mean, mean_of, paired_difference

SEEDS = ("seed", "rounding_seed")
OPTIONS = tuple(field.name for field in fields(RunConfig) if field.name not in SEEDS)
"""Options that make runs different configurations."""
STATUSES = ("completed", "diverged", "failed", "interrupted")
PREFERRED = ("test_accuracy", "test_mse", "test_loss")
"""The result that a study is about, if nobody says: the first of these that a completed run has."""

Record = Mapping[str, Any]
Seed = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Group:
    """A configuration: `options` (without seeds), and its runs, one for each seed."""

    options: Mapping[str, Any]
    runs: tuple[Record, ...]

    def values(self, metric: str) -> dict[Seed, float]:
        """Return the metric of each run that was completed and has it, by seeds."""
        return {
            tuple(run.get(key) for key in SEEDS): float(run[metric])
            for run in self.runs
            if run["status"] == "completed" and run.get(metric) is not None
        }

    def mean(self, metric: str) -> Mean | None:
        """Return the mean over the completed runs."""
        return mean_of(list(self.values(metric).values()))

    def difference(self, metric: str, baseline: Group) -> Mean | None:
        """Return the mean of our value minus the baseline's over the seeds that both have."""
        return paired_difference(self.values(metric), baseline.values(metric))

    def count(self, status: str) -> int:
        """Return the number of runs that ended so."""
        return sum(run["status"] == status for run in self.runs)


def grouped(records: Iterable[Record]) -> list[Group]:
    """Return the configurations in the order in which they come; of equal runs the last counts."""
    runs: dict[tuple[str, Seed], Record] = {}
    for record in records:
        runs[_identity(record, OPTIONS), tuple(record.get(key) for key in SEEDS)] = record
    groups: dict[str, list[Record]] = {}
    for (identity, _), record in runs.items():
        groups.setdefault(identity, []).append(record)
    return [
        Group(options={key: own[0][key] for key in OPTIONS if key in own[0]}, runs=tuple(own))
        for own in groups.values()
    ]


def varied(groups: Sequence[Group]) -> list[str]:
    """Return the options of which there is more than one value."""
    return [key for key in OPTIONS if len({_identity(group.options, [key]) for group in groups}) > 1]


def fixed(groups: Sequence[Group]) -> dict[str, Any]:
    """Return the options of which there is one value, with it."""
    changing = set(varied(groups))
    return {key: value for key, value in groups[0].options.items() if key not in changing}


def metric_of(records: Iterable[Record]) -> str:
    """Return the result that these runs are about. Raises ValueError where no run has any."""
    done = [record for record in records if record["status"] == "completed"]
    for metric in PREFERRED:
        if any(record.get(metric) is not None for record in done):
            return metric
    raise ValueError("no run was completed: there is no result to compare.")


def baselines(groups: Sequence[Group], is_baseline: Callable[[Record], bool]) -> list[Group | None]:
    """Return, for each group, the baseline that agrees with it in the most options (the first of equals).

    `is_baseline` says it of the options; only runs on the same data set are compared. None where there is
    none, and for a baseline itself.
    """
    candidates = [group for group in groups if is_baseline(group.options)]
    found: list[Group | None] = []
    for group in groups:
        fitting = [c for c in candidates if c.options.get("dataset") == group.options.get("dataset")]
        own = group in candidates or not fitting
        found.append(None if own else max(fitting, key=lambda c: _agreement(c.options, group.options)))
    return found


def is_float32(options: Record) -> bool:
    """Whether a configuration is the usual baseline."""
    return bool(options.get("format") == "float32")


def rows(
    groups: Sequence[Group], metrics: Sequence[str], bases: Sequence[Group | None]
) -> list[dict[str, Any]]:
    """Return a flat row for each group: what varies, counts of runs, and for each metric

    METRIC, METRIC_ci_low, METRIC_ci_high    mean over the completed runs that have it, its 95 % interval
    METRIC_difference, ..._ci_low, _ci_high  mean of the differences to the baseline, seed by seed
    METRIC_pairs                             how many seeds that mean is of
    """
    changing = varied(groups) or ["dataset", "format", "rounding"]
    table = []
    for group, base in zip(groups, bases, strict=True):
        row: dict[str, Any] = {key: group.options.get(key) for key in changing}
        row |= {"runs": len(group.runs)} | {status: group.count(status) for status in STATUSES}
        for metric in metrics:
            difference = None if base is None else group.difference(metric, base)
            row |= _numbers(metric, group.mean(metric))
            row |= _numbers(f"{metric}_difference", difference)
            row[f"{metric}_pairs"] = 0 if difference is None else difference.n
        table.append(row)
    return table


def _numbers(name: str, mean: Mean | None) -> dict[str, float | None]:
    values = (None, None, None) if mean is None else (mean.mean, mean.low, mean.high)
    return dict(zip((name, f"{name}_ci_low", f"{name}_ci_high"), values, strict=True))


def _agreement(a: Record, b: Record) -> int:
    return sum(a.get(key) == b.get(key) for key in OPTIONS)


def _identity(record: Record, keys: Iterable[str]) -> str:
    """The values of some keys in a form that can be compared and hashed: 1 and 1.0 are one value."""
    values = [record.get(key) for key in keys]
    return repr([float(v) if type(v) is int else v for v in values])
