"""The regression study: two tables of fifteen rows, and losses against steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emunum.report.figures import regression_figure
from emunum.report.paper.studies.shown import Shown, Table, count
from emunum.report.tables import REGRESSION_HEADER, regression_cells

TITLES = {
    "output": "As published: only layer outputs and errors are rounded (policy output)",
    "full": "The same rows with everything rounded (policy full)",
}
NOTE = (
    "train MSE: of the last step, before its update. test MSE / n: the published normalisation, the sum of "
    "batch means over the number of test samples; test MSE is the true one. Stochastic rows: mean over "
    "{seeds} seeds of the random bits and its 95 % interval (Student t); beside the published value, how "
    "many of the runs it exceeds. They agree where both published values lie where one more run would, "
    "95 times in 100."
)


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """A table for each policy."""
    return [
        Table(
            title=title,
            header=REGRESSION_HEADER,
            cells=regression_cells([row for row in rows if row["policy"] == policy]),
            left=3,
        )
        for policy, title in TITLES.items()
    ]


def notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the columns are, and how many rows agree."""
    single = [row for row in rows if row["runs"] == 1]
    several = [row for row in rows if row["runs"] > 1]
    return [
        NOTE.format(seeds=max((row["runs"] for row in several), default=0)),
        f"Deterministic rows that agree to every printed digit: {count(single)}. "
        f"Stochastic rows whose published values lie where one more run would: {count(several)}.",
    ]


SHOWN = Shown(
    tables=tables,
    notes=notes,
    figure=regression_figure,
    caption="Training MSE per step; stochastic: the mean of the runs, and the band from the least to the "
    "greatest.",
)
