"""Accumulator width: variance that sums keep, predicted and measured; accuracy of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emunum.experiments.studies.accumulator_width import NEAREST, STOCHASTIC, least_bits, retained, rows
from emunum.report.figures import drawn
from emunum.report.paper.studies.shown import Shown, Table, number, with_interval

Way = tuple[str, str]
"""Order and rounding."""
_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    {"color": "#D55E00", "linestyle": "--", "marker": "s"},
    {"color": "#009E73", "linestyle": "-.", "marker": "^"},
)


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Variance and error ratios for each n, accuracies, and how many bits the rule asks for."""
    sums = [row for row in rows if row["part"] == "sums"]
    ways = _ways(rows)
    made = []
    for n in dict.fromkeys(row["n"] for row in sums):
        by_place = {(row["mantissa_bits"], _way(row)): row for row in sums if row["n"] == n}
        cells = [
            [
                str(bits),
                number(retained(n, bits), ".3f"),
                *(_ratios(by_place.get((bits, way))) for way in ways),
            ]
            for bits in dict.fromkeys(bits for bits, _ in by_place)
        ]
        made.append(
            Table(
                title=f"Sums of {n:,} normal numbers in e6mM: variance kept (mean square error)",
                header=("M", "predicted, nearest", *map(_label, ways)),
                cells=cells,
                left=0,
            )
        )
    training = [row for row in rows if row["part"] == "training"]
    cells = [
        ["float32: accuracy", *[with_interval(row, "test_accuracy", ".3f")] * len(ways)]
        for row in training
        if row["mantissa_bits"] is None
    ]
    by_place = {(row["mantissa_bits"], _way(row)): row for row in training}
    for bits in dict.fromkeys(row["mantissa_bits"] for row in training if row["mantissa_bits"] is not None):
        own = [by_place.get((bits, way)) for way in ways]
        cells.append([f"e6m{bits}: less float32", *map(_difference, own)])
    if cells:
        header = ("sums in", *map(_label, ways))
        title = "Test accuracy of a network trained with such sums"
        made.append(Table(title=title, header=header, cells=cells))
    return made


def notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the columns are, and the bits that the variance argument asks for."""
    lengths = sorted({row["n"] for row in rows if row["n"] is not None})
    needs = ", ".join(f"{least_bits(n)} for n = {n:,}" for n in lengths)
    runs = max((row["runs"] for row in rows if row["part"] == "training"), default=0)
    return [
        "Variance kept: the mean square of the sums over that of the exact ones; in brackets the mean square "
        "of their errors over the same. Chunks are added in float32. Accuracies: means over "
        f"{runs} seeds and their 95 % intervals (Student t), less those of float32 with the same seeds.",
        f"Mantissa bits M with n (1 - VRR) below ln 50: {needs}.",
    ]


def figure(records: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Left: variance kept against M, to nearest, predicted and measured. Middle: errors. Right: accuracy."""
    table = rows(records)
    sums = [row for row in table if row["part"] == "sums"]
    ways, lengths = _ways(table), sorted({row["n"] for row in sums})

    def draw(canvas: Any) -> None:
        left, middle, right = canvas.subplots(1, 3)
        _draw_variance(left, sums, ways[0], lengths)
        _draw_errors(middle, sums, ways, lengths[-1])
        _draw_accuracy(right, [row for row in table if row["part"] == "training"], ways)
        for panel in (left, middle, right):
            panel.set_xlabel("M (mantissa bits)")
            panel.grid(alpha=0.3, linewidth=0.5)
        for panel, columns in ((left, 2), (middle, 1)):
            panel.legend(
                frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=columns
            )

    return drawn(draw, (7.6, 3.7))


def _draw_variance(panel: Any, sums: Sequence[dict[str, Any]], way: Way, lengths: Sequence[int]) -> None:
    shades = ("#56B4E9", "#0072B2", "#D55E00", "#000000")
    marks = ("o", "s", "^", "D")
    for n, color, mark in zip(lengths, shades, marks, strict=False):
        own = [row for row in sums if row["n"] == n and _way(row) == way]
        bits = [row["mantissa_bits"] for row in own]
        finer = [bits[0] + k * (bits[-1] - bits[0]) / 100 for k in range(101)]
        panel.plot(finer, [retained(n, m) for m in finer], color=color, linewidth=1)
        panel.plot(
            bits, [row["variance_ratio"] for row in own], color=color, marker=mark, linestyle="none",
            markersize=4, label=f"n = {n:,}",
        )  # fmt: skip
    panel.set_ylabel("variance kept (ratio)")
    panel.set_title("nearest: predicted (lines), measured", fontsize=8)


def _draw_errors(panel: Any, sums: Sequence[dict[str, Any]], ways: Sequence[Way], n: int) -> None:
    for way, style in zip(ways, _STYLES, strict=False):
        own = [row for row in sums if row["n"] == n and _way(row) == way]
        bits, errors = [row["mantissa_bits"] for row in own], [row["error_ratio"] for row in own]
        panel.plot(bits, errors, label=_label(way), linewidth=1.2, markersize=4, **style)
    panel.set_yscale("log")
    panel.set_ylabel("mean square error / variance of exact")
    panel.set_title(f"sums of {n:,} terms", fontsize=8)


def _draw_accuracy(panel: Any, training: Sequence[dict[str, Any]], ways: Sequence[Way]) -> None:
    panel.axhline(0, color="0.35", linewidth=1)
    for way, style in zip(ways, _STYLES, strict=False):
        own = [row for row in training if _way(row) == way and row["mantissa_bits"] is not None]
        own = [row for row in own if row["against_float32"] is not None]
        bits = [row["mantissa_bits"] for row in own]
        panel.plot(bits, [row["against_float32"] for row in own], linewidth=1.2, markersize=4, **style)
        low, high = ([row[f"against_float32_ci_{side}"] for row in own] for side in ("low", "high"))
        if None not in low:
            panel.fill_between(bits, low, high, color=style["color"], alpha=0.15, linewidth=0)
    panel.set_ylabel("test accuracy less that of float32")
    panel.set_title("network trained with such sums", fontsize=8)


def _ways(rows: Sequence[dict[str, Any]]) -> list[Way]:
    return list(dict.fromkeys(_way(row) for row in rows))


def _way(row: dict[str, Any]) -> Way:
    return row["order"], row["rounding"]


def _label(way: Way) -> str:
    order, rounding = way
    size = int(order.split(":")[1])
    if rounding == STOCHASTIC:
        return "stochastic"
    assert rounding == NEAREST
    return "nearest" if size > 4096 else f"nearest, chunks of {size}"


def _ratios(row: dict[str, Any] | None) -> str:
    return "-" if row is None else f"{row['variance_ratio']:.3f} ({row['error_ratio']:.2g})"


def _difference(row: dict[str, Any] | None) -> str:
    return "-" if row is None else with_interval(row, "against_float32", "+.3f")


SHOWN = Shown(
    tables=tables,
    notes=notes,
    figure=figure,
    caption="Left: variance that sums to nearest keep, and the prediction. Middle: mean square error of the "
    "longest sums. Right: test accuracy of a network, less that of float32 with the same seed: the mean of "
    "the seeds and its 95 % interval.",
)
