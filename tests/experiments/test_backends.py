"""Training on a backend whose arrays NumPy cannot reach: the bits of the CPU, and none of its assumptions."""

import dataclasses
from itertools import islice

import numpy as np
import pytest
from device_arrays import DeviceArray, backend

from emunum.experiments.config import RunConfig
from emunum.experiments.records import RunDirectory, read_options, read_record
from emunum.experiments.run import execute
from emunum.experiments.studies import study_named
from emunum.experiments.studies.image_rows import Row, Study
from emunum.experiments.studies.image_runs import run as run_row
from emunum.experiments.studies.regression import cases
from emunum.experiments.training.checkpoint import Interval
from emunum.experiments.training.counting import Phase
from emunum.experiments.training.train import Training
from emunum.experiments.verify import verify
from emunum.kernels import cpu

DEVICE = backend()
IMAGES = {"dataset": "digits", "train_samples": 32, "test_split": 0.02, "batch_size": 16, "epochs": 1}
SMALL = {"dataset": "toy", "format": "e4m3", "rounding": "stochastic", "epochs": 3, "batch_size": 3}
RUNS = {
    "a table, everything in e4m3": {
        "dataset": "diabetes", "train_samples": 96, "model": "mlp", "format": "e4m3",
        "rounding": "stochastic", "epochs": 2, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3,
        "validation_split": 0.25, "patience": 1,
    },
    "images, mixed, steps skipped": dict(
        IMAGES, model="cnn", format="e4m3", overflow="ieee", policy="mixed", optimizer="adam",
        learning_rate=1e-3, weight_decay=1e-4, loss_scale="dynamic", augment=True,
    ),
    "images, int8 with a scale a row": dict(
        IMAGES, model="cnn", policy="int8", master="int8", per_channel=True, rounding="stochastic",
        accumulator="int16", dropout=0.25,
    ),
    "overlapping windows, int8 that wraps": dict(
        IMAGES, model="cifar_quick", policy="int8", overflow="wrap", accumulator="int14",
        scale="power_of_two", optimizer="adam",
    ),
    "blocks and batch normalisation": dict(
        IMAGES, model="resnet20", format="bfloat16", train_samples=8, batch_size=4, schedule="cosine",
    ),
    "blocks and batch normalisation, int8": dict(
        IMAGES, model="resnet20", policy="int8", train_samples=8, batch_size=4,
    ),
}  # fmt: skip


def arrays_of(state):
    layers = [*state.params, *state.optimizer, *(state.best.params if state.best else ())]
    return [w for own in layers for w in own.values()]


def without_times(epoch):
    return dataclasses.replace(epoch, wall_s=0.0, samples_per_s=0.0)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_has_the_bits_of_the_cpu_and_its_arrays_stay_on_the_device(name):
    trainings = [Training(RunConfig(**RUNS[name]), backend=where) for where in (cpu, DEVICE)]
    epochs = [[without_times(epoch) for epoch in training.epochs()] for training in trainings]
    ours, theirs = trainings
    assert theirs.weights_sha256 == ours.weights_sha256
    assert epochs[1] == epochs[0]
    assert theirs.metrics() == ours.metrics()
    assert theirs.storage() == ours.storage()
    assert theirs.accumulator_overflows == ours.accumulator_overflows
    assert {type(w) for w in arrays_of(theirs.state)} == {DeviceArray}
    assert {type(w) for w in theirs.named_weights().values()} == {np.ndarray}
    assert type(theirs.predict(theirs.split.test, Phase.TEST_ON_TEST)) is np.ndarray


def test_the_runs_above_reach_what_they_are_there_for():
    skipping = Training(RunConfig(**RUNS["images, mixed, steps skipped"]), backend=DEVICE)
    assert [epoch.skipped_steps for epoch in skipping.epochs()] != [0]
    wrapping = Training(RunConfig(**RUNS["overlapping windows, int8 that wraps"]), backend=DEVICE)
    assert len(list(wrapping.epochs())) == 1
    assert wrapping.accumulator_overflows > 0
    assert {type(w) for w in arrays_of(skipping.state)} == {DeviceArray}


