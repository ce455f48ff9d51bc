"""Test errors of the image studies: a dot for each row, a panel for each way of rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emunum.report.figures import drawn

_MARKS = {
    "nearest_even": ("nearest", {"marker": "o", "color": "#0072B2"}),
    "stochastic": ("stochastic", {"marker": "s", "color": "#D55E00"}),
    "toward_zero": ("toward zero", {"marker": "v", "color": "#009E73"}),
}
_PUBLISHED = {"marker": "D", "markerfacecolor": "none", "color": "black"}
_GUESSING = 90.0  # per cent of ten classes
_WIDTH, _LEFT, _BELOW, _BETWEEN = 6.6, 1.35, 0.85, 0.35  # inches
_TICKS = (0.5, 1, 2, 5, 10, 20, 50, 90)


def accuracy_figure(
    rows: Sequence[dict[str, Any]], panels: Mapping[str, tuple[str, ...]]
) -> dict[str, bytes]:
    """Return {"png": ..., "svg": ...}: test error by format; a panel has a title and beginnings of rows.

    A dotted line is the panel's float32, a grey one what guessing gets. Rows without a record are left out.
    """
    measured = [row for row in rows if row["test_accuracy"] is not None]
    shown = {
        title: [row for row in measured if row["row"].startswith(begin)] for title, begin in panels.items()
    }
    heights = [len(_labels(own)) for own in shown.values()]

    def draw(canvas: Any) -> None:
        # Panels of several heights come out of the constrained layout with last bits that vary by process.
        canvas.set_layout_engine("none")
        places = _places(height, heights)
        axes = canvas.subplots(len(shown), 1, sharex=True, squeeze=False, gridspec_kw=places)[:, 0]
        for panel, (title, own) in zip(axes, shown.items(), strict=True):
            _dots(panel, own)
            panel.set_title(title, fontsize=8, loc="left")
        axes[-1].set_xscale("log")
        axes[-1].set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
        axes[-1].set_xlabel("test error (%)")
        handles = {
            label: dot
            for panel in axes
            for dot, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        canvas.legend(handles.values(), handles.keys(), loc="lower center", ncols=6, frameon=False)

    height = _BELOW + 0.25 * sum(heights) + _BETWEEN * len(shown)
    return drawn(draw, (_WIDTH, height))


def _places(height: float, heights: Sequence[int]) -> dict[str, Any]:
    """Where panels of so many lines stand in a figure of a height in inches, as a GridSpec takes it."""
    whole = height - _BELOW - _BETWEEN * len(heights)
    return {
        "left": _LEFT / _WIDTH,
        "right": 1 - 0.1 / _WIDTH,
        "bottom": _BELOW / height,
        "top": 1 - _BETWEEN / height,
        "hspace": _BETWEEN * len(heights) / whole,
        "height_ratios": heights,
    }


def _labels(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each format: the row's name without policy and rounding."""
    return list(dict.fromkeys(_label(row) for row in rows))


def _label(row: dict[str, Any]) -> str:
    words = row["row"].replace("-stochastic", "").split("-")
    return "-".join(words[1:]) if words[0] == row["policy"] and len(words) > 1 else "-".join(words)


def _dots(panel: Any, rows: Sequence[dict[str, Any]]) -> None:
    labels = _labels(rows)
    for row in rows:
        y = labels.index(_label(row))
        name, style = _MARKS[row["rounding"]]
        panel.plot(_error(row["test_accuracy"]), y, linestyle="", markersize=6, label=name, **style)
        if row["published_accuracy"] is not None:
            panel.plot(
                _error(row["published_accuracy"]),
                y,
                linestyle="",
                markersize=6,
                label="published",
                **_PUBLISHED,
            )
    for row in rows:
        if _label(row) == "float32":
            panel.axvline(_error(row["test_accuracy"]), color="0.3", linestyle=":", linewidth=1, zorder=0)
    panel.axvline(_GUESSING, color="0.75", linewidth=2.5, zorder=0)
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    panel.grid(axis="x", which="both", alpha=0.3, linewidth=0.5)


def _error(accuracy: float) -> float:
    return 100 * (1 - accuracy)
