"""The three regression data sets of the published tables, and the protocol that prepares them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emunum.formats.names import unknown

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

BOSTON_SHA256 = "79ac716620024011b03c0c44d2bf99069b8173649181926d9109c25475a3804c"
"""SHA-256 of boston.csv with line feeds as line ends."""

_BOSTON_ROWS = 506
_BOSTON_HEADER = "CRIM,ZN,INDUS,CHAS,NOX,RM,AGE,DIS,RAD,TAX,PTRATIO,B,LSTAT,MEDV"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A named table: features (n, d) and target (n, 1), both float64, in the units of its source.

    Raises ValueError where the shapes, the dtypes and the number of feature names do not fit together.
    """

    name: str
    features: Float64Array
    target: Float64Array
    feature_names: tuple[str, ...]
    task: Literal["regression", "classification"] = "regression"

    def __post_init__(self) -> None:
        """Check that the arrays and the names fit together."""
        n, d = len(self.features), len(self.feature_names)
        if n == 0 or self.features.shape != (n, d) or self.target.ndim != 2 or len(self.target) != n:
            raise ValueError(
                f"data set {self.name!r} has features {self.features.shape}, target {self.target.shape} "
                f"and {d} feature names. Pass shapes (n, d) and (n, k) with n >= 1, and d names."
            )
        if self.features.dtype != np.float64 or self.target.dtype != np.float64:
            raise ValueError(
                f"data set {self.name!r} holds {self.features.dtype} features and a {self.target.dtype} "
                "target. Pass both as float64."
            )

    @property
    def sha256(self) -> str:
        """Hex digest of the features, then the target, as little-endian float64 bytes in C order."""
        digest = hashlib.sha256()
        for array in (self.features, self.target):
            digest.update(array.astype("<f8").tobytes(order="C"))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Standardised samples to train and to test on: float32, C-contiguous, x (n, d) and y (n, k)."""

    x_train: Float32Array
    y_train: Float32Array
    x_test: Float32Array
    y_test: Float32Array


def load(name: str) -> Dataset:
    """Return the data set called `name`, one of `DATASETS`.

    data/README.md gives each one's source, units and checksum. Raises ValueError for an unknown name
    and for a damaged boston.csv.
    """
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    return DATASETS[name]()


def standardise(dataset: Dataset) -> tuple[Float32Array, Float32Array]:
    """Return the features (n, d) and the target (n, k) with mean 0 and standard deviation 1, as float32.

    z = (v - mean) / sd for each column, over all n samples, where sd^2 = sum((v - mean)^2) / n and a
    column of equal values becomes zeros. Computed in float64, then rounded to the nearest float32.
    The samples that will be tested on are part of the mean and sd: that is the published protocol.
    Raises ValueError where a value is NaN or infinite. Source: scikit-learn's StandardScaler.
    """
    from sklearn.preprocessing import StandardScaler

    _require_finite(dataset)
    x: Float64Array = StandardScaler().fit_transform(dataset.features)
    y: Float64Array = StandardScaler().fit_transform(dataset.target)
    return x.astype(np.float32, order="C"), y.astype(np.float32, order="C")


def split(dataset: Dataset, test_split: float, seed: int) -> Split:
    """Return the standardised samples, shuffled by `seed` and cut in two.

    ceil(test_split n) samples are for testing, the rest for training, in the order of scikit-learn's
    train_test_split(x, y, test_size=test_split, random_state=seed). Raises ValueError where test_split
    is outside (0, 1) or leaves nothing to train on, where seed is outside 0..2^32 - 1, and where a
    value is NaN or infinite.
    """
    from sklearn.model_selection import train_test_split

    if not 0 < test_split < 1:
        raise ValueError(
            f"test_split {test_split} is outside (0, 1). Pass the share of samples to test on, such as 0.2."
        )
    n = len(dataset.features)
    if math.ceil(test_split * n) >= n:
        raise ValueError(
            f"test_split {test_split} takes all {n} samples of {dataset.name!r} and leaves none to train "
            "on. Pass a smaller one."
        )
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed} is outside 0..2^32 - 1. Pass an integer in that range.")
    x, y = standardise(dataset)
    parts = train_test_split(x, y, test_size=test_split, random_state=seed)
    x_train, x_test, y_train, y_test = (np.ascontiguousarray(part) for part in parts)
    return Split(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


def parse_boston(csv: bytes) -> Dataset:
    """Return the Boston housing data held in the bytes of boston.csv: features (506, 13), target MEDV.

    Raises ValueError that names what differs where the bytes are not the published ones.
    """
    csv = csv.replace(b"\r\n", b"\n")
    found = hashlib.sha256(csv).hexdigest()
    if found != BOSTON_SHA256:
        raise ValueError(
            f"boston.csv is damaged: {_boston_damage(csv, found)}. "
            "Reinstall emunum, or restore data/boston.csv from the repository."
        )
    lines = csv.decode("ascii").split()[1:]
    table = np.array([[float(cell) for cell in line.split(",")] for line in lines])
    return Dataset(
        name="boston",
        features=np.ascontiguousarray(table[:, :-1]),
        target=np.ascontiguousarray(table[:, -1:]),
        feature_names=tuple(_BOSTON_HEADER.split(",")[:-1]),
    )


def _boston_damage(csv: bytes, found_sha256: str) -> str:
    header, *rows = csv.decode("ascii", errors="replace").removesuffix("\n").split("\n")
    if header != _BOSTON_HEADER:
        return f"its header is {header[:100]!r} where {_BOSTON_HEADER!r} is expected"
    if len(rows) != _BOSTON_ROWS:
        return f"it has {len(rows)} rows where {_BOSTON_ROWS} are expected"
    for line, row in enumerate(rows, start=2):
        if row.count(",") != _BOSTON_HEADER.count(","):
            columns, expected = row.count(",") + 1, _BOSTON_HEADER.count(",") + 1
            return f"line {line} has {columns} columns where {expected} are expected"
    return f"its SHA-256 is {found_sha256} where {BOSTON_SHA256} is expected"


def _boston() -> Dataset:
    return parse_boston(files("emunum_data").joinpath("boston.csv").read_bytes())


def _diabetes() -> Dataset:
    from sklearn.datasets import load_diabetes

    source = load_diabetes()
    return Dataset(
        name="diabetes",
        features=source.data,
        target=source.target.reshape(-1, 1),
        feature_names=tuple(source.feature_names),
    )


def _toy() -> Dataset:
    x = np.arange(11, dtype=np.float64).reshape(-1, 1)
    return Dataset(name="toy", features=x, target=2 * x + 1, feature_names=("x",))


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    source = load_digits()
    return Dataset(
        name="digits",
        task="classification",
        features=source.data,
        target=np.eye(10)[source.target],
        feature_names=tuple(source.feature_names),
    )


DATASETS: Mapping[str, Callable[[], Dataset]] = MappingProxyType(
    {"toy": _toy, "diabetes": _diabetes, "boston": _boston, "digits": _digits}
)
"""Name to the function that loads it: the published tables' in their order, then digits.

digits is a classification: a target column for each class, 1 in the sample's own and 0 elsewhere.
"""


def _require_finite(dataset: Dataset) -> None:
    table = np.hstack([dataset.features, dataset.target])
    wrong = np.argwhere(~np.isfinite(table))
    if len(wrong):
        row, column = wrong[0]
        where = dataset.feature_names[column] if column < len(dataset.feature_names) else "target"
        raise ValueError(
            f"data set {dataset.name!r} holds {table[row, column]} in row {row} (counted from 0), "
            f"column {where!r}. Remove that sample or give the value."
        )
