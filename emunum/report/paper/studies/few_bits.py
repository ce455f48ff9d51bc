"""Few random bits: biases against N beside the predicted ones, and the loss of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emunum.experiments.studies.few_bits import NEAREST, A, B, C, mean_bias, rows
from emunum.report.figures import drawn
from emunum.report.paper.studies.shown import Shown, Table, count, with_interval

NAMES = {A: "A", B: "B", C: "C"}
_QUANTITIES = {"mean_bias": "Mean bias", "worst_bias": "Worst bias"}
_STYLES = {
    A: {"color": "#D55E00", "linestyle": "-", "marker": "o"},
    B: {"color": "#0072B2", "linestyle": "--", "marker": "s"},
    C: {"color": "#009E73", "linestyle": "-.", "marker": "^"},
}
_LINEAR = 2.0**-9
"""Biases below this, in ulp, are drawn on a linear scale, which has a place for 0."""


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """The biases for each number of tail bits, and the training runs."""
    made = []
    for tail in dict.fromkeys(row["tail_bits"] for row in rows if row["tail_bits"]):
        for quantity, title in _QUANTITIES.items():
            own = [row for row in rows if (row["tail_bits"], row["quantity"]) == (tail, quantity)]
            made.append(
                Table(
                    title=f"{title} of values with {tail} tail bits, in ulp",
                    header=("N", *(f"{name}{what}" for name in "ABC" for what in ("", " predicted"))),
                    cells=_by_bits(own, lambda row: [f"{row['value']:+.5f}", f"{row['predicted']:+.5f}"], 2),
                    left=0,
                )
            )
    training = [row for row in rows if row["quantity"] == "train_mse"]
    if training:
        cells = [
            [f"{row['format']}, nearest", with_interval(row, "value"), "", ""]
            for row in training
            if row["rounding"] == NEAREST
        ]
        drawn_bits = [row for row in training if row["rounding"] != NEAREST]
        cells += [
            [f"bfloat16, N = {line[0]}", *line[1:]]
            for line in _by_bits(drawn_bits, lambda row: [with_interval(row, "value")], 1)
        ]
        title = "Training MSE of a linear regression in bfloat16 with small updates"
        made.append(Table(title=title, header=("rounding", "A", "B", "C"), cells=cells))
    return made


def _by_bits(rows: Sequence[dict[str, Any]], cells: Any, width: int) -> list[list[str]]:
    by_place = {(row["random_bits"], row["rounding"]): row for row in rows}
    return [
        [str(bits)]
        + [
            cell
            for variant in NAMES
            for cell in (cells(by_place[bits, variant]) if (bits, variant) in by_place else ["-"] * width)
        ]
        for bits in sorted({row["random_bits"] for row in rows})
    ]


def notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What was measured, and how many biases are the predicted ones."""
    biases = [row for row in rows if row["agrees"] is not None]
    runs = max((row["samples"] for row in rows if row["quantity"] == "train_mse"), default=0)
    samples = max((row["samples"] for row in biases), default=0)
    return [
        f"Bias: how often {samples:,} values were rounded away from zero, less the mean of nu; worst: of the "
        "residues whose predicted bias is largest (none where N random bits hold all tail bits). Training "
        f"MSE: the mean of {runs} seeds of the random bits and its 95 % interval (Student t).",
        f"Measured biases within 4 standard errors of the predicted ones: {count(biases)}.",
    ]


def figure(records: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Mean bias against N, a panel for each number of tail bits; the loss of the training runs against N."""
    table = rows(records)
    tails = list(dict.fromkeys(row["tail_bits"] for row in table if row["tail_bits"]))

    def draw(canvas: Any) -> None:
        *left, right = canvas.subplots(1, len(tails) + 1, squeeze=False)[0]
        for panel, tail in zip(left, tails, strict=True):
            _draw_biases(panel, [row for row in table if row["tail_bits"] == tail], tail)
        left[0].set_ylabel("mean bias (ulp)")
        _draw_training(right, [row for row in table if row["quantity"] == "train_mse"])
        for panel in (*left, right):
            panel.set_xlabel("N (random bits)")
            panel.grid(alpha=0.3, linewidth=0.5)
        handles, labels = right.get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)

    return drawn(draw, (7.2, 3.2))


def _draw_biases(panel: Any, table: Sequence[dict[str, Any]], tail: int) -> None:
    for variant, style in _STYLES.items():
        own = [row for row in table if (row["rounding"], row["quantity"]) == (variant, "mean_bias")]
        bits = [row["random_bits"] for row in own]
        predicted = [mean_bias(variant, n, tail) for n in bits]
        panel.plot(bits, predicted, color=style["color"], linestyle=style["linestyle"], linewidth=1.2)
        panel.plot(
            bits, [row["value"] for row in own], color=style["color"], marker=style["marker"],
            linestyle="none", markersize=4,
        )  # fmt: skip
    panel.set_yscale("symlog", base=2, linthresh=_LINEAR)
    marks = [0.5**k for k in (2, 4, 6, 8)]
    panel.set_yticks(
        [*(-mark for mark in marks), 0, *reversed(marks[2:])],
        [*(f"$-2^{{-{k}}}$" for k in (2, 4, 6, 8)), "0", "$2^{-8}$", "$2^{-6}$"],
    )
    panel.set_title(f"{tail} tail bits", fontsize=8)


def _draw_training(panel: Any, table: Sequence[dict[str, Any]]) -> None:
    for format, line in (("bfloat16", (0, (1, 1))), ("float32", (0, (6, 2)))):
        for row in table:
            if (row["format"], row["rounding"]) == (format, NEAREST):
                panel.axhline(
                    row["value"], color="0.35", linestyle=line, linewidth=1, label=f"{format}, nearest"
                )
    for variant, style in _STYLES.items():
        own = [row for row in table if row["rounding"] == variant]
        bits = [row["random_bits"] for row in own]
        panel.plot(
            bits, [row["value"] for row in own], label=f"variant {NAMES[variant]}", linewidth=1.2,
            markersize=4, **style,
        )  # fmt: skip
        if all(row["value_ci_low"] is not None for row in own):
            low, high = ([row[f"value_ci_{side}"] for row in own] for side in ("low", "high"))
            panel.fill_between(bits, low, high, color=style["color"], alpha=0.2, linewidth=0)
    panel.set_ylabel("training MSE (standardised target)")
    panel.set_title("linear regression in bfloat16", fontsize=8)


SHOWN = Shown(
    tables=tables,
    notes=notes,
    figure=figure,
    caption="Left and middle: mean bias of a cast to bfloat16 against the number of random bits, predicted "
    "(lines) and measured, on a scale that is linear around 0. Right: training MSE of a linear regression "
    "with small updates, the mean of the seeds and its 95 % interval.",
)
