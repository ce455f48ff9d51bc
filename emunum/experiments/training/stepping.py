"""One training step: a state and a batch go in, the next state comes out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from emunum.experiments.datasets import Samples
from emunum.experiments.training.counting import EventRow, Phase, merged
from emunum.experiments.training.state import State
from emunum.nn.layers import Params
from emunum.nn.loss import Loss
from emunum.nn.loss_scaling import all_finite
from emunum.nn.optim import Optimizer
from emunum.nn.sequential import Sequential
from emunum.ops.arithmetic import Arithmetic, IntegerArithmetic
from emunum.ops.policy import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """What a step is made of. Its random bits follow from the number of steps tried before it.

    `rate` is the learning rate of a step, counted from 1. `drained` hands out the events since it was last
    asked. `samples` may be where the backend is; with `augment_seed` they are NumPy's, and images are varied
    by it and the epoch.
    """

    arith: Arithmetic
    model: Sequential
    loss: Loss
    optimizer: Optimizer
    rate: Callable[[int], float]
    samples: Samples
    augment_seed: int | None
    drained: Callable[[], tuple[EventRow, ...]]

    def step(self, state: State, rows: Any) -> State:
        """Return the state after a step with the samples `rows`.

        Forward, loss, backward, update. `diverged` is set where the loss or a weight is no longer finite;
        where the loss scaling skips such steps, only if its scale cannot go lower.
        """
        started, before = time.perf_counter(), self._overflows()
        loss, grads, params = self._gradients(state, rows)
        after = self._updated(state, loss, grads, params)
        return replace(
            after,
            steps=state.steps + 1,
            position=state.position + 1,
            losses=(*state.losses, loss),
            overflows=state.overflows + self._overflows() - before,
            events=merged((*state.events, *self.drained())),
            wall_s=state.wall_s + time.perf_counter() - started,
        )

    def _gradients(self, state: State, rows: Any) -> tuple[float, list[Params], list[Params]]:
        """The loss of a batch, its gradients, and the parameters with what layers observed in it."""
        arith, samples = self.arith.at(state.steps, Phase.TRAIN), self.samples
        if self.augment_seed is None:
            features = samples.features(rows)
        else:
            features = samples.augmented(rows, state.epoch, self.augment_seed)
        x = arith.cast(Role.INPUT, features, part=0)
        target = arith.cast(Role.INPUT, samples.targets(rows), part=1)
        y, saved = self.model.forward(arith, state.params, x, training=True)
        loss = self.loss.value(arith.host(y), arith.host(target))
        dy = self.loss.gradient(arith, y, target, state.scale.scale)
        grads = self.model.backward(arith, state.params, saved, dy)
        return loss, grads, self.model.observe(arith, state.params, saved)

    def _updated(self, state: State, loss: float, grads: list[Params], params: list[Params]) -> State:
        """The state after the update; without it where the loss scaling skips a step that overflows."""
        arith, scale, number = self.arith.at(state.steps, Phase.UPDATE), state.scale, state.steps + 1
        params, optimizer = self.optimizer.step(
            arith, params, grads, state.optimizer, self.rate(number), state.updates + 1, scale.scale
        )
        problem = None
        if not math.isfinite(loss):
            problem = f"the loss became {loss} at step {number}"
        elif not all_finite(arith, params):
            problem = f"a weight became NaN or infinite at step {number}"
        moved = replace(
            state, params=params, optimizer=optimizer, updates=state.updates + 1, diverged=problem
        )
        if not scale.skips:
            return moved
        if problem is None and all_finite(arith, grads) and all_finite(arith, optimizer):
            return replace(moved, scale=scale.after(True))
        lower = scale.after(False)
        if lower.scale == scale.scale:
            problem = f"numbers overflow at the least loss scale, {scale.scale:g}, at step {number}"
            return replace(state, diverged=problem)
        return replace(state, scale=lower, skipped=state.skipped + 1)

    def _overflows(self) -> int:
        """Additions that left an integer accumulator so far, in measurements too."""
        return self.arith.overflows.total() if isinstance(self.arith, IntegerArithmetic) else 0
