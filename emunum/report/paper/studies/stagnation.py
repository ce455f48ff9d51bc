"""Sums that stop growing: the table, and partial sums against the number of terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emunum.report.figures import drawn
from emunum.report.paper.studies.shown import Shown, Table, count, number, series, verdict, with_interval

TITLES = {
    "harmonic": "Harmonic sum: 1 + 1/2 + 1/3 + ...",
    "uniform": "Sum of uniform random numbers in [0, 1)",
}
HEADER = (
    "format", "terms", "exact", "nearest", "published", "stops at term", "published", "stochastic", "agrees",
)  # fmt: skip


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """A table for each of the sums."""
    return [
        Table(
            title=title,
            header=HEADER,
            cells=[
                [
                    row["format"],
                    f"{row['terms']:,}",
                    number(row["exact"], ".8g"),
                    number(row["nearest"], ".8g"),
                    number(row["published"], ".8g"),
                    number(row["stalls_at"], ","),
                    number(row["published_stalls_at"], ","),
                    with_interval(row, "stochastic"),
                    verdict(row["agrees"]),
                ]
                for row in rows
                if row["sum"] == name
            ],
        )
        for name, title in TITLES.items()
    ]


def notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the columns are, and how many rows agree."""
    seeds = max(row["seeds"] for row in rows)
    return [
        "Every term and every partial sum is rounded to the format; sums saturate at its largest number. "
        "stops at term: the first that changes nothing any more. stochastic: mean over "
        f"{seeds} seeds and its 95 % interval (Student t).",
        f"Values and terms equal to the published ones: {count(rows)}.",
    ]


def figure(records: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Partial sums against n: a row of panels for each sum, to nearest and stochastically."""
    formats = list(dict.fromkeys(record["format"] for record in records))

    def draw(canvas: Any) -> None:
        panels = canvas.subplots(len(TITLES), 2, sharex="row", sharey="row", squeeze=False)
        for line, sum in zip(panels, TITLES, strict=True):
            for panel, rounding in zip(line, ("nearest_even", "stochastic"), strict=True):
                own = [r for r in records if (r["sum"], r["rounding"]) == (sum, rounding)]
                _curves(panel, own, formats)
                panel.set_title(f"{sum}, {rounding.removesuffix('_even')}", fontsize=8)
                panel.set_xlabel("number of terms")
            line[0].set_ylabel("partial sum")
        for panel in panels[1]:
            panel.set_yscale("log", base=2)
        handles, labels = panels[0][0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)

    return drawn(draw, (6.6, 5.6))


def _curves(panel: Any, records: Sequence[dict[str, Any]], formats: Sequence[str]) -> None:
    for at, format in enumerate(formats):
        own = [record for record in records if record["format"] == format]
        if own:
            mean = np.array([record["partial"] for record in own]).mean(axis=0)
            style = series(at) | {"markersize": 3, "linewidth": 1.1, "markevery": (at % 2, 2)}
            panel.plot(own[0]["n"], mean, label=format, **style)
    panel.plot(*_exact(records[0]), color="0.55", linewidth=2.5, zorder=0, label="exact")
    panel.set_xscale("log", base=2)
    panel.grid(alpha=0.3, linewidth=0.5)


def _exact(record: dict[str, Any]) -> tuple[list[int], Any]:
    """The sum without rounding: H(n), and the mean n / 2 of uniform numbers."""
    n = np.array(record["n"])
    if record["sum"] == "harmonic":
        return record["n"], np.cumsum(1 / np.arange(1, n[-1] + 1))[n - 1]
    return record["n"], n / 2


SHOWN = Shown(
    tables=tables,
    notes=notes,
    figure=figure,
    caption="Partial sums against the number of terms; stochastic: mean over the seeds. Grey: exact; "
    "of uniform numbers it is the mean, n / 2.",
)
