"""Workers of a Dask cluster that is there already. They need emunum installed, and nothing else.

The scheduler gives the runs of a worker that dies to others; one that brings several down, as many as the
scheduler's setting `distributed.scheduler.allowed-failures` allows and one more, is failed.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from emunum.experiments.config import RunConfig
from emunum.experiments.sweeps.worker import failed, run_one, version
from emunum.experiments.sweeps.workers import Job, WorkersError

_CONNECT_S = 15


class DaskCluster:
    """The workers of the scheduler at an address, such as tcp://host:8786.

    Entering raises WorkersError without distributed, where no scheduler answers, and where a worker has no
    emunum or another version of it.
    """

    def __init__(self, address: str, job: Job) -> None:
        self.repeated = 0
        self._address, self._job = address, job
        self._client: Any = None
        self._keys: dict[str, RunConfig] = {}

    def __enter__(self) -> Self:
        try:
            from distributed import Client
        except ImportError:
            raise WorkersError(
                "a Dask cluster needs distributed, which is not installed: pip install 'emunum[cluster]'"
            ) from None
        for name in ("client", "core", "utils"):  # what they would say comes as an error, in one line
            logging.getLogger(f"distributed.{name}").setLevel(logging.CRITICAL)
        try:
            self._client = Client(self._address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise WorkersError(f"no scheduler answers at {self._address}: {_one_line(error)}") from None
        try:
            self._require_versions()
        except BaseException:
            self._client.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()  # upon which the scheduler forgets what is still to do

    @property
    def running(self) -> Mapping[str, str]:
        """The run_id of what workers have been given, and the address of each."""
        try:
            found = self._client.processing()
        except (OSError, ValueError, RuntimeError, TimeoutError):  # the connection is being closed
            return {}
        known = self._keys
        return {known[key].run_id: address for address, keys in found.items() for key in keys if key in known}

    def results(self, configs: Sequence[RunConfig]) -> Iterator[dict[str, Any]]:
        """Yield a record for every configuration as it comes. Raises WorkersError without a scheduler."""
        from distributed import as_completed

        sweep = uuid.uuid4().hex  # so that no other sweep's results are taken for these
        self._keys = {f"emunum-{config.run_id}-{sweep}": config for config in configs}
        job = self._job.as_dict()
        futures = as_completed(loop=self._client.loop)
        for key, config in self._keys.items():
            futures.add(self._client.submit(run_one, config.as_dict(), **job, key=key, pure=False))
        for future in futures:
            config = self._keys[future.key]
            if future.cancelled():
                raise WorkersError(f"the scheduler at {self._address} is gone, or was restarted")
            error = future.exception()
            record = future.result() if error is None else failed(config, _reason(error))
            future.release()
            yield record

    def _require_versions(self) -> None:
        own = version()
        found = self._client.run(version, on_error="return")
        for address, theirs in found.items():
            if isinstance(theirs, Exception):
                raise WorkersError(
                    f"worker {address} cannot load emunum: {_one_line(theirs)}. Install it there"
                )
            if theirs != own:
                raise WorkersError(
                    f"worker {address} has emunum {theirs}, and this is {own}. Install the same there"
                )


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
