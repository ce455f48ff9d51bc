"""The page and the figures of a run, as files: name to content. Equal runs give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.datasets import ImageSamples
from emunum.experiments.records import computed_on
from emunum.experiments.training.counting import merged
from emunum.ops.events import EVENTS
from emunum.report.run.figures import (
    GALLERY,
    confusion_figure,
    curves_figure,
    gallery_figure,
    scatter_figure,
)
from emunum.report.run.reading import FinishedRun, Predictions
from emunum.report.tables import to_markdown

_RESULTS = (
    ("test_accuracy", "test accuracy"), ("test_f1", "test macro F1"), ("test_loss", "test loss"),
    ("test_mse", "test MSE"), ("test_rmse", "test RMSE"), ("train_mse", "training MSE"),
    ("final_step_loss", "last step's loss"), ("validation_loss", "validation loss, best epoch"),
    ("validation_accuracy", "validation accuracy, best epoch"), ("best_epoch", "best epoch"),
    ("parameters", "parameters"), ("steps", "steps"), ("accumulator_overflows", "accumulator overflows"),
)  # fmt: skip
_CONFUSED = 10


def report_files(
    run: FinishedRun, predictions: Predictions, *, seed: int | None = None, errors: bool = False
) -> dict[str, bytes]:
    """Return the files of a report: summary.md, and each figure as .png and .svg.

    curves of every run; confusion and, of images, gallery where there are classes; scatter of a regression.
    The gallery has the first 30 images of the test set, or 30 that `seed` draws, in the order of the test
    set; with `errors`, of those alone that were taken for another class.
    """
    record, note = run.record, run.record.get("data_note")
    name = run_name(run) + (f"\n{note}" if note else "")
    target = "standardised" if predictions.classes is None else "one-hot"
    units = {"cross_entropy": "cross-entropy (nats)", "mse": f"MSE ({target} target)"}
    unit = units[record["loss_applied"]]
    figures = {
        "curves": curves_figure(
            name, run.history, unit, record.get("best_epoch"), record.get("test_accuracy")
        )
    }
    sections: list[str | None] = [_summary(run)]
    if predictions.classes is None:
        predicted, true = predictions.y[:, 0], predictions.target[:, 0]
        rmse = record.get("test_rmse")
        title = f"{name}\ntest RMSE {rmse:.4g}" if rmse is not None else name
        figures["scatter"] = scatter_figure(title, predicted, true)
    else:
        counts, classes = predictions.confusion, predictions.classes
        right, n = int(np.trace(counts)), int(counts.sum())
        share = f"{right:,} of {n:,} test samples right ({100 * right / n:.2f} %)"
        figures["confusion"] = confusion_figure(f"{name}\n{share}", counts, classes)
        sections.append(_confused(counts, classes))
        if isinstance(predictions.samples, ImageSamples):
            figures["gallery"] = _gallery(name, predictions, predictions.samples, seed, errors)
    sections += [_events(run), *(f"## {stem.capitalize()}\n\n![{stem}]({stem}.png)\n" for stem in figures)]
    files = {f"{stem}.{kind}": data for stem, both in figures.items() for kind, data in both.items()}
    return files | {"summary.md": "\n".join(filter(None, sections)).encode()}


def run_name(run: FinishedRun) -> str:
    """Return a run's title: data set, model, format, rounding, policy, and what is unusual about it."""
    config = run.config
    words = [config.dataset, config.model, config.format, config.rounding, f"policy {config.policy}"]
    words += [f"accumulator {config.accumulator}"] if config.accumulator else []
    words += [f"order {config.order}"] if config.order != "sequential" else []
    words += [] if run.record["status"] == "completed" else [str(run.record["status"])]
    return ", ".join(words)


