"""The door to Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from emunum.experiments.config import RunConfig
from emunum.experiments.training.state import EpochRecord

_PROJECT = "emunum"
_SETTINGS = {"silent": True, "console": "off", "disable_code": True, "disable_git": True}
"""Nothing is printed, and of what is printed, of the caller's code and of its repository nothing is sent."""


def begin(config: RunConfig, directory: Path) -> WandbTracker:
    """Begin a run there that is called like its directory, and keeps its files in it.

    WANDB_PROJECT and WANDB_DIR have the last word, WANDB_MODE and WANDB_ENTITY apply as always.
    """
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT") or _PROJECT,
        name=directory.name,
        dir=os.environ.get("WANDB_DIR") or str(directory),
        config={"run_id": config.run_id} | config.as_dict(),
        settings=dict(_SETTINGS),
    )
    return WandbTracker(run)


class WandbTracker:
    """A run there: the numbers of history.jsonl by epoch, and the record as its summary."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def on_epoch(self, epoch: EpochRecord) -> None:
        """Log an epoch's numbers: all but the loss of each step, and the events."""
        entry = epoch.as_dict()
        numbers = {name: value for name, value in entry.items() if type(value) in (int, float)}
        self._run.log(numbers, step=epoch.epoch)

    def finish(self, record: Mapping[str, Any]) -> None:
        """Leave the record, without what is null, and end the run: as failed where it was interrupted."""
        self._run.summary.update({name: value for name, value in record.items() if value is not None})
        self._run.finish(exit_code=1 if record["status"] == "interrupted" else 0)
