"""Checkpoints: whatever stops a run, and wherever, it goes on to the weights it would have had anyway."""

from __future__ import annotations

import errno
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import emunum
from emunum.experiments.config import RunConfig
from emunum.experiments.records import RunDirectory, read_record
from emunum.experiments.run import execute
from emunum.experiments.training.checkpoint import Checkpoint, Interval, encode, read_checkpoint
from emunum.experiments.training.state import State, Step
from emunum.experiments.training.train import Training

BASE: dict[str, Any] = {"dataset": "toy", "epochs": 4, "batch_size": 2, "format": "e4m3"}
STOCHASTIC = BASE | {"rounding": "stochastic"}
RUNS: dict[str, dict[str, Any]] = {
    "momentum": STOCHASTIC | {"momentum": 0.9, "nesterov": True},
    "adam, cosine": STOCHASTIC | {"optimizer": "adam", "schedule": "cosine", "weight_decay": 0.01},
    "dynamic loss scale": BASE | {"format": "e5m2", "overflow": "ieee", "loss_scale": "dynamic"},
    "best epoch": STOCHASTIC | {"validation_split": 0.25, "learning_rate": 0.3, "epochs": 8},
    "early stop": BASE | {"validation_split": 0.25, "patience": 1, "learning_rate": 0.8, "epochs": 8},
    "int8": {"dataset": "toy", "epochs": 3, "batch_size": 3, "policy": "int8", "accumulator": "int12"},
    "cnn": {
        "dataset": "digits",
        "model": "cnn",
        "policy": "mixed",
        "format": "e4m3",
        "rounding": "stochastic",
        "optimizer": "adam",
        "learning_rate": 0.001,
        "epochs": 2,
        "batch_size": 480,
        "augment": True,
        "validation_split": 0.1,
    },
    "mlp": STOCHASTIC | {"model": "mlp", "hidden": (4,), "dropout": 0.5},
}
FLEETING = ("wall_s", "samples_per_s")
"""What a history has that is not the same twice."""


def stop_after(steps: int) -> Any:
    """Ctrl-C once so many steps were taken."""
    left = iter(range(steps - 1))

    def on_step(step: Step) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return on_step


def history(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (path / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in FLEETING} for line in lines]


def lasting(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("wall_s", "started", "resumed")}


def directory(path: Path, config: RunConfig) -> RunDirectory:
    return RunDirectory(path.parent, path.name, config)


@pytest.mark.parametrize(
    ("run", "events"),
    [(run, events) for run in RUNS for events in (False, True) if not events or run != "cnn"],
)  # counting the events of a cnn takes minutes
def test_a_run_stopped_after_every_few_steps_ends_as_the_undisturbed_one(
    tmp_path: Path, run: str, events: bool
) -> None:
    config = RunConfig(**RUNS[run])
    undisturbed = execute(config, directory=directory(tmp_path / "whole", config), events=events)
    path, resumed = tmp_path / "stopped", 0
    record = execute(config, directory=directory(path, config), events=events, on_step=stop_after(1))
    while record["status"] == "interrupted":
        assert (path / "checkpoint.npz").exists()
        record = execute(
            config, directory=directory(path, config), events=events, resume=True, on_step=stop_after(3)
        )
        resumed += 1
        assert record["resumed"] == resumed
    assert resumed > 1
    assert lasting(record) == lasting(undisturbed)
    assert history(path) == history(tmp_path / "whole")
    with np.load(path / "weights.npz") as ours, np.load(tmp_path / "whole" / "weights.npz") as theirs:
        assert {name: ours[name].tobytes() for name in ours} == {
            name: theirs[name].tobytes() for name in theirs
        }
    assert sorted(file.name for file in path.iterdir()) == [
        "config.json",
        "history.jsonl",
        "record.json",
        "weights.npz",
    ]


def test_the_parts_of_an_epoch_add_up_to_its_time(tmp_path: Path) -> None:
    config = RunConfig(**BASE)
    first = execute(config, directory=directory(tmp_path / "a", config), on_step=stop_after(6))
    last = execute(config, directory=directory(tmp_path / "a", config), resume=True)
    assert last["wall_s"] > first["wall_s"] > 0
    assert last["started"] == first["started"]


