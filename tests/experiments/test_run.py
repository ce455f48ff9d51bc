"""A run from configuration to record: what is in it, whatever happens on the way."""

import json
import math
import re
import signal
import threading
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import emunum
from emunum.experiments.config import RunConfig
from emunum.experiments.datasets import load
from emunum.experiments.records import RunDirectory, read_record
from emunum.experiments.run import execute
from emunum.experiments.training.train import Training

KEYS = [
    "schema_version", "run_id", "dataset", "format", "rounding", "overflow", "random_bits",
    "policy", "accumulator", "order", "outer", "scale", "per_channel", "master", "model", "hidden",
    "dropout", "epochs", "learning_rate", "momentum", "weight_decay", "optimizer", "nesterov",
    "schedule", "batch_size", "test_split", "validation_split", "train_samples", "patience", "shuffle",
    "augment", "loss", "loss_scale", "init", "seed", "rounding_seed", "format_max", "overflow_applied",
    "status", "reason", "epochs_completed", "steps", "loss_applied", "final_step_loss",
    "final_step_mse", "best_epoch", "parameters", "train_mse", "train_rmse", "test_mse",
    "test_rmse", "test_mse_over_n", "test_accuracy", "test_f1", "test_loss", "validation_loss",
    "validation_accuracy", "weight_bytes", "weight_float32_bytes", "activation_bytes",
    "activation_float32_bytes", "accumulator_overflows", "data_sha256", "data_note", "weights_sha256",
    "wall_s", "started", "resumed", "threads", "backend", "device", "emunum_version", "numpy_version",
    "numba_version", "scikit_learn_version", "python_version", "platform",
]  # fmt: skip
METRICS = KEYS[KEYS.index("train_mse") : KEYS.index("weight_bytes")]

TOY = {"dataset": "toy", "epochs": 5, "batch_size": 3, "format": "e4m3"}
DIVERGING = {"dataset": "toy", "format": "e4m3", "overflow": "ieee", "learning_rate": 1e3, "batch_size": 3}


def directory(path, config):
    return RunDirectory(path, "run", config)


def test_a_record_is_flat_json_with_every_key_whatever_the_status(tmp_path):
    records = [
        execute(RunConfig(**TOY)),
        execute(RunConfig(**DIVERGING)),
        interrupted_before_the_first_step(),
    ]
    assert [record["status"] for record in records] == ["completed", "diverged", "interrupted"]
    for record in records:
        assert list(record) == KEYS
        assert json.loads(json.dumps(record, allow_nan=False)) == record
        assert not any(isinstance(value, dict) for value in record.values())


def test_a_record_states_the_configuration_and_its_surroundings():
    config = RunConfig(**TOY, rounding="stochastic", overflow="ieee")
    record = execute(config)
    assert {key: record[key] for key in config.as_dict()} == config.as_dict()
    assert (record["schema_version"], record["run_id"]) == (1, config.run_id)
    assert (record["format_max"], record["overflow_applied"]) == (448.0, "ieee")
    assert record["data_sha256"] == load("toy").sha256
    assert record["emunum_version"] == emunum.__version__
    assert record["numpy_version"] == np.__version__
    assert record["threads"] == emunum.get_threads()
    assert datetime.fromisoformat(record["started"]).utcoffset().total_seconds() == 0
    assert record["wall_s"] > 0


def test_a_completed_record_has_the_numbers_of_the_training():
    config = RunConfig(**TOY)
    record, training = execute(config), Training(config)
    losses = [loss for epoch in training.epochs() for loss in epoch.step_loss]
    assert (record["status"], record["reason"]) == ("completed", None)
    assert record["epochs_completed"] == 5
    assert record["steps"] == len(losses) == 15
    assert record["final_step_mse"] == losses[-1]
    assert record["parameters"] == 2
    assert record["weights_sha256"] == training.weights_sha256
    assert {key: record[key] for key in METRICS} == training.metrics()


def test_the_last_loss_is_that_of_the_last_step_and_not_the_mean_of_the_epoch():
    losses = []
    record = execute(RunConfig(**TOY), on_epoch=lambda epoch: losses.append(epoch))
    assert record["final_step_mse"] == losses[-1].step_loss[-1] != losses[-1].train_loss


def test_epochs_are_handed_out_as_they_end():
    seen = []
    execute(RunConfig(**TOY), on_epoch=lambda epoch: seen.append(epoch.epoch))
    assert seen == [1, 2, 3, 4, 5]


def test_overflow_auto_is_resolved_in_the_record():
    applied = {
        name: execute(RunConfig(dataset="toy", epochs=1, format=name))["overflow_applied"]
        for name in ("e4m3", "e5m2")
    }
    assert applied == {"e4m3": "saturate", "e5m2": "ieee"}


