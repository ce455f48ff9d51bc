"""Kill a sweep, or a worker of its cluster, in the middle; compare its records with an undisturbed sweep's.

    python tests/kill_sweeps.py --kills 2 -- --dataset diabetes --format e4m3,e5m2 --seed 0:30
    python tests/kill_sweeps.py --dask 2 -- --dataset diabetes --format e4m3,e5m2 --seed 0:30

What stands after -- are options of `emunum sweep`. The undisturbed sweep goes first, one run after the other.
Then a sweep of two processes gets SIGKILL once it has a number of records that is drawn at random, and is
started again, so many times. With --dask, a scheduler and so many workers are started on loopback, and one
worker gets SIGKILL. Exits with 0 where the records are the same but for times and thread counts, else with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kill_and_resume import lasting

COMMAND = [sys.executable, "-m", "emunum_cli", "sweep"]
Say = Callable[[str], None]


def records(directory: Path) -> dict[str, Any]:
    """What of each record has to be the same every time, by run_id."""
    found = [json.loads(line) for line in (directory / "records.jsonl").read_text().splitlines()]
    return {
        record["run_id"]: lasting(record) | {"history": [lasting(epoch) for epoch in record["history"]]}
        for record in found
    }


def differences(directory: Path, expected: dict[str, Any]) -> list[str]:
    """How the records of a directory differ from those expected; a run must have one line."""
    lines, found = (directory / "records.jsonl").read_text().count("\n"), records(directory)
    wrong = [f"{lines} lines for {len(expected)} runs"] if lines != len(expected) else []
    for run_id in sorted(expected.keys() | found.keys()):
        a, b = found.get(run_id, {}), expected.get(run_id, {})
        wrong += [
            f"{run_id}: {key} is {a.get(key)} and not {b.get(key)}" for key in b if a.get(key) != b[key]
        ]
        wrong += [f"{run_id}: {key} is new" for key in a if key not in b]
    return wrong


def serial(options: Sequence[str], folder: Path) -> dict[str, Any]:
    """The records of a sweep that nobody disturbs, one run after the other."""
    whole = ["--jobs", "1", "--quiet", "--output", folder / "whole"]
    subprocess.run([*COMMAND, *options, *whole], check=True)
    return records(folder / "whole")


def killed(
    options: Sequence[str], expected: dict[str, Any], kills: int, seed: int, folder: Path, say: Say
) -> int:
    """Kill a sweep of two processes so many times and let it end; the number of kills that hit."""
    path, moments, hits = folder / "killed" / "records.jsonl", random.Random(seed), 0
    command = [*COMMAND, *options, "--jobs", "2", "--quiet", "--output", folder / "killed"]
    for _ in range(kills):
        done = _lines(path)
        target = moments.randint(done + 1, max(done + 1, len(expected) - 2))
        process = subprocess.Popen(command)
        while process.poll() is None and _lines(path) < target:
            time.sleep(0.002)
        process.kill()
        hits += process.wait() == -signal.SIGKILL
        say(f"killed with {_lines(path)} of {len(expected)} records written")
    subprocess.run(command, check=True)
    return hits


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and workers of one thread, each a process; its address, and the workers."""
    file = folder / "scheduler.json"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    begun = [subprocess.Popen([*start, "--no-dashboard", "--scheduler-file", file], **quiet)]
    try:
        deadline = time.monotonic() + 60
        while not file.exists() or not file.read_text().endswith("}"):
            assert begun[0].poll() is None and time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.02)
        address = json.loads(file.read_text())["address"]
        start = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
        start += ["--no-dashboard", "--no-nanny", "--local-directory", str(folder / "dask")]
        begun += [subprocess.Popen(start, **quiet) for _ in range(workers)]
        yield address, begun[1:]
    finally:
        for process in begun:
            process.kill()
            process.wait()


def on_cluster(
    options: Sequence[str], expected: dict[str, Any], workers: int, folder: Path, say: Say
) -> None:
    """Sweep on a cluster that loses a worker once a third of the records is there."""
    path = folder / "cluster" / "records.jsonl"
    with cluster(folder, workers) as (address, processes):
        command = [*COMMAND, *options, "--scheduler", address, "--quiet", "--output", path.parent]
        process = subprocess.Popen(command)
        while process.poll() is None and _lines(path) < len(expected) // 3:
            time.sleep(0.01)
        os.kill(processes[0].pid, signal.SIGKILL)
        say(f"killed worker {processes[0].pid} with {_lines(path)} of {len(expected)} records written")
        assert process.wait() == 0, f"exit code {process.returncode}"


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def main() -> int:
    """Do it with the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--dask", type=int, default=0, metavar="WORKERS", help="on a cluster of so many")
    parser.add_argument("--seed", type=int, default=1, help="decides the moments")
    parser.add_argument("options", nargs="*", help="options of `emunum sweep`, after --")
    given = parser.parse_args()

    def say(line: str) -> None:
        print(time.strftime("%H:%M:%S"), line, flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = serial(given.options, folder)
        say(f"undisturbed: {len(expected)} records")
        wrong = []
        if given.kills:
            hits = killed(given.options, expected, given.kills, given.seed, folder, say)
            found = differences(folder / "killed", expected)
            lines = _lines(folder / "killed" / "records.jsonl")
            say(f"{hits} kills: {lines} records, {len(found)} differences")
            wrong += found
        if given.dask:
            on_cluster(given.options, expected, given.dask, folder, say)
            found = differences(folder / "cluster", expected)
            lines = _lines(folder / "cluster" / "records.jsonl")
            say(f"cluster: {lines} records, {len(found)} differences")
            wrong += found
    for difference in wrong:
        print(f"difference: {difference}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
