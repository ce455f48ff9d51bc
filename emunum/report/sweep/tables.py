"""The table of a study: a row for each configuration, as cells of text that every form of it shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emunum.experiments.results.grouping import STATUSES
from emunum.report.sweep.markup import latex, markdown
from emunum.report.sweep.study import decimals, factor_of, metric_label, number, settled
from emunum.report.tables import to_markdown

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What a cell shows, and what it is sorted by: a number, a text, or None, which comes last."""

    text: str
    value: float | str | None = None
    clear: bool = False
    """Whether it is a difference whose interval excludes zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTable:
    """A table: the first `texts` columns hold words, the others numbers."""

    header: tuple[str, ...]
    texts: int
    lines: tuple[tuple[Cell, ...], ...]


def study_table(rows: Sequence[Row], metric: str, baseline: str = "baseline") -> StudyTable:
    """Return the table of rows that `grouping.rows` made of one metric, under short headings.

    The difference is ours minus the baseline's, over shared seeds; without one there is no such column.
    """
    options = [key for key in rows[0] if key in _before(rows[0], "runs")]
    factor = factor_of(metric)
    paired = any(row[f"{metric}_pairs"] for row in rows)
    means = [_Numbers.of(row, metric, factor) for row in rows]
    differences = [_Numbers.of(row, f"{metric}_difference", factor) for row in rows]
    places = decimals(one.half for one in (*means, *differences))
    header = [*(key.replace("_", " ") for key in options), "runs", metric_label(metric), "95 % interval"]
    header += [f"difference to {baseline}", "its 95 % interval"] if paired else []
    lines = []
    for row, mean, difference in zip(rows, means, differences, strict=True):
        cells = [Cell(text=settled(key, row[key]), value=_sorted_by(row[key])) for key in options]
        cells.append(Cell(text=_ended(row), value=row["runs"]))
        cells += mean.cells(places)
        if paired:
            cells += difference.cells(places, sign=True)
        lines.append(tuple(cells))
    return StudyTable(header=tuple(header), texts=len(options), lines=tuple(lines))


def to_markdown_table(table: StudyTable) -> str:
    """Return a pipe table; a difference whose interval excludes zero is bold."""
    lines = [
        [f"**{markdown(cell.text)}**" if cell.clear else markdown(cell.text) for cell in line]
        for line in table.lines
    ]
    return to_markdown([markdown(name) for name in table.header], lines)


def to_latex(table: StudyTable) -> str:
    r"""Return a tabular with rules of booktabs; a difference whose interval excludes zero is bold."""
    columns = "l" * table.texts + "r" * (len(table.header) - table.texts)
    lines = [
        " & ".join(rf"\textbf{{{latex(cell.text)}}}" if cell.clear else latex(cell.text) for cell in line)
        for line in table.lines
    ]
    header = " & ".join(latex(name) for name in table.header)
    # A bracket at the start of a line would be taken for the distance from the line above.
    body = "".join(f"  {'{}' * line.startswith('[')}{line} \\\\\n" for line in lines)
    return (
        f"\\begin{{tabular}}{{{columns}}}\n  \\toprule\n  {header} \\\\\n  \\midrule\n{body}"
        "  \\bottomrule\n\\end{tabular}\n"
    )


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A mean and its interval, scaled to what people read."""

    mean: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, row: Row, name: str, factor: float) -> _Numbers:
        values = (row[name], row[f"{name}_ci_low"], row[f"{name}_ci_high"])
        return cls(*(None if value is None else factor * value for value in values))

    @property
    def half(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def cells(self, places: int, sign: bool = False) -> list[Cell]:
        clear = sign and self.low is not None and self.high is not None and not self.low <= 0 <= self.high
        interval = (
            "-"
            if self.low is None
            else f"[{number(self.low, places, sign)}, {number(self.high, places, sign)}]"
        )
        return [
            Cell(text=number(self.mean, places, sign), value=self.mean, clear=clear),
            Cell(text=interval, value=self.half),
        ]


def _before(row: Row, last: str) -> list[str]:
    keys = list(row)
    return keys[: keys.index(last)]


def _sorted_by(value: Any) -> float | str | None:
    return value if value is None or isinstance(value, int | float | str) else settled("", value)


def _ended(row: Row) -> str:
    others = [f"{row[status]} {status}" for status in STATUSES[1:] if row[status]]
    return f"{row['runs']}" + (f" ({', '.join(others)})" if others else "")