def test_a_run_that_diverges_does_so_at_the_same_step_when_resumed(tmp_path: Path) -> None:
    config = RunConfig(dataset="toy", format="e5m2", learning_rate=8.0, batch_size=3, epochs=200)
    undisturbed = execute(config, directory=directory(tmp_path / "whole", config))
    assert undisturbed["status"] == "diverged"
    record = execute(config, directory=directory(tmp_path / "a", config), on_step=stop_after(1))
    while record["status"] == "interrupted":
        record = execute(
            config, directory=directory(tmp_path / "a", config), resume=True, on_step=stop_after(5)
        )
    assert lasting(record) == lasting(undisturbed)
    assert history(tmp_path / "a") == history(tmp_path / "whole")


def test_ctrl_c_while_the_end_is_measured_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(**RUNS["best epoch"])
    undisturbed = execute(config, directory=directory(tmp_path / "whole", config))

    def interrupt(self: Training) -> dict[str, float | None]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Training, "metrics", interrupt)
        stopped = execute(config, directory=directory(tmp_path / "a", config))
    assert (stopped["status"], stopped["test_mse"]) == ("interrupted", None)
    assert stopped["weights_sha256"] == undisturbed["weights_sha256"]
    assert lasting(execute(config, directory=directory(tmp_path / "a", config), resume=True)) == lasting(
        undisturbed
    )
    assert history(tmp_path / "a") == history(tmp_path / "whole")


def test_without_a_checkpoint_a_resumed_run_starts_over(tmp_path: Path) -> None:
    config = RunConfig(**STOCHASTIC)
    record = execute(config, directory=directory(tmp_path / "a", config), resume=True)
    assert lasting(record) == lasting(execute(config))
    assert record["resumed"] == 0


@pytest.mark.parametrize(
    ("interval", "saved"),
    [
        (Interval(steps=1, minutes=None), [*range(1, 17)]),
        (Interval(steps=3, minutes=None), [3, 6, 9, 12, 15]),
        (Interval(steps=None, minutes=1e-9), [*range(1, 17)]),
        (Interval(steps=None, minutes=60.0), []),
        (Interval(steps=5, minutes=1e9), [5, 10, 15]),
    ],
    ids=str,
)
def test_checkpoints_are_written_as_often_as_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval: Interval, saved: list[int]
) -> None:
    config, found = RunConfig(**BASE), []
    start = Training(config).state

    def save(self: RunDirectory, content: bytes) -> None:
        path = tmp_path / "copy"
        path.write_bytes(content)
        found.append(read_checkpoint(path, config, start).state.steps)

    monkeypatch.setattr(RunDirectory, "save", save)
    execute(config, directory=directory(tmp_path / "a", config), checkpoints=interval)
    assert found == saved


# ----------------------------------------------------------------------------------------------------
# The file
# ----------------------------------------------------------------------------------------------------


def stopped(path: Path, **options: Any) -> tuple[RunConfig, State, Path]:
    """A run stopped in its second epoch: configuration, first state, checkpoint."""
    config = RunConfig(**STOCHASTIC | {"momentum": 0.9, "validation_split": 0.25} | options)
    execute(config, directory=directory(path, config), on_step=stop_after(5))
    return config, Training(config).state, path / "checkpoint.npz"


def test_a_checkpoint_holds_what_was_put_in(tmp_path: Path) -> None:
    config, start, path = stopped(tmp_path / "a")
    checkpoint = read_checkpoint(path, config, start)
    assert checkpoint.config == config
    assert (checkpoint.state.epoch, checkpoint.state.position, checkpoint.state.steps) == (2, 2, 5)
    assert [epoch.epoch for epoch in checkpoint.history] == [1]
    assert len(checkpoint.state.losses) == 2
    assert checkpoint.state.best is not None
    again = tmp_path / "again.npz"
    again.write_bytes(encode(checkpoint))
    assert again.read_bytes() == encode(read_checkpoint(again, config, start))
    assert encode(read_checkpoint(again, config, start)) == encode(checkpoint)


def test_the_archive_has_no_pickles_and_its_header_is_json(tmp_path: Path) -> None:
    config, _, path = stopped(tmp_path / "a")
    with np.load(path, allow_pickle=False) as archive:
        names = set(archive.files)
        header = json.loads(archive["header"].tobytes())
    assert names == {
        *("params/0/w", "params/0/b", "optimizer/0/w", "optimizer/0/b", "best/0/w", "best/0/b"),
        *("header", "sha256"),
    }
    assert header["config"] == config.as_dict()
    assert header["emunum_version"] == emunum.__version__


