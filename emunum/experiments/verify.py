"""Records checked by running them again: the same configuration has to end in the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

from emunum.experiments.config import RunConfig
from emunum.experiments.records import parse_record, read_record
from emunum.experiments.run import execute
from emunum.experiments.training.evaluation import METRICS
from emunum.experiments.training.state import EpochRecord, Step
from emunum.kernels import cpu

MEASURED = ("final_step_loss", "final_step_mse", *METRICS, "accumulator_overflows")
_OTHERS = ("status", "epochs_completed", "steps", "best_epoch", "parameters")
COMPARED = ("weights_sha256", "data_sha256", *_OTHERS, *MEASURED)
"""Keys in which a record and its repetition must agree; a record of an older version may lack some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What running a record again showed: the keys that differ, with both values."""

    source: str
    run_id: str
    differences: Mapping[str, tuple[Any, Any]]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def records_in(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, record) for a run's directory, a sweep's, a record.json, or each line of a .jsonl file.

    Raises OSError where nothing can be read and ValueError where that is no record.
    """
    if path.is_dir() and not (path / "record.json").exists() and (path / "records.jsonl").exists():
        path = path / "records.jsonl"
    if path.is_dir():
        yield str(path), read_record(path)
        return
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}" if path.suffix == ".jsonl" else str(path)
        yield where, parse_record(where, line)


def configuration_of(where: str, record: Mapping[str, Any]) -> RunConfig:
    """Return the configuration that a record states.

    Raises ValueError where it is not the one its run_id was made from, and where the run was not finished.
    """
    names = {field.name for field in fields(RunConfig)}
    config = RunConfig(**{name: value for name, value in record.items() if name in names})
    if config.run_id != record.get("run_id"):
        raise ValueError(
            f"{where} names the run {record.get('run_id')}, but its options are those of {config.run_id}: "
            "it was changed, or written by a version with other options."
        )
    if record.get("status") == "interrupted":
        raise ValueError(f"{where} is the record of a run that was stopped. Finish it: emunum run --resume.")
    if record.get("status") == "failed":
        raise ValueError(f"{where} is the record of a run that failed. Repeat it: emunum sweep.")
    return config


def verify(
    where: str,
    record: Mapping[str, Any],
    *,
    data_dir: Path | None = None,
    backend: ModuleType = cpu,
    on_step: Callable[[Step], None] = lambda step: None,
    on_epoch: Callable[[EpochRecord], None] = lambda epoch: None,
) -> Verdict:
    """Run the record's configuration again, on any backend, and compare.

    Raises ValueError as `configuration_of` does.
    """
    config = configuration_of(where, record)
    again = execute(config, data_dir=data_dir, backend=backend, on_step=on_step, on_epoch=on_epoch)
    if again["status"] == "interrupted":
        raise KeyboardInterrupt
    known = [key for key in COMPARED if key in record]
    return Verdict(
        source=where,
        run_id=config.run_id,
        differences={key: (record[key], again[key]) for key in known if record[key] != again[key]},
    )
