"""What the regressor and the classifier share: options, the run, and what it leaves."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from numbers import Real
from types import NoneType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from emunum.experiments.config import SEED_LIMIT, RunConfig
from emunum.experiments.datasets import split_given
from emunum.experiments.datasets.samples import Float32Array, Task
from emunum.experiments.training.train import DivergedError, Training
from emunum.formats.rounding import DEFAULT_RANDOM_BITS
from emunum.nn.layers import Array
from emunum.ops.arithmetic import Arithmetic
from emunum.sklearn.network import GivenConfig, Network

_OPTIONS = {field.name for field in fields(RunConfig)}
_KINDS: dict[Any, tuple[str, tuple[str, ...]]] = {
    str: (
        "a name",
        ("format", "rounding", "overflow", "policy", "order", "scale", "master", "model", "optimizer",
         "schedule", "loss", "init"),
    ),
    (str, NoneType): ("a name or None", ("accumulator", "outer")),
    Real: ("a number", ("learning_rate", "momentum", "weight_decay", "validation_split")),
    (Real, NoneType): ("a number or None", ("dropout",)),
    Sequence: ("a tuple of sizes", ("hidden",)),
    (Sequence, NoneType): ("a tuple of sizes or None", ("image_shape",)),
}  # fmt: skip
"""What parameters must be that RunConfig takes for granted."""


class Emulated(BaseEstimator):  # type: ignore[misc]
    """A network that is trained in emulated arithmetic; see EmulatedRegressor."""

    weights_: dict[str, Array]
    weights_sha256_: str
    status_: str
    loss_curve_: list[float]
    n_iter_: int
    best_epoch_: int | None

    def __init__(
        self,
        format: str = "float32",
        *,
        rounding: str = "nearest",
        overflow: str = "auto",
        random_bits: int = DEFAULT_RANDOM_BITS,
        policy: str = "full",
        accumulator: str | None = None,
        order: str = "sequential",
        outer: str | None = None,
        scale: str = "absmax",
        per_channel: bool = False,
        master: str = "float32",
        model: str = "auto",
        hidden: Sequence[int] = (),
        image_shape: tuple[int, int, int] | None = None,
        dropout: float | None = None,
        epochs: int = 30,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        optimizer: str = "sgd",
        nesterov: bool = False,
        schedule: str = "constant",
        batch_size: int = 32,
        validation_split: float = 0.0,
        patience: int | None = None,
        shuffle: bool = True,
        loss: str = "auto",
        loss_scale: float | str = 1.0,
        init: str = "torch",
        random_state: int | np.random.RandomState | None = 42,
        rounding_seed: int | None = None,
    ) -> None:
        self.format = format
        self.rounding = rounding
        self.overflow = overflow
        self.random_bits = random_bits
        self.policy = policy
        self.accumulator = accumulator
        self.order = order
        self.outer = outer
        self.scale = scale
        self.per_channel = per_channel
        self.master = master
        self.model = model
        self.hidden = hidden
        self.image_shape = image_shape
        self.dropout = dropout
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.nesterov = nesterov
        self.schedule = schedule
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.patience = patience
        self.shuffle = shuffle
        self.loss = loss
        self.loss_scale = loss_scale
        self.init = init
        self.random_state = random_state
        self.rounding_seed = rounding_seed

    def _train(self, x: Float32Array, y: Float32Array, task: Task) -> Self:
        """Train on x (n, d) and y (n, k), and keep what is left."""
        try:
            config = self._config(x.shape[1], task)
            split = split_given(x.reshape(-1, *config.shape), y, task, config.seed, config.validation_split)
            training = Training(config, split=split)
        except ValueError as error:
            raise ValueError(_in_parameters(str(error))) from None
        self.status_ = "completed"
        try:
            for _ in training.epochs():
                pass
        except DivergedError as error:
            self.status_ = "diverged"
            advice = "Scale the features (and the target of a regression), or lower learning_rate."
            warnings.warn(f"{error}. {advice}", ConvergenceWarning, stacklevel=3)
        self.loss_curve_ = [epoch.train_loss for epoch in training.history]
        self.n_iter_, self.best_epoch_ = len(training.finished), training.best_epoch
        self._network = Network.of(training, config)
        self.weights_, self.weights_sha256_ = dict(self._network.weights), training.weights_sha256
        return self

    def _config(self, n_in: int, task: Task) -> GivenConfig:
        for kind, (what, names) in _KINDS.items():
            for name in names:
                if not isinstance(value := getattr(self, name), kind):
                    raise TypeError(f"{name} {value!r} is {type(value).__name__}: it must be {what}.")
        options = {name: value for name, value in self.get_params(deep=False).items() if name in _OPTIONS}
        if self.model == "auto":
            options["model"] = "mlp" if len(self.hidden) else "linear"
        shape = (n_in,) if self.image_shape is None else tuple(self.image_shape)
        if self.image_shape is not None and (len(shape) != 3 or math.prod(shape) != n_in):
            raise ValueError(
                f"image_shape {self.image_shape!r} does not fit X with {n_in} features: it is (channels, "
                "height, width), whose product is the number of features."
            )
        return GivenConfig(**options, seed=self._seed(), shape=shape, task=task)

    def _seed(self) -> int:
        if self.random_state is None or isinstance(self.random_state, np.random.RandomState):
            return int(check_random_state(self.random_state).randint(SEED_LIMIT, dtype=np.uint32))
        return self.random_state

    def _outputs(
        self, x: Any, last: Callable[[Arithmetic, Array], Array] = lambda arith, y: y
    ) -> NDArray[np.float32]:
        """Return the emulated outputs (n, k) for x (n, d)."""
        check_is_fitted(self)
        checked: Float32Array = validate_data(self, x, reset=False, dtype=np.float32)
        return self._network.outputs(checked, last)


def _in_parameters(message: str) -> str:
    """A message about options of the command line, as one about parameters."""

    def parameter(option: re.Match[str]) -> str:
        name = option[1].replace("-", "_")
        return "random_state" if name == "seed" else name

    return re.sub(r"--([a-z]+(?:-[a-z]+)*)", parameter, message)
