"""What follows a run from outside: it is told of every epoch and of the record, and can stop neither."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from emunum.experiments.config import RunConfig
from emunum.experiments.training.state import EpochRecord

_HOME = {"wandb": "emunum.experiments.tracking_wandb"}
"""Name of the library to the module that talks to it, whose `begin` returns a tracker."""

TRACKERS = tuple(_HOME)


class Tracker(Protocol):
    """Follows one run. What it is given is in history.jsonl and record.json too, under the same names."""

    def on_epoch(self, epoch: EpochRecord) -> None:
        """Take in an epoch, those before a checkpoint included."""

    def finish(self, record: Mapping[str, Any]) -> None:
        """Take in the record, once it is written."""


class Untracked:
    """Nobody follows the run."""

    def on_epoch(self, epoch: EpochRecord) -> None:
        """Do nothing."""

    def finish(self, record: Mapping[str, Any]) -> None:
        """Do nothing."""


def tracking(
    name: str, config: RunConfig, directory: Path, warn: Callable[[str], object]
) -> Callable[[], Tracker]:
    """Return the function that makes the tracker called `name` for the run in a directory.

    Whatever fails in that tracker, at its start or later, is handed to `warn` in one line, and from then on
    the run is untracked. Raises ModuleNotFoundError where the library is not installed.
    """
    found = find_spec(name)
    if found is None or found.origin is None:  # a folder of that name, such as wandb leaves, has no origin
        raise ModuleNotFoundError(f"{name} is not installed: pip install 'emunum[{name}]'")

    def begin() -> Tracker:
        made: Tracker = importlib.import_module(_HOME[name]).begin(config, directory)
        return made

    return lambda: _Shielded(name, begin, warn)


class _Shielded:
    """A tracker whose failures end the tracking and not the run."""

    def __init__(self, name: str, begin: Callable[[], Tracker], warn: Callable[[str], object]) -> None:
        self._name, self._warn = name, warn
        self._tracker: Tracker = Untracked()
        self._tracker = self._shielded(begin) or Untracked()

    def on_epoch(self, epoch: EpochRecord) -> None:
        """Hand the epoch on."""
        self._shielded(lambda: self._tracker.on_epoch(epoch))

    def finish(self, record: Mapping[str, Any]) -> None:
        """Hand the record on."""
        self._shielded(lambda: self._tracker.finish(record))

    def _shielded(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            self._tracker = Untracked()
            [said, *_] = str(error).strip().splitlines() or [type(error).__name__]
            self._warn(f"{self._name} failed, and the run goes on without it: {said}")
            return None
