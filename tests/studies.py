"""Records as runs would have left them, with results made up: a study without any training."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from emunum.experiments.config import RunConfig
from emunum.experiments.training.evaluation import METRICS

DIGEST = "0123456789abcdef" * 4


def record(
    value: float | None = None,
    *,
    metric: str = "test_mse",
    status: str = "completed",
    reason: str | None = None,
    losses: Iterable[float] = (),
    events: Mapping[str, int] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """A record in the file of a sweep: `value` is its result, `losses` the training loss of its epochs."""
    config = RunConfig(**options)
    history = [
        {"epoch": n, "train_loss": loss, "validation_loss": None, "validation_accuracy": None, "wall_s": 0.1}
        for n, loss in enumerate(losses, start=1)
    ]
    return (
        {"schema_version": 1, "run_id": config.run_id, **config.as_dict()}
        | {"format_max": config.cast.format.max, "overflow_applied": str(config.cast.rule)}
        | {"status": status, "reason": reason, "epochs_completed": len(history), "steps": 10}
        | {"loss_applied": "mse", "final_step_loss": None, "final_step_mse": None}
        | {"best_epoch": None, "parameters": 11}
        | dict.fromkeys(METRICS)
        | {metric: value}
        | {f"{kind}_bytes": 4 for kind in ("weight", "weight_float32", "activation", "activation_float32")}
        | {"accumulator_overflows": None, "data_sha256": DIGEST, "data_note": None, "weights_sha256": DIGEST}
        | {"wall_s": 0.5, "started": "2026-01-02T03:04:05+00:00", "resumed": 0, "threads": 1}
        | {f"{name}_version": "1.2.3" for name in ("emunum", "numpy", "numba", "scikit_learn", "python")}
        | {"platform": "here", "history": history}
        | ({} if events is None else {"events": dict(events)})
    )


def failed(reason: str, **options: Any) -> dict[str, Any]:
    """The record of a run that failed."""
    config = RunConfig(**options)
    return {
        "schema_version": 1,
        "run_id": config.run_id,
        **config.as_dict(),
        "status": "failed",
        "reason": reason,
        "started": "2026-01-02T03:04:05+00:00",
    }


def formats_and_roundings(seeds: int = 3) -> list[dict[str, Any]]:
    """float32, e4m3 and e5m2, nearest and stochastic, each with some seeds, on diabetes."""
    return [
        record(
            0.5 + 0.1 * i + 0.05 * j + 0.01 * seed * (1 + i),
            format=format,
            rounding=rounding,
            seed=seed,
            losses=[1.0 + 0.1 * seed, 0.7 + 0.1 * i, 0.6 + 0.02 * seed],
            events={"roundings": 1000, "overflow": 0, "underflow": 10 * i, "absorbed": 3 + i, "tie": 5},
        )
        for i, format in enumerate(("float32", "e4m3", "e5m2"))
        for j, rounding in enumerate(("nearest", "stochastic"))
        for seed in range(seeds)
    ]


def write_sweep(directory: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Write records as a sweep keeps them; returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "records.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in records))
    return directory
