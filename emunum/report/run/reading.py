"""A run's directory read back, and what its network says of the test set; nothing here trains."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import emunum
from emunum.experiments.config import RunConfig
from emunum.experiments.datasets import ImageSamples, Samples
from emunum.experiments.records import read_config, read_record, running_in
from emunum.experiments.training.counting import Phase
from emunum.experiments.training.evaluation import measures
from emunum.experiments.training.state import finite_or_none
from emunum.experiments.training.train import Training
from emunum.experiments.verify import configuration_of
from emunum.nn.layers import Array

_DAMAGE = (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError)
_EPOCH = {
    "epoch", "step_loss", "train_loss", "wall_s", "samples_per_s", "lr", "loss_scale", "skipped_steps",
    "validation_loss", "validation_accuracy",
}  # fmt: skip
"""What a line of a history must have."""
_NULLABLE = {"train_loss", "validation_loss", "validation_accuracy"}
_RECORD = {"status", "steps", "loss_applied", "weights_sha256", "data_sha256", "wall_s"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FinishedRun:
    """What a run left behind: `history` has a dict for each epoch, `weights` an array for "layer.name"."""

    path: Path
    config: RunConfig
    record: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]
    weights: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predictions:
    """Outputs y and targets, both (n, k), of the n test samples, in the order of the test set."""

    y: Array
    target: Array
    samples: Samples
    classes: tuple[str, ...] | None
    """Names of the k classes; None for a regression."""

    @property
    def predicted(self) -> NDArray[np.intp]:
        """The class of the largest output (the first of equals) of each sample (n,)."""
        return np.asarray(self.y.argmax(axis=1))

    @property
    def true(self) -> NDArray[np.intp]:
        """The class of each sample (n,)."""
        return np.asarray(self.target.argmax(axis=1))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """counts[i, j]: samples of class i that were taken for class j, (k, k)."""
        counts = np.zeros((self.target.shape[1],) * 2, np.int64)
        np.add.at(counts, (self.true, self.predicted), 1)
        return counts


def read_run(path: Path) -> FinishedRun:
    """Return the run in a directory that `emunum run` made.

    Raises ValueError, a line that names the remedy, where there is none, where it was not finished, and
    where its files are damaged or do not belong together.
    """
    config = read_config(path)
    if process := running_in(path):
        raise ValueError(f"{path} is unfinished: process {process} is at work on it. Wait for its end.")
    if not (path / "record.json").exists():
        raise ValueError(
            f"{path} is unfinished: it has no record.json. Finish it: emunum run --resume {path}"
        )
    record = read_record(path)
    if record.get("status") == "interrupted":
        raise ValueError(f"{path} is unfinished: the run was stopped. Finish it: emunum run --resume {path}")
    if missing := {key for key in _RECORD if record.get(key) is None}:
        raise ValueError(
            f"{path / 'record.json'} lacks {', '.join(sorted(missing))}: it was changed, or written by "
            f"another version. Train the run again with emunum {emunum.__version__}."
        )
    try:
        recorded = configuration_of(str(path / "record.json"), record)
    except TypeError as error:
        raise ValueError(f"{path / 'record.json'} is damaged: {error}.") from None
    if recorded != config:
        raise ValueError(f"{path} holds config.json and record.json of different runs. Train it again.")
    history = _read_history(path / "history.jsonl")
    if (found := sum(len(epoch["step_loss"]) for epoch in history)) != record["steps"]:
        raise ValueError(
            f"{path / 'history.jsonl'} has {found} steps, and the record {record['steps']}: the files are of "
            "different runs, or damaged. Train it again."
        )
    return FinishedRun(
        path=path,
        config=config,
        record=record,
        history=history,
        weights=_read_weights(path / "weights.npz"),
    )


def predict(run: FinishedRun, data_dir: Path | None = None) -> Predictions:
    """Return what the trained network says of the test set, with the emulated arithmetic of the run.

    The random bits are those of the measurement that ended the run, so that the outputs are the same to
    the last bit: weights, data, test_accuracy and test_loss are compared with the record's. Raises
    ValueError where one differs or the data are not there.
    """
    training, record = Training(run.config, data_dir=data_dir), run.record
    if training.data_sha256 != record["data_sha256"]:
        raise ValueError(
            f"{run.path} was trained on other data: SHA-256 {record['data_sha256']}, and those at hand have "
            f"{training.data_sha256}. Restore them, or name their folder with --data-dir."
        )
    # A checkpoint's state, so to speak: the final weights and the number of steps, which random bits need.
    params = [
        {name: _taken(run, f"{index}.{name}", w.shape) for name, w in own.items()}
        for index, own in enumerate(training.params)
    ]
    training.restore(replace(training.state, params=params, steps=record["steps"]), [])
    if training.weights_sha256 != record["weights_sha256"] or len(training.named_weights()) != len(
        run.weights
    ):
        raise ValueError(
            f"{run.path / 'weights.npz'} does not hold the record's weights. Train the run again."
        )
    if training.loss_name != record["loss_applied"]:
        raise ValueError(f"{run.path / 'record.json'} was changed: its loss is {training.loss_name}.")
    test = training.split.test
    y = training.predict(test, Phase.TEST_ON_TEST)
    found = measures(training.loss_name, y, test, run.config.batch_size)
    for key in ("test_accuracy", "test_loss"):
        ours = finite_or_none(found[key])
        if ours != record.get(key):
            raise ValueError(
                f"{run.path}: {key} is {record.get(key)} in the record and {ours} here, with emunum "
                f"{emunum.__version__} (the record's: {record.get('emunum_version')}): 'emunum verify' says "
                "what else differs."
            )
    return Predictions(
        y=y,
        target=test.targets(slice(None)),
        samples=test,
        classes=_classes(test) if training.split.task == "classification" else None,
    )


def _read_history(path: Path) -> tuple[Mapping[str, Any], ...]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise ValueError(f"{path} is missing. Restore it, or train the run again.") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}.") from None
    return tuple(_epoch(path, number, line) for number, line in enumerate(lines, start=1))


def _epoch(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        epoch: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path} is damaged in line {number}: {error}.") from None
    if not _is_epoch(epoch):
        raise ValueError(
            f"{path} is damaged in line {number}, or written by another version: it is no epoch of emunum "
            f"{emunum.__version__}."
        )
    return epoch


def _is_epoch(epoch: Any) -> bool:
    if not isinstance(epoch, dict) or not set(epoch) >= _EPOCH or not isinstance(epoch["step_loss"], list):
        return False
    numbers = [epoch[key] for key in _EPOCH - _NULLABLE - {"step_loss"}]
    numbers += [x for x in (*epoch["step_loss"], *(epoch[key] for key in _NULLABLE)) if x is not None]
    return all(isinstance(x, int | float) for x in numbers)


def _read_weights(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise ValueError(f"{path} is missing. Restore it, or train the run again.") from None
    except (*_DAMAGE, TypeError, AttributeError) as error:  # the last two: another kind of NumPy file
        reason = str(error).split("\n")[0].rstrip(".")
        raise ValueError(f"{path} is damaged: {reason}. Restore it, or train the run again.") from None


def _taken(run: FinishedRun, name: str, shape: tuple[int, ...]) -> Array:
    """The array called `name`, which has to be of the network."""
    w = run.weights.get(name)
    if w is None or w.shape != shape or w.dtype != np.float32:
        found = "is missing" if w is None else f"is {w.dtype} {w.shape}"
        raise ValueError(
            f"{run.path / 'weights.npz'} is of another network: {name} {found} where float32 {shape} belongs."
        )
    return w


def _classes(samples: Samples) -> tuple[str, ...]:
    if isinstance(samples, ImageSamples):
        return samples.images.classes
    return tuple(str(number) for number in range(samples.outputs))
