"""Runs read back: the trained network predicts as it did, and what is not a finished run is refused."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emunum.experiments.config import RunConfig
from emunum.experiments.datasets import digits
from emunum.experiments.records import RunDirectory
from emunum.experiments.run import execute
from emunum.experiments.training.stepping import Stepper
from emunum.report.run.page import report_files
from emunum.report.run.reading import predict, read_run

CONFIGS = {
    "digits": RunConfig(
        dataset="digits", model="mlp", hidden=(16,), format="e4m3", rounding="stochastic", policy="mixed",
        epochs=2, batch_size=64, learning_rate=0.1, validation_split=0.1, test_split=0.4, schedule="cosine",
    ),
    "int8": RunConfig(
        dataset="digits", model="softmax_regression", policy="int8", rounding="stochastic", master="int8",
        epochs=1, batch_size=256,
    ),
    "one_hot": RunConfig(dataset="digits", model="softmax_regression", loss="mse", epochs=1, batch_size=256),
    "diabetes": RunConfig(dataset="diabetes", format="e4m3", rounding="stochastic", epochs=2),
    "diverged": RunConfig(dataset="toy", learning_rate=1e30),
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for each of the configurations."""
    folder = tmp_path_factory.mktemp("runs")
    for name, config in CONFIGS.items():
        execute(config, directory=RunDirectory(folder, name, config), events=name == "diabetes")
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the digits run, to be damaged."""
    return shutil.copytree(trained / "digits", tmp_path / "digits")


def record_of(path: Path) -> dict[str, Any]:
    return json.loads((path / "record.json").read_text())


def change(path: Path, **values: Any) -> None:
    (path / "record.json").write_text(json.dumps(record_of(path) | values))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_predictions_are_those_the_record_was_measured_on(trained: Path, name: str) -> None:
    from sklearn.metrics import confusion_matrix, f1_score, log_loss, mean_squared_error

    found, record = predict(read_run(trained / name)), record_of(trained / name)
    if found.classes is None:
        if name != "diverged":
            mse = mean_squared_error(found.target.astype(float), found.y.astype(float))
            assert mse == pytest.approx(record["test_mse"], rel=1e-12)
        assert np.isfinite(found.y).all() == (name != "diverged")
        return
    counts = confusion_matrix(found.true, found.predicted, labels=range(10))
    np.testing.assert_array_equal(found.confusion, counts)
    assert np.trace(found.confusion) / found.confusion.sum() == record["test_accuracy"]
    assert f1_score(found.true, found.predicted, average="macro") == pytest.approx(record["test_f1"])
    if record["loss_applied"] == "cross_entropy":
        y = found.y.astype(np.float64)
        shares = np.exp(y - y.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        assert log_loss(found.true, shares) == pytest.approx(record["test_loss"], rel=1e-9)


def test_more_test_samples_than_an_evaluation_batch_have_each_their_own_bits(trained: Path) -> None:
    found = predict(read_run(trained / "digits"))
    assert len(found.y) == 719 > 512
    assert found.classes == tuple("0123456789")


def test_the_samples_are_the_test_images_in_their_order(trained: Path) -> None:
    from sklearn.model_selection import train_test_split

    _, test = train_test_split(digits().labels, test_size=0.4, random_state=42)
    np.testing.assert_array_equal(predict(read_run(trained / "digits")).true, test)


def test_nothing_is_trained(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stepper, "step", lambda *_: pytest.fail("trained"))
    run = read_run(trained / "digits")
    assert "curves.png" in report_files(run, predict(run))


def test_random_bits_of_another_step_are_noticed(run: Path) -> None:
    steps = record_of(run)["steps"]
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    lines[-1]["step_loss"].append(1.0)
    (run / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    change(run, steps=steps + 1)
    with pytest.raises(ValueError, match=r"test_(accuracy|loss) is [\d.]+ in the record and [\d.]+ here"):
        predict(read_run(run))


def weights(run: Path) -> dict[str, np.ndarray]:
    with np.load(run / "weights.npz") as archive:
        return dict(archive)


def save(run: Path, **arrays: Any) -> None:
    np.savez(run / "weights.npz", **{name: w for name, w in arrays.items() if w is not None})


CONTRADICTIONS = {
    "another accuracy": (
        lambda run: change(run, test_accuracy=0.5),
        r"digits: test_accuracy is 0\.5 in the record and 0\.\d+ here, with emunum .+: 'emunum verify' says",
    ),
    "another loss": (
        lambda run: change(run, test_loss=0.5),
        r"digits: test_loss is 0\.5 in the record and \d\.\d+ here",
    ),
    "another loss's name": (
        lambda run: change(run, loss_applied="mse"),
        r"record\.json was changed: its loss is cross_entropy\.",
    ),
    "other data": (
        lambda run: change(run, data_sha256="0" * 64),
        r"digits was trained on other data: SHA-256 0{64}, and those at hand have \w{64}\. Restore them",
    ),
    "other weights": (
        lambda run: save(run, **{name: w + np.float32(1) for name, w in weights(run).items()}),
        r"weights\.npz does not hold the record's weights\. Train the run again\.",
    ),
    "a weight too many": (
        lambda run: save(run, **weights(run), more=np.zeros(1, np.float32)),
        r"weights\.npz does not hold the record's weights\.",
    ),
    "a weight missing": (
        lambda run: save(run, **(weights(run) | {"1.b": None})),
        r"weights\.npz is of another network: 1\.b is missing where float32 \(16,\) belongs\.",
    ),
    "a weight of another shape": (
        lambda run: save(run, **(weights(run) | {"1.b": np.zeros(3, np.float32)})),
        r"1\.b is float32 \(3,\) where float32 \(16,\) belongs\.",
    ),
    "a weight of another type": (
        lambda run: save(run, **(weights(run) | {"1.b": np.zeros(16)})),
        r"1\.b is float64 \(16,\) where float32 \(16,\) belongs\.",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_contradicts_the_record_is_one_line(run: Path, name: str) -> None:
    damage, message = CONTRADICTIONS[name]
    damage(run)
    with pytest.raises(ValueError, match=message) as caught:
        predict(read_run(run))
    assert "\n" not in str(caught.value)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


DAMAGES = {
    "no config": (lambda run: (run / "config.json").unlink(), r"is no run's directory: it has no config"),
    "torn config": (lambda run: cut(run / "config.json"), r"config\.json is no configuration"),
    "another config": (
        lambda run: (run / "config.json").write_text(json.dumps(CONFIGS["int8"].as_dict())),
        r"holds config\.json and record\.json of different runs",
    ),
    "no record": (
        lambda run: (run / "record.json").unlink(),
        r"is unfinished: it has no record\.json\. Finish it: emunum run --resume .*digits$",
    ),
    "stopped": (
        lambda run: change(run, status="interrupted"),
        r"is unfinished: the run was stopped\. Finish it: emunum run --resume .*digits$",
    ),
    "at work": (
        lambda run: (run / f".history.jsonl.{os.getppid()}.partial").write_text(""),
        rf"is unfinished: process {os.getppid()} is at work on it\. Wait for its end\.",
    ),
    "torn record": (lambda run: cut(run / "record.json"), r"record\.json is no record"),
    "a list for a record": (
        lambda run: (run / "record.json").write_text("[1]"),
        r"record\.json is no record of schema version 1\.",
    ),
    "a record without times": (
        lambda run: (run / "record.json").write_text(
            json.dumps({key: value for key, value in record_of(run).items() if key != "wall_s"})
        ),
        r"record\.json lacks wall_s: it was changed, or written by another version",
    ),
    "a changed record": (
        lambda run: change(run, learning_rate=0.2),
        r"names the run \w{12}, but its options are those of \w{12}",
    ),
    "a record of nulls": (lambda run: change(run, learning_rate=None), r"record\.json is damaged: "),
    "no history": (lambda run: (run / "history.jsonl").unlink(), r"history\.jsonl is missing\. Restore it"),
    "torn history": (lambda run: cut(run / "history.jsonl"), r"history\.jsonl is damaged in line 2: "),
    "history in another code": (
        lambda run: (run / "history.jsonl").write_bytes(b"\xff\xfe"),
        r"history\.jsonl is damaged: ",
    ),
    "short history": (
        lambda run: (run / "history.jsonl").write_text(
            (run / "history.jsonl").read_text().splitlines()[0] + "\n"
        ),
        r"history\.jsonl has 16 steps, and the record 32: the files are of different runs, or damaged",
    ),
    "old history": (
        lambda run: (run / "history.jsonl").write_text('{"epoch": 1, "step_mse": [1.0]}\n'),
        r"history\.jsonl is damaged in line 1, or written by another version",
    ),
    "words for numbers": (
        lambda run: (run / "history.jsonl").write_text(
            (run / "history.jsonl").read_text().replace('"skipped_steps": 0', '"skipped_steps": "none"')
        ),
        r"history\.jsonl is damaged in line 1, or written by another version",
    ),
    "a null for the time": (lambda run: change(run, wall_s=None), r"record\.json lacks wall_s: "),
    "no weights": (lambda run: (run / "weights.npz").unlink(), r"weights\.npz is missing\. Restore it"),
    "torn weights": (lambda run: cut(run / "weights.npz"), r"weights\.npz is damaged: .+\. Restore it"),
    "empty weights": (lambda run: (run / "weights.npz").write_bytes(b""), r"weights\.npz is damaged: "),
    "one array": (
        lambda run: np.save((run / "weights.npz").open("wb"), np.zeros(3)),
        r"weights\.npz is damaged: ",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_no_finished_run_is_one_line(run: Path, name: str) -> None:
    damage, message = DAMAGES[name]
    damage(run)
    with pytest.raises(ValueError, match=message) as caught:
        read_run(run)
    assert "\n" not in str(caught.value)


class Trap:
    """What unpickling would call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize("inside", [False, True])
