"""emunum reproduce images and cifar10: tables from records, and rows trained on demand."""

import csv
import io
import json
from dataclasses import replace

import pytest

from emunum.experiments.config import RunConfig
from emunum.experiments.records import read_record
from emunum.experiments.run import execute
from emunum.experiments.studies import image_rows, image_runs

TINY = RunConfig(dataset="digits", model="softmax_regression", epochs=1, batch_size=512, validation_split=0.1)
NAMES = ["input-float32", "input-float16", "input-int8", "mixed-e4m3"]


@pytest.fixture
def tiny(monkeypatch):
    """The image study with four rows, of digits and a network that trains in a second."""
    options = ({}, {"format": "float16"}, {"format": "int8", "rounding": "toward_zero"})
    configs = [replace(TINY, policy="input", **own) for own in options]
    configs.append(replace(TINY, policy="mixed", format="e4m3"))
    rows = tuple(
        image_rows.Row(
            name=name,
            level="published" if answered else "emulated",
            config=config,
            answered=answered,
        )
        for name, config, answered in zip(NAMES, configs, ("float32", "float16", "int8", None), strict=True)
    )
    study = image_rows.Study(name="images", rows=rows, published=image_rows.images().published)
    monkeypatch.setitem(image_rows.STUDIES, "images", lambda: study)
    return study


def reproduce(emunum, *options, name="images"):
    return emunum("reproduce", name, *options)


def test_the_table_has_the_published_numbers_and_says_what_has_no_record(emunum, folder):
    result = reproduce(emunum, "--records", folder / "none.jsonl")
    assert (result.code, result.err) == (0, "")
    assert "As published: only the input is cast" in result.out
    [line] = [line for line in result.out.splitlines() if "│ input-int8 " in line]
    cells = [cell.strip() for cell in line.split("│")]
    assert {"toward_zero", "98.80", "98.69", "0.0382", "58"} <= set(cells)
    words = " ".join(result.out.split())
    assert "No record yet: input-float32, input-float16, input-int8, input-float32-stepped," in words
    assert result.out.splitlines()[-1] == (
        "To make one: emunum reproduce images --rerun input-float32 --append"
    )


def test_the_note_says_what_truncation_leaves(emunum):
    words = " ".join(reproduce(emunum).out.split())
    assert "toward zero: -1 for black, 1 for white, 0 for everything between" in words


def test_a_level_is_a_part_of_the_table(emunum):
    result = reproduce(emunum, "--level", "published")
    assert "mixed-e4m3" not in result.out
    assert "input-int8" in result.out
    assert reproduce(emunum, "--level", "other").code == 2


def test_cifar10_has_a_table_and_no_published_column(emunum, folder):
    result = reproduce(emunum, "--records", folder / "none.jsonl", name="cifar10")
    assert result.code == 0
    assert "output-e5m2-stochastic" in result.out
    assert "published" not in result.out.splitlines()[2]
    assert "nothing was published." in " ".join(result.out.split())


def test_a_row_is_trained_and_shown_and_nothing_is_kept_elsewhere(emunum, folder, tiny):
    path = folder / "records.jsonl"
    result = reproduce(emunum, "--rerun", "mixed-e4m3", "--records", path)
    assert result.code == 0
    [directory] = (folder / "runs").iterdir()
    record = read_record(directory)
    [line] = [line for line in result.out.splitlines() if "│ mixed-e4m3" in line]
    assert f" {record['test_accuracy'] * 100:.2f} " in line
    assert f" {record['weight_bytes']:,} " in line
    assert " 1 (1) " in line
    assert not path.exists()


def test_records_that_are_appended_are_in_the_next_table(emunum, folder, tiny):
    path = folder / "records.jsonl"
    first = reproduce(emunum, "--rerun", "mixed-e4m3", "--rerun", "input-int8", "--append", "--records", path)
    assert first.code == 0
    result = reproduce(emunum, "--records", path, "--json")
    rows = json.loads(result.out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert [row["row"] for row in rows if row["status"]] == ["input-int8", "mixed-e4m3"]
    assert rows[-1]["weights_sha256"] == execute(tiny.rows[3].config)["weights_sha256"]
    assert emunum("verify", path, "--quiet").code == 0


def test_csv_has_a_line_for_each_published_line_and_each_other_row(emunum, folder, tiny):
    result = reproduce(emunum, "--csv", "--records", folder / "none.jsonl")
    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert [row["row"] for row in rows] == ["input-float32", *NAMES]
    assert rows[1]["published_experiment"] == "accuracy_baseline"
    assert rows[0]["test_accuracy"] == ""


def test_epochs_and_output_reach_the_run(emunum, folder, tiny):
    result = reproduce(emunum, "--rerun", "input-float16", "--epochs", 2, "--output", "elsewhere", "--json")
    assert result.code == 0
    [directory] = (folder / "elsewhere").iterdir()
    assert read_record(directory)["epochs"] == 2
    row = json.loads(result.out)[2]
    assert (row["row"], row["epochs"], row["epochs_completed"]) == ("input-float16", 2, 2)


def test_a_stopped_row_exits_with_130_and_goes_on(emunum, folder, tiny, monkeypatch):
    def stopped(*arguments, **options):
        return {"status": "interrupted", "reason": "stopped by Ctrl-C in epoch 1 of 1"}

    with monkeypatch.context() as patch:
        patch.setattr(image_runs, "run", stopped)
        result = reproduce(emunum, "--rerun", "input-int8")
    assert (result.code, result.out) == (130, "")
    assert result.err == "Interrupted: stopped by Ctrl-C in epoch 1 of 1. The same command goes on.\n"


def test_a_jpeg_copy_is_named_beside_its_numbers(emunum, folder, tiny):
    note = "JPEG copy of cifar10: within JPEG error of the published pixels, not equal to them"
    record = execute(tiny.rows[3].config) | {"data_note": note}
    path = folder / "records.jsonl"
    path.write_text(json.dumps(record) + "\n")
    result = reproduce(emunum, "--records", path)
    [line] = [line for line in result.out.splitlines() if "│ mixed-e4m3" in line]
    assert "JPEG copy" in line
    assert f"Data of mixed-e4m3: {note}." in " ".join(result.out.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rerun", "mixed-e4m4"], "unknown row 'mixed-e4m4'. Did you mean 'mixed-e4m3'?"),
        (["--epochs", 3], "--epochs 3 is for rows that are trained: name one with --rerun."),
        (["--append"], "--append is for rows that are trained: name one with --rerun."),
        (["--json", "--csv"], "--json and --csv are two forms of the same rows: give one of them."),
    ],
)
def test_wrong_usage_is_one_line(emunum, options, message):
    result = reproduce(emunum, *options)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"emunum: {message}")
    assert result.err.count("\n") == 1


def test_records_that_are_none_are_one_line(emunum, folder):
    path = folder / "records.jsonl"
    path.write_text("{}\n")
    result = reproduce(emunum, "--records", path)
    assert (result.code, result.err) == (1, f"emunum: {path}:1 is no record of schema version 1.\n")
