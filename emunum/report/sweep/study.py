"""What many records say, data set by data set: configurations, their baseline, and what to call things."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emunum.experiments.config import RunConfig
from emunum.experiments.results.grouping import (
    OPTIONS,
    SEEDS,
    Group,
    baselines,
    fixed,
    grouped,
    is_float32,
    metric_of,
    rows,
    varied,
)

Record = Mapping[str, Any]

_LEADING = ("format", "rounding")
"""Options that come first where they vary: what a reader looks for."""
_LABELS = {
    "test_accuracy": "test accuracy (%)", "test_f1": "test macro F1 (%)",
    "validation_accuracy": "validation accuracy (%)", "test_mse": "test MSE", "train_mse": "training MSE",
    "test_rmse": "test RMSE", "train_rmse": "training RMSE", "test_loss": "test loss",
    "test_mse_over_n": "test MSE / n", "validation_loss": "validation loss", "wall_s": "wall time (s)",
}  # fmt: skip
_PERCENT = ("test_accuracy", "test_f1", "validation_accuracy")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """The runs on one data set; `bases` has each configuration's baseline, None for a baseline itself."""

    dataset: str
    metric: str
    groups: tuple[Group, ...]
    bases: tuple[Group | None, ...]

    @property
    def varied(self) -> list[str]:
        """The options that vary, format and rounding first."""
        names = varied(self.groups)
        return [key for key in _LEADING if key in names] + [key for key in names if key not in _LEADING]

    @property
    def fixed(self) -> dict[str, Any]:
        """The options that do not."""
        return fixed(self.groups)

    @property
    def runs(self) -> list[Record]:
        """Every run."""
        return [run for group in self.groups for run in group.runs]

    def label(self, group: Group, keys: Sequence[str] | None = None) -> str:
        """Return what a configuration is called here: the values of what varies, or of the keys given."""
        names = self.varied if keys is None else keys
        return ", ".join(worded(key, group.options.get(key)) for key in names) or self.dataset

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each configuration, in full precision; see `grouping.rows`."""
        return rows(self.groups, [self.metric], self.bases)


def studies(
    records: Iterable[Record],
    metric: str | None = None,
    is_baseline: Callable[[Record], bool] = is_float32,
) -> list[Study]:
    """Return a study for each data set. Raises ValueError where no run on any of them has a result.

    `metric` is the result they are about; if None, each data set's own.
    """
    by_dataset: dict[str, list[Group]] = {}
    for group in grouped(records):
        by_dataset.setdefault(str(group.options.get("dataset")), []).append(group)
    found = []
    for dataset, groups in by_dataset.items():
        runs = [run for group in groups for run in group.runs]
        own = metric_of(runs) if metric is None else metric
        bases = baselines(groups, is_baseline)
        found.append(Study(dataset=dataset, metric=own, groups=tuple(groups), bases=tuple(bases)))
    return found


def title_of(parts: Sequence[Study]) -> str:
    """Return a title: the data sets, and what was varied."""
    names = list(dict.fromkeys(name for part in parts for name in part.varied))
    what = " \u00d7 ".join(name.replace("_", " ") for name in names)
    return ", ".join(part.dataset for part in parts) + (f": {what}" if what else "")


def metric_label(metric: str) -> str:
    """Return what a result is called, with its unit."""
    return _LABELS.get(metric, metric.replace("_", " "))


def factor_of(metric: str) -> float:
    """Return what a result is multiplied by where people read it: 100 for shares."""
    return 100.0 if metric in _PERCENT else 1.0


def worded(key: str, value: Any) -> str:
    """Return an option's value in words that stand without its name where they can."""
    if key in ("format", "dataset", "model", "optimizer"):
        return str(value)
    if key == "rounding":
        return str(value).replace("nearest_even", "nearest")
    name = key.replace("_", " ")
    if value is None:
        return f"{name} default"
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return f"{name} {plain(value)}"


def plain(value: Any) -> str:
    """Return an option's value as a table shows it."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "default" if value is None else str(value)


def settled(key: str, value: Any) -> str:
    """Return an option's value as a table shows it: roundings as the command line spells them."""
    return str(value).replace("nearest_even", "nearest") if key == "rounding" else plain(value)


def seeds_of(runs: Iterable[Record]) -> str:
    """Return the seeds of runs in words, as ranges: 0 to 4, 7; those of the random bits too, if any."""
    found = list(runs)
    seeds, rounding_seeds = (_ranges(run.get(key) for run in found) for key in SEEDS)
    return "; rounding ".join(filter(None, (seeds, rounding_seeds))) or "-"


def _ranges(values: Iterable[Any]) -> str:
    parts: list[list[int]] = []
    for number in sorted({value for value in values if isinstance(value, int)}):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]} to {p[-1]}" for p in parts)


def config_of(run: Record) -> RunConfig | None:
    """Return a run's configuration; None where its record has only a part of it."""
    names = (*OPTIONS, *SEEDS)
    if any(key not in run for key in names):
        return None
    return RunConfig(**{key: run[key] for key in names})


def decimals(widths: Iterable[float | None]) -> int:
    """Return how many decimals show two digits of the least of these widths: 2 to 6, and 4 without any.

    Numbers of one column have the same number of decimals, so that their points stand below each other.
    """
    sizes = [abs(width) for width in widths if width]
    return min(max(1 - math.floor(math.log10(min(sizes))), 2), 6) if sizes else 4


def number(value: float | None, places: int, sign: bool = False) -> str:
    """Return a number with so many decimals and a real minus sign; from a million on as a power of ten."""
    if value is None:
        return "-"
    form = ".3e" if abs(value) >= 1e6 else f".{places}f"
    return f"{value:{'+' if sign else ''}{form}}".replace("-", "\u2212")
