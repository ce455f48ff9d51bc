"""Tables from rows: CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any


def to_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Return rows as CSV with a header; numbers in full, null and what a row lacks as an empty field.

    The columns are those given, or else the keys of the first row, which all rows have to have then.
    """
    text = io.StringIO()
    if rows or columns:
        names = list(columns or rows[0])
        writer = csv.DictWriter(
            text, names, lineterminator="\n", extrasaction="ignore" if columns else "raise"
        )
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def to_markdown(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Return a pipe table."""
    lines = [header, ["---"] * len(header), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


REGRESSION_HEADER = (
    "dataset", "format", "rounding", "train MSE", "published", "test MSE / n", "published", "test MSE",
    "agrees",
)  # fmt: skip


def regression_cells(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the cells of the regression table, with four significant digits.

    A row of several runs shows the mean and its 95 % interval and, beside the published value, how many
    of its runs lie below.
    """
    return [
        [
            row["dataset"],
            row["format"],
            row["rounding"],
            _ours(row, "final_step_mse"),
            _theirs(row, "published_train_mse", "final_step_mse_rank"),
            _ours(row, "test_mse_over_n"),
            _theirs(row, "published_test_mse_over_n", "test_mse_over_n_rank"),
            _number(row["test_mse"]),
            {True: "yes", False: "no", None: "-"}[row["agrees"]],
        ]
        for row in rows
    ]


def _ours(row: dict[str, Any], key: str) -> str:
    mean, low, high = _number(row[key]), row[f"{key}_ci_low"], row[f"{key}_ci_high"]
    return mean if low is None else f"{mean} [{low:.4g}, {high:.4g}]"


def _number(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.4g}"


def _theirs(row: dict[str, Any], key: str, rank: str) -> str:
    value = f"{row[key]:.4g}"
    return value if row[rank] is None else f"{value} (> {round(row[rank] * row['runs'])} of {row['runs']})"


IMAGES_HEADER = (
    "row", "format", "rounding", "accuracy %", "published", "F1 %", "published", "loss", "published",
    "time s", "published", "weights B", "activations B", "epochs", "data",
)  # fmt: skip


def images_cells(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the cells of an image table: a dash where nothing was measured or published.

    Bytes are those of the weights and of a batch's activations. Epochs are those trained and, in brackets,
    the one whose weights these are. Data are as published, a JPEG copy, or another copy that differs.
    """
    return [
        [
            row["row"],
            row["format"],
            row["rounding"],
            *_beside(row, "accuracy", 100, ".2f"),
            *_beside(row, "f1", 100, ".2f"),
            *_beside(row, "loss", 1, ".4f"),
            _filled(row["wall_s"], 1, ",.0f"),
            _filled(row["published_runtime_s"], 1, ",.0f"),
            _filled(row["weight_bytes"], 1, ","),
            _filled(row["activation_bytes"], 1, ","),
            _epochs(row),
            _data(row),
        ]
        for row in rows
    ]


def _beside(row: dict[str, Any], key: str, factor: int, form: str) -> tuple[str, str]:
    ours = "diverged" if row["status"] == "diverged" else _filled(row[f"test_{key}"], factor, form)
    return ours, _filled(row[f"published_{key}"], factor, form)


def _filled(value: float | None, factor: int, form: str) -> str:
    return "-" if value is None else f"{value * factor:{form}}"


def _epochs(row: dict[str, Any]) -> str:
    done, best = row["epochs_completed"], row["best_epoch"]
    return "-" if done is None else f"{done}" if best is None else f"{done} ({best})"


def _data(row: dict[str, Any]) -> str:
    note = row["data_note"]
    if note is None:
        return "-" if row["status"] is None else "as published"
    return "JPEG copy" if note.startswith("JPEG copy") else "altered"
