"""emunum sweep: what runs, what is said, and what is left after it was stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kill_sweeps import differences, killed, records

from emunum.experiments.config import RunConfig
from emunum.experiments.sweeps.ledger import Ledger, read
from emunum.experiments.sweeps.workers import Job, ThisProcess

Command = Callable[..., Any]
TOY = ["sweep", "--dataset", "toy", "--format", "e4m3", "--epochs", "2", "--jobs", "1"]


def configs(seeds: int, epochs: int = 2) -> list[RunConfig]:
    return [RunConfig(dataset="toy", format="e4m3", epochs=epochs, seed=seed) for seed in range(seeds)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "records.jsonl").read_text().splitlines()]


# ----------------------------------------------------------------------------------------------------
# A sweep
# ----------------------------------------------------------------------------------------------------


def test_every_combination_gets_a_line_and_none_is_run_twice(emunum: Command, folder: Path) -> None:
    first = emunum(*TOY, "--seed", "0:3", "--quiet")
    assert first == (0, "", "")
    found = lines(folder / "runs/sweep")
    assert [record["run_id"] for record in found] == [config.run_id for config in configs(3)]
    shown = json.loads(emunum("records", "runs/sweep", "--json").out)
    assert [record["run_id"] for record in shown] == [config.run_id for config in configs(3)]
    before = (folder / "runs/sweep/records.jsonl").read_bytes()
    second = emunum(*TOY, "--seed", "0:5")
    assert second.code == 0
    said = r"2 runs in \d:\d\d:\d\d, 3 were there: runs/sweep/records\.jsonl"
    assert re.fullmatch(said, second.out.splitlines()[-1])
    after = (folder / "runs/sweep/records.jsonl").read_bytes()
    assert after.startswith(before)
    assert [record["run_id"] for record in lines(folder / "runs/sweep")] == [c.run_id for c in configs(5)]
    third = emunum(*TOY, "--seed", "0:5")
    assert third.out.endswith("Nothing was left to do, 5 were there: runs/sweep/records.jsonl\n")
    assert (folder / "runs/sweep/records.jsonl").read_bytes() == after


def test_the_summary_has_the_means_over_seeds(emunum: Command, folder: Path) -> None:
    words = ["--seed", "0:4", "--rounding", "nearest,stochastic", "--json", "--output", "deep/down"]
    result = emunum(*TOY, *words)
    assert result.code == 0
    summary = json.loads(result.out)
    assert summary | {"wall_s": 0, "rows": 0} == {
        "records": "deep/down/records.jsonl",
        "runs": 8,
        "done_before": 0,
        "done_now": 8,
        "completed": 8,
        "diverged": 0,
        "failed": 0,
        "wall_s": 0,
        "rows": 0,
    }
    for row, rounding in zip(summary["rows"], ("nearest_even", "stochastic"), strict=True):
        errors = [r["test_mse"] for r in read(folder / "deep/down") if r["rounding"] == rounding]
        mean = sum(errors) / 4
        spread = (sum((error - mean) ** 2 for error in errors) / 3) ** 0.5
        half = 3.182446305284263 * spread / 2  # Student's t at 0.975 with 3 degrees of freedom
        assert (row["rounding"], row["runs"], row["metric"]) == (rounding, 4, "test_mse")
        assert [row[key] for key in ("mean", "ci_low", "ci_high")] == pytest.approx(
            [mean, mean - half, mean + half], rel=1e-12
        )


def test_a_grid_in_a_file_names_the_directory(emunum: Command, folder: Path) -> None:
    Path("study.toml").write_text('dataset = "toy"\nformat = "e4m3"\nepochs = 2\nseed = "0:30"\n')
    result = emunum("sweep", "study.toml", "--seed", "0:2", "--jobs", "1", "--quiet")
    assert result == (0, "", "")
    assert [record["run_id"] for record in lines(folder / "runs/study")] == [c.run_id for c in configs(2)]


def test_a_dry_run_lists_what_would_run_and_writes_nothing(emunum: Command, folder: Path) -> None:
    result = emunum(*TOY, "--seed", "0:20", "--dry-run")
    assert (result.code, result.err) == (0, "")
    assert configs(20)[11].run_id in result.out
    assert configs(20)[12].run_id not in result.out
    assert "and 8 more" in result.out
    assert "20 runs of 20 combinations: 0 finished, 20 to do.\n" in result.out
    assert result.out.endswith("No estimate: there is no record of such a run yet.\n")
    assert list(folder.iterdir()) == []


def test_a_dry_run_estimates_from_recorded_times(emunum: Command, folder: Path) -> None:
    with Ledger(folder / "runs/sweep") as ledger:
        for config, wall_s in zip(configs(4), (9.0, 2.0, 2.0, 2.0), strict=True):
            ledger.append(
                {
                    "schema_version": 1,
                    "run_id": config.run_id,
                    **config.as_dict(),
                    "status": "completed",
                    "epochs_completed": 2,
                    "wall_s": wall_s,
                }
            )
    result = emunum(*TOY, "--seed", "0:34", "--dry-run")
    assert "34 runs of 34 combinations: 4 finished, 30 to do.\n" in result.out
    assert result.out.endswith("Estimate: 0:01:00 1 at a time, from the times of 4 recorded runs.\n")
    words = [
        "sweep",
        "--dataset",
        "toy",
        "--format",
        "e5m2",
        "--epochs",
        "20",
        "--seed",
        "0:6",
        "--jobs",
        "2",
    ]
    plan = json.loads(emunum(*words, "--dry-run", "--json").out)  # the nearest kin: the same, in e4m3
    assert (plan["runs"], plan["finished"], plan["jobs"]) == (6, 0, 2)
    assert (plan["estimate_s"], plan["estimated_from"]) == (60.0, 4)
    assert [run["seed"] for run in plan["todo"]] == list(range(6))


def test_runs_that_fail_are_said_recorded_and_tried_again(
    emunum: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMUNUM_CACHE", str(folder / "cache"))
    (folder / "empty").mkdir()
    words = ["sweep", "--dataset", "mnist,toy", "--epochs", "1", "--jobs", "1", "--data-dir", "empty"]
    result = emunum(*words)
    assert result.code == 1
    failure, complaint = result.err.splitlines()
    reason = read(folder / "runs/sweep")[0]["reason"]
    assert failure.startswith("failed: dataset=mnist, ") and failure.endswith(f": {reason}")
    assert complaint == (
        f"emunum: 1 of 2 runs failed, the last with {reason}. The same command tries them again."
    )
    assert [record["status"] for record in lines(folder / "runs/sweep")] == ["failed", "completed"]
    assert emunum(*words, "--quiet").code == 1
    assert [record["status"] for record in lines(folder / "runs/sweep")] == ["failed", "completed", "failed"]


def test_a_line_that_was_cut_short_is_said_and_its_run_repeated(emunum: Command, folder: Path) -> None:
    emunum(*TOY, "--seed", "0:2", "--quiet")
    path = folder / "runs/sweep/records.jsonl"
    whole = records(path.parent)
    path.write_bytes(path.read_bytes()[:-100])
    result = emunum(*TOY, "--seed", "0:2")
    assert result.err == (
        "runs/sweep/records.jsonl: the last line was cut short. It is taken out, and its run repeated.\n"
    )
    assert differences(path.parent, whole) == []


# ----------------------------------------------------------------------------------------------------
# What is refused
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "nothing to sweep: give options with lists, such as --seed 0:30, or GRID.toml."),
        (["--seed", "0:x"], "--seed '0:x' is no range: 0:30 is 0, 1, ..., 29, and 0:30:5 every fifth."),
        (
            ["--patience", "3", "--seed", "0:2"],
            "2 combinations make no sense, the first: seed = 0: --patience 3 waits for a better validation "
            "loss: give --validation-split.",
        ),
        (
            ["--seed", "0:2", "--jobs", "2", "--scheduler", "tcp://host:8786"],
            "--jobs 2 is for this machine: the workers of --scheduler are the cluster's.",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_leaves_nothing(
    emunum: Command, folder: Path, words: list[str], complaint: str
) -> None:
    assert emunum("sweep", *words) == (2, "", f"emunum: {complaint}\n")
    assert list(folder.iterdir()) == []


def test_a_file_that_is_none_is_one_line(emunum: Command, folder: Path) -> None:
    assert emunum("sweep", "nowhere.toml") == (1, "", "emunum: No such file or directory: nowhere.toml\n")
    Path("grid.toml").write_text("sed = [1, 2]\n")
    result = emunum("sweep", "grid.toml")
    assert result.code == 2
    assert result.err.startswith("emunum: grid.toml: unknown option 'sed'. Did you mean 'seed'?")


def test_a_broken_ledger_is_one_line_and_left_alone(emunum: Command, folder: Path) -> None:
    emunum(*TOY, "--seed", "0:2", "--quiet")
    path = folder / "runs/sweep/records.jsonl"
    broken = b"{}\n" + path.read_bytes()
    path.write_bytes(broken)
    result = emunum(*TOY, "--seed", "0:3")
    assert result == (
        1,
        "",
        "emunum: runs/sweep/records.jsonl, line 1 is no record: a record has a run_id. Mend it or take it "
        "out: its run is repeated.\n",
    )
    assert path.read_bytes() == broken


def test_a_directory_that_another_sweep_writes_to_is_refused(emunum: Command, folder: Path) -> None:
    pytest.importorskip("fcntl", reason="this system has no flock")
    with Ledger(folder / "runs/sweep"):
        result = emunum(*TOY, "--seed", "0:2")
    complaint = (
        "another sweep writes to runs/sweep/records.jsonl. Wait for it, stop it, or choose another --output."
    )
    assert result == (1, "", f"emunum: {complaint}\n")


# ----------------------------------------------------------------------------------------------------
# Stopped and killed
# ----------------------------------------------------------------------------------------------------


@contextmanager
def sent(number: signal.Signals, path: Path, count: int) -> Iterator[None]:
    """Send this process a signal once a file has so many lines."""

    def send() -> None:
        while not over.is_set():
            if path.exists() and path.read_bytes().count(b"\n") >= count:
                os.kill(os.getpid(), number)
                return
            time.sleep(0.002)

    over = threading.Event()
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()


@pytest.mark.parametrize(
    ("number", "code", "by"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")], ids=str
)
def test_a_stopped_sweep_keeps_what_is_done_and_says_how_to_go_on(
    emunum: Command, folder: Path, number: signal.Signals, code: int, by: str
) -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals go to the main thread, and this is another")
    words = ["sweep", "--dataset", "toy", "--format", "e4m3", "--epochs", "100", "--seed", "0:500"]
    words += ["--jobs", "1", "--output", "a place"]
    with sent(number, folder / "a place/records.jsonl", 2):
        result = emunum(*words)
    done = lines(folder / "a place")
    assert (result.code, result.out) == (code, "")
    assert 2 <= len(done) < 500
    assert result.err == (
        f"Stopped by {by}: {len(done)} of 500 runs are recorded. To go on: emunum sweep --dataset toy "
        "--format e4m3 --epochs 100 --seed 0:500 --jobs 1 --output 'a place'\n"
    )
    expected = list(ThisProcess(Job()).results(configs(2, epochs=100)))
    assert [r["weights_sha256"] for r in done[:2]] == [r["weights_sha256"] for r in expected]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX's")
def test_a_killed_sweep_goes_on_to_the_records_of_an_undisturbed_one(folder: Path) -> None:
    words = ["--dataset", "toy", "--format", "e4m3", "--epochs", "100", "--seed", "0:8"]
    with Ledger(folder / "whole") as ledger:
        for record in ThisProcess(Job()).results(configs(8, epochs=100)):
            ledger.append(record)
    whole = records(folder / "whole")
    assert killed(words, whole, kills=1, seed=3, folder=folder, say=lambda line: None) == 1
    assert differences(folder / "killed", whole) == []
    assert len(whole) == 8
