"""Sums in chunks: errors against the size of a chunk, sums against the number of terms."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from emunum.report.figures import drawn
from emunum.report.paper.studies.shown import Shown, Table, count, number, series, verdict, with_interval

NEAREST, STOCHASTIC = "nearest_even", "stochastic"
ERRORS = ("chunk", "sum to nearest", "published", "agrees", "relative error", "stochastic: relative error")


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Every chunk of the longest sums; and how the sums of some chunks grow."""
    longest = max((row["n"] for row in rows), default=0)
    by_place = {(row["n"], row["chunk"], row["rounding"]): row for row in rows}
    errors = [
        [
            f"{row['chunk']:,}",
            *_ours(row),
            _error(row),
            _error(by_place.get((longest, row["chunk"], STOCHASTIC))),
        ]
        for row in rows
        if (row["n"], row["rounding"]) == (longest, NEAREST)
    ]
    lines = _lines(rows)
    sums = [
        [
            f"{n:,}",
            number(by_place[n, 1, NEAREST]["exact"], ".7g"),
            number(by_place[n, 1, NEAREST]["published"], ".7g"),
            *(number(by_place[n, *line]["value"], ".7g") for line in lines),
        ]
        for n in sorted({row["n"] for row in rows})
        if all((n, *line) in by_place for line in lines)
    ]
    return [
        Table(title=f"Sums of {longest:,} numbers of mean 1", header=ERRORS, cells=errors, left=0),
        Table(
            title="Sums of the first n numbers",
            header=("n", "exact", "published: no chunks, nearest", *(_label(*line) for line in lines)),
            cells=sums,
            left=0,
        ),
    ]


def notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the columns are, where the error is least, how many sums agree."""
    longest = max(row["n"] for row in rows)
    own = [row for row in rows if row["n"] == longest and row["rounding"] == NEAREST]
    best = min(own, key=lambda row: row["relative_error"])
    return [
        "Sums are of the numbers of seed 0; relative error: the mean of |sum / exact - 1| over "
        f"{own[0]['seeds']} seeds and its 95 % interval (Student t).",
        f"The error to nearest is least at chunks of {best['chunk']}: {best['relative_error']:.2g}. "
        f"Sums equal to the published ones: {count(rows)}.",
    ]


def figure(records: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Left: sums against n. Right: relative error against the size of a chunk."""

    def draw(canvas: Any) -> None:
        left, right = canvas.subplots(1, 2)
        _draw_sums(left, records)
        _draw_errors(right, records)
        for panel in (left, right):
            panel.set_xscale("log", base=2)
            panel.grid(alpha=0.3, linewidth=0.5)
            panel.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)

    return drawn(draw, (6.8, 4.0))


def _draw_sums(panel: Any, records: Sequence[dict[str, Any]]) -> None:
    first = [record for record in records if record["seed"] == 0]
    exact = sorted({(record["n"], record["exact"]) for record in first})
    panel.plot(*zip(*exact, strict=True), color="0.7", linewidth=3, label="exact")
    for at, line in enumerate(_lines(first)):
        points = sorted((r["n"], r["value"]) for r in first if (r["chunk"], r["rounding"]) == line)
        panel.plot(*zip(*points, strict=True), label=_label(*line), markersize=4, linewidth=1.2, **series(at))
    panel.set_yscale("log", base=2)
    panel.set_xlabel("n (terms)")
    panel.set_ylabel("sum")


def _draw_errors(panel: Any, records: Sequence[dict[str, Any]]) -> None:
    lengths = sorted({record["n"] for record in records if record["chunk"] > max(_followed(records))})
    lines = [(n, NEAREST) for n in lengths] + [(lengths[-1], STOCHASTIC)] if lengths else []
    for at, (n, rounding) in enumerate(lines):
        own = [r for r in records if (r["n"], r["rounding"]) == (n, rounding)]
        chunks = sorted({record["chunk"] for record in own})
        errors = [fmean(abs(r["value"] / r["exact"] - 1) for r in own if r["chunk"] == c) for c in chunks]
        label = f"n = {n:,}, {rounding.removesuffix('_even')}"
        panel.plot(chunks, errors, label=label, markersize=4, linewidth=1.2, **series(at))
    panel.set_yscale("log")
    panel.set_xlabel("chunk (terms)")
    panel.set_ylabel("mean relative error of the sum")


def _followed(rows: Sequence[dict[str, Any]]) -> list[int]:
    """The chunks whose sums are followed from few terms on: those of the shortest sums."""
    shortest = min((row["n"] for row in rows), default=0)
    return sorted({row["chunk"] for row in rows if row["n"] == shortest})


def _lines(rows: Sequence[dict[str, Any]]) -> list[tuple[int, str]]:
    """The followed chunks and roundings: all to nearest, and stochastically the sum without chunks."""
    return [(chunk, NEAREST) for chunk in _followed(rows)] + [(1, STOCHASTIC)]


def _label(chunk: int, rounding: str) -> str:
    return f"chunks of {chunk}" if chunk > 1 else f"no chunks, {rounding.removesuffix('_even')}"


def _ours(row: dict[str, Any]) -> list[str]:
    return [number(row["value"], ".7g"), number(row["published"], ".7g"), verdict(row["agrees"])]


def _error(row: dict[str, Any] | None) -> str:
    return "-" if row is None else with_interval(row, "relative_error", ".2g")


SHOWN = Shown(
    tables=tables,
    notes=notes,
    figure=figure,
    caption="Left: sums of the first n numbers (seed 0) in e6m9. Right: mean relative error over the seeds.",
)
