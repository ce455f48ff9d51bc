"""emunum report: the files it writes, the same bytes every time, and one line where it cannot."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emunum.experiments.config import RunConfig
from emunum.experiments.records import RunDirectory
from emunum.experiments.run import execute
from emunum.experiments.training.stepping import Stepper

Command = Callable[..., Any]

CONFIGS = {
    "images": RunConfig(dataset="digits", model="softmax_regression", epochs=1, batch_size=256),
    "table": RunConfig(dataset="toy", format="e4m3", rounding="stochastic", epochs=2),
}
IMAGES = [f"{stem}.{kind}" for stem in ("curves", "confusion", "gallery") for kind in ("png", "svg")]
TABLE = [f"{stem}.{kind}" for stem in ("curves", "scatter") for kind in ("png", "svg")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    for name, config in CONFIGS.items():
        execute(config, directory=RunDirectory(folder, name, config))
    return folder


@pytest.fixture
def runs(trained: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two finished runs, after which nothing may train."""
    monkeypatch.setattr(Stepper, "step", lambda *_: pytest.fail("trained"))
    return shutil.copytree(trained, folder / "runs")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_figures_and_a_page_are_written_beside_each_run(emunum: Command, runs: Path) -> None:
    before = contents(runs)
    result = emunum("report", "runs/images", "runs/table")
    expected = [f"runs/images/report/{name}" for name in [*IMAGES, "summary.md"]]
    expected += [f"runs/table/report/{name}" for name in [*TABLE, "summary.md"]]
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == expected
    after = contents(runs)
    assert sorted(after.keys() - before.keys()) == sorted(path.removeprefix("runs/") for path in expected)
    assert {name: after[name] for name in before} == before


def test_the_same_run_gives_the_same_bytes_on_any_number_of_threads(
    emunum: Command, process: Command, runs: Path, folder: Path
) -> None:
    result = emunum("report", "runs/table", "--threads", 1, "--output", "a/b", "--json")
    assert result.err == ""
    assert json.loads(result.out) == [f"a/b/{name}" for name in [*TABLE, "summary.md"]]
    assert not (runs / "table" / "report").exists()
    assert process("report", "runs/table", "--output", "c").code == 0
    assert contents(folder / "a/b") == contents(folder / "c")
    assert emunum("report", "runs/table", "--output", "c").code == 0  # over what is there
    assert contents(folder / "a/b") == contents(folder / "c")


def test_the_gallery_is_drawn_by_seed_or_of_errors_alone(emunum: Command, runs: Path, folder: Path) -> None:
    for name, words in (("first", []), ("seed", ["--seed", 7]), ("errors", ["--errors"])):
        assert emunum("report", "runs/images", "--output", name, *words).code == 0
    first, seed, errors = (contents(folder / name) for name in ("first", "seed", "errors"))
    assert {name for name in first if first[name] != seed[name]} == {"gallery.png", "gallery.svg"}
    assert b"drawn with seed 7: 30 of 360 test images" in seed["gallery.svg"]
    assert re.search(rb"the first 30 of \d+ wrong predictions;", errors["gallery.svg"])
    assert b"the first 30 of 360 test images;" in first["gallery.svg"]


def test_a_run_that_is_not_finished_is_one_line_and_writes_nothing(emunum: Command, runs: Path) -> None:
    (runs / "images" / "record.json").unlink()
    message = "runs/images is unfinished: it has no record.json. Finish it: emunum run --resume runs/images"
    assert emunum("report", "runs/images") == (1, "", f"emunum: {message}\n")
    assert not (runs / "images" / "report").exists()


def test_a_foreign_directory_is_one_line(emunum: Command, folder: Path) -> None:
    (folder / "empty").mkdir()
    message = "empty is no run's directory: it has no config.json."
    assert emunum("report", "empty") == (1, "", f"emunum: {message}\n")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"test_accuracy": 0.25}, r"runs/images: test_accuracy is 0\.25 in the record and 0\.\d+ here, .+"),
        ({"weights_sha256": "0"}, r"runs/images/weights\.npz does not hold the record's weights\. .+"),
        ({"seed": 1}, r"runs/images/record\.json names the run \w+, but its options are those of \w+: .+"),
    ],
    ids=str,
)
def test_a_record_that_does_not_fit_is_one_line_and_writes_nothing(
    emunum: Command, runs: Path, values: dict[str, Any], message: str
) -> None:
    path = runs / "images" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    result = emunum("report", "runs/images")
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(rf"emunum: {message}\n", result.err)
    assert not (runs / "images" / "report").exists()


def test_data_that_are_not_there_are_one_line(
    emunum: Command, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMUNUM_CACHE", str(runs / "cache"))
    (runs / "data").mkdir()
    config = RunConfig(dataset="mnist", model="softmax_regression", epochs=1, batch_size=256)
    for name in ("config.json", "record.json"):
        path = runs / "images" / name
        values = json.loads(path.read_text()) | config.as_dict()
        path.write_text(json.dumps(values | ({"run_id": config.run_id} if name == "record.json" else {})))
    result = emunum("report", "runs/images", "--data-dir", runs / "data")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("emunum: ")
    assert "mnist" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Missing argument 'RUN...'."),
        (["nowhere"], "Invalid value for 'RUN...': Directory 'nowhere' does not exist."),
        (["runs/table/record.json"], "Directory 'runs/table/record.json' is a file."),
        (["runs/images", "runs/table", "--output", "x"], "--output x is for one RUN, and there are 2."),
        (["runs/table", "--output", "runs/table/record.json"], "'runs/table/record.json' is a file."),
        (["runs/table", "--seed", "-1"], "-1 is not in the range 0<=x<=4294967295."),
        (["runs/table", "--threads", "0"], "--threads 0 is out of range: at least one is needed."),
    ],
    ids=str,
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    emunum: Command, runs: Path, words: list[str], message: str
) -> None:
    result = emunum("report", *words)
    assert (result.code, result.out) == (2, "")
    assert re.fullmatch(rf"emunum: .*{re.escape(message)}\n", result.err)


def test_output_below_a_file_is_one_line(emunum: Command, runs: Path, folder: Path) -> None:
    (folder / "file").write_text("")
    result = emunum("report", "runs/table", "--output", "file/below")
    assert (result.code, result.out) == (1, "")
    assert result.err == "emunum: Not a directory: file/below\n"


def test_the_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "try:\n"
        "    from emunum_cli import main\n"
        "    main(['report', '--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "sys.exit(any(name in sys.modules for name in ('numba', 'sklearn', 'scipy', 'matplotlib')))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
