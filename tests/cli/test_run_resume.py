"""emunum run --resume: killed, stopped and finished runs, and what is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kill_and_resume import kill_and_resume

from emunum.experiments.records import read_record

COMMAND = [sys.executable, "-m", "emunum_cli", "run"]
LONG = ["--dataset", "toy", "--format", "e4m3", "--rounding", "stochastic", "--epochs", "1000000"]
TOY = ["run", "--dataset", "toy", "--format", "e4m3", "--epochs", "3"]
FILES = ["config.json", "history.jsonl", "record.json", "weights.npz"]

Command = Callable[..., Any]


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir() if not file.name.startswith("."))


def started(*options: str, until: str = "checkpoint.npz") -> subprocess.Popen[str]:
    """A long run in runs/mine that has written a file."""
    child = subprocess.Popen(
        [*COMMAND, *LONG, "--name", "mine", "--checkpoint-steps", "5", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's & ignores it
    )
    for _ in range(3000):
        if child.poll() is not None or Path("runs/mine", until).exists():
            return child
        time.sleep(0.02)
    child.kill()
    raise AssertionError("the run did not start")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX's")
def test_killed_runs_end_as_the_undisturbed_one(folder: Path) -> None:
    options = ["--dataset", "diabetes", "--format", "e4m3", "--rounding", "stochastic", "--epochs", "20"]
    options += ["--optimizer", "adam", "--validation-split", "0.1", "--events"]
    outcome = kill_and_resume(options, kills=3, seed=4, folder=folder, say=lambda line: None)
    assert outcome.differences == ()
    assert outcome.kills == 3
    assert outcome.resumed >= 1
    assert outcome.finished >= 1


@pytest.mark.parametrize(
    ("number", "code", "by"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")], ids=str
)
def test_a_stopped_run_says_how_to_go_on_and_loses_no_step(
    folder: Path, number: signal.Signals, code: int, by: str
) -> None:
    child = started("--checkpoint-minutes", "60", until="checkpoint.npz")
    child.send_signal(number)
    _, complaints = child.communicate(timeout=60)
    record = read_record(Path("runs/mine"))
    assert child.returncode == code
    assert record["status"] == "interrupted"
    assert complaints == f"Interrupted: {record['reason']}. To go on: emunum run --resume runs/mine\n"
    assert re.fullmatch(rf"stopped by {by} in epoch \d+ of 1000000", record["reason"])
    assert names(Path("runs/mine")) == sorted([*FILES, "checkpoint.npz", "options.json"])
    with open("runs/mine/checkpoint.npz", "rb") as file:  # noqa: PTH123
        import numpy as np

        header = json.loads(np.load(file)["header"].tobytes())
    assert header["state"]["steps"] == record["steps"] > 0


def test_a_finished_run_is_left_as_it_is(emunum: Command, folder: Path) -> None:
    emunum(*TOY, "--name", "mine", "--quiet")
    before = {name: (folder / "runs/mine" / name).read_bytes() for name in FILES}
    result = emunum("run", "--resume", "runs/mine", "--json")
    assert result.code == 0
    assert json.loads(result.out) == read_record(folder / "runs/mine")
    assert result.err == "runs/mine holds a run that is completed: there is nothing to resume.\n"
    assert {name: (folder / "runs/mine" / name).read_bytes() for name in FILES} == before
    assert names(folder / "runs/mine") == FILES
    assert emunum("run", "--resume", "runs/mine", "--quiet") == (0, "", "")


def test_a_diverged_run_is_finished_too(emunum: Command, folder: Path) -> None:
    emunum("run", "--dataset", "toy", "--learning-rate", "1e30", "--name", "mine", "--quiet")
    result = emunum("run", "--resume", "runs/mine")
    assert result.code == 0
    assert result.err.startswith("runs/mine holds a run that is diverged: there is nothing to resume.\n")


def test_without_a_checkpoint_the_run_starts_over_with_the_options_it_had(
    emunum: Command, folder: Path
) -> None:
    expected = json.loads(emunum(*TOY, "--events", "--name", "whole", "--quiet", "--json").out)
    emunum(*TOY, "--name", "mine", "--quiet")
    for name in ("history.jsonl", "record.json", "weights.npz"):
        (folder / "runs/mine" / name).unlink()
    (folder / "runs/mine/options.json").write_text('{"events": true}')
    result = emunum("run", "--resume", "runs/mine", "--json")
    assert result.err == "runs/mine has no checkpoint: the run starts over.\n"
    assert json.loads(result.out)["weights_sha256"] == expected["weights_sha256"]
    history = [json.loads(line) for line in (folder / "runs/mine/history.jsonl").read_text().splitlines()]
    assert all(line["events"] for line in history)


def test_starting_over_beside_a_checkpoint_is_said(emunum: Command, folder: Path) -> None:
    emunum(*TOY, "--name", "mine", "--quiet")
    (folder / "runs/mine/checkpoint.npz").write_bytes(b"old")
    result = emunum(*TOY, "--name", "mine")
    assert result.code == 0
    remark = "runs/mine holds a checkpoint. This run starts over; --resume would have gone on."
    assert result.err == f"{remark}\n"
    assert names(folder / "runs/mine") == FILES


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["--format", "e4m3"], "--format"),
        (["--epochs", "30"], "--epochs"),
        (["--name", "mine"], "--name"),
        (["--output", "runs"], "--output"),
        (["--events"], "--events"),
        (["--no-shuffle"], "--shuffle"),
    ],
    ids=str,
)
def test_options_of_the_run_beside_resume_are_wrong_usage(
    emunum: Command, folder: Path, words: list[str], option: str
) -> None:
    emunum(*TOY, "--name", "mine", "--quiet")
    result = emunum("run", "--resume", "runs/mine", *words)
    message = f"{option} cannot stand beside --resume: runs/mine has the run's options."
    assert result == (2, "", f"emunum: {message}\n")


def test_what_changes_no_result_may_stand_beside_resume(emunum: Command, folder: Path) -> None:
    emunum(*TOY, "--name", "mine", "--quiet")
    (folder / "runs/mine/record.json").unlink()
    words = ["--threads", 1, "--checkpoint-steps", 1, "--checkpoint-minutes", 9, "--quiet", "--json"]
    assert json.loads(emunum("run", "--resume", "runs/mine", *words).out)["threads"] == 1


def test_a_directory_without_a_run_is_one_line(emunum: Command, folder: Path) -> None:
    (folder / "empty").mkdir()
    for name in ("empty", "nowhere"):
        message = f"{name} is no run's directory: it has no config.json."
        assert emunum("run", "--resume", name) == (1, "", f"emunum: {message}\n")
    assert names(folder) == ["empty"]


def test_a_damaged_checkpoint_is_one_line_with_the_remedy(emunum: Command, folder: Path) -> None:
    emunum(*TOY, "--name", "mine", "--quiet")
    (folder / "runs/mine/record.json").unlink()
    checkpoint = folder / "runs/mine/checkpoint.npz"
    checkpoint.write_bytes(b"PK\x03\x04 and no more")
    result = emunum("run", "--resume", "runs/mine")
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(
        r"emunum: runs/mine/checkpoint\.npz is damaged: .+\. Remove it, and the run starts over from its "
        r"config\.json\.\n",
        result.err,
    )
    checkpoint.unlink()
    assert emunum("run", "--resume", "runs/mine", "--quiet").code == 0


def test_a_run_that_another_process_is_at_work_on_is_not_resumed(emunum: Command, folder: Path) -> None:
    emunum(*TOY, "--name", "mine", "--quiet")
    (folder / "runs/mine/record.json").unlink()
    (folder / f"runs/mine/.history.jsonl.{os.getppid()}.partial").write_text("")
    result = emunum("run", "--resume", "runs/mine")
    assert result == (1, "", f"emunum: process {os.getppid()} is at work on runs/mine. Stop it first.\n")


def test_data_that_are_not_there_leave_no_directory(
    emunum: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMUNUM_CACHE", str(folder / "cache"))
    (folder / "data").mkdir()
    result = emunum("run", "--dataset", "mnist", "--data-dir", folder / "data")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("emunum: ")
    assert result.err.count("\n") == 1
    assert not list((folder / "runs").iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_one_line(emunum: Command, folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o500)
    result = emunum(*TOY, "--output", "closed")
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(r"emunum: Permission denied: closed/toy-[\w-]+\n", result.err)
