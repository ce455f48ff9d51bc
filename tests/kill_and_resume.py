"""Kill a training run at random moments, resume it each time, and compare its end with an undisturbed run's.

    python tests/kill_and_resume.py --kills 20 -- --dataset digits --model cnn --format e4m3 --epochs 2

What stands after -- are options of `emunum run`. The undisturbed run goes first and sets the clock: every
kill comes at a moment drawn evenly from its length, after the start of the process, so that starting,
training, writing and finishing are all hit. A run that finishes before its kill is begun anew. Exits with 0
where every finished run has the weights, metrics and history of the undisturbed one, else with 1.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "emunum_cli", "run"]
FLEETING = ("wall_s", "samples_per_s", "started", "resumed", "threads")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How many runs were killed, how many came to their end, and what did not agree."""

    kills: int
    resumed: int
    finished: int
    differences: tuple[str, ...]


def lasting(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what of a record or a line of history has to be the same every time."""
    return {key: value for key, value in entry.items() if key not in FLEETING}


def result(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the record and the history of a finished run."""
    lines = (path / "history.jsonl").read_text().splitlines()
    return lasting(json.loads((path / "record.json").read_text())), [lasting(json.loads(x)) for x in lines]


def kill_and_resume(
    options: Sequence[str], kills: int, seed: int, folder: Path, say: Callable[[str], None] = print
) -> Outcome:
    """Kill `kills` times and let every run come to its end; `options` are those of `emunum run`."""
    started = time.perf_counter()
    subprocess.run([*COMMAND, *options, "--quiet", "--output", folder, "--name", "whole"], check=True)
    length = time.perf_counter() - started
    expected, moments, path = result(folder / "whole"), random.Random(seed), folder / "killed"
    say(f"undisturbed: {length:.1f} s, weights {expected[0]['weights_sha256']}")
    done = resumed = finished = 0
    differences: list[str] = []
    while done < kills or not _is_over(path):
        again = path.exists() and (path / "config.json").exists()
        words = (
            ["--resume", path]
            if again
            else [*options, "--output", folder, "--name", "killed", "--checkpoint-steps", "1"]
        )
        process = subprocess.Popen([*COMMAND, *words, "--quiet"], stderr=subprocess.PIPE, text=True)
        wait = moments.uniform(0, length) if done < kills else None
        try:
            _, complaints = process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            process.kill()
            _, complaints = process.communicate()
        resumed += again
        if process.returncode == -signal.SIGKILL:
            done += 1
            say(f"kill {done} after {wait:.2f} s: {_standing(path)}")
        elif process.returncode != 0:
            differences.append(f"exit code {process.returncode}: {complaints.strip()}")
            break
        if _is_over(path):
            finished += 1
            found = result(path)
            same = found == expected
            say(f"finished after {done} kills: {'the same' if same else 'DIFFERENT'}")
            if not same:
                differences.append(_first_difference(found, expected))
            if done < kills:
                shutil.rmtree(path)
    return Outcome(kills=done, resumed=resumed, finished=finished, differences=tuple(differences))


def _is_over(path: Path) -> bool:
    return (path / "record.json").exists()


def _standing(path: Path) -> str:
    names = sorted(file.name for file in path.iterdir()) if path.exists() else []
    return ", ".join(names) or "nothing written"


def _first_difference(found: tuple[Any, Any], expected: tuple[Any, Any]) -> str:
    for key, value in expected[0].items():
        if found[0].get(key) != value:
            return f"{key}: {found[0].get(key)} and not {value}"
    return "the histories differ"


def main() -> int:
    """Do it with the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="decides the moments")
    parser.add_argument("options", nargs="*", help="options of `emunum run`, after --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = kill_and_resume(
            given.options, given.kills, given.seed, Path(folder), lambda line: print(line, flush=True)
        )
    print(f"{outcome.kills} kills, {outcome.resumed} resumed, {outcome.finished} runs finished")
    for difference in outcome.differences:
        print(f"difference: {difference}")
    return 1 if outcome.differences else 0


if __name__ == "__main__":
    sys.exit(main())
