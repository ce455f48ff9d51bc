"""Panels of a figure: which configurations share one, how they are laid out, what their axes look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from emunum.report.sweep.study import Study, worded

WIDTH = 9.5  # inches
_FAR = 30.0
"""Largest over least value from which on an axis is logarithmic."""


def panels_of(study: Study, keys: Sequence[str]) -> dict[str, list[int]]:
    """The configurations by their values of some options."""
    found: dict[str, list[int]] = {}
    for index, group in enumerate(study.groups):
        title = ", ".join(worded(key, group.options.get(key)) for key in keys)
        found.setdefault(title, []).append(index)
    return found


def shape_of(panels: int) -> tuple[int, int]:
    """Rows and columns for so many panels."""
    columns = 2 if panels == 4 else min(panels, 3)
    return -(-panels // columns), columns


def label_lowest(grid: Any, panels: int, label: str) -> None:
    """Name the axis below those panels that have no other below them."""
    columns = grid.shape[1]
    for panel in grid.flat[max(panels - columns, 0) : panels]:
        panel.set_xlabel(label)
        panel.tick_params(labelbottom=True)


def placed(grid: Any, panels: Sequence[tuple[str, list[int]]]) -> Iterator[tuple[Any, tuple[str, list[int]]]]:
    """Yield (axes, panel), row by row, and hide the axes that are left over."""
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    yield from zip(grid.flat, panels, strict=False)


def scale_axis(panel: Any, axis: str, values: Sequence[float]) -> None:
    """Make an axis logarithmic where the values are positive and far apart."""
    finite = np.array([value for value in values if np.isfinite(value)])
    if len(finite) and finite.min() > 0 and finite.max() > _FAR * finite.min():
        getattr(panel, f"set_{axis}scale")("log")


def unframe(panel: Any, grid: str) -> None:
    """Leave two axes and a light grid."""
    panel.grid(axis=grid, alpha=0.4, linewidth=0.5)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def legend_below(figure: Any, lines: Mapping[str, Any]) -> None:
    """Put a legend below the panels, where there is more than one thing to tell apart."""
    if len(lines) > 1:
        columns = max(1, min(len(lines), int(WIDTH / (0.6 + 0.075 * max(map(len, lines))))))
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=columns, frameon=False)
