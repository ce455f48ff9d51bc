"""One run from configuration to record."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import emunum
from emunum.experiments.config import RunConfig
from emunum.experiments.records import SCHEMA_VERSION, RunDirectory
from emunum.experiments.tracking import Tracker, Untracked
from emunum.experiments.training.checkpoint import Checkpoint, Interval, encode, read_checkpoint
from emunum.experiments.training.evaluation import METRICS
from emunum.experiments.training.state import EpochRecord, Step, finite_or_none
from emunum.experiments.training.storage import Storage
from emunum.experiments.training.train import DivergedError, Training
from emunum.kernels import cpu
from emunum.kernels.backends import BackendMemoryError
from emunum.kernels.cpu import get_threads
from emunum.nn.layers import trained


def execute(
    config: RunConfig,
    *,
    directory: RunDirectory | None = None,
    events: bool = False,
    data_dir: Path | None = None,
    checkpoints: Interval | None = None,
    resume: bool = False,
    backend: ModuleType = cpu,
    on_step: Callable[[Step], None] = lambda step: None,
    on_epoch: Callable[[EpochRecord], None] = lambda epoch: None,
    track: Callable[[], Tracker] = Untracked,
) -> dict[str, Any]:
    """Train as configured and return the record: a flat dict of JSON values, written to `directory` too.

    status is "completed", "diverged" (a loss or weight became NaN or infinite; `reason` says where) or
    "interrupted" (KeyboardInterrupt; its message says by what, if it is not Ctrl-C); the last two keep what
    there is so far, with null for what is not, and nothing is measured where a run is interrupted.
    With `events`, every epoch has counts of what its roundings did; see EpochRecord.
    `directory` gets a checkpoint whenever `checkpoints` says so, and one where the run is interrupted. With
    `resume`, the run goes on from it, to the same weights, metrics and history; without one, it starts over.
    No bit depends on the `backend`, and a run may go on with another. `data_dir` is where data sets are
    looked for first. `track` makes what follows the run, once it can begin.
    Raises ValueError for data or a checkpoint that cannot be used and OSError where a file cannot be written.
    """
    keeper = _Keeper(directory=directory, interval=checkpoints)
    training: Training | None = None
    tracker: Tracker = Untracked()
    status, reason = "completed", None
    measured: dict[str, Any] = dict.fromkeys(METRICS)

    def step_taken(step: Step) -> None:
        keeper.look()
        on_step(step)

    try:
        training = keeper.training = Training(config, events=events, data_dir=data_dir, backend=backend)
        if resume:
            keeper.take_up()
        tracker = track()
        for epoch in training.finished:
            tracker.on_epoch(epoch)
        try:
            for epoch in training.epochs(step_taken):
                if directory:
                    directory.append(epoch)
                tracker.on_epoch(epoch)
                on_epoch(epoch)
            reason = training.stopped_early
        except DivergedError as error:
            status, reason = "diverged", str(error)
        measured = training.metrics()
    except BackendMemoryError as error:
        raise error.for_batch(config.batch_size) from None
    except KeyboardInterrupt as error:
        epochs = min(training.state.epoch if training else 1, config.epochs)
        status, reason = (
            "interrupted",
            f"stopped by {str(error) or 'Ctrl-C'} in epoch {epochs} of {config.epochs}",
        )
        keeper.save()
    record = _finite(
        _described(config)
        | {"status": status, "reason": reason}
        | _outcome(training, measured)
        | {"wall_s": round(keeper.wall_s, 3), "started": keeper.started, "resumed": keeper.resumed}
        | _surroundings(backend)
    )
    if directory:
        weights, history = (training.named_weights(), training.history) if training else ({}, [])
        directory.finish(record, weights, history, resumable=status == "interrupted")
    tracker.finish(record)
    return record


@dataclass(slots=True)
class _Keeper:
    """Time and checkpoints of a run."""

    directory: RunDirectory | None
    interval: Interval | None
    training: Training | None = None
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    earlier_s: float = 0.0
    resumed: int = 0
    clock: float = field(default_factory=time.perf_counter)
    saved_at: float = field(default_factory=time.perf_counter)
    saved_step: int = 0

    @property
    def wall_s(self) -> float:
        """Seconds spent on the run, before it was taken up again too."""
        return self.earlier_s + time.perf_counter() - self.clock

    def take_up(self) -> None:
        """Go on from the directory's checkpoint, if it has one."""
        assert self.training is not None
        if self.directory is None or not self.directory.checkpoint.exists():
            return
        training, path = self.training, self.directory.checkpoint
        checkpoint = read_checkpoint(path, training.config, training.state)
        if checkpoint.data_sha256 != training.data_sha256:
            raise ValueError(
                f"{path} was made with other data: SHA-256 {checkpoint.data_sha256}, and now "
                f"{training.data_sha256}. Restore the data, or remove the checkpoint to start over."
            )
        training.restore(checkpoint.state, checkpoint.history)
        self.directory.append(*checkpoint.history)
        self.started, self.earlier_s = checkpoint.started, checkpoint.wall_s
        self.resumed, self.saved_step = checkpoint.resumed + 1, checkpoint.state.steps

    def look(self) -> None:
        """Write a checkpoint if one is due."""
        assert self.training is not None
        if self.interval is not None and self.interval.due(
            self.training.steps - self.saved_step, time.perf_counter() - self.saved_at
        ):
            self.save()

    def save(self) -> None:
        """Write a checkpoint, if there is a directory and anything to keep."""
        if self.directory is None or self.training is None:
            return
        training = self.training
        self.directory.save(
            encode(
                Checkpoint(
                    config=training.config,
                    data_sha256=training.data_sha256,
                    state=training.kept(),
                    history=tuple(training.finished),
                    wall_s=self.wall_s,
                    started=self.started,
                    resumed=self.resumed,
                )
            )
        )
        self.saved_at, self.saved_step = time.perf_counter(), training.steps