def _gallery(
    name: str, predictions: Predictions, samples: ImageSamples, seed: int | None, errors: bool
) -> dict[str, bytes]:
    classes, images = predictions.classes or (), samples.images
    wrong = predictions.predicted != predictions.true
    among = np.flatnonzero(wrong) if errors else np.arange(len(samples))
    chosen = among[:GALLERY]
    if seed is not None:
        # MT19937 and RandomState.permutation are frozen: another NumPy draws the same images.
        chosen = np.sort(np.random.RandomState(seed).permutation(among)[:GALLERY])
    what = "wrong predictions" if errors else "test images"
    how = "the first" if seed is None else f"drawn with seed {seed}:"
    count = f"{how} {len(chosen)} of {len(among):,} {what}"
    marked = f"{int(wrong[chosen].sum())} wrong, marked \u00d7 and framed"
    key = "above each: its true class, below: the predicted one"
    return gallery_figure(
        f"{name}\n{count}; {key}; {marked}",
        images.pixels[samples.index[chosen]],
        images.top,
        [classes[i] for i in predictions.true[chosen]],
        [classes[i] for i in predictions.predicted[chosen]],
    )


def _summary(run: FinishedRun) -> str:
    record, epochs = run.record, len(run.history)
    results = [("status", _worded(record["status"], record.get("reason")))]
    results.append(("epochs", f"{record.get('epochs_completed')} of {run.config.epochs}"))
    results += [(label, f"{record[key]:.6g}") for key, label in _RESULTS if record.get(key) is not None]
    if (scales := {epoch["loss_scale"] for epoch in run.history}) and len(scales) > 1:
        skipped = sum(epoch["skipped_steps"] for epoch in run.history)
        results.append(("loss scale", f"{min(scales):g} to {max(scales):g}, {skipped} steps skipped"))
    for key, label in (("weight", "weights"), ("activation", "activations of a batch")):
        if (size := record.get(f"{key}_bytes")) is not None:
            whole = record[f"{key}_float32_bytes"]
            results.append((label, f"{size:,} bytes; in float32 {whole:,} ({size / max(whole, 1):.1%})"))
    training_s = sum(epoch["wall_s"] for epoch in run.history)
    rate = f", {training_s / epochs:.3g} s an epoch" if epochs else ""
    results += [
        ("wall time", f"{record['wall_s']:.2f} s on {computed_on(record)}{rate}"),
        ("resumed", f"{record.get('resumed', 0)} times"),
        ("data SHA-256", record["data_sha256"]),
        ("weights SHA-256", record["weights_sha256"]),
        ("run", f"{record['run_id']}, {record.get('started')}, emunum {record.get('emunum_version')}"),
    ]
    if record.get("data_note"):
        results.append(("data note", record["data_note"]))
    maximum, overflow = record.get("format_max"), record.get("overflow_applied")
    config = [(key.replace("_", " "), _shown(value)) for key, value in run.config.as_dict().items()]
    config.insert(2, ("largest value, overflow applied", f"{maximum:g}, {overflow}" if maximum else "-"))
    return (
        f"# {run_name(run)}\n\n## Result\n\n{_table(('measure', 'value'), results)}\n"
        f"## Configuration\n\n{_table(('option', 'value'), config)}"
    )


def _confused(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """The pairs of classes that were confused most often."""
    wrong = np.where(np.eye(len(classes), dtype=bool), 0, counts)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSED]
    pairs = [divmod(int(at), len(classes)) for at in order]
    rows = [
        (classes[i], classes[j], f"{wrong[i, j]}", f"{wrong[i, j] / counts[i].sum():.1%}")
        for i, j in pairs
        if wrong[i, j]
    ]
    if not rows:
        return "## Most frequent errors\n\nNone.\n"
    header = ("true class", "taken for", "samples", "share of the class")
    return f"## Most frequent errors\n\n{_table(header, rows)}"


def _events(run: FinishedRun) -> str | None:
    rows = merged(row for epoch in run.history for row in epoch.get("events", ()))
    if not rows:
        return None
    header = (
        "layer",
        "pass",
        "role",
        *(event.replace("_", " ") for event in EVENTS),
        "backward error",
        "n u",
    )
    cells = [
        (
            *(str(row[key]) for key in ("layer", "pass", "role")),
            *(f"{row[event]:,}" for event in EVENTS),
            *(f"{row[key]:.2g}" if row[key] else "-" for key in ("backward_error", "worst_case")),
        )
        for row in rows
    ]
    return f"## Events of all epochs\n\n{_table(header, cells)}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return to_markdown(
        header, [[cell.replace("|", r"\|").replace("\n", " ") for cell in row] for row in rows]
    )


def _worded(status: str, reason: str | None) -> str:
    return f"{status}: {reason}" if reason else status


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
