"""Figures from records as PNG, SVG, PDF: colour-blind-safe, told apart by line style too, reproducible."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from emunum.formats import Format

# Okabe and Ito's palette; the second of each pair is a line style that survives a grey printer.
_STYLES = {
    ("output", "nearest_even"): ("#0072B2", "-"),
    ("output", "stochastic"): ("#E69F00", "--"),
    ("full", "nearest_even"): ("#000000", "-."),
    ("full", "stochastic"): ("#CC79A7", ":"),
}
_FIXED: Any = {
    "svg.hashsalt": "emunum", "svg.fonttype": "none", "pdf.fonttype": 42, "font.family": "DejaVu Sans",
    "font.size": 8,
}  # fmt: skip
_UNDATED: Any = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""What is left out of a file's description: when it was made, and (in PNG) with what."""


def regression_figure(records: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Return {"png": ..., "svg": ...}: training MSE per step, a panel for each dataset and format.

    Stochastic lines are means over the runs, their bands the least and greatest run.
    """
    datasets = list(dict.fromkeys(record["dataset"] for record in records))
    formats = sorted({record["format"] for record in records}, key=lambda name: Format.from_name(name).bits)

    def draw(figure: Any) -> None:
        panels = figure.subplots(len(datasets), len(formats), sharex=True, sharey="row", squeeze=False)
        for row, dataset in zip(panels, datasets, strict=True):
            for panel, format in zip(row, formats, strict=True):
                own = [r for r in records if (r["dataset"], r["format"]) == (dataset, format)]
                _draw_curves(panel, own)
                panel.set_title(f"{dataset}, {format}", fontsize=8)
            row[0].set_ylabel("training MSE\n(standardised target)")
        for panel in panels[-1]:
            panel.set_xlabel("step")
        handles = {label: line for panel in panels.flat for line, label in zip(*_legend(panel), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)

    return drawn(draw, (2.6 * len(formats), 2.1 * len(datasets)))


def drawn(
    draw: Callable[[Any], None], size: tuple[float, float], kinds: Sequence[str] = ("png", "svg")
) -> dict[str, bytes]:
    """Return {"png": ..., "svg": ...}: what `draw` puts on an empty figure of so many inches.

    The kinds are png, svg and pdf. The same drawing gives the same bytes: no settings of the user's, no
    dates, no random identifiers.
    """
    with mpl.rc_context():
        mpl.rcdefaults()  # a user's matplotlibrc does not change a figure
        mpl.rcParams.update(_FIXED)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        return {kind: _saved(figure, kind) for kind in kinds}


def _draw_curves(panel: Any, records: Sequence[dict[str, Any]]) -> None:
    for (policy, rounding), (color, line) in _STYLES.items():
        own = [r["step_mse"] for r in records if (r["policy"], r["rounding"]) == (policy, rounding)]
        if not own:
            continue
        curves = np.array(own)
        steps = np.arange(1, curves.shape[1] + 1)
        label = f"{policy}, {rounding.replace('_even', '')}"
        panel.plot(steps, curves.mean(axis=0), color=color, linestyle=line, linewidth=1.3, label=label)
        if len(curves) > 1:
            panel.fill_between(
                steps, curves.min(axis=0), curves.max(axis=0), color=color, alpha=0.2, linewidth=0
            )
    panel.grid(alpha=0.3, linewidth=0.5)


def _legend(panel: Any) -> tuple[list[Any], list[str]]:
    handles, labels = panel.get_legend_handles_labels()
    return handles, labels


def _saved(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=160, metadata=_UNDATED[kind])
    return buffer.getvalue()
