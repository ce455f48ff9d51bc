"""Samples as a network takes them, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Rows = slice | NDArray[np.integer[Any]]
"""Which samples: a slice, or an array of positions (m,), where the samples are."""
Move = Callable[[Any], Any]
"""Array to array: the same numbers where a backend computes."""
Task = Literal["regression", "classification"]


class Samples(Protocol):
    """Features and targets of n samples; what is stored may be smaller than what is handed out."""

    def __len__(self) -> int:
        """Return n."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's features: (d,) of a table, (C, H, W) of images."""

    @property
    def outputs(self) -> int:
        """Columns k of the targets."""

    def features(self, rows: Rows) -> Float32Array:
        """Return the features of m samples: float32, C-contiguous, (m, *shape)."""

    def augmented(self, rows: Rows, epoch: int, seed: int) -> Float32Array:
        """Return the features as `features` does, varied at random: a function of the arguments alone.

        Raises ValueError where the samples are no images.
        """

    def targets(self, rows: Rows) -> Float32Array:
        """Return the targets of m samples: float32, C-contiguous, (m, k); a class is 1 in its own column."""

    def moved(self, move: Move) -> Self:
        """Return these samples with what is stored moved: batches are then gathered there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableSamples:
    """Samples of a table: x (n, d) and y (n, k), both float32."""

    x: Float32Array
    y: Float32Array

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """(d,)."""
        return self.x.shape[1:]

    @property
    def outputs(self) -> int:
        """k."""
        return int(self.y.shape[1])

    def features(self, rows: Rows) -> Float32Array:
        """Return x[rows]."""
        return self.x[rows].copy()

    def augmented(self, rows: Rows, epoch: int, seed: int) -> Float32Array:
        """Raise ValueError: a table is not augmented."""
        raise ValueError("augmentation moves images, and these samples are rows of a table. Leave it out.")

    def targets(self, rows: Rows) -> Float32Array:
        """Return y[rows]."""
        return self.y[rows].copy()

    def moved(self, move: Move) -> Self:
        """Move x and y."""
        return replace(self, x=move(self.x), y=move(self.y))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Samples to train on, to choose by (None where there are none) and to test on."""

    train: Samples
    validation: Samples | None
    test: Samples
    task: Task
