"""Who computes the runs of a sweep: this process; see local.py for several of them, and cluster.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from emunum.experiments.config import RunConfig
from emunum.experiments.sweeps.worker import run_one

DEATHS = 3
"""Workers that a run may bring down before it counts as failed."""


class WorkersError(Exception):
    """There are no workers to be had, or no more of them, or none that would compute the same bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is asked of every run beside its configuration; no result depends on `threads`."""

    events: bool = False
    data_dir: Path | None = None
    threads: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Return the keyword arguments of run_one, as plain data."""
        data_dir = None if self.data_dir is None else str(self.data_dir.absolute())
        return {"events": self.events, "data_dir": data_dir, "threads": self.threads}


class Workers(Protocol):
    """Computes runs, in any order, each until there is a record of it."""

    repeated: int
    """Runs that were begun again because their worker died."""

    @property
    def running(self) -> Mapping[str, str]:
        """The run_id of what is being computed, and where."""

    def results(self, configs: Sequence[RunConfig]) -> Iterator[dict[str, Any]]:
        """Yield a record for every configuration as it comes; closing the iterator gives the others up."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class ThisProcess:
    """One run after the other, where the sweep itself is: no process to start, none to die alone."""

    repeated = 0

    def __init__(self, job: Job) -> None:
        self._job = job
        self.running: Mapping[str, str] = {}

    def results(self, configs: Sequence[RunConfig]) -> Iterator[dict[str, Any]]:
        """Yield the records in order."""
        for config in configs:
            self.running = {config.run_id: "this process"}
            yield run_one(config.as_dict(), **self._job.as_dict())
        self.running = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.running = {}
