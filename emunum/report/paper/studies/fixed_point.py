"""Fixed point: accuracies of a network, and its loss by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emunum.experiments.studies.fixed_point import NEAREST, STOCHASTIC
from emunum.report.figures import drawn
from emunum.report.paper.studies.shown import Shown, Table, number, series, with_interval

HEADER = ("format", "rounding", "quantum", "largest", "test accuracy", "test loss", "training loss")


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """A line for each format and rounding."""
    cells = [
        [
            row["format"],
            row["rounding"].removesuffix("_even"),
            number(row["quantum"], ".2g"),
            number(row["largest"], ".4g"),
            with_interval(row, "test_accuracy", ".3f"),
            with_interval(row, "test_loss", ".3f"),
            with_interval(row, "train_loss", ".3f"),
        ]
        for row in rows
    ]
    some = rows[0] if rows else {"model": "", "dataset": "", "epochs": 0}
    title = (
        f"Network {some['model']} on {some['dataset']}, {some['epochs']} epochs, in fixed point of 16 bits"
    )
    return [Table(title=title, header=HEADER, cells=cells, left=2)]


def notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the columns are."""
    seeds = max(row["seeds"] for row in rows)
    return [
        f"Means over {seeds} seeds and their 95 % intervals (Student t). training loss: the mean of the "
        "steps of the last epoch. q6.10 has 10 bits behind the point and 6 before it, the sign among them. "
        "Published, on MNIST: with 16 bits and stochastic rounding little or no loss of accuracy; to "
        "nearest, training fails as the fraction gets short."
    ]


def figure(records: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Training loss by epoch, a panel for each rounding; the baseline is in both."""
    formats = list(dict.fromkeys(record["format"] for record in records))

    def draw(canvas: Any) -> None:
        panels = canvas.subplots(1, 2, sharey=True)
        for panel, rounding in zip(panels, (NEAREST, STOCHASTIC), strict=True):
            for at, format in enumerate(formats):
                own = [r for r in records if r["format"] == format and r["rounding"] == rounding]
                own = own or [r for r in records if r["format"] == format]
                _curve(panel, [r["epoch_loss"] for r in own], at, format)
            panel.set_title(rounding.removesuffix("_even"), fontsize=8)
            panel.set_xlabel("epoch")
            panel.set_yscale("log")
            panel.set_yticks([0.5, 1, 2], ["0.5", "1", "2"])
            panel.minorticks_off()
            panel.grid(alpha=0.3, linewidth=0.5)
        panels[0].set_ylabel("training loss (cross entropy, nats)")
        handles, labels = panels[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=len(formats), frameon=False)

    return drawn(draw, (6.6, 3.2))


def _curve(panel: Any, losses: Sequence[Sequence[float]], at: int, label: str) -> None:
    epochs = min(map(len, losses))
    curves = np.array([own[:epochs] for own in losses])
    style = series(at)
    panel.plot(
        np.arange(1, epochs + 1), curves.mean(axis=0), label=label, linewidth=1.2, markersize=3.5, **style
    )
    panel.fill_between(
        np.arange(1, epochs + 1), curves.min(axis=0), curves.max(axis=0), color=style["color"], alpha=0.15,
        linewidth=0,
    )  # fmt: skip


SHOWN = Shown(
    tables=tables,
    notes=notes,
    figure=figure,
    caption="Mean training loss of each epoch: the mean of the seeds, and the band from the least to the "
    "greatest. float32, to nearest, is in both panels.",
)