DAMAGED = re.compile(r"is damaged: .+\. Remove it, and the run starts over from its config\.json\.$")


def test_a_checkpoint_cut_off_anywhere_is_recognised(tmp_path: Path) -> None:
    config, start, path = stopped(tmp_path / "a")
    content = path.read_bytes()
    for length in {*range(0, len(content), 97), len(content) - 1}:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=DAMAGED) as error:
            read_checkpoint(path, config, start)
        assert str(error.value).startswith(str(path))


def test_a_checkpoint_with_a_changed_byte_is_recognised_or_reads_the_same(tmp_path: Path) -> None:
    # An archive has bytes that mean nothing, such as times: a change there changes nothing.
    config, start, path = stopped(tmp_path / "a")
    content = path.read_bytes()
    whole, recognised = encode(read_checkpoint(path, config, start)), 0
    for at in range(0, len(content), 41):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            assert encode(read_checkpoint(path, config, start)) == whole
        except ValueError as error:
            assert DAMAGED.search(str(error))
            recognised += 1
    assert recognised > len(content) / 41 / 2


def test_a_value_changed_by_hand_is_recognised(tmp_path: Path) -> None:
    config, start, path = stopped(tmp_path / "a")
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["params/0/w"] = arrays["params/0/w"] * 2
    changed = io.BytesIO()
    np.savez(changed, **arrays)
    path.write_bytes(changed.getvalue())
    with pytest.raises(ValueError, match="its content does not have its checksum"):
        read_checkpoint(path, config, start)


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, start, path = stopped(tmp_path / "a")
    ours = emunum.__version__
    monkeypatch.setattr(emunum, "__version__", "99.0")
    with pytest.raises(ValueError) as error:
        read_checkpoint(path, config, start)
    assert str(error.value) == (
        f"{path} was written by emunum {ours} (checkpoints of version 1), and this is 99.0 (1), whose bits "
        f"may be others. Resume it with emunum {ours}, or remove it to start over."
    )


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    config, start, path = stopped(tmp_path / "a")
    with pytest.raises(ValueError) as error:
        read_checkpoint(path, replace(config, learning_rate=0.5), start)
    assert str(error.value) == (
        f"{path} belongs to another configuration: its learning_rate is 0.01, config.json has 0.5. Restore "
        "config.json, or remove the checkpoint to start over."
    )


def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path) -> None:
    config, start, path = stopped(tmp_path / "a")
    other = replace(read_checkpoint(path, config, start), data_sha256="0" * 64)
    path.write_bytes(encode(other))
    with pytest.raises(ValueError, match="was made with other data: SHA-256 0000"):
        execute(config, directory=directory(tmp_path / "a", config), resume=True)
    assert read_record(tmp_path / "a")["status"] == "interrupted"


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(**STOCHASTIC)
    steps = iter(range(6))

    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill_up(step: Step) -> None:
        if next(steps, None) is None:
            monkeypatch.setattr(os, "fsync", fsync)

    every = Interval(steps=2, minutes=None)
    with pytest.raises(OSError, match="No space left on device") as error:
        execute(config, directory=directory(tmp_path / "a", config), checkpoints=every, on_step=fill_up)
    monkeypatch.undo()
    assert error.value.filename == str(tmp_path / "a" / "checkpoint.npz")
    start = Training(config).state
    assert read_checkpoint(tmp_path / "a" / "checkpoint.npz", config, start).state.steps == 6
    record = execute(config, directory=directory(tmp_path / "a", config), resume=True)
    assert record["weights_sha256"] == execute(config)["weights_sha256"]


def test_a_loss_that_is_no_number_survives(tmp_path: Path) -> None:
    config = RunConfig(**BASE)
    state = replace(Training(config).state, losses=(0.5, float("nan"), float("inf")), position=3)
    checkpoint = Checkpoint(
        config=config, data_sha256="", state=state, history=(), wall_s=1.5, started="now", resumed=0
    )
    (tmp_path / "file").write_bytes(encode(checkpoint))
    found = read_checkpoint(tmp_path / "file", config, state).state.losses
    assert list(map(repr, found)) == ["0.5", "nan", "inf"]
