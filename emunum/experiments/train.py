"""Training: a configuration goes in, epochs come out, and the state is there to look at in between."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping
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
from emunum.ops.arithmetic import IntegerArithmetic, bind
from emunum.ops.events import EVENTS, EventLog
from emunum.ops.policy import Role
from emunum.ops.strict import plain

METRICS = ("train_mse", "train_rmse", "test_mse", "test_rmse", "test_mse_over_n", "test_accuracy")


class Phase(IntEnum):
    """Where in a run an operation happens: with the step, the outermost part of its random counter."""

    TRAIN = 0
    UPDATE = 1
    TEST_ON_TRAIN = 2
    TEST_ON_TEST = 3
    INITIAL = 4


EventRow = Mapping[str, str | int | float]
"""layer, pass, role, a count for each Event, the largest errors of matrix products and their bound n u."""

_PASSES = {Role.ERROR: "backward", Role.GRADIENT: "backward", Role.UPDATE: "update", Role.MASTER: "update"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch: the loss of each of its steps, before that step's update, and the time it took."""

    epoch: int
    step_mse: tuple[float, ...]
    wall_s: float
    events: tuple[EventRow, ...] = ()
    """With --events: a row for each layer, pass and role."""

    @property
    def mean_mse(self) -> float:
        """Mean loss of the epoch's steps."""
        return math.fsum(self.step_mse) / len(self.step_mse)


class DivergedError(ArithmeticError):
    """The loss or a weight became NaN or Inf."""


class Training:
    """A run in progress: `epochs` advances it, `params` are the master weights so far.

    With `strict`, any raw NumPy arithmetic on the network's values raises. With `events`, roundings are
    counted; the bits stay the same.
    """

    def __init__(self, config: RunConfig, *, strict: bool = False, events: bool = False) -> None:
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
        self._events = EventLog() if events else None
        self._arith = bind(config.build_policy(), Key(seed), strict=strict, events=self._events)
        self.steps = self._overflows = 0
        self.params = self._initial()
        self.state = self.optimizer.state(self.params)

    def epochs(self) -> Iterator[EpochRecord]:
        """Train, an epoch at a time. Raises DivergedError after a step with a loss or weight not finite."""
        samples, batch = len(self.split.x_train), self.config.batch_size
        for epoch in range(1, self.config.epochs + 1):
            started = time.perf_counter()
            order = self._order(epoch, samples)
            losses = [self._step(order[at : at + batch]) for at in range(0, samples, batch)]
            wall_s = time.perf_counter() - started
            yield EpochRecord(epoch=epoch, step_mse=tuple(losses), wall_s=wall_s, events=self._drained())

    def predict(self, x: Array, phase: Phase) -> Array:
        """Return the network's emulated output for features x (n, d)."""
        arith = self._arith.at(self.steps, phase)
        y, _ = self.model.forward(arith, self.params, arith.cast(Role.INPUT, x))
        return arith.values(y)

    def metrics(self) -> dict[str, float | None]:
        """Return the mean squared errors and their roots, on standardised targets.

        test_mse_over_n is the published study's number: the sum of the test batches' means divided by
        the number of test samples (not of batches). test_accuracy is the share of test samples whose
        largest output is that of their class, or None for a regression.
        """
        train = mean_squared_error(self.predict(self.split.x_train, Phase.TEST_ON_TRAIN), self.split.y_train)
        y, target = self.predict(self.split.x_test, Phase.TEST_ON_TEST), self.split.y_test
        test, batch = mean_squared_error(y, target), self.config.batch_size
        parts = [
            mean_squared_error(y[at : at + batch], target[at : at + batch])
            for at in range(0, len(target), batch)
        ]
        classes = target.shape[1] > 1
        accuracy = float(np.mean(y.argmax(axis=1) == target.argmax(axis=1))) if classes else None
        values = (train, math.sqrt(train), test, math.sqrt(test), math.fsum(parts) / len(target), accuracy)
        return dict(zip(METRICS, values, strict=True))

    @property
    def accumulator_overflows(self) -> int | None:
        """Additions that left the accumulator of policy int8 so far; None where sums are floats."""
        return self._overflows if isinstance(self._arith, IntegerArithmetic) else None

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

    def _drained(self) -> tuple[EventRow, ...]:
        """The events since the last call, without those of measurements."""
        rows: list[EventRow] = []
        for place, role, entry in self._events.drain() if self._events else ():
            phase = place[0][1]
            if phase not in (Phase.TRAIN, Phase.UPDATE, Phase.INITIAL):
                continue
            of_role = _PASSES.get(Role[role.upper()], "forward")
            rows.append(
                {
                    "layer": self.model.name_of(place[1][0]) if len(place) > 1 else "loss",
                    "pass": "initial" if phase == Phase.INITIAL else of_role,
                    "role": role,
                    **dict(zip(EVENTS, map(int, entry.counts), strict=True)),
                    "forward_error": entry.forward,
                    "backward_error": entry.backward,
                    "worst_case": entry.bound,
                }
            )
        return tuple(rows)

    def _order(self, epoch: int, samples: int) -> Any:
        if not self.config.shuffle:
            return np.arange(samples)
        # MT19937 and RandomState.permutation are frozen: NumPy promises their streams for good (NEP 19).
        return np.random.RandomState([self.config.seed, epoch]).permutation(samples)

    def _step(self, rows: Any) -> float:
        config, params = self.config, self.params
        before = self._arith.overflows.total() if isinstance(self._arith, IntegerArithmetic) else 0
        arith = self._arith.at(self.steps, Phase.TRAIN)
        x = arith.cast(Role.INPUT, self.split.x_train[rows], part=0)
        target = arith.cast(Role.INPUT, self.split.y_train[rows], part=1)
        y, saved = self.model.forward(arith, params, x)
        loss = mean_squared_error(arith.values(y), arith.values(target))
        dy = mean_squared_error_gradient(arith, y, target, config.loss_scale)
        grads = self.model.backward(arith, params, saved, dy)
        self.params, self.state = self.optimizer.step(
            self._arith.at(self.steps, Phase.UPDATE), params, grads, self.state, config.loss_scale
        )
        self.steps += 1
        if isinstance(self._arith, IntegerArithmetic):
            self._overflows += self._arith.overflows.total() - before
        if not math.isfinite(loss):
            raise DivergedError(f"the loss became {loss} at step {self.steps}")
        if not all(np.isfinite(w).all() for w in self.named_weights().values()):
            raise DivergedError(f"a weight became NaN or infinite at step {self.steps}")
        return loss
