"""The figures of a study: results, learning curves, results against bits, events.

Configurations are told apart as study_styles.py says; values that styles do not tell, and in curves those of
the second option, get panels of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emunum.experiments.results.grouping import STATUSES, Group
from emunum.experiments.results.intervals import mean_of
from emunum.formats import Format
from emunum.ops.events import EVENTS
from emunum.report.figures import drawn
from emunum.report.sweep.panels import (
    WIDTH,
    label_lowest,
    legend_below,
    panels_of,
    placed,
    scale_axis,
    shape_of,
    unframe,
)
from emunum.report.sweep.study import Study, factor_of, metric_label
from emunum.report.sweep.styles import Style, styled, styles_of

KINDS = ("png", "svg", "pdf")
MOST = 60
"""Configurations that a figure has room for."""
_GREY = "#808080"
_FEW_LINES = 2

Figure = dict[str, bytes]


def figures_of(study: Study) -> dict[str, Figure]:
    """Return the figures that the records have something for, each as {"png": ..., "svg": ..., "pdf": ...}.

    results; curves, of runs with a history; bits, where formats of several widths were compared; events,
    where they were counted. None of them for more than 60 configurations.
    """
    if len(study.groups) > MOST or not any(group.values(study.metric) for group in study.groups):
        return {}
    found = {
        "results": _results(study),
        "curves": _curves(study),
        "bits": _bits(study),
        "events": _events(study),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def _results(study: Study) -> Figure:
    """A row for each configuration: every seed, the mean and its interval."""
    factor, groups = factor_of(study.metric), study.groups
    shown = [factor * value for group in groups for value in group.values(study.metric).values()]

    def draw(figure: Any) -> None:
        panel = figure.subplots()
        for mean in reference_means(study):
            panel.axvline(factor * mean, color=_GREY, linestyle=":", linewidth=1, zorder=0)
        for at, (group, style) in enumerate(zip(groups, styles_of(study), strict=True)):
            values = [factor * value for value in group.values(study.metric).values()]
            panel.plot(
                values, [at + 0.24] * len(values), linestyle="", marker="|", markersize=6, color=style.color,
                alpha=0.7,
            )  # fmt: skip
            _with_interval(panel, at, values, style, horizontal=True)
        scale_axis(panel, "x", shown)
        panel.set_yticks(range(len(groups)), [_row_label(study, group) for group in groups])
        panel.set_ylim(len(groups) - 0.4, -0.6)
        panel.set_xlabel(f"{metric_label(study.metric)}: mean, 95 % interval, and every seed below")
        unframe(panel, "x")

    return drawn(draw, (WIDTH, 0.9 + 0.36 * len(groups)), KINDS)


def _note(panel: Any, at: float, text: str) -> None:
    place = {"xy": (1, at), "xycoords": ("axes fraction", "data"), "xytext": (-4, 0)}
    panel.annotate(text, **place, textcoords="offset points", ha="right", va="center", fontsize=7)


def reference_means(study: Study) -> list[float]:
    """Return the results of the baselines, where there are one or two to look at."""
    bases = {id(base): base for base in study.bases if base is not None}
    means = [base.mean(study.metric) for base in bases.values()]
    return [mean.mean for mean in means if mean is not None] if len(bases) <= _FEW_LINES else []


def _with_interval(
    panel: Any,
    at: float,
    values: Sequence[float],
    style: Style,
    *,
    horizontal: bool,
    label: str | None = None,
) -> None:
    """A marker at the mean, and its interval as a bar."""
    mean = mean_of(values)
    if mean is None:
        return
    ends = (
        None if mean.low is None or mean.high is None else [[mean.mean - mean.low], [mean.high - mean.mean]]
    )
    x, y = ([mean.mean], [at]) if horizontal else ([at], [mean.mean])
    bars = {"xerr": ends} if horizontal else {"yerr": ends}
    panel.errorbar(
        x, y, **bars, **style.marks, linestyle="", markersize=6, capsize=3, elinewidth=1.4, label=label
    )


def _curves(study: Study) -> Figure | None:
    """Loss, and accuracy if there is one, by epoch: mean over the completed runs and its interval."""
    measures = {
        "train_loss": "training loss\n(mean of the epoch)",
        "validation_loss": "validation loss",
        "validation_accuracy": "validation accuracy (%)",
    }
    histories = [_histories(group) for group in study.groups]
    shown = {
        key: label
        for key, label in measures.items()
        if any(epoch.get(key) is not None for own in histories for history in own for epoch in history)
    }
    by_title = panels_of(study, study.varied[1:])
    panels = [(title, members) for title, members in by_title.items() if any(histories[i] for i in members)]
    if not shown:
        return None
    rows, columns = shape_of(len(panels))
    styles = styles_of(study)

    def draw(figure: Any) -> None:
        grid = figure.subplots(rows * len(shown), columns, squeeze=False, sharex=True)
        lines: dict[str, Any] = {}
        blocks = np.split(grid, len(shown))
        for block, (key, label) in zip(blocks, shown.items(), strict=True):
            means = []
            for panel, (title, members) in placed(block, panels):
                panel.sharey(block[0, 0])
                for i in members:
                    name = study.label(study.groups[i], study.varied[:1])
                    means += _draw_curve(panel, histories[i], key, styles[i], name, lines)
                panel.set_title(title, loc="left", fontsize=8)
                panel.xaxis.get_major_locator().set_params(integer=True)
                unframe(panel, "both")
                panel.tick_params(labelleft=panel in block[:, 0])
            if block is blocks[-1]:
                label_lowest(block, len(panels), "epoch")
            scale_axis(block[0, 0], "y", means)
            for row in block:
                row[0].set_ylabel(label)
        legend_below(figure, lines)

    return drawn(draw, (WIDTH, 0.5 + 2.5 * rows * len(shown)), KINDS)


def _draw_curve(
    panel: Any, histories: Sequence[Any], key: str, style: Style, label: str, lines: dict[str, Any]
) -> list[float]:
    """Draw the mean of runs of equal length; runs that stopped early count as long as they last."""
    scale = factor_of(key)
    longest = max((len(history) for history in histories), default=0)
    found = [
        mean_of([scale * h[n][key] for h in histories if n < len(h) and h[n].get(key) is not None])
        for n in range(longest)
    ]
    points = [(n + 1, mean) for n, mean in enumerate(found) if mean is not None]
    if not points:
        return []
    epochs, means = [n for n, _ in points], [mean.mean for _, mean in points]
    [line] = panel.plot(epochs, means, color=style.color, linestyle=style.line, linewidth=1.5, label=label)
    if len(points) == 1:
        line.set(marker=style.marker)
    lines.setdefault(label, line)
    bands = [(n, mean.low, mean.high) for n, mean in points if mean.low is not None]
    if bands:
        at, low, high = zip(*bands, strict=True)
        panel.fill_between(at, low, high, color=style.color, alpha=0.13, linewidth=0)
    return means


def _histories(group: Group) -> list[Any]:
    return [run["history"] for run in group.runs if run["status"] == "completed" and run.get("history")]


def _bits(study: Study) -> Figure | None:
    """The result against the bits of the format, those of one width side by side."""
    widths = [_width(group) for group in study.groups]
    steps = sorted({width for width in widths if width is not None})
    if len(steps) < 2:
        return None
    factor = factor_of(study.metric)
    styles, panels = styles_of(study), panels_of(study, study.varied[len(styled(study)) :])
    rows, columns = shape_of(len(panels))

    def draw(figure: Any) -> None:
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        lines: dict[str, Any] = {}
        for panel, (title, members) in placed(grid, list(panels.items())):
            shown: list[float] = []
            for width in steps:
                own = [i for i in members if widths[i] == width]
                for nth, i in enumerate(own):
                    values = [factor * value for value in study.groups[i].values(study.metric).values()]
                    shown += values
                    at = steps.index(width) + min(0.12, 0.8 / len(own)) * (nth - (len(own) - 1) / 2)
                    label = study.label(study.groups[i], styled(study))
                    _with_interval(panel, at, values, styles[i], horizontal=False, label=label)
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
                lines.setdefault(label, handle)
            scale_axis(panel, "y", shown)
            panel.set_xticks(range(len(steps)), [str(width) for width in steps])
            panel.set_xlim(-0.6, len(steps) - 0.4)
            panel.set_title(title, loc="left", fontsize=8)
            unframe(panel, "y")
        label_lowest(grid, len(panels), "bits of the format")
        for row in grid:
            row[0].set_ylabel(metric_label(study.metric))
        legend_below(figure, lines)

    return drawn(draw, (WIDTH, 0.6 + 2.8 * rows), KINDS)


def _width(group: Group) -> int | None:
    try:
        return Format.from_name(str(group.options.get("format"))).bits
    except ValueError:
        return None


def _events(study: Study) -> Figure | None:
    """What share of the roundings did what, a panel for each event that happened."""
    shares = [event_shares(group) for group in study.groups]
    names = [name for name in EVENTS[1:] if any(own.get(name) for own in shares)]
    if not names:
        return None
    styles = styles_of(study)

    def draw(figure: Any) -> None:
        grid = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
        for panel, name in zip(grid, names, strict=True):
            values = [own.get(name) for own in shares]
            least = min(value for value in values if value)
            for at, (value, style) in enumerate(zip(values, styles, strict=True)):
                if value:
                    panel.plot([value], [at], **style.marks, markersize=6, linestyle="")
                else:
                    _note(panel, at, "-" if value is None else "none")
            panel.set_xscale("log")
            panel.minorticks_off()
            panel.set_xlim(least / 3, 3 * max(value for value in values if value))
            panel.set_title(name.replace("_", " "), fontsize=8)
            panel.set_xlabel("share of roundings")
            unframe(panel, "both")
        grid[0].set_yticks(range(len(study.groups)), [study.label(group) for group in study.groups])
        grid[0].set_ylim(len(study.groups) - 0.5, -0.5)

    return drawn(draw, (WIDTH, 1.1 + 0.3 * len(study.groups)), KINDS)


def event_shares(group: Group) -> dict[str, float]:
    """Return each counter's total over the runs that have one, divided by that of all roundings."""
    counted: list[Mapping[str, int]] = [run["events"] for run in group.runs if run.get("events")]
    roundings = sum(own["roundings"] for own in counted)
    if not roundings:
        return {}
    return {name: sum(own.get(name, 0) for own in counted) / roundings for name in EVENTS}


def _row_label(study: Study, group: Group) -> str:
    lost = [f"{group.count(status)} {status}" for status in STATUSES[1:] if group.count(status)]
    return "\n".join([study.label(group), *lost])
