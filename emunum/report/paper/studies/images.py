"""The study of MNIST: two tables of rows, published and emulated."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from emunum.experiments.studies import image_rows
from emunum.report.paper.studies.accuracy import accuracy_figure
from emunum.report.paper.studies.shown import Shown, Table
from emunum.report.tables import IMAGES_HEADER, images_cells

TITLES = {
    "published": "As published: only the input is cast (policy input); MNIST, network cnn",
    "emulated": "The arithmetic emulated too; MNIST, network cnn",
}


_SILENT = {"-", "as published"}
"""Cells of a column that is left out where it has no others."""


def tables(titles: dict[str, str], rows: Sequence[dict[str, Any]]) -> list[Table]:
    """A table for each level, without the columns that say nothing."""
    made = []
    for level, title in titles.items():
        cells = images_cells([row for row in rows if row["level"] == level])
        filled = [at for at, column in enumerate(zip(*cells, strict=True)) if set(column) - _SILENT]
        header = tuple(_named(at) for at in filled)
        made.append(
            Table(title=title, header=header, cells=[[line[at] for at in filled] for line in cells], left=3)
        )
    return made


def _named(at: int) -> str:
    """The name of a column; that of a published one says what of."""
    name = IMAGES_HEADER[at]
    return f"{name} {IMAGES_HEADER[at - 1]}" if name == "published" else name


def notes(recipe: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    """The recipe, which data were not the published ones, and which rows have no record yet."""
    found = [recipe]
    for note in dict.fromkeys(row["data_note"] for row in rows if row["data_note"]):
        of = dict.fromkeys(row["row"] for row in rows if row["data_note"] == note)
        found.append(f"Data of {', '.join(of)}: {note}.")
    missing = dict.fromkeys(row["row"] for row in rows if row["status"] is None)
    return found + ([f"No record yet: {', '.join(missing)}."] if missing else [])


RECIPE = (
    "54,000 images train, 6,000 choose the best epoch (in brackets), 10,000 test; batches of 256, Adam, "
    "learning rate 0.001, weight decay 0.0001. Rows *-stepped: batches of 64, and a tenth of the learning "
    "rate after seven epochs, as the published runs had them. Rows full-*: SGD, momentum 0.9, learning rate "
    "0.1, as Adam's average of squares is below the least number of a narrow format; full-float32 is theirs "
    "to be set beside, float32 the other emulated ones'. The published int8 truncates "
    "(pixel / 255 - 0.5) / 0.5 toward zero: -1 for black, 1 for white, 0 for everything between, so "
    "a drawing keeps little but its outline. Published run times are of another machine; ours are of one or "
    "two threads beside other work, and emunum bench train is what compares them."
)
PANELS = {
    "only the input cast: input (Adam)": ("input-",),
    "products in the format, float32 update: mixed, int8, hfp8 (Adam)": (
        "float32",
        "mixed-",
        "int8",
        "hfp8",
    ),
    "everything in the format: full (SGD with momentum)": ("full-",),
}


def figure(records: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Test errors, a panel for each of PANELS."""
    return accuracy_figure(image_rows.rows(image_rows.images(), records), PANELS)


SHOWN = Shown(
    tables=partial(tables, TITLES),
    notes=partial(notes, RECIPE),
    figure=figure,
    caption="Test error on MNIST by format. Dotted: float32 of the same panel; grey: guessing.",
)