def test_nothing_is_unpickled(run: Path, inside: bool) -> None:
    if inside:
        save(run, **(weights(run) | {"1.b": np.array([Trap()], dtype=object)}))
    else:
        (run / "weights.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"weights\.npz is damaged: "):
        read_run(run)


FIGURES = {
    "digits": ["confusion", "curves", "gallery"],
    "int8": ["confusion", "curves", "gallery"],
    "one_hot": ["confusion", "curves", "gallery"],
    "diabetes": ["curves", "scatter"],
    "diverged": ["curves", "scatter"],
}


@pytest.mark.parametrize("name", ["digits", "diabetes", "diverged"])
def test_a_report_has_the_figures_of_its_task_and_a_page_that_shows_them(trained: Path, name: str) -> None:
    run = read_run(trained / name)
    files = report_files(run, predict(run))
    figures = FIGURES[name]
    assert sorted(files) == sorted(
        ["summary.md", *(f"{stem}.{kind}" for stem in figures for kind in ("png", "svg"))]
    )
    page = files["summary.md"].decode()
    assert sorted(re.findall(r"!\[\w+\]\((\w+)\.png\)", page)) == figures
    assert ("## Events of all epochs" in page) == (name == "diabetes")
    assert f"| weights SHA-256 | {record_of(trained / name)['weights_sha256']} |" in page


def test_the_page_has_results_times_bytes_and_every_option(trained: Path) -> None:
    run, record = read_run(trained / "digits"), record_of(trained / "digits")
    page = report_files(run, predict(run))["summary.md"].decode()
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", page, re.MULTILINE))
    assert float(rows["test accuracy"]) == pytest.approx(record["test_accuracy"], rel=1e-5)
    assert float(rows["test macro F1"]) == pytest.approx(record["test_f1"], rel=1e-5)
    assert float(rows["test loss"]) == pytest.approx(record["test_loss"], rel=1e-5)
    # 64 x 16 + 16 + 16 x 10 + 10 parameters of one byte
    assert rows["weights"] == "1,210 bytes; in float32 4,840 (25.0%)"
    assert rows["wall time"].startswith(f"{record['wall_s']:.2f} s on {record['threads']} threads, ")
    assert rows["largest value, overflow applied"] == "448, saturate"
    for option in CONFIGS["digits"].as_dict():
        assert option.replace("_", " ") in rows
    assert (rows["format"], rows["hidden"], rows["schedule"]) == ("float8_e4m3fn", "16", "cosine")


def test_the_events_are_added_up_over_the_epochs(trained: Path) -> None:
    lines = (trained / "diabetes" / "history.jsonl").read_text().splitlines()
    rows = [row for line in lines for row in json.loads(line)["events"]]
    total = sum(row["roundings"] for row in rows)
    run = read_run(trained / "diabetes")
    page = report_files(run, predict(run))["summary.md"].decode()
    table = page.partition("## Events of all epochs\n\n")[2].partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    column = cells[0].index("roundings")
    assert sum(int(row[column].replace(",", "")) for row in cells[2:]) == total > 0


def gallery_of(run: Path, **options: Any) -> list[tuple[str, str]]:
    """True and predicted class of each image in the gallery, from the SVG."""
    import xml.etree.ElementTree as ElementTree

    found = read_run(run)
    svg = report_files(found, predict(found), **options)["gallery.svg"]
    text = [element.text or "" for element in ElementTree.fromstring(svg).iter()]
    classes = [word for word in text if re.fullmatch(r"(\u00d7 )?\d", word)]
    return [(below, above) for below, above in zip(classes[::2], classes[1::2], strict=True)]


def test_the_gallery_has_the_first_thirty_or_those_a_seed_draws_or_the_errors(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("curves_figure", "confusion_figure"):  # each takes a second to draw
        monkeypatch.setattr(f"emunum.report.run.page.{other}", lambda *arguments: {})
    path = trained / "digits"
    found = predict(read_run(path))
    wrong = np.flatnonzero(found.true != found.predicted)
    assert len(wrong) > 30

    def shown(rows: Any) -> list[tuple[str, str]]:
        marks = ["\u00d7 " if found.true[i] != found.predicted[i] else "" for i in rows]
        return [
            (f"{mark}{found.predicted[i]}", str(found.true[i])) for i, mark in zip(rows, marks, strict=True)
        ]

    assert gallery_of(path) == shown(range(30))
    assert gallery_of(path, errors=True) == shown(wrong[:30])
    drawn = gallery_of(path, seed=5)
    assert drawn == shown(sorted(np.random.RandomState(5).permutation(719)[:30]))
    among = gallery_of(path, seed=5, errors=True)
    assert among != shown(wrong[:30])
    assert all(below.startswith("\u00d7") for below, _ in among)


def test_what_is_said_of_the_data_stands_on_the_page_and_on_every_figure(run: Path) -> None:
    change(run, data_note="a copy | not the original")
    found = read_run(run)
    files = report_files(found, predict(found))
    assert rb"| data note | a copy \| not the original |" in files["summary.md"]
    for figure in FIGURES["digits"]:
        assert b"a copy | not the original" in files[f"{figure}.svg"]
