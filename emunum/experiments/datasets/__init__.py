"""Data sets by name, and the split of one into samples to train on, to choose by and to test on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from emunum.experiments.datasets import tables
from emunum.experiments.datasets.images import Augmentation, Images, ImageSamples, digits
from emunum.experiments.datasets.published import PUBLISHED
from emunum.experiments.datasets.samples import Samples, Split, TableSamples
from emunum.experiments.datasets.splitting import Dataset, split, split_given
from emunum.experiments.datasets.tables import BOSTON_SHA256, Table, parse_boston, standardise
from emunum.formats.names import unknown

__all__ = [
    "BOSTON_SHA256", "DATASETS", "EMBEDDED", "PUBLISHED", "Augmentation", "Dataset", "ImageSamples", "Images",
    "Samples", "Split", "Table", "TableSamples", "load", "parse_boston", "split", "split_given",
    "standardise",
]  # fmt: skip

EMBEDDED: Mapping[str, Callable[[], Dataset]] = MappingProxyType(
    {"toy": tables.toy, "diabetes": tables.diabetes, "boston": tables.boston, "digits": digits}
)
"""Name to the function that makes the data set, which needs neither a file nor the network."""

DATASETS = (*EMBEDDED, *PUBLISHED)
"""Every name: the published tables' in their order, digits, then the image sets that are fetched."""


def load(name: str, data_dir: Path | None = None) -> Dataset:
    """Return the data set called `name`, one of `DATASETS`.

    data/README.md gives each one's source, terms and checksum. A set of `PUBLISHED` is read from `data_dir`
    or else the folder in EMUNUM_DATA, or else the per-user cache; nothing is fetched. Raises ValueError for
    an unknown name, for a set that is not there and for a damaged file.
    """
    if name in EMBEDDED:
        return EMBEDDED[name]()
    if name not in PUBLISHED:
        raise unknown("dataset", name, DATASETS)
    from emunum.experiments.datasets.reading import read

    return read(PUBLISHED[name], data_dir)
