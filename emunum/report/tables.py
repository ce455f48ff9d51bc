"""Tables from rows: CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows of equal keys as CSV with a header; numbers in full, null as an empty field."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
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
