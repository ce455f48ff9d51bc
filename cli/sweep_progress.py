"""How a sweep shows itself while it goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from emunum.experiments.sweeps.schedule import Sweep
    from emunum.experiments.sweeps.workers import Workers

_LINE_EVERY_S = 10.0
"""Where there is no terminal, which would be flooded with a line a run."""

_SHOWN = 8
"""Runs in progress, and failures, that are shown one by one."""


class SweepProgress:
    """A live table of what runs where, with the count, the rate, failures and the time left."""

    def __init__(
        self,
        console: Console,
        sweep: Sweep,
        workers: Workers,
        names: Mapping[str, str],
        quiet: bool,
    ) -> None:
        """`names` are what a run is called, by run_id."""
        self._console, self._sweep, self._workers, self._names = console, sweep, workers, names
        self._quiet = quiet
        self._seen: dict[str, float] = {}
        self._said_at = time.perf_counter()
        live = not quiet and console.is_terminal
        self._live = (
            Live(get_renderable=self.__rich__, console=console, refresh_per_second=2, transient=True)
            if live
            else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def on_record(self, record: Mapping[str, Any]) -> None:
        """Say what went wrong, and now and then how far the sweep is."""
        if record["status"] == "failed" and self._sweep.failed <= _SHOWN:
            more = " Further failures are only counted." if self._sweep.failed == _SHOWN else ""
            self._say(f"failed: {self._names[record['run_id']]}: {record['reason']}{more}")
        now = time.perf_counter()
        if self._live is None and now - self._said_at >= _LINE_EVERY_S:
            self._said_at = now
            self._say(status_of(self._sweep, self._workers.repeated))

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def __rich__(self) -> Group:
        """What the live table shows."""
        sweep, now = self._sweep, time.perf_counter()
        running = dict(self._workers.running)
        self._seen = {run_id: self._seen.get(run_id, now) for run_id in running}
        bar = ProgressBar(total=sweep.total, completed=sweep.total - sweep.left, width=40)
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for run_id, where in list(running.items())[:_SHOWN]:
            table.add_row(Text(self._names.get(run_id, run_id)), Text(where), clock(now - self._seen[run_id]))
        if len(running) > _SHOWN:
            table.add_row(f"and {len(running) - _SHOWN} more", "", "")
        if not running and sweep.left:
            table.add_row("waiting for workers", "", "")
        return Group(Text(status_of(sweep, self._workers.repeated)), bar, table)


def status_of(sweep: Sweep, repeated: int) -> str:
    """Return a line: 54 of 180 runs, 3.2 a second, 0:00:39 left, 1 failed."""
    parts = [f"{sweep.total - sweep.left} of {sweep.total} runs"]
    if sweep.rate is not None and sweep.left_s is not None:
        slow = sweep.rate < 1
        parts.append(f"{sweep.rate * (60 if slow else 1):.3g} a {'minute' if slow else 'second'}")
        parts.append(f"{clock(sweep.left_s)} left")
    for count, word in ((sweep.failed, "failed"), (sweep.diverged, "diverged"), (repeated, "begun again")):
        if count:
            parts.append(f"{count} {word}")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """Return hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))


def names_of(configs: Sequence[Any], varied: Sequence[str]) -> dict[str, str]:
    """Return what tells each run from the others, by run_id: format=e4m3, seed=3."""
    keys = varied or ("dataset", "format", "rounding")
    return {config.run_id: ", ".join(f"{key}={getattr(config, key)}" for key in keys) for config in configs}
