"""Error growth: a table for each format, and errors against n beside n u and sqrt(n) u."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emunum.report.figures import drawn
from emunum.report.paper.studies.shown import Shown, Table, count, number, verdict, with_interval

HEADER = (
    "n", "nearest", "published", "agrees", "stochastic", "published", "agrees", "n u", "sqrt(n) u",
)  # fmt: skip
_STYLES = {
    "nearest_even": {"color": "#0072B2", "linestyle": "-", "marker": "o", "label": "nearest"},
    "stochastic": {"color": "#D55E00", "linestyle": "--", "marker": "s", "label": "stochastic"},
}


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """A table for each format, a line for each n."""
    made = []
    for format in dict.fromkeys(row["format"] for row in rows):
        by_place = {(row["n"], row["rounding"]): row for row in rows if row["format"] == format}
        cells = []
        for n in dict.fromkeys(row["n"] for row in rows if row["format"] == format):
            both = [by_place.get((n, rounding)) for rounding in _STYLES]
            some = next(row for row in both if row)
            bounds = [number(some["n_u"], ".3g"), number(some["sqrt_n_u"], ".3g")]
            cells.append([f"{n:,}", *(cell for row in both for cell in _cells(row)), *bounds])
        made.append(Table(title=f"Backward error in {format}", header=HEADER, cells=cells, left=0))
    return made


def _cells(row: dict[str, Any] | None) -> list[str]:
    if row is None:
        return ["-"] * 3
    ours = with_interval(row, "backward_error", ".3g")
    return [ours, number(row["published"], ".3g"), verdict(row["agrees"])]


def notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the columns are, and how many values agree."""
    runs = max(row["runs"] for row in rows)
    by_rounding = {rounding: [row for row in rows if row["rounding"] == rounding] for rounding in _STYLES}
    return [
        "Backward error: the largest |y - y'| / (|A| |x|) of 100 entries, y' the exact product. stochastic: "
        f"mean over {runs} seeds of the random bits and its 95 % interval (Student t). u: unit roundoff.",
        f"To nearest, equal to every published digit: {count(by_rounding['nearest_even'])}. Stochastic "
        f"values that lie where one more run would, 95 times in 100: {count(by_rounding['stochastic'])}.",
    ]


def figure(records: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Backward error against n, a panel for each format."""
    formats = list(dict.fromkeys(record["format"] for record in records))
    least = min(record["backward_error"] for record in records)

    def draw(canvas: Any) -> None:
        panels = canvas.subplots(1, len(formats), sharey=True, squeeze=False)[0]
        for panel, format in zip(panels, formats, strict=True):
            _panel(panel, [record for record in records if record["format"] == format])
            panel.set_title(format, fontsize=8)
            panel.set_xlabel("n (terms of each sum)")
        panels[0].set_ylabel("backward error (relative)")
        panels[0].set_ylim(least / 2, 3)  # an error of 1 is all of the sum: n u goes further
        handles, labels = panels[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)

    return drawn(draw, (6.6, 3.4))


def _panel(panel: Any, records: Sequence[dict[str, Any]]) -> None:
    u = records[0]["unit_roundoff"]
    n = np.array(sorted({record["n"] for record in records}), np.float64)
    panel.plot(n, n * u, color="0.45", linestyle=":", linewidth=1, label="n u")
    panel.plot(n, np.sqrt(n) * u, color="0.45", linestyle="-.", linewidth=1, label=r"$\sqrt{n}$ u")
    for rounding, style in _STYLES.items():
        runs = [
            [r["backward_error"] for r in records if (r["n"], r["rounding"]) == (count, rounding)]
            for count in n
        ]
        means = [np.mean(values) for values in runs]
        panel.plot(n, means, linewidth=1.3, markersize=4, **style)
        if rounding == "stochastic":
            low, high = [min(values) for values in runs], [max(values) for values in runs]
            panel.fill_between(n, low, high, color=style["color"], alpha=0.2, linewidth=0)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.grid(alpha=0.3, linewidth=0.5)


SHOWN = Shown(
    tables=tables,
    notes=notes,
    figure=figure,
    caption="Backward error of matrix-vector products against n. Stochastic: the mean of the runs, and the "
    "band from the least to the greatest.",
)