def _described(config: RunConfig) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": config.run_id,
        **config.as_dict(),
        "format_max": config.cast.format.max,
        "overflow_applied": str(config.cast.rule),
    }


def _outcome(training: Training | None, measured: dict[str, Any]) -> dict[str, Any]:
    if training is None:
        before = dict.fromkeys(
            ("loss_applied", "final_step_loss", "final_step_mse", "best_epoch", "parameters")
        )
        bytes_ = dict.fromkeys(field.name for field in fields(Storage))
        after = bytes_ | dict.fromkeys(
            ("accumulator_overflows", "data_sha256", "data_note", "weights_sha256")
        )
        return {"epochs_completed": 0, "steps": 0} | before | measured | after
    last = None if training.state.diverged else training.last_loss
    return {
        "epochs_completed": len(training.finished),
        "steps": training.steps,
        "loss_applied": training.loss_name,
        "final_step_loss": last,
        "final_step_mse": last if training.loss_name == "mse" else None,
        "best_epoch": training.best_epoch,
        "parameters": sum(w.size for own in training.params for w in trained(own).values()),
        **measured,
        **asdict(training.storage()),
        "accumulator_overflows": training.accumulator_overflows,
        "data_sha256": training.data_sha256,
        "data_note": training.data_note,
        "weights_sha256": training.weights_sha256,
    }


def _finite(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: finite_or_none(value) for key, value in record.items()}


def _surroundings(backend: ModuleType) -> dict[str, Any]:
    return {
        "threads": get_threads(),
        "backend": backend.NAME,
        "device": backend.device(),
        "emunum_version": emunum.__version__,
        "numpy_version": version("numpy"),
        "numba_version": version("numba"),
        "scikit_learn_version": version("scikit-learn"),
        "python_version": platform.python_version(),
        "platform": platform.platform(),
    }
