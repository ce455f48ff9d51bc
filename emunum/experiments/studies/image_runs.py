"""The runs of the image studies: a row trained in a directory of its own, and the records that are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from emunum.experiments.records import RunDirectory, read_record, running_in, write_atomically
from emunum.experiments.run import execute
from emunum.experiments.studies.image_rows import Row, Study
from emunum.experiments.studies.study import paper, record_lines
from emunum.experiments.training.checkpoint import Interval
from emunum.experiments.training.state import EpochRecord, Step
from emunum.experiments.verify import records_in
from emunum.kernels import cpu


def records_path(study: Study) -> Path:
    """Return where the study's committed records are: a file of paper/records/, which need not exist."""
    return paper() / "records" / f"{study.name}.jsonl"


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records in a file, none where there is no file. Raises ValueError for what is none."""
    return [record for _, record in records_in(path)] if path.exists() else []


def append(path: Path, record: dict[str, Any]) -> None:
    """Put a record at the end of the file, or in the place of an earlier one of the same run_id."""
    lines = {entry["run_id"]: entry for entry in read_records(path)} | {record["run_id"]: record}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, record_lines(list(lines.values())))


def run(
    study: Study,
    row: Row,
    output: Path,
    *,
    epochs: int | None = None,
    data_dir: Path | None = None,
    backend: ModuleType = cpu,
    on_step: Callable[[Step], None] = lambda step: None,
    on_epoch: Callable[[EpochRecord], None] = lambda epoch: None,
) -> dict[str, Any]:
    """Train a row in a directory below `output` and return its record.

    A run that was stopped or killed there goes on from its checkpoint; one that is finished is taken as it
    stands, whatever the backend. Raises ValueError as `execute` does, and where another process is at work
    on it.
    """
    config = row.with_epochs(epochs)
    name = f"{study.name}-{row.name}-{config.run_id[:8]}"
    path, interval = output / name, Interval()
    if (path / "record.json").exists():
        record = read_record(path)
        if record["status"] != "interrupted" and record["run_id"] == config.run_id:
            return record
    if process := running_in(path):
        raise ValueError(f"process {process} is at work on {path}. Stop it first.")
    options = {
        "events": False,
        "checkpoint_steps": interval.steps,
        "checkpoint_minutes": interval.minutes,
        "data_dir": None if data_dir is None else str(data_dir.absolute()),
        "backend": backend.NAME,
    }
    directory = RunDirectory(output, name, config, options)
    try:
        return execute(
            config,
            directory=directory,
            data_dir=data_dir,
            checkpoints=interval,
            resume=True,
            backend=backend,
            on_step=on_step,
            on_epoch=on_epoch,
        )
    except ValueError:
        directory.discard()
        raise