@pytest.mark.parametrize("name", ["a table, everything in e4m3", "blocks and batch normalisation, int8"])
def test_a_state_is_on_the_device_from_the_start_and_after_it_was_kept(name):
    training = Training(RunConfig(**RUNS[name]), backend=DEVICE)
    assert {type(w) for w in arrays_of(training.state)} == {DeviceArray}
    kept = training.kept()
    assert {type(w) for w in arrays_of(kept)} == {np.ndarray}
    training.restore(kept, [])
    assert {type(w) for w in arrays_of(training.state)} == {DeviceArray}


@pytest.mark.parametrize(("first", "second"), [(DEVICE, cpu), (cpu, DEVICE)], ids=["to cpu", "from cpu"])
def test_a_run_that_was_stopped_goes_on_with_another_backend(tmp_path, first, second):
    config = RunConfig(**SMALL, momentum=0.9, validation_split=0.2)

    def stop(step):
        if (step.epoch, step.number) == (2, 2):
            raise KeyboardInterrupt

    interval = Interval(steps=1)
    stopped = execute(
        config,
        directory=RunDirectory(tmp_path, "run", config),
        checkpoints=interval,
        on_step=stop,
        backend=first,
    )
    assert (stopped["status"], stopped["steps"], stopped["backend"]) == ("interrupted", 4, first.NAME)
    done = execute(config, directory=RunDirectory(tmp_path, "run", config), resume=True, backend=second)
    assert (done["status"], done["resumed"], done["backend"]) == ("completed", 1, second.NAME)
    assert done["weights_sha256"] == execute(config)["weights_sha256"]


def test_a_record_names_the_backend_and_its_device():
    records = [execute(RunConfig(**SMALL), backend=where) for where in (cpu, DEVICE)]
    assert [record["backend"] for record in records] == ["cpu", "device"]
    assert [record["device"] for record in records] == [cpu.device(), "a stand-in"]
    assert cpu.device() != ""
    assert len({(record["run_id"], record["weights_sha256"]) for record in records}) == 1


def test_a_record_is_verified_on_another_backend():
    record = execute(RunConfig(**SMALL))
    assert verify("here", record, backend=DEVICE).same
    assert not verify("here", record | {"weights_sha256": "0" * 64}, backend=DEVICE).same


def test_a_row_of_an_image_study_is_trained_on_a_backend(tmp_path):
    row = Row(name="small", level="emulated", config=RunConfig(**SMALL))
    record = run_row(Study(name="own", rows=(row,)), row, tmp_path, backend=DEVICE)
    [directory] = tmp_path.iterdir()
    assert read_record(directory) == record
    assert record["backend"] == "device"
    assert record["weights_sha256"] == execute(row.config)["weights_sha256"]


def test_a_row_that_is_stopped_remembers_its_backend(tmp_path):
    def stop(step):
        raise KeyboardInterrupt

    row = Row(name="small", level="emulated", config=RunConfig(**SMALL))
    run_row(Study(name="own", rows=(row,)), row, tmp_path, backend=DEVICE, on_step=stop)
    [directory] = tmp_path.iterdir()
    assert read_options(directory)["backend"] == "device"


def test_a_study_that_trains_measures_the_same_on_a_backend():
    study = study_named("regression")
    asked = list(islice((case for case in cases(study.grid()) if case["dataset"] == "toy"), 2))
    assert (
        list(study.run(asked, DEVICE))
        == list(study.run(asked))
        == [record for record in study.records() if any(case.items() <= record.items() for case in asked)]
    )


def test_strict_arithmetic_is_the_cpus():
    with pytest.raises(
        ValueError, match=r"guards NumPy arrays, and those of backend device are none\. Choose"
    ):
        Training(RunConfig(**SMALL), strict=True, backend=DEVICE)


def test_events_on_a_backend_that_counts_none_are_refused():
    with pytest.raises(ValueError, match=r"^--events counts .*--backend device does not.*--backend cpu"):
        execute(RunConfig(**SMALL), events=True, backend=DEVICE)
