"""Training: a configuration goes in, epochs come out, and the state is there to look at in between."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from emunum.experiments import datasets
from emunum.experiments.config import RunConfig
from emunum.kernels.random import Key
from emunum.nn.initial import new_stream, parse_scheme
from emunum.nn.layers import Array, Params
from emunum.nn.loss import mean_squared_error, mean_squared_error_gradient
from emunum.nn.models import build
from emunum.nn.optim import SGD
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Role
from emunum.ops.strict import plain

METRICS = ("train_mse", "train_rmse", "test_mse", "test_rmse", "test_mse_over_n")


class Phase(IntEnum):
    """Where in a run an operation happens: with the step, the outermost part of its random counter."""

    TRAIN = 0
    UPDATE = 1
    TEST_ON_TRAIN = 2
    TEST_ON_TEST = 3
    INITIAL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch: the loss of each of its steps, before that step's update, and the time it took."""

    epoch: int
    step_mse: tuple[float, ...]
    wall_s: float

    @property
    def mean_mse(self) -> float:
        """Mean loss of the epoch's steps."""
        return math.fsum(self.step_mse) / len(self.step_mse)


class DivergedError(ArithmeticError):
    """The loss or a weight became NaN or Inf."""


class Training:
    """A run in progress: `epochs` advances it, `params` are the master weights so far.

    With `strict`, any raw NumPy arithmetic on the network's values raises.
    """

    def __init__(self, config: RunConfig, *, strict: bool = False) -> None:
        self.config = config
        dataset = datasets.load(config.dataset)
        self.data_sha256 = dataset.sha256
        self.split = datasets.split(dataset, config.test_split, config.seed)
        n_in, n_out = self.split.x_train.shape[1], self.split.y_train.shape[1]
        self.model = build(config.model, n_in, n_out, config.hidden)
        self.optimizer = SGD(
            lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
        seed = config.seed if config.rounding_seed is None else config.rounding_seed
        self._arith = Arithmetic(policy=config.build_policy(), key=Key(seed), strict=strict)
        self.steps = 0
        self.params = self._initial()
        self.state = self.optimizer.state(self.params)

    def epochs(self) -> Iterator[EpochRecord]:
        """Train, an epoch at a time. Raises DivergedError after a step with a loss or weight not finite."""
        samples, batch = len(self.split.x_train), self.config.batch_size
        for epoch in range(1, self.config.epochs + 1):
            started = time.perf_counter()
            order = self._order(epoch, samples)
            losses = [self._step(order[at : at + batch]) for at in range(0, samples, batch)]
            yield EpochRecord(epoch=epoch, step_mse=tuple(losses), wall_s=time.perf_counter() - started)

    def predict(self, x: Array, phase: Phase) -> Array:
        """Return the network's emulated output for features x (n, d)."""
        arith = self._arith.at(self.steps, phase)
        y, _ = self.model.forward(arith, self.params, arith.cast(Role.INPUT, x))
        return plain(y)  # type: ignore[no-any-return]

    def metrics(self) -> dict[str, float]:
        """Return the mean squared errors and their roots, on standardised targets.

        test_mse_over_n is the published study's number: the sum of the test batches' means divided by
        the number of test samples (not of batches).
        """
        train = mean_squared_error(self.predict(self.split.x_train, Phase.TEST_ON_TRAIN), self.split.y_train)
        y, target = self.predict(self.split.x_test, Phase.TEST_ON_TEST), self.split.y_test
        test, batch = mean_squared_error(y, target), self.config.batch_size
        parts = [
            mean_squared_error(y[at : at + batch], target[at : at + batch])
            for at in range(0, len(target), batch)
        ]
        values = (train, math.sqrt(train), test, math.sqrt(test), math.fsum(parts) / len(target))
        return dict(zip(METRICS, values, strict=True))

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the master weights: each one's name, shape and little-endian float32 bytes in order."""
        digest = hashlib.sha256()
        for name, w in self.named_weights().items():
            digest.update(f"{name} {w.shape} ".encode())
            digest.update(np.where(np.isnan(w), np.float32(np.nan), w).astype("<f4").tobytes())
        return digest.hexdigest()

    def named_weights(self) -> dict[str, Array]:
        """Return the master weights as {"layer.name": array}."""
        return {
            f"{index}.{name}": plain(w) for index, own in enumerate(self.params) for name, w in own.items()
        }

    def _initial(self) -> list[Params]:
        drawn = self.model.initial(parse_scheme(self.config.init), new_stream(self.config.seed))
        arith = self._arith.at(0, Phase.INITIAL)
        return [
            {name: arith.at(index).cast(Role.MASTER, w, part) for part, (name, w) in enumerate(own.items())}
            for index, own in enumerate(drawn)
        ]

    def _order(self, epoch: int, samples: int) -> Any:
        if not self.config.shuffle:
            return np.arange(samples)
        # MT19937 and RandomState.permutation are frozen: NumPy promises their streams for good (NEP 19).
        return np.random.RandomState([self.config.seed, epoch]).permutation(samples)

    def _step(self, rows: Any) -> float:
        config, params = self.config, self.params
        arith = self._arith.at(self.steps, Phase.TRAIN)
        x = arith.cast(Role.INPUT, self.split.x_train[rows], part=0)
        target = arith.cast(Role.INPUT, self.split.y_train[rows], part=1)
        y, saved = self.model.forward(arith, params, x)
        loss = mean_squared_error(y, target)
        dy = mean_squared_error_gradient(arith, y, target, config.loss_scale)
        grads = self.model.backward(arith, params, saved, dy)
        self.params, self.state = self.optimizer.step(
            self._arith.at(self.steps, Phase.UPDATE), params, grads, self.state, config.loss_scale
        )
        self.steps += 1
        if not math.isfinite(loss):
            raise DivergedError(f"the loss became {loss} at step {self.steps}")
        if not all(np.isfinite(w).all() for w in self.named_weights().values()):
            raise DivergedError(f"a weight became NaN or infinite at step {self.steps}")
        return loss
