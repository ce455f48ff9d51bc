"""Records of many runs, from a sweep's file, a folder of runs, one run or a file of lines; old ones, too."""

import json
import shutil
from pathlib import Path

import pytest
from studies import failed, formats_and_roundings, record, write_sweep

from emunum.experiments.config import RunConfig
from emunum.experiments.results.collection import columns_of, flat, is_collection, read_collection
from emunum.ops.events import EVENTS

FIRST = Path(__file__).parent / "first_version"


def write_run(directory, entry, lines=()):
    """The directory of a run that was finished."""
    directory.mkdir(parents=True)
    entry = {key: value for key, value in entry.items() if key not in ("history", "events")}
    (directory / "config.json").write_text("{}")
    (directory / "record.json").write_text(json.dumps(entry))
    (directory / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return directory


def test_a_sweeps_file_gives_its_records_with_their_histories(tmp_path):
    written = [*formats_and_roundings(), failed("no data", seed=9)]
    assert read_collection(write_sweep(tmp_path, written)) == written
    assert read_collection(tmp_path / "records.jsonl") == written


def test_a_sweeps_torn_last_line_is_left_out(tmp_path):
    written = formats_and_roundings(seeds=1)
    path = write_sweep(tmp_path, written) / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    assert read_collection(tmp_path) == written[:-1]


def test_a_folder_of_runs_gives_those_that_have_a_record_in_the_order_of_their_names(tmp_path):
    for name in ("b", "a", "c"):
        write_run(tmp_path / name, record(0.5, seed=ord(name)))
    (tmp_path / "c" / "record.json").unlink()
    (tmp_path / "report").mkdir()
    assert [entry["seed"] for entry in read_collection(tmp_path)] == [97, 98]


def test_a_run_has_its_epochs_and_the_totals_of_its_events(tmp_path):
    row = dict.fromkeys(EVENTS, 1) | {"layer": "0", "pass": "forward", "role": "product"}
    epoch = {"train_loss": 0.5, "validation_loss": None, "validation_accuracy": None, "wall_s": 0.25}
    lines = [epoch | {"epoch": n, "step_loss": [0.5], "events": [row, row | {"tie": 5}]} for n in (1, 2)]
    for path in (write_run(tmp_path / "run", record(0.5), lines), tmp_path / "run" / "record.json"):
        [found] = read_collection(path)
        assert found["history"] == [epoch | {"epoch": 1}, epoch | {"epoch": 2}]
        assert found["events"] == dict.fromkeys(EVENTS, 4) | {"tie": 12}


def test_a_run_of_the_first_version_is_read_with_the_options_that_came_later_at_their_defaults(tmp_path):
    shutil.copytree(FIRST, tmp_path / "old")
    [old] = read_collection(tmp_path / "old")
    written = json.loads((FIRST / "record.json").read_text())
    assert {key: old[key] for key in written} == written
    config = RunConfig(format="e4m3", rounding="stochastic", epochs=3)
    assert {key: old[key] for key in config.as_dict()} == config.as_dict()
    assert old["run_id"] == config.run_id
    assert [epoch["train_loss"] for epoch in old["history"]] == pytest.approx(
        [0.8751, 0.7141, 0.6698], abs=1e-4
    )


def test_the_part_of_a_record_that_a_study_keeps_is_taken_as_it_stands(tmp_path):
    lines = [{"dataset": "toy", "format": "float32", "status": "completed", "test_mse": 0.5}]
    path = tmp_path / "study.jsonl"
    path.write_text(json.dumps(lines[0]) + "\n")
    assert read_collection(path) == lines


def test_flat_records_name_events_one_by_one_and_have_no_history():
    entry = record(0.5, losses=[1.0], events={"overflow": 3, "tie": 4})
    found = flat(entry)
    assert (found["events_overflow"], found["events_tie"]) == (3, 4)
    assert not {"history", "events"} & found.keys()
    assert columns_of([{"a": 1, "b": 2}, {"c": 3, "a": 1}]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", r":1 is no record of schema version 1\."),
        ('{"schema_version": 2}', r":1 is no record of schema version 1\."),
        ('{"dataset": "toy", "format"', r":1 is damaged: .+"),
        ("[1]", r":1 is damaged: it is no object\."),
        ("", r"holds no records\. Give a sweep's directory, "),
        ("\udcff", r"is damaged: .+ can't decode byte"),
    ],
    ids=["empty", "newer", "torn", "list", "nothing", "no text"],
)
def test_what_is_no_record_is_an_error_that_names_the_line(tmp_path, text, message):
    path = tmp_path / "some.jsonl"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=message):
        read_collection(path)


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no records"):
        read_collection(tmp_path)


def test_a_damaged_history_is_an_error_that_names_the_line(tmp_path):
    path = write_run(tmp_path / "run", record(0.5), [{"epoch": 1}])
    (path / "history.jsonl").write_text('{"epoch": 1}\n{"epo')
    with pytest.raises(ValueError, match=r"history\.jsonl:2 is damaged"):
        read_collection(path)


def test_many_runs_are_told_from_one(tmp_path):
    assert not is_collection(write_run(tmp_path / "runs" / "a", record(0.5)))
    assert is_collection(tmp_path / "runs")
    assert is_collection(write_sweep(tmp_path / "sweep", []))
    (tmp_path / "begun").mkdir()
    assert not is_collection(tmp_path / "begun")
    (tmp_path / "begun" / "config.json").write_text("{}")
    assert not is_collection(tmp_path / "begun")
