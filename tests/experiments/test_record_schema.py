"""The JSON Schema in the package: real records of every kind validate, and what is none does not."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from studies import failed, formats_and_roundings

from emunum.experiments.config import RunConfig
from emunum.experiments.run import execute

ROOT = Path(__file__).parent.parent.parent
SCHEMA = json.loads(files("emunum.experiments").joinpath("record.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=FormatChecker())
FIRST = json.loads((Path(__file__).parent / "first_version" / "record.json").read_text())

SMALL = {"dataset": "digits", "model": "softmax_regression", "epochs": 1, "batch_size": 256}
RUNS = {
    "regression": (RunConfig(dataset="toy", format="e4m3", rounding="stochastic", epochs=2), "completed"),
    "classification": (RunConfig(**SMALL), "completed"),
    "int8": (RunConfig(**SMALL, policy="int8", accumulator="int16"), "completed"),
    "diverged": (RunConfig(dataset="toy", learning_rate=1e30, epochs=3), "diverged"),
    "validated": (RunConfig(dataset="toy", validation_split=0.25, epochs=2, loss_scale=8.0), "completed"),
}


def complaints(record):
    return [f"{list(error.path)}: {error.message}" for error in VALIDATOR.iter_errors(record)]


def stopped(_):
    raise KeyboardInterrupt("SIGTERM")


def test_the_schema_is_one_of_draft_2020_12():
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(SCHEMA)


@pytest.fixture(scope="module", params=RUNS)
def real(request):
    config, status = RUNS[request.param]
    history = []
    record = execute(config, on_epoch=history.append)
    assert record["status"] == status
    return record, history


def test_the_record_of_a_run_validates(real):
    record, history = real
    assert complaints(record) == []
    kept = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "wall_s")
    lines = [epoch.as_dict() for epoch in history]
    line = record | {"history": [{key: entry[key] for key in kept} for entry in lines]}
    assert complaints(line | {"events": {"overflow": 0}}) == []


def test_the_schema_describes_every_key_of_a_record_and_no_other(real):
    record, _ = real
    assert set(SCHEMA["properties"]) - set(record) == {"history", "events", "step_mse"}
    assert all(entry["description"].endswith(".") for entry in SCHEMA["properties"].values())


def test_the_record_of_a_stopped_run_validates():
    record = execute(RUNS["regression"][0], on_step=stopped)
    assert record["status"] == "interrupted"
    assert complaints(record) == []


def test_the_record_of_a_failed_run_validates():
    assert complaints(failed("the data are not there", dataset="mnist", model="cnn")) == []


def test_the_record_of_the_first_version_validates():
    assert not {"order", "optimizer", "test_accuracy"} & FIRST.keys()
    assert complaints(FIRST) == []


def test_made_up_records_of_the_tests_validate():
    assert [complaints(record) for record in formats_and_roundings(seeds=1)] == [[]] * 6


def committed():
    """Files of paper/records/ whose lines are records of runs, or parts of them."""
    folder = ROOT / "paper" / "records"
    return [
        path for name in ("regression", "images", "cifar10") if (path := folder / f"{name}.jsonl").exists()
    ]


def test_committed_records_of_runs_validate():
    assert committed()
    for path in committed():
        lines = path.read_text().splitlines()
        assert [complaint for line in lines for complaint in complaints(json.loads(line))] == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema_version": 2}, "1 was expected"),
        ({"status": "done"}, "'done' is not one of"),
        ({"seed": -1}, "-1 is less than the minimum of 0"),
        ({"seed": "3"}, "'3' is not of type 'integer'"),
        ({"test_mse": "nan"}, "'nan' is not of type 'number', 'null'"),
        ({"test_accuracy": 93.5}, "93.5 is greater than the maximum of 1"),
        ({"weights_sha256": "abc"}, "'abc' does not match"),
        ({"run_id": "ABC"}, "'ABC' does not match"),
        ({"loss_scale": "static"}, "'dynamic' was expected"),
        ({"loss_scale": 0}, "0 is less than or equal to the minimum of 0"),
        ({"format": None}, "None is not of type 'string'"),
        ({"wall_time": 3.0}, "'wall_time' was unexpected"),
        ({"history": [{"epoch": 1}]}, "'train_loss' is a required property"),
        ({"step_mse": [0.5]}, "False schema does not allow"),
        ({"status": "failed", "reason": None}, "None is not of type 'string'"),
    ],
    ids=str,
)
def test_what_is_no_record_does_not_validate(change, complaint):
    [record, *_] = formats_and_roundings(seeds=1)
    assert any(complaint in found for found in complaints(record | change))


@pytest.mark.parametrize(
    "key", ["run_id", "dataset", "format", "seed", "status", "reason", "wall_s", "steps"]
)
def test_a_record_has_to_have_what_the_first_version_had(key):
    record = {name: value for name, value in FIRST.items() if name != key}
    assert any(f"'{key}' is a required property" in found for found in complaints(record))
