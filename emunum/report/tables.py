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
    """Return the cells of the regression table: four significant digits, intervals where there are any."""
    return [
        [
            row["dataset"],
            row["format"],
            row["rounding"],
            _with_interval(row, "final_step_mse"),
            f"{row['published_train_mse']:.4g}",
            _with_interval(row, "test_mse_over_n"),
            f"{row['published_test_mse_over_n']:.4g}",
            f"{row['test_mse']:.4g}",
            {True: "yes", False: "no", None: "-"}[row["agrees"]],
        ]
        for row in rows
    ]


def _with_interval(row: dict[str, Any], key: str) -> str:
    value = f"{row[key]:.4g}"
    return value if row["runs"] == 1 else f"{value} [{row[key + '_low']:.4g}, {row[key + '_high']:.4g}]"
