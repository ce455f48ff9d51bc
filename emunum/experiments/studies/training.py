"""Training runs as measurements of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from types import ModuleType
from typing import Any

from emunum.experiments.config import RunConfig
from emunum.experiments.results.intervals import mean_of
from emunum.experiments.run import execute
from emunum.experiments.studies.study import Case, Record, Row
from emunum.kernels import cpu


def with_equal_keys(cases: Sequence[Case]) -> list[Case]:
    """Return the cases of a study of several parts with the keys of all, null where a case has none."""
    keys = dict.fromkeys(key for case in cases for key in case)
    return [{key: case.get(key) for key in keys} for case in cases]


def trained(
    options: Mapping[str, Any], wanted: Sequence[str], *, curve: bool = False, backend: ModuleType = cpu
) -> Record:
    """Train as RunConfig(**options) says and return the wanted entries of the run's record.

    Options that are null are left out; `hidden` is the size of the one hidden layer. With `curve`,
    epoch_loss too: the mean loss of the steps of each epoch. Raises KeyboardInterrupt where the run is
    stopped by Ctrl-C.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if "hidden" in given:
        given["hidden"] = (given["hidden"],)
    losses: list[float] = []
    record = execute(
        RunConfig(**given), backend=backend, on_epoch=lambda epoch: losses.append(fmean(epoch.step_loss))
    )
    if record["status"] == "interrupted":
        raise KeyboardInterrupt
    return {key: record[key] for key in wanted} | ({"epoch_loss": losses} if curve else {})


def means(runs: Sequence[Record], measures: Sequence[str]) -> Row:
    """Return the mean of each measure over the runs, with its 95 % interval: KEY, KEY_ci_low, KEY_ci_high.

    All three are null where a run has no value, because it diverged.
    """
    row: Row = {}
    for key in measures:
        values = [run[key] for run in runs if run[key] is not None]
        mean = mean_of(values) if len(values) == len(runs) else None
        row |= {
            key: mean and mean.mean,
            f"{key}_ci_low": mean and mean.low,
            f"{key}_ci_high": mean and mean.high,
        }
    return row
