"""Runs with events: the same bits, and a row of counts for each layer, pass, role and epoch."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emunum.experiments.config import RunConfig
from emunum.experiments.records import RunDirectory
from emunum.experiments.run import execute
from emunum.experiments.training.counting import Phase
from emunum.experiments.training.state import EpochRecord
from emunum.experiments.training.train import Training
from emunum.ops.events import EVENTS

CONFIGS: dict[str, dict[str, Any]] = {
    "full": {"format": "e4m3", "rounding": "stochastic"},
    "full mlp": {"format": "e5m2", "model": "mlp", "hidden": (4,), "momentum": 0.5},
    "mixed core": {"format": "e5m2", "policy": "mixed", "order": "tensor_core:h100_fp8:8"},
    "chunked": {"format": "e4m3", "order": "chunked:4", "outer": "float16"},
    "output": {"format": "e4m3", "policy": "output", "loss_scale": 16.0},
    "int8": {"policy": "int8", "rounding": "stochastic"},
}
ERRORS = ("forward_error", "backward_error", "worst_case")


def _config(**options: Any) -> RunConfig:
    chosen: dict[str, Any] = {"dataset": "diabetes", "epochs": 2}
    return RunConfig(**chosen | options)


def _epochs(config: RunConfig) -> list[EpochRecord]:
    return list(Training(config, events=True).epochs())


def _totals(epoch: EpochRecord) -> dict[tuple[object, ...], Counter[str]]:
    """Counts by layer, pass and role."""
    totals: dict[tuple[object, ...], Counter[str]] = {}
    for row in epoch.events:
        place = row["layer"], row["pass"], row["role"]
        totals.setdefault(place, Counter()).update({event: int(row[event]) for event in EVENTS})
    return totals


@pytest.mark.parametrize("name", CONFIGS)
def test_counting_changes_no_weight_and_no_metric(name: str) -> None:
    config = _config(**CONFIGS[name])
    silent, counted = execute(config), execute(config, events=True)
    for record in (silent, counted):
        for changing in ("wall_s", "started"):
            del record[changing]
    assert counted == silent


def test_there_are_rows_for_every_layer_pass_and_role() -> None:
    linear = {
        ("forward", "weight"),
        ("forward", "activation"),
        ("backward", "error"),
        ("backward", "gradient"),
        ("update", "update"),
        ("update", "master"),
    }
    expected = {(layer, *place) for layer in ("0.Linear", "2.Linear") for place in linear}
    expected |= {("loss", "forward", "input"), ("loss", "backward", "error")}
    epochs = _epochs(_config(**CONFIGS["full mlp"], epochs=3))
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    initial = {(layer, "initial", "master") for layer in ("0.Linear", "2.Linear")}
    for epoch in epochs:
        assert set(_totals(epoch)) == expected | (initial if epoch.epoch == 1 else set())
        for row in epoch.events:
            assert set(row) == {"layer", "pass", "role", *EVENTS, *ERRORS}


def test_the_roundings_of_a_linear_layer_by_hand() -> None:
    # 8 of the 11 samples of toy, one step an epoch, one weight and one bias.
    first, second = _epochs(RunConfig(dataset="toy", format="e4m3", epochs=2))
    expected = {
        ("loss", "forward", "input"): 8 + 8,  # features and targets
        ("0.Linear", "forward", "weight"): 2,
        ("0.Linear", "forward", "activation"): 8 * (1 + 1) + 8 + 8,  # x w, + b, the cast
        ("loss", "backward", "error"): 8 + 8,  # y - t, 2 / n
        ("0.Linear", "backward", "error"): 8,
        ("0.Linear", "backward", "gradient"): 8 * (1 + 1) + 8 + 2,  # dw, db, their casts
        ("0.Linear", "update", "update"): 2 * 2,
        ("0.Linear", "update", "master"): 2,
    }
    assert {place: counts["roundings"] for place, counts in _totals(second).items()} == expected
    expected["0.Linear", "initial", "master"] = 2
    assert {place: counts["roundings"] for place, counts in _totals(first).items()} == expected


def test_updates_that_are_too_small_are_absorbed() -> None:
    # lr 2^-12 beside weights of at least 2^-6: no step of e4m3 reaches half a quantum.
    _, second = _epochs(RunConfig(dataset="toy", format="e4m3", epochs=2, learning_rate=2.0**-12))
    update = _totals(second)["0.Linear", "update", "update"]
    assert update["absorbed"] + update["underflow"] == 2


def test_the_overflows_of_the_data_are_those_beyond_the_format() -> None:
    # q1.7 holds -1 to 127 / 128, in steps of 1 / 128; standardised data go beyond.
    training = Training(_config(format="q1.7"), events=True)
    train, every = training.split.train, slice(None)
    data = np.concatenate([train.features(every).ravel(), train.targets(every).ravel()])
    steps = np.rint(data.astype(np.float64) * 128)  # ties to even
    beyond = int(((steps > 127) | (steps < -128)).sum())
    assert beyond > 100
    for epoch in training.epochs():
        assert _totals(epoch)["loss", "forward", "input"]["overflow"] == beyond


def test_float32_overflows_nowhere() -> None:
    for epoch in _epochs(_config()):
        for counts in _totals(epoch).values():
            assert counts["overflow"] == counts["flushed"] == counts["nan"] == 0


def test_measurements_between_epochs_are_left_out() -> None:
    config = _config(format="e4m3", rounding="stochastic", model="mlp", hidden=(4,))
    expected = [epoch.events for epoch in _epochs(config)]
    training, found = Training(config, events=True), []
    for epoch in training.epochs():
        found.append(epoch.events)
        training.metrics()
        training.predict(training.split.test, Phase.TEST_ON_TEST)
    assert found == expected


def test_products_are_no_further_off_than_rounding_theory_allows() -> None:
    # u = 2^-24 for the float32 sums of policy mixed; n is 32 samples at most or 10 features.
    for epoch in _epochs(_config(format="e5m2", policy="mixed")):
        for row in epoch.events:
            backward, bound = float(row["backward_error"]), float(row["worst_case"])
            assert backward <= bound <= 32 * 2.0**-24
            assert (bound > 0) == (row["role"] in ("activation", "gradient") and row["layer"] != "loss")
            assert float(row["forward_error"]) >= backward


def test_the_history_has_the_rows_and_without_events_has_none(tmp_path: Path) -> None:
    config = _config(format="e4m3")
    for events in (False, True):
        directory = RunDirectory(tmp_path, f"events-{events}", config)
        seen: list[EpochRecord] = []
        execute(config, directory=directory, events=events, on_epoch=seen.append)
        lines = [json.loads(line) for line in (directory.path / "history.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2]
        if events:
            assert [line["events"] for line in lines] == [list(map(dict, epoch.events)) for epoch in seen]
            assert all(line["events"] for line in lines)
        else:
            assert not any("events" in line for line in lines)
        assert "events" not in json.loads((directory.path / "config.json").read_text())


def test_a_diverging_run_keeps_the_rows_of_its_epochs(tmp_path: Path) -> None:
    config = _config(format="e5m2", learning_rate=1.5, epochs=20, policy="mixed", momentum=0.95)
    directory = RunDirectory(tmp_path, "diverges", config)
    record = execute(config, directory=directory, events=True)
    lines = (directory.path / "history.jsonl").read_text().splitlines()
    assert len(lines) == record["epochs_completed"] + 1  # and the one it diverged in
    assert record["weights_sha256"] == execute(config)["weights_sha256"]
    assert all(json.loads(line)["events"] for line in lines)


def test_a_place_has_one_row_an_epoch() -> None:
    for epoch in _epochs(_config(format="e4m3")):
        places = [(row["layer"], row["pass"], row["role"]) for row in epoch.events]
        assert len(set(places)) == len(places)
