"""Data sets that are tables: the three of the published regression study, and their standardisation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.datasets.samples import Float32Array, Task

Float64Array = NDArray[np.float64]

BOSTON_SHA256 = "79ac716620024011b03c0c44d2bf99069b8173649181926d9109c25475a3804c"
"""SHA-256 of boston.csv with line feeds as line ends."""

_BOSTON_ROWS = 506
_BOSTON_HEADER = "CRIM,ZN,INDUS,CHAS,NOX,RM,AGE,DIS,RAD,TAX,PTRATIO,B,LSTAT,MEDV"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """A named table: features (n, d) and target (n, 1), both float64, in the units of its source.

    Raises ValueError where the shapes, the dtypes and the number of feature names do not fit together.
    """

    name: str
    features: Float64Array
    target: Float64Array
    feature_names: tuple[str, ...]
    task: Task = "regression"
    note: str | None = None
    """What a record should say about this copy of the data."""

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


def standardise(dataset: Table) -> tuple[Float32Array, Float32Array]:
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


def parse_boston(csv: bytes) -> Table:
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
    return Table(
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


def boston() -> Table:
    """Return the Boston housing data that come with the package."""
    return parse_boston(files("emunum_data").joinpath("boston.csv").read_bytes())


def diabetes() -> Table:
    """Return the diabetes data of the installed scikit-learn."""
    from sklearn.datasets import load_diabetes

    source = load_diabetes()
    return Table(
        name="diabetes",
        features=source.data,
        target=source.target.reshape(-1, 1),
        feature_names=tuple(source.feature_names),
    )


def toy() -> Table:
    """Return the line y = 2x + 1 at x = 0, 1, ..., 10."""
    x = np.arange(11, dtype=np.float64).reshape(-1, 1)
    return Table(name="toy", features=x, target=2 * x + 1, feature_names=("x",))


def _require_finite(dataset: Table) -> None:
    table = np.hstack([dataset.features, dataset.target])
    wrong = np.argwhere(~np.isfinite(table))
    if len(wrong):
        row, column = wrong[0]
        where = dataset.feature_names[column] if column < len(dataset.feature_names) else "target"
        raise ValueError(
            f"data set {dataset.name!r} holds {table[row, column]} in row {row} (counted from 0), "
            f"column {where!r}. Remove that sample or give the value."
        )
