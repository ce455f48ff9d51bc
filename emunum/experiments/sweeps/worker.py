"""One run of a sweep, wherever it is computed: plain data go in, and the line of the ledger comes out."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import emunum
from emunum.experiments.config import RunConfig
from emunum.experiments.records import SCHEMA_VERSION
from emunum.experiments.run import execute
from emunum.experiments.sweeps.ledger import FAILED
from emunum.experiments.training.state import EpochRecord
from emunum.kernels.cpu import get_threads, set_threads
from emunum.ops.events import EVENTS

_HISTORY = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "wall_s")
_one_at_a_time = threading.Lock()


def run_one(
    options: Mapping[str, Any], *, events: bool = False, data_dir: str | None = None, threads: int = 1
) -> dict[str, Any]:
    """Train as the options of a RunConfig say and return the record with its history; see ledger.py.

    A run that raises gives the record of a failed one. Raises KeyboardInterrupt, which says by what, where
    the run was stopped.
    """
    config, started = RunConfig(**options), datetime.now(UTC).isoformat(timespec="seconds")
    _use(threads)
    epochs: list[EpochRecord] = []
    try:
        record = execute(
            config,
            events=events,
            data_dir=None if data_dir is None else Path(data_dir),
            on_epoch=epochs.append,
        )
    except Exception as error:
        return failed(config, _in_one_line(error), started)
    if record["status"] == "interrupted":
        raise KeyboardInterrupt(record["reason"].removeprefix("stopped by ").partition(" in epoch ")[0])
    record["history"] = [{key: entry[key] for key in _HISTORY} for entry in (e.as_dict() for e in epochs)]
    if events:
        totals: Counter[str] = Counter(dict.fromkeys(EVENTS, 0))
        for epoch in epochs:
            for row in epoch.events:
                totals.update({event: int(row[event]) for event in EVENTS})
        record["events"] = dict(totals)
    return record


def failed(config: RunConfig, reason: str, started: str | None = None) -> dict[str, Any]:
    """Return the record of a run that has no result: its configuration and what went wrong."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": config.run_id,
        **config.as_dict(),
        "status": FAILED,
        "reason": reason,
        "started": started or datetime.now(UTC).isoformat(timespec="seconds"),
    }


def version() -> str:
    """The version of emunum where this is called."""
    return emunum.__version__


def _use(threads: int) -> None:
    """Set the threads of this process, if they are not: that ends the threads other runs are using."""
    with _one_at_a_time:
        if get_threads() != threads:
            set_threads(threads)


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
