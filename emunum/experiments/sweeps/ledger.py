"""The file of a sweep's records: DIR/records.jsonl, one line of JSON a run, in the order the runs ended.

A line is the record that `experiments.run.execute` returns, and

    history   a list with a dict an epoch: epoch, train_loss, validation_loss, validation_accuracy, wall_s
    events    with --events: {counter: total over all epochs, layers, passes and roles}

A run that failed has its configuration, run_id, schema_version, started, status "failed" and reason. A line
stands in the place of earlier ones with its run_id. One process at a time writes, and every line is on the
disk before the next is written: a crash leaves at most a last line that is cut short, which readers leave
out and the next writer cuts away.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from emunum.experiments.records import SCHEMA_VERSION

try:
    import fcntl
except ImportError:  # Windows has no flock: there, nothing keeps two sweeps apart
    fcntl = None  # type: ignore[assignment]

NAME = "records.jsonl"
FAILED = "failed"


def read(directory: Path) -> list[dict[str, Any]]:
    """Return the latest record of every run, in the order of their first lines; none without a file.

    Raises ValueError naming the line that is no record, unless it is the last: that one was cut short.
    """
    path = directory / NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    records, _ = _parsed(content, path)
    return list({record["run_id"]: record for record in records}.values())


class Ledger:
    """The records of a directory, open for writing by this process alone.

    `records` has the latest of each run by run_id, `dropped` the bytes of a last line that was cut short.
    Entering raises BlockingIOError where another sweep writes to the directory, ValueError for a broken
    line, OSError where the file cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self.records: dict[str, dict[str, Any]] = {}
        self.dropped = 0
        self._descriptor = -1

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self._lock()
            self._mend()
            _flush(self.path.parent)
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)  # which gives the lock back, as any end of the process does

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a line, which is on the disk when this returns.

        Raises OSError, which names the file; no part of the line is then left in it.
        """
        self._write((json.dumps(record, allow_nan=False) + "\n").encode())
        self.records[record["run_id"]] = dict(record)

    def _write(self, data: bytes) -> None:
        size = os.fstat(self._descriptor).st_size
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, size)
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        except BaseException:  # Ctrl-C: a line that is whole stays
            if data:
                os.ftruncate(self._descriptor, size)
            raise

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"another sweep writes to {self.path}. Wait for it, stop it, or choose another --output."
            ) from None
        except OSError:  # a file system without locks
            return

    def _mend(self) -> None:
        content = self.path.read_bytes()
        records, end = _parsed(content, self.path)
        self.dropped = len(content) - end
        os.ftruncate(self._descriptor, end)
        if end and content[end - 1 : end] != b"\n":
            self._write(b"\n")
        self.records = {record["run_id"]: record for record in records}


def _parsed(content: bytes, path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the records, and the number of bytes they take: less than all where the last is cut short."""
    lines = content.splitlines(keepends=True)
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            # No beginning of an object is JSON; after a power failure, zeros may stand in its place.
            if number == len(lines) and line[:1] in (b"{", b"\0"):
                return records, len(content) - len(line)
            raise _broken(path, number, str(error)) from None
        if not isinstance(record, dict) or not isinstance(record.get("run_id"), str):
            raise _broken(path, number, "a record has a run_id")
        version = record.get("schema_version")
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise _broken(
                path, number, f"schema version {version!r}; this emunum reads up to {SCHEMA_VERSION}"
            )
        records.append(record)
    return records, len(content)


def _broken(path: Path, number: int, what: str) -> ValueError:
    return ValueError(
        f"{path}, line {number} is no record: {what}. Mend it or take it out: its run is repeated."
    )


def _flush(directory: Path) -> None:
    """Put the name of a new file on the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
