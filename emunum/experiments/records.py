"""A run's directory: what is written, when, and why nothing is ever half there.

    options.json     first: what --resume must know beside the configuration
    config.json      before the first step
    history.jsonl    one line an epoch; while the run lasts, in a file whose name ends in .partial
    checkpoint.npz   now and then, and where the run is stopped: see checkpoint.py
    weights.npz      the final master weights, without pickles
    record.json      last: a directory that has it holds a finished run, or one that was stopped

Every file is written beside its place, flushed to the disk and renamed, so a reader sees all of it or
none. A killed run leaves no record.json, or the earlier one where the same run was being repeated. A run
that has nothing left to do leaves neither options.json nor checkpoint.npz.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.config import RunConfig
from emunum.experiments.training.state import EpochRecord

SCHEMA_VERSION = 1
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # file systems whose directories cannot be flushed


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace the file at `path` in one step: its old content or all of the new, even after a crash.

    Content and name are on the disk when this returns. Raises OSError, which names the file; what was
    there before is then still there.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    data = content.encode() if isinstance(content, str) else content
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _flush_directory(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise _placed(error, path) from None
    except BaseException:  # Ctrl-C
        beside.unlink(missing_ok=True)
        raise


def read_record(directory: Path) -> dict[str, Any]:
    """Return the record of a run that was finished or stopped.

    Raises FileNotFoundError where there is none and ValueError where it is no record of this schema.
    """
    path = directory / "record.json"
    return parse_record(str(path), path.read_bytes())


def parse_record(where: str, text: bytes | str) -> dict[str, Any]:
    """Return the record that a text holds. Raises ValueError, which names `where`, if it is none."""
    try:
        record = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where} is no record: {error}.") from None
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{where} is no record of schema version {SCHEMA_VERSION}.")
    return record


def computed_on(record: Mapping[str, Any]) -> str:
    """Return "2 threads", or the device of a backend that is not the CPU's."""
    if record.get("backend", "cpu") == "cpu":
        return f"{record.get('threads')} threads"
    return str(record.get("device"))


def read_config(directory: Path) -> RunConfig:
    """Return the configuration of the run in a directory. Raises ValueError where there is none in it."""
    path = directory / "config.json"
    try:
        return RunConfig(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise ValueError(f"{directory} is no run's directory: it has no config.json.") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no configuration: {error}") from None


def read_options(directory: Path) -> dict[str, Any]:
    """Return what the run was started with beside its configuration; nothing where that is not known."""
    try:
        options = json.loads((directory / "options.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return options if isinstance(options, dict) else {}


class RunDirectory:
    """The files of one run in the making."""

    def __init__(
        self, output: Path, name: str, config: RunConfig, options: Mapping[str, Any] | None = None
    ) -> None:
        """Make the directory and write options.json and config.json.

        Raises FileExistsError where it holds a run of another configuration, OSError where it cannot be
        written.
        """
        self.path = output / name
        self.path.mkdir(parents=True, exist_ok=True)
        self._forget_killed_runs()
        text = json.dumps(config.as_dict(), indent=2) + "\n"
        written = self.path / "config.json"
        self._is_new = not written.exists()
        if written.exists() and not _is_config(written, config):
            raise FileExistsError(
                f"{self.path} holds a run of another configuration. Choose another --name or --output."
            )
        if options is not None:
            write_atomically(self.path / "options.json", json.dumps(options, indent=2) + "\n")
        write_atomically(written, text)
        self._history = self.path / f".history.jsonl.{os.getpid()}.partial"
        self._history.write_bytes(b"")

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint is, if there is one."""
        return self.path / "checkpoint.npz"

    def append(self, *epochs: EpochRecord) -> None:
        """Add a line for each epoch to the history."""
        try:
            with self._history.open("a") as file:
                file.writelines(map(_line, epochs))
        except OSError as error:
            raise _placed(error, self._history) from None

    def discard(self) -> None:
        """Leave nothing of a run that could not begin, unless the directory had one before."""
        self._history.unlink(missing_ok=True)
        if self._is_new:
            for name in ("options.json", "config.json"):
                (self.path / name).unlink(missing_ok=True)
            with suppress(OSError):  # where it holds something else
                self.path.rmdir()

    def save(self, checkpoint: bytes) -> None:
        """Replace the checkpoint."""
        write_atomically(self.checkpoint, checkpoint)

    def finish(
        self,
        record: Mapping[str, Any],
        weights: Mapping[str, NDArray[Any]],
        history: Iterable[EpochRecord],
        *,
        resumable: bool = False,
    ) -> None:
        """Put weights, history and, last, the record in place; unless `resumable`, the checkpoint goes."""
        archive = io.BytesIO()
        np.savez(archive, allow_pickle=False, **weights)
        write_atomically(self.path / "weights.npz", archive.getvalue())
        write_atomically(self.path / "history.jsonl", "".join(map(_line, history)))
        self._history.unlink(missing_ok=True)
        write_atomically(self.path / "record.json", json.dumps(record, indent=2, allow_nan=False) + "\n")
        if not resumable:
            self.checkpoint.unlink(missing_ok=True)
            (self.path / "options.json").unlink(missing_ok=True)

    def _forget_killed_runs(self) -> None:
        for leftover in self.path.glob(".*.partial"):
            process = leftover.name.split(".")[-2]
            if not (process.isdigit() and _is_running(int(process))):
                leftover.unlink(missing_ok=True)


def running_in(directory: Path) -> int | None:
    """The process, if any, that is at work on the run in a directory."""
    for partial in directory.glob(".history.jsonl.*.partial"):
        process = partial.name.split(".")[-2]
        if process.isdigit() and _is_running(int(process)):
            return int(process)
    return None


def _line(epoch: EpochRecord) -> str:
    return json.dumps(epoch.as_dict(), allow_nan=False) + "\n"


def _is_config(path: Path, config: RunConfig) -> bool:
    """Whether a file has this configuration, also where it lacks options that came later."""
    try:
        return RunConfig(**json.loads(path.read_bytes())) == config
    except (ValueError, TypeError):
        return False


def _flush_directory(directory: Path) -> None:
    """Put a file's new name on the disk, where the system can."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:  # Windows opens no directories
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


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
