"""The image studies: their rows, the published lines, and ours beside them.

`images`, level published: the study trained a small convolutional network on MNIST in float32 and cast
nothing but the input, x = (pixel / 255 - 0.5) / 0.5: our policy `input`. Its float16 rounds; its int8
truncates toward zero, which leaves -1 for a black pixel, 1 for a white one and 0 for every other. Its batches
were of 64, and its learning rate a tenth after seven epochs: rows `-stepped`. Level emulated: the same
network with the arithmetic emulated, in batches of 256 at one learning rate, except that rows whose update is
narrow too (policy `full`) have SGD with momentum, in float32 as well.
`cifar10`: the row that the regression study left blank, in its formats, roundings and policies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emunum.experiments.config import RunConfig
from emunum.experiments.defaults import loss_scale_for
from emunum.experiments.studies.study import published
from emunum.experiments.verify import configuration_of
from emunum.formats.names import unknown

PUBLISHED, EMULATED = "published", "emulated"
LEVELS = (PUBLISHED, EMULATED)
_RECIPE: dict[str, Any] = {
    "epochs": 10, "batch_size": 256, "optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 1e-4,
    "validation_split": 0.1, "seed": 42,
}  # fmt: skip
_MNIST = {"dataset": "mnist", "model": "cnn"} | _RECIPE
_SGD: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.9}
_CIFAR10 = {"dataset": "cifar10", "model": "cifar_quick"} | _RECIPE | _SGD
_CIFAR10 |= {"learning_rate": 0.02, "batch_size": 25, "epochs": 2}
_CIFAR10 |= {"validation_split": 0.02, "train_samples": 2500}  # e6m9 drawn at random takes minutes even so
_MNIST_MIXED = _MNIST | {"epochs": 1}
_MNIST_FULL = _MNIST | _SGD | {"learning_rate": 0.1, "epochs": 1}
"""Where the optimizer's state is narrow too, Adam's average of g^2 ends at 0, and its steps are huge."""
_MEASURED = (
    "status", "epochs_completed", "best_epoch", "test_accuracy", "test_f1", "test_loss", "wall_s", "threads",
    "weight_bytes", "activation_bytes", "data_note", "weights_sha256",
)  # fmt: skip
_THEIRS = ("experiment", "accuracy", "f1", "loss", "runtime_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A run of a study, its name there, and the input type whose published lines it stands beside."""

    name: str
    level: str
    config: RunConfig
    answered: str | None = None

    def with_epochs(self, epochs: int | None) -> RunConfig:
        """Return the configuration, of another number of epochs where one is given."""
        return self.config if epochs is None else replace(self.config, epochs=epochs)

    def answers(self, config: RunConfig) -> bool:
        """Whether a configuration is this row's but for the number of epochs."""
        return replace(config, epochs=self.config.epochs) == self.config


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A line of the published table; accuracy and F1 as fractions."""

    input_type: str
    experiment: str
    accuracy: float
    f1: float
    loss: float
    runtime_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Rows under a name, and the published lines that some of them answer."""

    name: str
    rows: tuple[Row, ...]
    published: tuple[Published, ...] = ()

    def row(self, name: str) -> Row:
        """Return the row called `name`. Raises ValueError where there is none."""
        by_name = {row.name: row for row in self.rows}
        if name not in by_name:
            raise unknown("row", name, by_name)
        return by_name[name]


def images() -> Study:
    """Return the study of MNIST: three published configurations at a constant learning rate and with the
    published batches and steps, two of them with augmentation as well; then emulated ones in two groups, of
    an epoch each.

    Where the update is float32, Adam, beside the same in float32, and two of these for three epochs; where it
    is narrow too, SGD, beside that in float32.
    """
    cast = [
        replace(_row(PUBLISHED, _MNIST, name, policy="input", rounding=rounding), answered=name)
        for name, rounding in (("float32", "nearest"), ("float16", "nearest"), ("int8", "toward_zero"))
    ]
    rows = [
        *cast,
        *map(_stepped, cast),
        _augmented(cast[0]),
        _augmented(cast[2]),
        wide := replace(_row(EMULATED, _MNIST_MIXED, "float32", policy="full"), name="float32"),
        _longer(wide),
        _longer(_row(EMULATED, _MNIST_MIXED, "e4m3", policy="mixed")),
    ]
    for recipe, policy, name, roundings in (
        (_MNIST_MIXED, "mixed", "float16", 1),
        (_MNIST_MIXED, "mixed", "bfloat16", 1),
        (_MNIST_MIXED, "int8", "int8", 2),
        (_MNIST_MIXED, "mixed", "e4m3", 2),
        (_MNIST_MIXED, "mixed", "e5m2", 2),
        (_MNIST_MIXED, "hfp8", "hfp8", 2),
        (_MNIST_FULL, "full", "float32", 1),
        (_MNIST_FULL, "full", "float16", 2),
        (_MNIST_FULL, "full", "bfloat16", 2),
        (_MNIST_FULL, "full", "e4m3", 2),
        (_MNIST_FULL, "full", "e5m2", 2),
    ):
        for rounding in ("nearest", "stochastic")[:roundings]:
            rows.append(_row(EMULATED, recipe, name, policy=policy, rounding=rounding))
    return Study(name="images", rows=tuple(rows), published=tuple(_published()))


