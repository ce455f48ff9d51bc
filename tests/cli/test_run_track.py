"""emunum run --track: the same numbers elsewhere, and a run that nothing there can stop."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

FAKE = '''
"""Writes down how it is called, and fails where it is told to."""
import json, os

def note(call, **values):
    with open(os.environ["CALLS"], "a") as file:
        file.write(json.dumps({"call": call} | values) + "\\n")
    if os.environ.get("FAIL") == call:
        raise RuntimeError(f"no {call} today\\nand a second line")
    if os.environ.get("STOP") == f"{call} {values.get('step')}":
        raise KeyboardInterrupt

class Summary:
    def update(self, values):
        note("summary", values=values)

class Run:
    summary = Summary()
    def log(self, values, step):
        note("log", values=values, step=step)
    def finish(self, exit_code):
        note("finish", exit_code=exit_code)

def init(**options):
    note("init", **options)
    return Run()
'''

TOY = ("run", "--dataset", "toy", "--epochs", 3, "--name", "a")
Emunum = Callable[..., Any]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """What a stand-in for wandb was called with."""
    home, written = tmp_path / "stand-in", tmp_path / "calls.jsonl"
    home.mkdir()
    (home / "wandb.py").write_text(FAKE)
    monkeypatch.syspath_prepend(home)
    for module in [name for name in sys.modules if name.split(".")[0] == "wandb"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "emunum.experiments.tracking_wandb", raising=False)
    monkeypatch.setenv("CALLS", str(written))
    for variable in ("WANDB_PROJECT", "WANDB_DIR", "FAIL", "STOP"):
        monkeypatch.delenv(variable, raising=False)

    def read() -> list[dict[str, Any]]:
        lines = written.read_text().splitlines() if written.exists() else []
        written.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    yield read
    sys.modules.pop("wandb", None)
    sys.modules.pop("emunum.experiments.tracking_wandb", None)


def numbers(history: Path) -> list[dict[str, Any]]:
    """What is a number in each line of a history."""
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    return [{key: value for key, value in line.items() if type(value) in (int, float)} for line in lines]


def test_the_numbers_of_the_files_are_logged_under_their_names(
    emunum: Emunum, folder: Path, calls: Callable[[], list[dict[str, Any]]]
) -> None:
    result = emunum(*TOY, "--track", "wandb", "--json", "--validation-split", 0.3)
    assert (result.code, result.err) == (0, "")
    begun, *logged, summary, finished = calls()
    run = folder / "runs" / "a"
    record = json.loads((run / "record.json").read_text())
    assert json.loads(result.out) == record
    config = json.loads((run / "config.json").read_text())
    assert (begun["call"], begun["project"], begun["name"]) == ("init", "emunum", "a")
    assert (folder / begun["dir"]).samefile(run)
    assert begun["config"] == config | {"run_id": record["run_id"]}
    assert [entry["values"] for entry in logged] == numbers(run / "history.jsonl")
    assert [entry["step"] for entry in logged] == [1, 2, 3]
    assert {"train_loss", "validation_loss", "lr", "wall_s"} <= logged[0]["values"].keys()
    assert summary["values"] == {key: value for key, value in record.items() if value is not None}
    assert finished == {"call": "finish", "exit_code": 0}


def test_a_tracked_run_is_the_run_it_would_have_been(
    emunum: Emunum, folder: Path, calls: Callable[[], list[dict[str, Any]]]
) -> None:
    emunum(*TOY, "--output", "alone")
    emunum(*TOY, "--output", "tracked", "--track", "wandb")
    assert calls()
    alone, tracked = (
        json.loads((folder / name / "a" / "record.json").read_text()) for name in ("alone", "tracked")
    )
    timed = {"wall_s", "started"}
    assert {key: alone[key] for key in alone if key not in timed} == {
        key: tracked[key] for key in tracked if key not in timed
    }
    assert sorted(path.name for path in (folder / "alone" / "a").iterdir()) == sorted(
        path.name for path in (folder / "tracked" / "a").iterdir()
    )


@pytest.mark.parametrize(
    ("where", "made"),
    [
        ("init", ["init"]),
        ("log", ["init", "log"]),
        ("summary", ["init", "log", "log", "log", "summary"]),
        ("finish", ["init", "log", "log", "log", "summary", "finish"]),
    ],
)
def test_a_tracker_that_fails_is_left_with_one_line(
    emunum: Emunum,
    folder: Path,
    calls: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    made: list[str],
) -> None:
    monkeypatch.setenv("FAIL", where)
    result = emunum(*TOY, "--track", "wandb")
    assert result.code == 0
    assert result.err.splitlines() == [f"wandb failed, and the run goes on without it: no {where} today"]
    assert [entry["call"] for entry in calls()] == made
    record = json.loads((folder / "runs" / "a" / "record.json").read_text())
    assert (record["status"], record["epochs_completed"]) == ("completed", 3)
    assert len(numbers(folder / "runs" / "a" / "history.jsonl")) == 3


def test_a_run_that_goes_on_hands_over_its_earlier_epochs_too(
    emunum: Emunum,
    folder: Path,
    calls: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STOP", "log 2")
    assert emunum(*TOY, "--track", "wandb").code == 130
    assert [entry["call"] for entry in calls()] == ["init", "log", "log", "summary", "finish"]
    monkeypatch.delenv("STOP")
    assert emunum("run", "--resume", "runs/a", "--track", "wandb").code == 0
    logged = [entry["values"] for entry in calls() if entry["call"] == "log"]
    assert logged == numbers(folder / "runs" / "a" / "history.jsonl")
    assert [entry["epoch"] for entry in logged] == [1, 2, 3]


def test_an_interrupted_run_is_not_a_success_there(
    emunum: Emunum, calls: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOP", "log 1")
    emunum(*TOY, "--track", "wandb")
    *_, summary, finished = calls()
    assert (summary["values"]["status"], finished["exit_code"]) == ("interrupted", 1)


def test_the_environment_chooses_project_and_folder(
    emunum: Emunum,
    folder: Path,
    calls: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "other")
    monkeypatch.setenv("WANDB_DIR", str(folder / "elsewhere"))
    emunum(*TOY, "--track", "wandb")
    assert (begun := calls()[0])["project"] == "other"
    assert begun["dir"] == str(folder / "elsewhere")


@pytest.mark.parametrize("left", ["nothing", "a folder called wandb"])
def test_where_the_library_is_missing_nothing_begins(
    emunum: Emunum, folder: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    if left != "nothing":
        (folder / "wandb").mkdir()
    found = PathFinder.find_spec("wandb", [str(folder)])
    assert (found is None) == (left == "nothing")
    monkeypatch.setattr("emunum.experiments.tracking.find_spec", lambda name: found)
    result = emunum(*TOY, "--track", "wandb")
    assert result.code == 1
    assert result.err == "emunum: --track wandb: wandb is not installed: pip install 'emunum[wandb]'\n"
    assert not (folder / "runs").exists()


def test_an_unknown_tracker_is_wrong_usage(emunum: Emunum, folder: Path) -> None:
    result = emunum(*TOY, "--track", "mlflow")
    assert result.code == 2
    assert "'mlflow' is not 'wandb'" in result.err
    assert not (folder / "runs").exists()


def test_wandb_itself_keeps_an_offline_run(process: Emunum, folder: Path, monkeypatch: Any) -> None:
    if find_spec("wandb") is None:
        pytest.skip("wandb is an extra: pip install 'emunum[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "600")  # on a busy machine
    for place in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{place}", str(folder / place))
    result = process(*TOY, "--track", "wandb", "--json")
    assert (result.code, result.err) == (0, "")
    record = json.loads(result.out)
    [kept] = (folder / "runs" / "a" / "wandb").glob("offline-run-*/run-*.wandb")
    content = kept.read_bytes()
    for what in (b"train_loss", b"samples_per_s", b"final_step_mse", record["weights_sha256"].encode()):
        assert what in content
