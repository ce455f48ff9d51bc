"""One run from configuration to record."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import emunum
from emunum.experiments.config import RunConfig
from emunum.experiments.records import SCHEMA_VERSION, RunDirectory
from emunum.experiments.train import METRICS, DivergedError, EpochRecord, Training
from emunum.kernels.cpu import get_threads


def execute(
    config: RunConfig,
    *,
    directory: RunDirectory | None = None,
    events: bool = False,
    on_epoch: Callable[[EpochRecord], None] = lambda epoch: None,
) -> dict[str, Any]:
    """Train as configured and return the record: a flat dict of JSON values, written to `directory` too.

    status is "completed", "diverged" (a loss or weight became NaN or infinite; `reason` says where) or
    "interrupted" (KeyboardInterrupt); the last two keep what there is so far, with null for what is not.
    With `events`, every epoch has counts of what its roundings did; see EpochRecord.
    Raises ValueError for data that cannot be used and OSError where a file cannot be written.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    training: Training | None = None
    losses: list[float] = []
    epochs, status, reason = 0, "completed", None
    try:
        training = Training(config, events=events)
        for epoch in training.epochs():
            losses.extend(epoch.step_mse)
            epochs = epoch.epoch
            if directory:
                directory.append(epoch)
            on_epoch(epoch)
    except DivergedError as error:
        status, reason = "diverged", str(error)
    except KeyboardInterrupt:
        status, reason = "interrupted", f"stopped by Ctrl-C in epoch {epochs + 1} of {config.epochs}"
    record = _finite(
        _described(config)
        | {"status": status, "reason": reason, "epochs_completed": epochs}
        | {"final_step_mse": losses[-1] if losses and status != "diverged" else None}
        | _outcome(training)
        | {"wall_s": round(time.perf_counter() - clock, 3), "started": started.isoformat(timespec="seconds")}
        | _surroundings()
    )
    if directory:
        directory.finish(record, training.named_weights() if training else {})
    return record


def _described(config: RunConfig) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": config.run_id,
        **config.as_dict(),
        "format_max": config.cast.format.max,
        "overflow_applied": str(config.cast.rule),
    }


def _outcome(training: Training | None) -> dict[str, Any]:
    if training is None:
        return {"steps": 0} | dict.fromkeys(
            ("parameters", *METRICS, "accumulator_overflows", "data_sha256", "weights_sha256")
        )
    weights = training.named_weights()
    return {
        "steps": training.steps,
        "parameters": sum(w.size for w in weights.values()),
        **training.metrics(),
        "accumulator_overflows": training.accumulator_overflows,
        "data_sha256": training.data_sha256,
        "weights_sha256": training.weights_sha256,
    }


def _surroundings() -> dict[str, Any]:
    return {
        "threads": get_threads(),
        "emunum_version": emunum.__version__,
        "numpy_version": version("numpy"),
        "numba_version": version("numba"),
        "scikit_learn_version": version("scikit-learn"),
        "python_version": platform.python_version(),
        "platform": platform.platform(),
    }


def _finite(record: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no Inf: they become null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in record.items()
    }
