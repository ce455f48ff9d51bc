"""Data sets that are images: bytes until a batch of them is asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.datasets.samples import Float32Array, Move, Rows, Task

Bytes = NDArray[np.uint8]


class Augmentation(StrEnum):
    """How images are varied in training; augmentation.py has the formulas."""

    AFFINE = "affine"
    """Turned, moved and scaled a little."""
    CROP_AND_FLIP = "crop_and_flip"
    """Moved by whole pixels, and every second one mirrored."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Images:
    """A named set of images: pixels (n, C, H, W) from 0 to `top` and labels (n,), both uint8.

    The last `n_test` images are the published test set; 0 where none was published. `origin` says where
    the copy was found and `note` what a record should say about it. Raises ValueError where the arrays do
    not fit together, or to the classes and the top.
    """

    name: str
    pixels: Bytes
    labels: Bytes
    classes: tuple[str, ...]
    top: int = 255
    n_test: int = 0
    augmentation: Augmentation = Augmentation.AFFINE
    origin: str
    note: str | None = None

    def __post_init__(self) -> None:
        """Check that the arrays fit together."""
        n = len(self.pixels)
        if n == 0 or self.pixels.ndim != 4 or self.labels.shape != (n,) or not 0 <= self.n_test < n:
            raise ValueError(
                f"data set {self.name!r} has pixels {self.pixels.shape}, labels {self.labels.shape} and "
                f"{self.n_test} test images. Pass shapes (n, C, H, W) and (n,) with n > n_test."
            )
        if self.pixels.dtype != np.uint8 or self.labels.dtype != np.uint8:
            raise ValueError(
                f"data set {self.name!r} holds {self.pixels.dtype} pixels and {self.labels.dtype} labels. "
                "Pass both as uint8."
            )
        for what, array, most in (
            ("pixel", self.pixels, self.top),
            ("label", self.labels, len(self.classes) - 1),
        ):
            if (found := int(array.max())) > most:
                raise ValueError(f"data set {self.name!r} has a {what} {found}: the largest is {most}.")

    @property
    def task(self) -> Task:
        """Classification."""
        return "classification"

    @property
    def sha256(self) -> str:
        """Hex digest of the pixels, then the labels, in C order: the training images before the test's."""
        digest = hashlib.sha256(np.ascontiguousarray(self.pixels).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSamples:
    """Some images of a set: those numbered `index`, in that order. Nothing is copied until asked for."""

    images: Images
    index: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return self.images.pixels.shape[1:]

    @property
    def outputs(self) -> int:
        """The number of classes."""
        return len(self.images.classes)

    def features(self, rows: Rows) -> Float32Array:
        """Return the images of `rows`, normalised to [-1, 1]: x = (pixel / top - 0.5) / 0.5."""
        pixels = self.images.pixels[self.index[rows]]
        values = normalise(np.arange(self.images.top + 1, dtype=np.float32), self.images.top)
        return np.take(np.asarray(values, like=pixels), pixels)

    def augmented(self, rows: Rows, epoch: int, seed: int) -> Float32Array:
        """Return the images of `rows`, varied and normalised; augmentation.py has the formulas.

        What happens to an image depends on seed, epoch and its number in the whole set alone. Of samples
        that NumPy holds: they cannot have been moved elsewhere.
        """
        from emunum.experiments.datasets.augmentation import augmented

        index = self.index[rows]
        return augmented(
            self.images.pixels[index], index, self.images.augmentation, self.images.top, epoch, seed
        )

    def targets(self, rows: Rows) -> Float32Array:
        """Return rows (m, k) with a 1 in the column of the sample's class and 0 elsewhere."""
        labels = self.images.labels[self.index[rows]]
        return np.take(np.asarray(np.eye(self.outputs, dtype=np.float32), like=labels), labels, axis=0)

    def moved(self, move: Move) -> Self:
        """Move the bytes of the whole set: a batch is looked up and normalised where they are."""
        images = replace(self.images, pixels=move(self.images.pixels), labels=move(self.images.labels))
        return replace(self, images=images, index=move(self.index))


def normalise(pixels: Float32Array, top: int) -> Float32Array:
    """x = (pixel / top - 0.5) / 0.5 in float32: a division, a subtraction and a division, each rounded."""
    half = np.float32(0.5)
    return (pixels / np.float32(top) - half) / half


def digits() -> Images:
    """Return the handwritten digits of the installed scikit-learn: 8 x 8 pixels from 0 to 16."""
    from sklearn.datasets import load_digits

    source: Any = load_digits()
    return Images(
        name="digits",
        pixels=source.images.astype(np.uint8)[:, None],
        labels=source.target.astype(np.uint8),
        classes=tuple(str(digit) for digit in range(10)),
        top=16,
        origin="scikit-learn",
    )
