"""What can be said of a data set: all of it in JSON values, some of it without reading a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from emunum.experiments.datasets import DATASETS, PUBLISHED, load
from emunum.experiments.datasets.images import Images
from emunum.experiments.datasets.places import find
from emunum.experiments.datasets.samples import Task
from emunum.formats.names import unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Title, size, source, terms and where it is; `n_test` is 0 where no test set was published."""

    title: str
    task: Task
    samples: int
    n_test: int = 0
    shape: tuple[int, ...]
    source: str
    terms: str
    place: str | None = "comes with the package"


EMBEDDED_FACTS: Mapping[str, Facts] = MappingProxyType(
    {
        "toy": Facts(
            title="the line y = 2x + 1",
            task="regression",
            samples=11,
            shape=(1,),
            source="made here",
            terms="BSD-3-Clause, as this package",
        ),
        "diabetes": Facts(
            title="disease progression of patients",
            task="regression",
            samples=442,
            shape=(10,),
            source="B. Efron, T. Hastie, I. Johnstone and R. Tibshirani (2004), through scikit-learn",
            terms="scikit-learn distributes it under BSD-3-Clause",
            place="comes with scikit-learn",
        ),
        "boston": Facts(
            title="house prices around Boston, 1970",
            task="regression",
            samples=506,
            shape=(13,),
            source="D. Harrison and D. L. Rubinfeld (1978), through mlxtend",
            terms="none known for the numbers; read data/README.md before use",
        ),
        "digits": Facts(
            title="handwritten digits, 8 x 8 pixels",
            task="classification",
            samples=1797,
            shape=(1, 8, 8),
            source="E. Alpaydin and C. Kaynak (1998), UCI repository, through scikit-learn",
            terms="CC BY 4.0, says the UCI repository",
            place="comes with scikit-learn",
        ),
    }
)
"""Of the data sets that need no file."""


def summary(name: str, data_dir: Path | None = None) -> dict[str, Any]:
    """Return what is known of a data set without reading it; `place` is None where it is not found.

    Raises ValueError for an unknown name, and where `data_dir` is no folder.
    """
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    facts = EMBEDDED_FACTS.get(name)
    if facts is None:
        published = PUBLISHED[name]
        found = find(published, data_dir)
        facts = Facts(
            title=published.title,
            task="classification",
            samples=published.n_train + published.n_test,
            n_test=published.n_test,
            shape=published.shape,
            source=published.source,
            terms=published.terms,
            place=None if found is None else str(found),
        )
    return {"name": name} | asdict(facts) | {"shape": list(facts.shape)}


def details(name: str, data_dir: Path | None = None) -> dict[str, Any]:
    """Return the summary, and what reading the data set shows: checksum, note, columns or class counts.

    Raises ValueError as `load` does.
    """
    known = summary(name, data_dir)
    dataset = load(name, data_dir)
    known |= {"sha256": dataset.sha256, "note": dataset.note}
    if not isinstance(dataset, Images):
        return known | {"features": list(dataset.feature_names)}
    n_train = len(dataset.labels) - dataset.n_test
    counts = {
        "class_counts": dataset.labels,
        "train_class_counts": dataset.labels[:n_train],
        "test_class_counts": dataset.labels[n_train:],
    }
    named = {
        key: np.bincount(labels, minlength=len(dataset.classes)).tolist()
        for key, labels in counts.items()
        if dataset.n_test or key == "class_counts"
    }
    return known | {"classes": list(dataset.classes), "largest_pixel": dataset.top} | named
