"""What a study shows: tables from its rows, a figure from its records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from emunum.report.tables import to_markdown

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, without the yellow that fades on white."""

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Line styles and markers that go with the colours, for grey print."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table in text: a title, a header and rows of cells. The first `left` columns hold words."""

    title: str
    header: tuple[str, ...]
    cells: list[list[str]]
    left: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a study is shown.

    tables: of the rows, for print. notes: paragraphs that stand below them, the verdict last.
    figure: {"png": ..., "svg": ...} of the records, by report.figures.drawn; None where there is none.
    caption: what the figure shows.
    """

    tables: Callable[[Sequence[dict[str, Any]]], list[Table]]
    notes: Callable[[Sequence[dict[str, Any]]], list[str]] = lambda rows: []
    figure: Callable[[Sequence[dict[str, Any]]], dict[str, bytes]] | None = None
    caption: str = ""


def series(number: int) -> dict[str, Any]:
    """Return colour, line style and marker of the n-th of several lines, as options of plot."""
    at = number % len(PALETTE)
    return {"color": PALETTE[at], "linestyle": LINES[at], "marker": MARKERS[at]}


def in_markdown(tables: Sequence[Table], notes: Sequence[str], level: int = 2) -> str:
    """Return the tables and the notes below them, each table under a heading of a level."""
    parts = [f"{'#' * level} {t.title}\n\n{to_markdown(t.header, t.cells)}" for t in tables]
    return "\n".join([*parts, *(f"{note}\n" for note in notes)])


def number(value: float | None, form: str = ".4g") -> str:
    """Return a cell: a dash for null."""
    return "-" if value is None else f"{value:{form}}"


def with_interval(row: dict[str, Any], key: str, form: str = ".4g") -> str:
    """Return a mean as a cell, with the interval that a row has beside it: KEY_ci_low, KEY_ci_high."""
    mean, low, high = row[key], row[f"{key}_ci_low"], row[f"{key}_ci_high"]
    return number(mean, form) if low is None else f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def verdict(agrees: bool | None) -> str:
    """Return yes, no, or a dash where there is nothing to agree with."""
    return {True: "yes", False: "no", None: "-"}[agrees]


def count(rows: Sequence[dict[str, Any]]) -> str:
    """Return how many of the rows agree, of those that have something to agree with."""
    comparable = [row for row in rows if row["agrees"] is not None]
    return f"{sum(row['agrees'] for row in comparable)} of {len(comparable)}"
