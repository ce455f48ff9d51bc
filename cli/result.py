"""How a run's result is printed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emunum.ops.events import EVENTS

if TYPE_CHECKING:
    from emunum.experiments.training.counting import EventRow


def print_result(record: dict[str, Any], path: Path) -> None:
    from emunum.experiments.records import computed_on

    table = Table(
        title=f"{record['dataset']} in {record['format']} (max {record['format_max']:g})", show_header=False
    )
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rounding = record["rounding"]
    if rounding.startswith("stochastic"):
        rounding += f", {record['random_bits']} random bits"
    table.add_row("rounding, overflow", f"{rounding}, {record['overflow_applied']}")
    accumulator = f", accumulator {record['accumulator']}" if record["accumulator"] else ""
    accumulator += f", order {record['order']}" if record["order"] != "sequential" else ""
    table.add_row("policy, model", f"{record['policy']}{accumulator}, {record['model']}")
    table.add_row("status", f"{record['status']}, {record['epochs_completed']} of {record['epochs']} epochs")
    classes, mse = record.get("test_accuracy") is not None, record.get("loss_applied") == "mse"
    for key, label, shown in (
        ("final_step_mse", "last step's MSE", mse),
        ("final_step_loss", "last step's loss", not mse),
        ("train_mse", "train MSE", mse),
        ("test_mse", "test MSE", mse),
        ("test_rmse", "test RMSE", mse),
        ("test_loss", "test loss", not mse),
        ("test_accuracy", "test accuracy", classes),
        ("test_f1", "test macro F1", classes),
        ("validation_loss", "validation loss", record.get("best_epoch") is not None),
        ("validation_accuracy", "validation accuracy", classes and record.get("best_epoch") is not None),
        ("best_epoch", "best epoch, whose weights these are", record.get("best_epoch") is not None),
    ):
        value = record.get(key)
        if shown:
            table.add_row(label, "-" if value is None else f"{value:.6g}")
    for key, label in (("weight", "weights"), ("activation", "activations of a batch")):
        if (size := record.get(f"{key}_bytes")) is not None:
            whole = record[f"{key}_float32_bytes"]
            table.add_row(label, f"{size:,} bytes, in float32 {whole:,} ({size / whole:.1%})")
    table.add_row("weights SHA-256", str(record["weights_sha256"]))
    table.add_row("time", f"{record['wall_s']:.2f} s on {escape(computed_on(record))}")
    table.add_row("saved in", escape(str(path)))
    Console().print(table)


def events_in(directory: Path) -> list[EventRow]:
    """The rows of events in a run's history."""
    lines = (directory / "history.jsonl").read_text().splitlines()
    return [row for line in lines for row in json.loads(line).get("events", ())]


def print_events(rows: list[EventRow]) -> None:
    totals: dict[tuple[str, str], Counter[str]] = {}
    worst: dict[tuple[str, str], tuple[float, float]] = {}
    for row in rows:
        place = str(row["layer"]), str(row["pass"])
        totals.setdefault(place, Counter()).update({event: int(row[event]) for event in EVENTS})
        error, bound = worst.get(place, (0.0, 0.0))
        worst[place] = max(error, float(row["backward_error"])), max(bound, float(row["worst_case"]))
    table = Table(title="What the roundings did, all epochs; backward error of matrix products beside n u")
    for column in ("layer", "pass"):
        table.add_column(column)
    for event in (*EVENTS, "backward error", "n u"):
        table.add_column(event.replace("_", " "), justify="right")
    for place, counts in sorted(totals.items()):
        errors = (f"{value:.2g}" if value else "-" for value in worst[place])
        table.add_row(*place, *(f"{counts[event]:,}" for event in EVENTS), *errors)
    Console(width=None if Console().is_terminal else 150).print(table)
