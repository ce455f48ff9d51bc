"""Training: a configuration goes in, epochs come out, and the state is there to look at in between."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from emunum.experiments import datasets
from emunum.experiments.config import RunConfig
from emunum.experiments.datasets import Samples, Split
from emunum.experiments.methods import loss_named, parse_loss_scale, parse_optimizer, parse_schedule
from emunum.experiments.training.counting import EventRow, Phase, drained
from emunum.experiments.training.evaluation import METRICS, accuracy_of, measures, outputs
from emunum.experiments.training.state import Best, EpochRecord, State, Step
from emunum.experiments.training.stepping import Stepper
from emunum.experiments.training.storage import Storage, storage
from emunum.kernels import cpu
from emunum.kernels.random import Key
from emunum.nn.initial import new_stream, parse_scheme
from emunum.nn.layers import Array, Params
from emunum.nn.loss import LOSSES
from emunum.nn.models import build
from emunum.nn.sequential import Sequential
from emunum.ops.arithmetic import Arithmetic, IntegerArithmetic, bind
from emunum.ops.events import EventLog
from emunum.ops.policy import Role


def model_of(config: RunConfig, shape: tuple[int, ...], n_out: int) -> Sequential:
    """Return the model of a run on samples of a shape."""
    return build(config.model, shape, n_out, config.hidden or None, config.dropout)


def arithmetic_of(
    config: RunConfig, *, strict: bool = False, events: EventLog | None = None, backend: ModuleType = cpu
) -> Arithmetic:
    """Return the arithmetic of a run before its first step. Raises ValueError as `bind` does."""
    seed = config.seed if config.rounding_seed is None else config.rounding_seed
    return bind(config.build_policy(), Key(seed), strict=strict, events=events, backend=backend)


class DivergedError(ArithmeticError):
    """The loss or a weight became NaN or Inf."""


class Training:
    """A run in progress: `epochs` advances it, `params` are the master weights so far.

    The samples are those of `split` where it is given, which then has no digest, and otherwise those that
    the configuration names. With `strict`, any raw NumPy arithmetic on the network's values raises. With
    `events`, roundings are counted; the bits stay the same. No bit depends on the `backend`, whose arrays
    `state` holds. `data_dir` is where data are looked for that do not come with the package. Raises
    ValueError where the backend cannot do what is asked.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        split: Split | None = None,
        strict: bool = False,
        events: bool = False,
        data_dir: Path | None = None,
        backend: ModuleType = cpu,
    ) -> None:
        self.config, self.backend = config, backend
        self._events = EventLog() if events else None
        self._arith = arithmetic_of(config, strict=strict, events=self._events, backend=backend)
        self.data_sha256, self.data_note = "", None
        if split is None:
            dataset = datasets.load(config.dataset, data_dir)
            self.data_sha256, self.data_note = dataset.sha256, dataset.note
            split = datasets.split(
                dataset, config.test_split, config.seed, config.validation_split, config.train_samples
            )
        self.split = split
        self.loss_name = loss_named(config.loss, split.task)
        self.model = model_of(config, split.train.shape, split.train.outputs)
        self.steps_per_epoch = -(-len(self.split.train) // config.batch_size)
        self._schedule = parse_schedule(config.schedule)
        self._history: list[EpochRecord] = []
        self._stepper = Stepper(
            arith=self._arith,
            model=self.model,
            loss=LOSSES[self.loss_name],
            optimizer=parse_optimizer(
                config.optimizer, config.momentum, config.nesterov, config.weight_decay
            ),
            rate=self._rate,
            # Augmentation is computed from the bytes that NumPy holds.
            samples=split.train if config.augment else split.train.moved(backend.resident),
            augment_seed=config.seed if config.augment else None,
            drained=self._drained,
        )
        params = self._initial()
        self.state = State(
            params=params,
            optimizer=self._stepper.optimizer.state(params),
            scale=parse_loss_scale(config.loss_scale),
            events=self._drained(),
        )

    def restore(self, state: State, finished: Sequence[EpochRecord]) -> None:
        """Go on from a state of this very run, on any backend or none, and the epochs before it."""
        self.state, self._history = state.moved(self.backend.resident), list(finished)

    def kept(self) -> State:
        """Return the state with NumPy arrays, for a file."""
        return self.state.moved(self._arith.host)

    def epochs(self, on_step: Callable[[Step], object] = lambda step: None) -> Iterator[EpochRecord]:
        """Train, an epoch at a time, from where the state stands.

        Where there is a validation set, the weights are those of the best epoch once this is through.
        Raises DivergedError where a loss or weight is not finite, once the epoch, cut short, is handed out.
        """
        while self.state.epoch <= self.config.epochs and self.stopped_early is None:
            order = self._order()
            order = order if self.config.augment else self.backend.resident(order)
            while self.state.position < self.steps_per_epoch and not self.state.diverged:
                at = self.state.position * self.config.batch_size
                rows = order[at : at + self.config.batch_size]
                # A step counts from this assignment on, which Ctrl-C cannot cut in two.
                self.state = state = self._stepper.step(self.state, rows)
                on_step(self._described(state, len(rows)))
            if self.state.diverged:
                yield self._record()
                raise DivergedError(self.state.diverged)
            yield self._finish_epoch()
        if self.state.best:
            self.state = replace(self.state, params=self.state.best.params)

    def predict(self, samples: Samples, phase: Phase) -> Array:
        """Return the network's emulated output (n, k) for samples, as `evaluation.outputs` does."""
        arith = replace(self._arith, events=None)
        return outputs(arith, self.model, self.params, samples, self.steps, phase)

    def metrics(self) -> dict[str, float | None]:
        """Return METRICS as `evaluation.measures` defines them, for the weights as they are."""
        train, test = self.split.train, self.split.test
        found = measures(self.loss_name, self.predict(test, Phase.TEST_ON_TEST), test, self.config.batch_size)
        if self.loss_name == "mse":
            mse = self._stepper.loss.value(
                self.predict(train, Phase.TEST_ON_TRAIN), train.targets(slice(None))
            )
            found |= {"train_mse": mse, "train_rmse": math.sqrt(mse)}
        if best := self.state.best:
            found |= {"validation_loss": best.loss, "validation_accuracy": best.accuracy}
        return {name: found.get(name) for name in METRICS}

    def storage(self) -> Storage:
        """Return the bytes of the weights and of the activations of one batch."""
        batch = min(self.config.batch_size, len(self.split.train))
        sample = self.split.train.features(slice(0, 1))
        return storage(self.model, self.params, self._arith.policy, sample, batch, self.backend)

    @property
    def params(self) -> list[Params]:
        """The master weights, a dict for each layer."""
        return self.state.params

    @property
    def steps(self) -> int:
        """Steps tried so far."""
        return self.state.steps

    @property
    def finished(self) -> list[EpochRecord]:
        """The epochs that are done."""
        return self._history[: self.state.epoch - 1]

    @property
    def history(self) -> list[EpochRecord]:
        """The epochs that are done and, where the run diverged, the one in which it did."""
        return [*self.finished, self._record()] if self.state.diverged else self.finished

    @property
    def last_loss(self) -> float | None:
        """Loss of the latest step."""
        losses = self.state.losses or (self.finished[-1].step_loss if self.finished else ())
        return losses[-1] if losses else None

    @property
    def best_epoch(self) -> int | None:
        """The epoch with the least validation loss; None without a validation set."""
        return self.state.best.epoch if self.state.best else None

    @property
    def stopped_early(self) -> str | None:
        """Why no further epoch is trained although there could be one, if so."""
        patience, best = self.config.patience, self.state.best
        if patience is None or best is None or self.state.epoch > self.config.epochs:
            return None
        waited = self.state.epoch - 1 - best.epoch
        return f"no better validation loss for {waited} epochs" if waited >= patience else None

    @property
    def accumulator_overflows(self) -> int | None:
        """Additions that left the accumulator of policy int8 so far; None where sums are floats."""
        return self.state.overflows if isinstance(self._arith, IntegerArithmetic) else None

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the master weights: each one's name, shape and little-endian float32 bytes in order."""
        digest = hashlib.sha256()
        for name, w in self.named_weights().items():
            digest.update(f"{name} {w.shape} ".encode())
            digest.update(np.where(np.isnan(w), np.float32(np.nan), w).astype("<f4").tobytes())
        return digest.hexdigest()

    def named_weights(self) -> dict[str, Array]:
        """Return the master weights as {"layer.name": array}, NumPy arrays."""
        host = self._arith.host
        return {
            f"{index}.{name}": host(w) for index, own in enumerate(self.params) for name, w in own.items()
        }

    def _initial(self) -> list[Params]:
        drawn = self.model.initial(parse_scheme(self.config.init), new_stream(self.config.seed))
        arith, resident = self._arith.at(0, Phase.INITIAL), self.backend.resident
        return [
            {
                name: arith.at(index).cast(Role.MASTER, resident(w), part)
                for part, (name, w) in enumerate(own.items())
            }
            for index, own in enumerate(drawn)
        ]

    def _drained(self) -> tuple[EventRow, ...]:
        return tuple(drained(self._events, self.model.name_of)) if self._events else ()

    def _order(self) -> Any:
        samples = len(self.split.train)
        if not self.config.shuffle:
            return np.arange(samples)
        # MT19937 and RandomState.permutation are frozen: NumPy promises their streams for good (NEP 19).
        return np.random.RandomState([self.config.seed, self.state.epoch]).permutation(samples)

    def _rate(self, step: int) -> float:
        """The learning rate of a step, counted from 1."""
        total = self.config.epochs * self.steps_per_epoch
        return self.config.learning_rate * self._schedule.rate(step, self.steps_per_epoch, total)

    def _described(self, state: State, samples: int) -> Step:
        of, loss = self.steps_per_epoch, state.losses[-1]
        return Step(epoch=state.epoch, number=state.position, of=of, samples=samples, loss=loss)

    def _finish_epoch(self) -> EpochRecord:
        """Validate, and begin the next epoch, in one assignment too."""
        state = self.state
        loss = accuracy = None
        best = state.best
        if self.split.validation is not None:
            y, samples = self.predict(self.split.validation, Phase.VALIDATION), self.split.validation
            target = samples.targets(slice(None))
            loss, accuracy = self._stepper.loss.value(y, target), accuracy_of(y, target)
            if best is None or loss < best.loss:
                best = Best(epoch=state.epoch, loss=loss, accuracy=accuracy, params=state.params)
        record = self._record(loss, accuracy)
        self._history[state.epoch - 1 :] = [record]
        self.state = replace(
            state, epoch=state.epoch + 1, position=0, losses=(), skipped=0, wall_s=0.0, events=(), best=best
        )
        return record

    def _record(self, loss: float | None = None, accuracy: float | None = None) -> EpochRecord:
        state, samples = self.state, min(self.state.position * self.config.batch_size, len(self.split.train))
        return EpochRecord(
            epoch=state.epoch,
            step_loss=state.losses,
            wall_s=state.wall_s,
            samples_per_s=samples / state.wall_s,
            lr=self._rate(state.steps),
            loss_scale=state.scale.scale,
            skipped_steps=state.skipped,
            validation_loss=loss,
            validation_accuracy=accuracy,
            complete=not state.diverged,
            events=state.events,
        )
