"""Which samples train, which choose and which test: decided by shares and a seed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.datasets.images import Images, ImageSamples
from emunum.experiments.datasets.samples import Float32Array, Samples, Split, TableSamples, Task
from emunum.experiments.datasets.tables import Table, standardise

Dataset = Table | Images

_SEED_LIMIT = 2**32


def split(
    dataset: Dataset,
    test_split: float,
    seed: int,
    validation_split: float = 0.0,
    train_samples: int | None = None,
) -> Split:
    """Return the samples, shuffled by `seed` and cut; those of a table are standardised.

    A published test set is the test, as it stands, and test_split does not apply. Otherwise
    ceil(test_split n) samples are for testing. Of the n' others, ceil(validation_split n') are for
    validation, or none where validation_split is 0, and the rest is for training: all of it, or
    train_samples of it. Every cut has the order of scikit-learn's train_test_split(..., random_state=seed)
    with test_size=share or train_size=train_samples. Raises ValueError where test_split is outside (0, 1),
    validation_split is outside [0, 1), one of them leaves nothing to train on, there are not as many as
    train_samples, seed is outside 0..2^32 - 1, or a value is NaN or infinite.
    """
    if not 0 < test_split < 1:
        raise ValueError(
            f"test_split {test_split} is outside (0, 1). Pass the share of samples to test on, such as 0.2."
        )
    if not 0 <= validation_split < 1:
        raise ValueError(
            f"validation_split {validation_split} is outside [0, 1). Pass the share of the training samples "
            "to choose the best epoch by, such as 0.1, or 0 for none."
        )
    if not 0 <= seed < _SEED_LIMIT:
        raise ValueError(f"seed {seed} is outside 0..2^32 - 1. Pass an integer in that range.")
    if isinstance(dataset, Images) and dataset.n_test:
        rest, test = np.split(np.arange(len(dataset.labels)), [-dataset.n_test])
    else:
        n = len(dataset.labels if isinstance(dataset, Images) else dataset.features)
        rest, test = _cut(np.arange(n), test_split, seed, f"test_split {test_split}", dataset.name)
    train, validation = rest, None
    if validation_split:
        named = f"validation_split {validation_split}"
        train, validation = _cut(rest, validation_split, seed, named, dataset.name)
    if train_samples is not None:
        train = _some(train, train_samples, seed, dataset.name)
    hand_out = _samples_of(dataset)
    return Split(
        train=hand_out(train),
        validation=None if validation is None else hand_out(validation),
        test=hand_out(test),
        task=dataset.task,
    )


def split_given(
    x: Float32Array, y: Float32Array, task: Task, seed: int, validation_split: float = 0.0
) -> Split:
    """Return samples x (n, ...) and y (n, k) as they are, with none to test on.

    Those for validation are cut off as `split` does, which raises ValueError too.
    """
    rest = np.arange(len(x))
    train, validation = rest, None
    if validation_split:
        train, validation = _cut(rest, validation_split, seed, f"validation_split {validation_split}", "X")
    return Split(
        train=TableSamples(x=x[train], y=y[train]),
        validation=None if validation is None else TableSamples(x=x[validation], y=y[validation]),
        test=TableSamples(x=x[:0], y=y[:0]),
        task=task,
    )


def _samples_of(dataset: Dataset) -> Callable[[NDArray[np.intp]], Samples]:
    """Return the function that makes samples of some of the data set's rows."""
    if isinstance(dataset, Images):
        return lambda rows: ImageSamples(images=dataset, index=rows)
    x, y = standardise(dataset)
    return lambda rows: TableSamples(x=x[rows], y=y[rows])


def _some(rows: NDArray[np.intp], n: int, seed: int, name: str) -> NDArray[np.intp]:
    """Return n of the rows."""
    from sklearn.model_selection import train_test_split

    if n == len(rows):
        return rows
    if not 0 < n < len(rows):
        raise ValueError(
            f"train_samples {n} is out of range: of {name!r} there are {len(rows)} samples to train on. "
            "Pass at most so many, or leave it out."
        )
    kept: NDArray[np.intp] = train_test_split(rows, train_size=n, random_state=seed)[0]
    return kept


def _cut(
    rows: NDArray[np.intp], share: float, seed: int, option: str, name: str
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows that stay, and the ceil(share n) that go."""
    from sklearn.model_selection import train_test_split

    n = len(rows)
    if math.ceil(share * n) >= n:
        raise ValueError(
            f"{option} takes all {n} samples of {name!r} and leaves none to train on. Pass a smaller one."
        )
    stay, go = train_test_split(rows, test_size=share, random_state=seed)
    return stay, go