# ----------------------------------------------------------------------------------------------------
# Divergence
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        DIVERGING,
        {"dataset": "toy", "learning_rate": 1e30},
        {"dataset": "toy", "format": "e5m2", "overflow": "ieee", "learning_rate": 1e4, "batch_size": 3},
        {"dataset": "toy", "format": "e4m3", "overflow": "ieee", "learning_rate": 1e3, "model": "mlp"},
    ],
    ids=["e4m3", "float32", "e5m2", "mlp"],
)
def test_a_diverged_run_has_a_record_with_nulls_for_what_is_not_a_number(tmp_path, options):
    config = RunConfig(**options)
    record = execute(config, directory=directory(tmp_path, config))
    assert record["status"] == "diverged"
    assert re.fullmatch(
        r"(the loss became (nan|inf)|a weight became NaN or infinite) at step \d+", record["reason"]
    )
    assert record["epochs_completed"] < config.epochs
    assert record["final_step_mse"] is None
    assert all(record[key] is None or math.isfinite(record[key]) for key in METRICS)
    assert read_record(tmp_path / "run") == record
    assert re.fullmatch("[0-9a-f]{64}", record["weights_sha256"])


def test_a_diverged_run_gives_the_same_record_twice():
    once, again = execute(RunConfig(**DIVERGING)), execute(RunConfig(**DIVERGING))
    fleeting = ("wall_s", "started")
    assert {k: v for k, v in once.items() if k not in fleeting} == {
        k: v for k, v in again.items() if k not in fleeting
    }


def test_a_diverged_run_keeps_its_history_to_the_step_at_which_it_diverged(tmp_path):
    config = RunConfig(**DIVERGING | {"learning_rate": 8.0, "format": "e5m2", "epochs": 200})
    record = execute(config, directory=directory(tmp_path, config))
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert record["status"] == "diverged"
    *before, last = [json.loads(line) for line in lines]
    assert len(before) == record["epochs_completed"] > 0
    assert all(line["complete"] for line in before)
    assert not last["complete"]
    assert 3 * len(before) + len(last["step_loss"]) == record["steps"]  # three batches of three an epoch
    assert f"at step {record['steps']}" in record["reason"]


# ----------------------------------------------------------------------------------------------------
# Ctrl-C
# ----------------------------------------------------------------------------------------------------


def interrupted_before_the_first_step():
    """The record where Ctrl-C comes while the data are loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emunum.experiments.run.Training", _interrupt)
        return execute(RunConfig(**TOY))


def _interrupt(*args, **kwargs):
    raise KeyboardInterrupt


def test_an_interrupted_run_keeps_what_there_is(tmp_path):
    config = RunConfig(**TOY)

    def stop(epoch):
        if epoch.epoch == 3:
            raise KeyboardInterrupt

    record = execute(config, directory=directory(tmp_path, config), on_epoch=stop)
    training = Training(config)
    epochs = [epoch for epoch, _ in zip(training.epochs(), range(3), strict=False)]
    assert (record["status"], record["epochs_completed"], record["steps"]) == ("interrupted", 3, 9)
    assert record["reason"] == "stopped by Ctrl-C in epoch 4 of 5"
    assert record["final_step_mse"] == epochs[-1].step_loss[-1]
    assert record["weights_sha256"] == training.weights_sha256
    assert read_record(tmp_path / "run") == record
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) == 3


def test_a_run_interrupted_before_its_first_step_has_a_record(tmp_path, monkeypatch):
    config = RunConfig(**TOY)
    monkeypatch.setattr("emunum.experiments.run.Training", _interrupt)
    record = execute(config, directory=directory(tmp_path, config))
    assert (record["status"], record["steps"], record["final_step_mse"]) == ("interrupted", 0, None)
    assert record["weights_sha256"] is None
    assert read_record(tmp_path / "run") == record


def test_an_interrupted_run_can_be_repeated_to_its_end(tmp_path):
    config = RunConfig(**TOY)
    execute(config, directory=directory(tmp_path, config), on_epoch=_interrupt)
    assert read_record(tmp_path / "run")["status"] == "interrupted"
    record = execute(config, directory=directory(tmp_path, config))
    assert read_record(tmp_path / "run") == record
    assert record["status"] == "completed"


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread"
)
def test_ctrl_c_in_the_middle_of_a_step_leaves_whole_weights(tmp_path):
    config = RunConfig(**TOY | {"epochs": 10**9})

    def alarm(*_):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, alarm)
    try:
        execute(RunConfig(**TOY))  # its kernels are compiled
        signal.setitimer(signal.ITIMER_REAL, 0.2, 5)  # again, should the first one be swallowed
        record = execute(config, directory=directory(tmp_path, config))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert record["status"] == "interrupted"
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, len(lines) + 1))
    # Between the two lies the one statement that writes the line.
    assert record["epochs_completed"] - len(lines) in (0, 1)
    assert set(np.load(tmp_path / "run" / "weights.npz")) == {"0.w", "0.b"}


# ----------------------------------------------------------------------------------------------------
# Failures
# ----------------------------------------------------------------------------------------------------


def test_data_that_cannot_be_used_leave_no_record(tmp_path):
    config = RunConfig(dataset="toy", test_split=0.99)
    with pytest.raises(ValueError, match="leaves none to train on"):
        execute(config, directory=directory(tmp_path, config))
    assert not (tmp_path / "run" / "record.json").exists()


def test_without_a_directory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    execute(RunConfig(**TOY))
    assert list(Path().iterdir()) == []
