"""The image studies as two of the paper's: their rows are trained one by one, by commands of their own."""

from __future__ import annotations

from functools import partial

from emunum.experiments.studies import image_rows
from emunum.experiments.studies.study import Record, Row, Study


def _rows(name: str, records: list[Record]) -> list[Row]:
    return image_rows.rows(image_rows.STUDIES[name](), records)


IMAGES = Study(name="images", rows=partial(_rows, "images"), trains=True)
CIFAR10 = Study(name="cifar10", rows=partial(_rows, "cifar10"), trains=True)
