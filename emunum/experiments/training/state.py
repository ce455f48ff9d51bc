"""Where a training stands: everything it needs to go on, and what it hands out on the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from emunum.experiments.training.counting import EventRow
from emunum.nn.layers import Array, Params
from emunum.nn.loss_scaling import ConstantScaling, DynamicScaling


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The epoch with the least validation loss so far (the first of equals), and its master weights."""

    epoch: int
    loss: float
    accuracy: float | None
    params: list[Params]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A training between two steps. A step makes a new one, so that nothing is ever seen half done.

    `steps` counts the steps tried, which is what random bits depend on; `updates` those that were not
    skipped. `position`, `losses`, `skipped`, `wall_s` and `events` are of the epoch under way, and
    `diverged` says what is no longer finite.
    """

    params: list[Params]
    optimizer: list[Params]
    scale: ConstantScaling | DynamicScaling
    steps: int = 0
    updates: int = 0
    epoch: int = 1
    position: int = 0
    losses: tuple[float, ...] = ()
    skipped: int = 0
    wall_s: float = 0.0
    events: tuple[EventRow, ...] = ()
    overflows: int = 0
    best: Best | None = None
    diverged: str | None = None

    def moved(self, move: Callable[[Array], Array]) -> State:
        """Return this state with each of its arrays moved: to a backend, or to the host for a file."""

        def each(layers: list[Params]) -> list[Params]:
            return [{name: move(w) for name, w in own.items()} for own in layers]

        best = self.best and replace(self.best, params=each(self.best.params))
        return replace(self, params=each(self.params), optimizer=each(self.optimizer), best=best)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step that was taken: the `number`-th of its epoch's `of`, each loss measured before its update."""

    epoch: int
    number: int
    of: int
    samples: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch: the loss of each of its steps, before that step's update, and the time they took.

    `lr` is the last step's, `loss_scale` the one after it. Validation is measured once the epoch is done.
    `complete` is false for the epoch in which a run diverged, which ends at that step.
    """

    epoch: int
    step_loss: tuple[float, ...]
    wall_s: float
    samples_per_s: float = 0.0
    lr: float = 0.0
    loss_scale: float = 1.0
    skipped_steps: int = 0
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    complete: bool = True
    events: tuple[EventRow, ...] = ()
    """With --events: a row for each layer, pass and role."""

    @property
    def train_loss(self) -> float:
        """Mean loss of the epoch's steps, those that overflowed left out; NaN if none is left."""
        finite = [loss for loss in self.step_loss if math.isfinite(loss)]
        return math.fsum(finite) / len(finite) if finite else math.nan

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and train_loss as JSON values, with null for NaN and Inf; events if there are."""
        entry = asdict(self) | {"train_loss": self.train_loss}
        if not self.events:
            del entry["events"]
        entry["step_loss"] = [finite_or_none(loss) for loss in self.step_loss]
        return {key: finite_or_none(value) for key, value in entry.items()}


def finite_or_none(value: Any) -> Any:
    """JSON has no NaN and no Inf: they become null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
