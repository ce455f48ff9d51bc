"""Worker processes of this machine, by loky.

loky comes with scikit-learn, by way of joblib; a cluster in a box (Dask's LocalCluster) would be a heavy
dependency for the same. Each worker is an executor of one process: when a process dies, it is known which
run it had, and the others are not disturbed.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self

from joblib.externals.loky.process_executor import ProcessPoolExecutor

from emunum.experiments.config import RunConfig
from emunum.experiments.sweeps.worker import failed, run_one
from emunum.experiments.sweeps.workers import DEATHS, Job

_LOOK_S = 1.0


class LocalProcesses:
    """So many processes, each with its own run; one that dies is replaced, and its run begun again."""

    def __init__(self, jobs: int, job: Job) -> None:
        self.repeated = 0
        self._job = job
        self._jobs = jobs
        self._executors: dict[int, Any] = {}
        self._busy: dict[Future[dict[str, Any]], tuple[int, RunConfig]] = {}

    @property
    def running(self) -> Mapping[str, str]:
        """The run_id of what is being computed, and in which process."""
        return {config.run_id: f"process {self._process(slot)}" for slot, config in list(self._busy.values())}

    def results(self, configs: Sequence[RunConfig]) -> Iterator[dict[str, Any]]:
        """Yield a record for every configuration as it comes."""
        waiting = deque(configs)
        deaths: Counter[RunConfig] = Counter()
        for slot in range(min(self._jobs, len(waiting))):
            self._begin(slot, waiting)
        while self._busy:
            done, _ = wait(self._busy, return_when=FIRST_COMPLETED)
            for future in done:
                slot, config = self._busy.pop(future)
                try:
                    record = future.result()
                except BrokenProcessPool as error:
                    self._end(slot)
                    deaths[config] += 1
                    if deaths[config] < DEATHS:
                        self.repeated += 1
                        waiting.append(config)
                        self._begin(slot, waiting)
                        continue
                    record = failed(config, f"{DEATHS} workers died of it, the last with {_exit_code(error)}")
                self._begin(slot, waiting)
                yield record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for slot in list(self._executors):
            self._end(slot)
        self._busy = {}

    def _begin(self, slot: int, waiting: deque[RunConfig]) -> None:
        """Give a slot the next run, if there is one."""
        if not waiting:
            return
        config = waiting.popleft()
        try:
            future = self._submitted(slot, config)
        except BrokenProcessPool:  # its process died while it had nothing to do
            self._end(slot)
            future = self._submitted(slot, config)
        self._busy[future] = slot, config

    def _submitted(self, slot: int, config: RunConfig) -> Future[dict[str, Any]]:
        if slot not in self._executors:
            self._executors[slot] = ProcessPoolExecutor(
                max_workers=1, initializer=_stand_by, initargs=(os.getpid(),)
            )
        future: Future[dict[str, Any]] = self._executors[slot].submit(
            run_one, config.as_dict(), **self._job.as_dict()
        )
        return future

    def _end(self, slot: int) -> None:
        self._executors.pop(slot).shutdown(kill_workers=True)

    def _process(self, slot: int) -> str:
        executor = self._executors.get(slot)
        return ", ".join(map(str, list(executor._processes or ()))) if executor else ""


def _stand_by(parent: int) -> None:
    """Leave Ctrl-C to the sweep, which stops its workers, and end with it if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os._exit(1)

    if hasattr(os, "fork"):  # elsewhere a process keeps the number of a parent that is gone
        threading.Thread(target=watch, daemon=True).start()


def _exit_code(error: BrokenProcessPool) -> str:
    found = re.search(r"exit codes of the workers are \{(.+?)\}", str(error))
    return f"exit code {found[1]}" if found else "no word"
