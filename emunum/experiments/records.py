"""A run's directory: what is written, when, and why nothing is ever half there.

    config.json     before the first step
    history.jsonl   one line an epoch; while the run lasts, in a file whose name ends in .partial
    weights.npz     the final master weights, without pickles
    record.json     last: a directory that has it holds a finished run

Every file is written beside its place, flushed to the disk and renamed, so a reader sees all of it or
none. A killed run leaves no record.json, or the earlier one where the same run was being repeated.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.config import RunConfig
from emunum.experiments.train import EpochRecord

SCHEMA_VERSION = 1


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace the file at `path` in one step: its old content or all of the new, even after a crash."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    data = content.encode() if isinstance(content, str) else content
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise _placed(error, path) from None


def read_record(directory: Path) -> dict[str, Any]:
    """Return the record of a finished run.

    Raises FileNotFoundError where there is none and ValueError where it is no record of this schema.
    """
    path = directory / "record.json"
    try:
        record = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no record: {error}.") from None
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{path} is no record of schema version {SCHEMA_VERSION}.")
    return record


class RunDirectory:
    """The files of one run in the making."""

    def __init__(self, output: Path, name: str, config: RunConfig) -> None:
        """Make the directory and write config.json.

        Raises FileExistsError where it holds a run of another configuration, OSError where it cannot be
        written.
        """
        self.path = output / name
        self.path.mkdir(parents=True, exist_ok=True)
        self._forget_killed_runs()
        text = json.dumps(config.as_dict(), indent=2) + "\n"
        written = self.path / "config.json"
        if written.exists() and written.read_text() != text:
            raise FileExistsError(
                f"{self.path} holds a run of another configuration. Choose another --name or --output."
            )
        write_atomically(written, text)
        self._history = self.path / f".history.jsonl.{os.getpid()}.partial"
        self._history.write_bytes(b"")

    def append(self, epoch: EpochRecord) -> None:
        """Add a line to the history."""
        entry = asdict(epoch) | {"mean_mse": epoch.mean_mse}
        if not epoch.events:
            del entry["events"]
        line = json.dumps(entry)
        try:
            with self._history.open("a") as file:
                file.write(line + "\n")
        except OSError as error:
            raise _placed(error, self._history) from None

    def finish(self, record: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> None:
        """Put history, weights and, last, the record in place."""
        archive = io.BytesIO()
        np.savez(archive, allow_pickle=False, **weights)
        write_atomically(self.path / "weights.npz", archive.getvalue())
        with self._history.open("a") as file:
            os.fsync(file.fileno())
        self._history.replace(self.path / "history.jsonl")
        write_atomically(self.path / "record.json", json.dumps(record, indent=2, allow_nan=False) + "\n")

    def _forget_killed_runs(self) -> None:
        for leftover in self.path.glob(".*.partial"):
            process = leftover.name.split(".")[-2]
            if not (process.isdigit() and _is_running(int(process))):
                leftover.unlink(missing_ok=True)


def _placed(error: OSError, path: Path) -> OSError:
    """The error with the file it is about: a full disk names none."""
    return OSError(error.errno, error.strerror, str(path))


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()
