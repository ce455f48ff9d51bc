"""What a sweep shows while it goes on: on a terminal a table, elsewhere a line now and then."""

from __future__ import annotations

import io
from typing import Any

import pytest
from emunum_cli.sweep_progress import SweepProgress, names_of, status_of
from rich.console import Console

from emunum.experiments.config import RunConfig
from emunum.experiments.sweeps import schedule
from emunum.experiments.sweeps.schedule import Sweep
from emunum.experiments.sweeps.workers import Job, ThisProcess

CONFIGS = [RunConfig(dataset="toy", seed=seed) for seed in range(12)]
NAMES = names_of(CONFIGS, ("seed",))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds, which pass where a test says so."""
    now = [100.0]
    for module in (schedule, "emunum_cli.sweep_progress"):
        name = module if isinstance(module, str) else module.__name__
        monkeypatch.setattr(f"{name}.time.perf_counter", lambda: now[0])
    return now


def progress(sweep: Sweep, terminal: bool = False) -> tuple[SweepProgress, ThisProcess, io.StringIO]:
    out, workers = io.StringIO(), ThisProcess(Job())
    console = Console(file=out, force_terminal=terminal, width=100, color_system=None)
    return SweepProgress(console, sweep, workers, NAMES, quiet=False), workers, out


def test_the_line_has_count_rate_time_left_and_what_went_wrong(clock: list[float]) -> None:
    sweep = Sweep(total=180, todo=126, clock=100.0)
    assert status_of(sweep, 0) == "54 of 180 runs"
    clock[0] += 60
    sweep.done = 12
    assert status_of(sweep, 0) == "66 of 180 runs, 12 a minute, 0:09:30 left"
    clock[0] += 2
    sweep.done, sweep.failed, sweep.diverged = 124, 2, 1
    assert status_of(sweep, 3) == (
        "178 of 180 runs, 2 a second, 0:00:01 left, 2 failed, 1 diverged, 3 begun again"
    )


def test_the_table_says_what_runs_where_and_for_how_long(clock: list[float]) -> None:
    shown, workers, out = progress(Sweep(total=12, todo=12, clock=100.0), terminal=True)
    console = Console(file=out, width=100)
    console.print(shown)
    assert "waiting for workers" in out.getvalue()
    workers.running = {CONFIGS[3].run_id: "process 77"}
    console.print(shown)
    clock[0] += 75
    workers.running = {config.run_id: f"process {n}" for n, config in enumerate(CONFIGS[3:], 77)}
    out.truncate(0)
    console.print(shown)
    rows = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "seed=3 process 77 0:01:15" in rows
    assert "seed=10 process 84 0:00:00" in rows
    assert "seed=11 process 85 0:00:00" not in rows
    assert rows[-1] == "and 1 more"


def test_without_a_terminal_there_is_a_line_every_ten_seconds(clock: list[float]) -> None:
    sweep = Sweep(total=12, todo=12, clock=100.0)
    shown, _, out = progress(sweep)
    with shown:
        for sweep.done in range(1, 7):
            clock[0] += 4
            shown.on_record({"status": "completed"})
    assert out.getvalue() == (
        "3 of 12 runs, 15 a minute, 0:00:36 left\n6 of 12 runs, 15 a minute, 0:00:24 left\n"
    )


def test_the_first_failures_are_told_and_the_others_counted(clock: list[float]) -> None:
    sweep = Sweep(total=12, todo=12, clock=100.0)
    shown, _, out = progress(sweep)
    for sweep.failed, config in enumerate(CONFIGS, 1):
        shown.on_record({"status": "failed", "run_id": config.run_id, "reason": "ValueError: [bold]"})
    lines = out.getvalue().splitlines()
    assert lines == [
        *(f"failed: seed={seed}: ValueError: [bold]" for seed in range(7)),
        "failed: seed=7: ValueError: [bold] Further failures are only counted.",
    ]


def quiet_or_not(quiet: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, quiet=quiet)
    sweep: Any = Sweep(total=1, todo=1)
    with SweepProgress(console, sweep, ThisProcess(Job()), NAMES, quiet=quiet):
        pass
    return out.getvalue()


def test_quiet_is_quiet() -> None:
    assert quiet_or_not(True) == ""
    assert "0 of 1 runs" in quiet_or_not(False)
