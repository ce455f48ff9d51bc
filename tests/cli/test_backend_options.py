"""--backend: what computes is chosen by name, changes no bit, and is remembered by a run that goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from device_arrays import backend
from emunum_cli.progress import TrainingProgress

from emunum.experiments.bench import training
from emunum.experiments.config import RunConfig
from emunum.experiments.records import read_options, read_record
from emunum.experiments.studies import image_rows
from emunum.kernels import backends, cpu

Command = Callable[..., Any]

HOME = "emunum.kernels.cuda"
TOY = ["run", "--dataset", "toy", "--format", "e4m3", "--rounding", "stochastic", "--epochs", "2", "--quiet"]
ROW = RunConfig(dataset="toy", format="e4m3", epochs=1)
TAKING = {
    "run": [*TOY, "--name", "there"],
    "verify": ["verify", "records.jsonl"],
    "images": ["reproduce", "images", "--rerun", "mixed-e4m3"],
    "study": ["reproduce", "regression", "--rerun"],
    "bench": ["bench", "train", "--steps", 1],
}
"""Commands that compute on a backend."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A backend in the place of the one for graphics processors; `used` says how much it is."""
    module = backend("cuda")
    module.used = used = []  # type: ignore[attr-defined]
    add = module.add
    module.add = lambda *args, **options: (used.append(1), add(*args, **options))[1]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, HOME, module)
    return module


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, which cannot compute here."""

    def require() -> None:
        raise backends.BackendError("there is no such processor. Choose --backend cpu.")

    module = backend("cuda")
    module.require = require  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, HOME, module)


def record(path: Path) -> dict[str, Any]:
    return read_record(path)


def test_a_run_has_the_same_weights_on_every_backend(emunum: Command, folder: Path, fake: ModuleType) -> None:
    for name in ("auto", "cpu", "cuda"):
        assert fake.used == []
        assert emunum(*TOY, "--backend", name, "--name", name) == (0, "", "")
    assert fake.used != []
    found = [record(folder / "runs" / name) for name in ("auto", "cpu", "cuda")]
    assert [(entry["backend"], entry["device"]) for entry in found] == [
        ("cpu", cpu.device()),
        ("cpu", cpu.device()),
        ("cuda", "a stand-in"),
    ]
    assert len({(entry["run_id"], entry["weights_sha256"]) for entry in found}) == 1


def test_the_table_of_a_run_names_the_device(emunum: Command, fake: ModuleType) -> None:
    result = emunum(*TOY[:-1], "--backend", "cuda")
    [line] = [line for line in result.out.splitlines() if "│ time " in line]
    assert line.split("│")[2].strip().endswith(" s on a stand-in")


def test_records_are_verified_on_a_backend(emunum: Command, folder: Path, fake: ModuleType) -> None:
    emunum(*TOY, "--name", "mine")
    assert fake.used == []
    result = emunum("verify", "runs/mine", "--backend", "cuda", "--json")
    assert (result.code, json.loads(result.out)[0]["same"]) == (0, True)
    assert fake.used != []


def stop(self: TrainingProgress, step: Any) -> None:
    if step.number == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize(("words", "name"), [([], "cuda"), (["--backend", "cpu"], "cpu")], ids=str)
def test_a_stopped_run_goes_on_with_its_backend_unless_another_is_named(
    emunum: Command,
    folder: Path,
    fake: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    name: str,
) -> None:
    emunum(*TOY, "--name", "whole", "--batch-size", 3)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "on_step", stop)
        assert emunum(*TOY, "--batch-size", 3, "--backend", "cuda", "--name", "mine").code == 130
    assert read_options(folder / "runs/mine")["backend"] == "cuda"
    assert emunum("run", "--resume", "runs/mine", "--quiet", *words).code == 0
    whole, mine = (record(folder / "runs" / each) for each in ("whole", "mine"))
    assert (mine["status"], mine["resumed"], mine["backend"]) == ("completed", 1, name)
    assert mine["weights_sha256"] == whole["weights_sha256"]


def test_options_that_name_no_backend_are_one_line(
    emunum: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "on_step", stop)
        assert emunum(*TOY, "--batch-size", 3, "--name", "mine").code == 130
    (folder / "runs/mine/options.json").write_text('{"backend": "abacus"}')
    result = emunum("run", "--resume", "runs/mine")
    assert result == (1, "", "emunum: unknown backend 'abacus'. Known: auto, cpu, cuda.\n")
    assert emunum("run", "--resume", "runs/mine", "--backend", "cpu", "--quiet").code == 0


@pytest.fixture
def ready(emunum: Command, folder: Path) -> None:
    """What the commands of TAKING want to find."""
    emunum(*TOY, "--name", "mine")
    lines = json.dumps(record(folder / "runs/mine"))
    (folder / "records.jsonl").write_text(lines + "\n")


@pytest.mark.parametrize("name", TAKING)
def test_a_backend_that_cannot_compute_is_one_line_and_leaves_nothing(
    emunum: Command, folder: Path, ready: None, broken: None, name: str
) -> None:
    result = emunum(*TAKING[name], "--backend", "cuda")
    assert result == (1, "", "emunum: there is no such processor. Choose --backend cpu.\n")
    assert [path.name for path in (folder / "runs").iterdir()] == ["mine"]


def test_a_backend_that_is_not_installed_is_one_line(
    emunum: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, HOME, None)
    result = emunum(*TOY, "--backend", "cuda")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("emunum: backend cuda is not installed: ")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("name", TAKING)
def test_a_name_of_no_backend_is_wrong_usage(emunum: Command, ready: None, name: str) -> None:
    result = emunum(*TAKING[name], "--backend", "gpu")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "emunum: Invalid value for '--backend': 'gpu' is not one of 'auto', 'cpu', 'cuda'.\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["images"], "--backend cuda is for rows that are trained: name one with --rerun."),
        (["regression"], "--backend cuda: regression takes it with --rerun alone."),
        (["growth", "--rerun"], "--backend cuda: growth trains no network, which takes one."),
    ],
    ids=str,
)
def test_a_backend_with_nothing_to_compute_is_wrong_usage(
    emunum: Command, words: list[str], message: str
) -> None:
    assert emunum("reproduce", *words, "--backend", "cuda") == (2, "", f"emunum: {message}\n")


def test_events_on_a_backend_that_counts_none_are_one_line(
    emunum: Command, folder: Path, fake: ModuleType
) -> None:
    message = (
        "--events counts what roundings do, and --backend cuda does not. "
        "Choose --backend cpu, which gives the same bits."
    )
    assert emunum(*TOY, "--events", "--backend", "cuda") == (1, "", f"emunum: {message}\n")
    assert list((folder / "runs").iterdir()) == []


def test_a_row_of_the_image_study_is_trained_on_a_backend(
    emunum: Command, folder: Path, fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = image_rows.Row(name="small", level="emulated", config=ROW)
    monkeypatch.setitem(image_rows.STUDIES, "images", lambda: image_rows.Study(name="images", rows=(row,)))
    where = ["--records", folder / "none.jsonl", "--json"]
    result = emunum("reproduce", "images", "--rerun", "small", "--backend", "cuda", *where)
    assert result.code == 0
    [directory] = (folder / "runs").iterdir()
    found = record(directory)
    assert found["backend"] == "cuda"
    assert json.loads(result.out)[0]["weights_sha256"] == found["weights_sha256"]


def test_a_race_of_training_names_the_device(
    emunum: Command, fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CASES", training.CASES[:1])
    words = ["bench", "train", "--steps", 1, "--images", 2, "--batch-size", 2, "--backend", "cuda"]
    facts = json.loads(emunum(*words, "--json").out)
    assert (facts["backend"], facts["device"]) == ("cuda", "a stand-in")
    assert fake.used != []
    assert all(row["inside"] > 0 for row in facts["rows"] if row["inside"] is not None)


@pytest.mark.parametrize(
    ("state", "said"), [("fake", "cuda: a stand-in"), ("broken", "cuda: not here: there is")]
)
def test_doctor_says_which_backends_there_are(
    emunum: Command, request: pytest.FixtureRequest, state: str, said: str
) -> None:
    request.getfixturevalue(state)
    first, second = json.loads(emunum("doctor", "--json").out)["backends"]
    assert first == f"cpu: {cpu.device()}"
    assert second.startswith(said)
