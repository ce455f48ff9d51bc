"""The image studies: configurations as data, the published numbers, rows from records, runs that go on."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import emunum
from emunum.experiments.config import RunConfig
from emunum.experiments.records import RunDirectory, read_record
from emunum.experiments.run import execute
from emunum.experiments.studies import image_rows, image_runs
from emunum.experiments.studies.image_rows import Row, Study
from emunum.experiments.verify import verify
from emunum.formats import Format
from emunum.ops.policy import Role

TABLE = [
    ("image_class_prediction", "float32", 0.9936, 0.9929, 0.021319, 130.59),
    ("accuracy_baseline", "float32", 0.9936, 0.993, 0.02185, 56.38),
    ("accuracy_half", "float16", 0.993, 0.9924, 0.021527, 56.69),
    ("accuracy_quantized", "int8", 0.988, 0.9869, 0.038176, 58.1),
]
"""The four published lines, copied by hand: percents as fractions."""

TINY = RunConfig(dataset="digits", model="softmax_regression", epochs=1, batch_size=512, validation_split=0.1)


@pytest.fixture(scope="module")
def study():
    """Two rows that take a second: the second has no published line."""
    rows = tuple(
        Row(name=name, level=level, config=replace(TINY, format=name), answered=answered)
        for name, level, answered in (("float32", "published", "float32"), ("e4m3", "emulated", None))
    )
    line = image_rows.Published(
        input_type="float32", experiment="x", accuracy=0.5, f1=0.4, loss=2.0, runtime_s=3.0
    )
    return Study(name="tiny", rows=rows, published=(line,))


@pytest.fixture(scope="module")
def record(study):
    return execute(study.rows[0].config)


def test_the_published_lines_are_the_four_of_the_table():
    found = [
        (line.experiment, line.input_type, line.accuracy, line.f1, line.loss, line.runtime_s)
        for line in image_rows.images().published
    ]
    assert found == TABLE


def test_every_published_line_is_answered_by_rows_of_its_level_and_input():
    study = image_rows.images()
    found = {row.name: row.answered for row in study.rows if row.level == "published"}
    assert found == {
        "input-float32": "float32",
        "input-float16": "float16",
        "input-int8": "int8",
        "input-float32-stepped": "float32",
        "input-float16-stepped": "float16",
        "input-int8-stepped": "int8",
        "input-float32-augmented": None,
        "input-int8-augmented": None,
    }
    assert {row.answered for row in study.rows if row.level == "emulated"} == {None}
    assert {line.input_type for line in study.published} == set(found.values()) - {None}


@pytest.mark.parametrize("name", image_rows.STUDIES)
def test_rows_have_names_and_configurations_of_their_own(name):
    study = image_rows.STUDIES[name]()
    assert study.name == name
    assert len({row.name for row in study.rows}) == len({row.config for row in study.rows}) == len(study.rows)


def test_the_published_recipe_is_that_of_the_study():
    for row in image_rows.images().rows:
        config = row.config
        stepped = row.name.endswith("-stepped")
        assert (config.dataset, config.model) == ("mnist", "cnn")
        assert (config.batch_size, config.schedule) == ((64, "step:7:0.1") if stepped else (256, "constant"))
        narrow = config.policy == "full" and not row.name.startswith("float32")
        epochs = 3 if row.name.endswith("-longer") else 1
        assert config.epochs == (10 if row.level == "published" else epochs)
        sgd, adam = ("sgd", 0.9, 0.1), ("adam", 0.0, 1e-3)
        expected = sgd if narrow else adam
        assert (config.optimizer, config.momentum, config.learning_rate) == expected
        assert config.weight_decay == 1e-4
        assert config.validation_split == 0.1  # 6,000 of 60,000
        assert (config.augment, config.loss) == (row.name.endswith("-augmented"), "auto")


def test_published_rows_cast_nothing_but_the_input():
    for row in (row for row in image_rows.images().rows if row.level == "published"):
        policy = row.config.build_policy()
        own = {role: cast.format.name for role, cast in policy.roles.items() if role is not Role.INPUT}
        assert set(own.values()) == {"float32"}
        assert policy.roles[Role.INPUT].format == Format.from_name(row.name.split("-")[1])
        assert (row.config.loss_scale, policy.product.format.name) == (1.0, "float32")


def test_the_loss_is_scaled_where_small_numbers_end_early():
    for row in image_rows.images().rows:
        narrow = {"float16", "float8_e4m3fn", "float8_e5m2"} & {row.config.format}
        scaled = (64 if row.config.policy == "full" else 1024) if narrow and row.level == "emulated" else 1
        assert row.config.loss_scale == scaled


def test_the_published_int8_leaves_black_white_and_nothing_between():
    cast = image_rows.images().row("input-int8").config.build_policy().roles[Role.INPUT]
    pixels = np.arange(256, dtype=np.float32)
    x = (pixels / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    left = emunum.quantize(x, cast.format, rounding=cast.mode)
    np.testing.assert_array_equal(left, [-1.0] + [0.0] * 254 + [1.0])


def test_the_emulated_rows_are_those_that_were_asked_for():
    rows = [row for row in image_rows.images().rows if row.level == "emulated"]
    found = {(r.config.policy, r.config.format, r.config.rounding) for r in rows}
    both = ("nearest_even", "stochastic")
    assert found == {
        ("full", "float32", "nearest_even"),
        ("mixed", "float16", "nearest_even"),
        ("mixed", "bfloat16", "nearest_even"),
        *(("full", name, rounding) for name in ("float16", "bfloat16") for rounding in both),
        *(("int8", "int8", rounding) for rounding in both),
        *(
            (policy, name, rounding)
            for policy in ("mixed", "full")
            for name in ("float8_e4m3fn", "float8_e5m2")
            for rounding in both
        ),
        *(("hfp8", "float8_e4m3fn", rounding) for rounding in both),
    }


def test_cifar10_has_the_regression_studys_formats_roundings_and_policies():
    rows = image_rows.cifar10().rows
    found = {(r.config.policy, r.config.format, r.config.rounding) for r in rows}
    assert found == {("full", "float32", "nearest_even")} | {
        (policy, name, rounding)
        for policy in ("output", "full")
        for name in ("float8_e5m2", "e6m9")
        for rounding in ("nearest_even", "stochastic")
    }
    assert {(r.config.dataset, r.config.model) for r in rows} == {("cifar10", "cifar_quick")}


def test_an_unknown_row_is_refused_with_the_names():
    with pytest.raises(ValueError, match=r"^unknown row 'mixed-e4m4'\. Did you mean 'mixed-e4m3'\?"):
        image_rows.images().row("mixed-e4m4")


def test_rows_without_records_are_null_beside_the_published_numbers(study):
    first, second = image_rows.rows(study, [])
    for row in (first, second):
        assert [row[key] for key in ("status", "test_accuracy", "wall_s", "weight_bytes")] == [None] * 4
    assert (first["published_accuracy"], first["published_experiment"]) == (0.5, "x")
    assert {second[f"published_{key}"] for key in ("experiment", "accuracy", "f1", "loss")} == {None}


def test_a_record_fills_its_own_row_and_no_other(study, record):
    first, second = image_rows.rows(study, [record])
    for key in ("test_accuracy", "test_f1", "test_loss", "wall_s", "weight_bytes", "weights_sha256"):
        assert first[key] == record[key]
    assert (first["epochs"], first["status"], second["status"]) == (1, "completed", None)
    assert first["weight_bytes"] == 4 * 10 * (64 + 1)  # 64 weights and a bias for each of 10 classes


def test_the_level_picks_rows(study, record):
    assert [row["row"] for row in image_rows.rows(study, [record], "emulated")] == ["e4m3"]


def test_the_record_of_the_rows_epochs_and_then_of_more_and_then_the_later_one_counts(study, record):
    longer, longest = (execute(study.rows[0].with_epochs(epochs)) for epochs in (2, 3))
    for records in ([longer, longest], [longest, longer]):
        assert image_rows.rows(study, records)[0]["epochs"] == 3
        assert image_rows.rows(study, [*records, record])[0]["epochs"] == 1
        assert image_rows.rows(study, [record, *records])[0]["epochs"] == 1
    again = record | {"wall_s": 99.0}
    assert image_rows.rows(study, [record, again])[0]["wall_s"] == 99.0


def test_a_record_of_no_row_is_left_out_and_one_that_was_changed_is_refused(study, record):
    other = execute(RunConfig(dataset="toy", epochs=1))
    assert {row["status"] for row in image_rows.rows(study, [other])} == {None}
    with pytest.raises(ValueError, match=r"^record 1 names the run .*: it was changed"):
        image_rows.rows(study, [record | {"learning_rate": 0.5}])


def test_records_are_appended_and_replaced_by_run(tmp_path, record):
    path = tmp_path / "records" / "tiny.jsonl"
    assert image_runs.read_records(path) == []
    image_runs.append(path, record)
    image_runs.append(path, record | {"run_id": "another"})
    image_runs.append(path, record | {"wall_s": 1.5})
    assert [(r["run_id"], r["wall_s"]) for r in image_runs.read_records(path)] == [
        (record["run_id"], 1.5),
        ("another", record["wall_s"]),
    ]


def test_a_run_is_kept_in_a_directory_that_verify_and_resume_read(study, tmp_path):
    seen = []
    record = image_runs.run(study, study.rows[0], tmp_path, on_epoch=seen.append)
    [directory] = tmp_path.iterdir()
    assert directory.name == f"tiny-float32-{record['run_id'][:8]}"
    assert read_record(directory) == record
    assert verify("here", record).same
    assert len(seen) == 1


def test_a_finished_run_is_taken_as_it_stands(study, tmp_path, monkeypatch):
    record = image_runs.run(study, study.rows[0], tmp_path)
    monkeypatch.setattr(image_runs, "execute", lambda *_, **__: pytest.fail("trained again"))
    assert image_runs.run(study, study.rows[0], tmp_path) == record


def test_a_stopped_run_goes_on_to_the_same_weights(study, tmp_path):
    row = study.rows[1]
    stops = iter([None, KeyboardInterrupt])

    def stop(step):
        if (error := next(stops, None)) is not None:
            raise error

    first = image_runs.run(study, row, tmp_path, epochs=2, on_step=stop)
    assert first["status"] == "interrupted"
    second = image_runs.run(study, row, tmp_path, epochs=2)
    assert (second["status"], second["resumed"]) == ("completed", 1)
    assert second["weights_sha256"] == execute(row.with_epochs(2))["weights_sha256"]


def test_a_run_that_another_process_is_at_work_on_is_left_alone(study, tmp_path, monkeypatch):
    monkeypatch.setattr(image_runs, "running_in", lambda path: 4711)
    with pytest.raises(ValueError, match=r"^process 4711 is at work on .*tiny-float32-.*\. Stop it first\.$"):
        image_runs.run(study, study.rows[0], tmp_path)


def test_a_run_without_data_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("EMUNUM_DATA", str(tmp_path / "none"))
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    study = image_rows.images()
    with pytest.raises(ValueError, match="'mnist' is not on this machine"):
        image_runs.run(study, study.row("full-e4m3"), tmp_path / "runs")
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("name", image_rows.STUDIES)
def test_committed_records_are_of_the_studys_rows(name):
    study = image_rows.STUDIES[name]()
    records = image_runs.read_records(image_runs.records_path(study))
    recorded = {row["row"] for row in image_rows.rows(study, records) if row["status"] is not None}
    assert len(recorded) <= len(records)
    for record in records:
        assert record["status"] in ("completed", "diverged")
        assert json.loads(json.dumps(record)) == record


def test_the_committed_csv_has_four_lines():
    path = Path(image_runs.records_path(image_rows.images())).parents[1] / "images_published.csv"
    lines = list(csv.DictReader(path.read_text().splitlines()))
    assert [line["experiment"] for line in lines] == [entry[0] for entry in TABLE]


def test_a_directory_with_another_run_is_refused(study, tmp_path):
    row = study.rows[0]
    name = f"tiny-{row.name}-{row.config.run_id[:8]}"
    RunDirectory(tmp_path, name, replace(row.config, seed=1))
    with pytest.raises(FileExistsError, match="holds a run of another configuration"):
        image_runs.run(study, row, tmp_path)
