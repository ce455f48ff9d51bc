"""The study of CIFAR-10: a table of rows, and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from emunum.experiments.studies import image_rows
from emunum.report.paper.studies.accuracy import accuracy_figure
from emunum.report.paper.studies.images import notes, tables
from emunum.report.paper.studies.shown import Shown

TITLES = {"emulated": "CIFAR-10, network cifar_quick"}
RECIPE = (
    "A subset: 2,500 of the 50,000 images train for 2 epochs, 1,000 choose the best epoch (in brackets), "
    "10,000 test; SGD, momentum 0.9, learning rate 0.02, weight decay 0.0001, batches of 25. Rows are "
    "to be set beside each other, not beside what networks reach on all of it; nothing was published. "
    "Policy output: layer outputs and errors are rounded; full: everything is."
)
PANELS = {
    "layer outputs and errors in the format: output": ("output-",),
    "everything in the format: full": ("full-",),
}


def figure(records: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """Test errors, a panel for each policy; float32 is the same under both."""
    rows = image_rows.rows(image_rows.cifar10(), records)
    wide = [row | {"row": "output-float32", "policy": "output"} for row in rows if row["format"] == "float32"]
    return accuracy_figure([*wide, *rows], PANELS)


SHOWN = Shown(
    tables=partial(tables, TITLES),
    notes=partial(notes, RECIPE),
    figure=figure,
    caption="Test error on CIFAR-10 by format. Dotted: float32; grey: guessing.",
)
