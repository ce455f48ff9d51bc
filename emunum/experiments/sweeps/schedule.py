"""A sweep in progress: what is left to do, who does it, and every record into the ledger as it comes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emunum.experiments.config import RunConfig
from emunum.experiments.sweeps.ledger import FAILED, Ledger
from emunum.experiments.sweeps.workers import Workers

Record = Mapping[str, Any]


def is_finished(record: Record | None, events: bool) -> bool:
    """Whether a run need not be repeated: it has a result and, where they are asked for, its events."""
    return (
        record is not None
        and record["status"] in ("completed", "diverged")
        and (not events or "events" in record)
    )


def unfinished(
    configs: Sequence[RunConfig], records: Mapping[str, Record], events: bool = False
) -> list[RunConfig]:
    """Return the configurations whose runs are still to do."""
    return [config for config in configs if not is_finished(records.get(config.run_id), events)]


@dataclass(slots=True, kw_only=True)
class Sweep:
    """How far a sweep is: of `total` runs `todo` were left when it began, and `done` are done since.

    `failed` and `diverged` count those of them that were, and `last_reason` says why one failed.
    """

    total: int
    todo: int
    done: int = 0
    failed: int = 0
    diverged: int = 0
    last_reason: str | None = None
    clock: float = field(default_factory=time.perf_counter)

    @property
    def wall_s(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self.clock

    @property
    def left(self) -> int:
        """Runs still to do."""
        return self.todo - self.done

    @property
    def rate(self) -> float | None:
        """Runs a second so far; None before the first is done."""
        return self.done / self.wall_s if self.done else None

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest takes at this rate."""
        return None if self.rate is None else self.left / self.rate

    def run(self, configs: Sequence[RunConfig], workers: Workers, ledger: Ledger) -> Iterator[dict[str, Any]]:
        """Yield each record once it is in the ledger. This process alone writes there."""
        for record in workers.results(configs):
            ledger.append(record)
            self.done += 1
            if record["status"] == FAILED:
                self.failed += 1
                self.last_reason = record["reason"]
            self.diverged += record["status"] == "diverged"
            yield record
