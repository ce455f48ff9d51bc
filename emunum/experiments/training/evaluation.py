"""What a finished run is measured by, and the outputs that it is measured on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from emunum.experiments.datasets import Samples
from emunum.experiments.training.counting import Phase
from emunum.nn.layers import Array, Params
from emunum.nn.loss import LOSSES, mean_squared_error
from emunum.nn.sequential import Sequential
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Role

METRICS = (
    "train_mse", "train_rmse", "test_mse", "test_rmse", "test_mse_over_n", "test_accuracy", "test_f1",
    "test_loss", "validation_loss", "validation_accuracy",
)  # fmt: skip
EVALUATION_BATCH = 512
"""Samples in one forward pass of a measurement: what bounds its memory, and part of its random bits."""

_PHASES = 16  # numbers between the batches of a measurement


def outputs(
    arith: Arithmetic,
    model: Sequential,
    params: Sequence[Params],
    samples: Samples,
    steps: int,
    phase: Phase,
    last: Callable[[Arithmetic, Array], Array] = lambda arith, y: y,
) -> Array:
    """Return the network's emulated output (n, k) for samples, a NumPy array.

    It is computed in batches of EVALUATION_BATCH.

    The random bits of the i-th batch are those of the place (steps, phase + 16 i), where `last` is applied
    to its outputs too.
    """
    parts = []
    for batch, at in enumerate(range(0, len(samples), EVALUATION_BATCH)):
        place = arith.at(steps, phase + _PHASES * batch)
        x = place.cast(Role.INPUT, samples.features(slice(at, at + EVALUATION_BATCH)))
        y, _ = model.forward(place, list(params), x, training=False)
        parts.append(arith.host(last(place, y)))
    return np.concatenate(parts)


def measures(loss: str, y: Array, samples: Samples, batch: int) -> dict[str, float | None]:
    """Compare outputs y (n, k) with the targets of their samples.

    test_loss is the loss of that name. Where it is mse (on standardised targets), test_mse is the same
    number, test_rmse its root and test_mse_over_n the published study's: the sum of the means of batches
    of `batch` samples divided by the number of samples (not of batches). test_accuracy, of classes, is the
    share of samples whose largest output is that of their class, test_f1 the mean of the classes' F1.
    """
    target = samples.targets(slice(None))
    found: dict[str, float | None] = {"test_loss": LOSSES[loss].value(y, target)}
    found |= {"test_accuracy": accuracy_of(y, target), "test_f1": macro_f1(y, target)}
    if loss == "mse":
        mse = mean_squared_error(y, target)
        parts = [
            mean_squared_error(y[at : at + batch], target[at : at + batch])
            for at in range(0, len(target), batch)
        ]
        found |= {"test_mse": mse, "test_rmse": math.sqrt(mse)}
        found["test_mse_over_n"] = math.fsum(parts) / len(target)
    return found


def accuracy_of(y: Array, target: Array) -> float | None:
    """Share of samples whose largest output (the first of equals) is their class's; None for a regression."""
    if target.shape[1] == 1:
        return None
    return float(np.mean(y.argmax(axis=1) == target.argmax(axis=1)))


def macro_f1(y: Array, target: Array) -> float | None:
    """Mean over classes of 2 TP / (2 TP + FP + FN), 0 for 0/0; None for a regression.

    The classes are those that occur among targets or predictions. Source: scikit-learn's f1_score.
    """
    if target.shape[1] == 1:
        return None
    from sklearn.metrics import f1_score

    return float(f1_score(target.argmax(axis=1), y.argmax(axis=1), average="macro", zero_division=0))