def cifar10() -> Study:
    """Return the study of CIFAR-10: e5m2 and e6m9 to nearest and stochastically, twice; float32 once.

    In float32 the policies `output` and `full` are the same arithmetic.
    """
    rows = [
        _row(EMULATED, _CIFAR10, name, policy=policy, rounding=rounding)
        for policy in ("output", "full")
        for name in ("e5m2", "e6m9")
        for rounding in ("nearest", "stochastic")
    ]
    return Study(name="cifar10", rows=(_row(EMULATED, _CIFAR10, "float32", policy="full"), *rows))


def rows(study: Study, records: Sequence[dict[str, Any]], level: str | None = None) -> list[dict[str, Any]]:
    """Return a line for each row of the study and published line it answers, with its record's measurements.

    A row with several records has the one of its own number of epochs, or else of the most, and of these the
    last. Measurements are null where there is no record, published_* where nothing was published. Records of
    no row are left out; ValueError for one that contradicts itself.
    """
    found: dict[str, tuple[tuple[bool, int], dict[str, Any]]] = {}
    for number, record in enumerate(records, start=1):
        config = configuration_of(f"record {number}", record)
        for row in study.rows:
            rank = (config == row.config, config.epochs)
            if row.answers(config) and (row.name not in found or rank >= found[row.name][0]):
                found[row.name] = rank, record
    return [
        line
        for row in study.rows
        if level in (None, row.level)
        for line in _lines(study, row, found[row.name][1] if row.name in found else None)
    ]


def _lines(study: Study, row: Row, record: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    config = row.config
    ours = {
        "row": row.name,
        "level": row.level,
        "dataset": config.dataset,
        "model": config.model,
        "format": config.format,
        "rounding": config.rounding,
        "policy": config.policy,
        "epochs": None if record is None else record["epochs"],
        **{key: None if record is None else record.get(key) for key in _MEASURED},
    }
    answered = [line for line in study.published if line.input_type == row.answered]
    if not answered:
        yield ours | {f"published_{key}": None for key in _THEIRS}
    for line in answered:
        yield ours | {f"published_{key}": getattr(line, key) for key in _THEIRS}


def _published() -> Iterator[Published]:
    for line in published("images"):
        yield Published(
            input_type=line["tensor_dtype"],
            experiment=line["experiment"],
            accuracy=_fraction(line["test_accuracy_percent"]),
            f1=_fraction(line["test_f1_percent"]),
            loss=float(line["test_loss"]),
            runtime_s=float(line["runtime_s"]),
        )


def _fraction(percent: str) -> float:
    return round(float(percent) / 100, 6)  # the two decimals that were published


def _stepped(row: Row) -> Row:
    """The same in the batches and with the learning rate that the published runs had."""
    return replace(
        row, name=f"{row.name}-stepped", config=replace(row.config, batch_size=64, schedule="step:7:0.1")
    )


def _augmented(row: Row) -> Row:
    """The same with rotated, moved and scaled images, which the published runs did not have."""
    config = replace(row.config, augment=True)
    return replace(row, name=f"{row.name}-augmented", config=config, answered=None)


def _longer(row: Row) -> Row:
    """The same for three epochs."""
    return replace(row, name=f"{row.name}-longer", config=replace(row.config, epochs=3))


def _row(level: str, recipe: dict[str, Any], name: str, *, policy: str, rounding: str = "nearest") -> Row:
    own = name == policy  # int8 and hfp8 bring their formats
    chosen: dict[str, Any] = {} if own else {"format": name}
    config = RunConfig(**recipe, **chosen, policy=policy, rounding=rounding)
    config = replace(config, loss_scale=loss_scale_for(config.build_policy()))
    title = name if own else f"{policy}-{name}"
    return Row(name=f"{title}-stochastic" if rounding == "stochastic" else title, level=level, config=config)


STUDIES: dict[str, Callable[[], Study]] = {"images": images, "cifar10": cifar10}
