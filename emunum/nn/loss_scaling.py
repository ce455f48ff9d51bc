"""Loss scaling: a factor on the loss gradient that keeps small gradients above the format's underflow.

A scaling is a frozen value. `scale` is the factor of the next step, `after(finite)` the scaling of the step
that follows, given whether every gradient of this one was finite (`all_finite`). The optimizer takes the
factor out again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import Protocol, Self

import numpy as np

from emunum.nn.layers import Params
from emunum.ops.arithmetic import Arithmetic


class LossScaling(Protocol):
    """What a trainer asks of a loss scaling."""

    @property
    def scale(self) -> float:
        """The factor on the loss gradient."""

    @property
    def skips(self) -> bool:
        """Whether a step with a gradient that is not finite is left out."""

    def after(self, finite: bool) -> LossScaling:
        """Return the scaling of the next step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantScaling:
    """The same factor throughout. No step is left out: gradients that are not finite reach the weights."""

    scale: float = 1.0

    @property
    def skips(self) -> bool:
        """False."""
        return False

    def after(self, finite: bool) -> Self:
        """The same."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicScaling:
    """Halved after a step whose gradients were not all finite, doubled after `every` good ones in a row.

    The scale stays within [least, greatest]; all three are powers of two, so that scaling rounds nothing that
    is not subnormal. `good` counts the finite steps since the scale last changed or one was left out. In
    formats that saturate no gradient is ever infinite, and the scale only grows, to `greatest`.
    Source: Micikevicius et al. 2018, "Mixed precision training", section 3.2.
    """

    scale: float = 65536.0
    every: int = 2000
    least: float = 1.0
    greatest: float = 16777216.0
    good: int = 0

    def __post_init__(self) -> None:
        for name in ("scale", "least", "greatest"):
            value = getattr(self, name)
            if not 0 < value < math.inf or math.frexp(value)[0] != 0.5:
                raise ValueError(f"{name} {value!r} of dynamic loss scaling must be a power of two.")
        if not self.least <= self.scale <= self.greatest:
            raise ValueError(f"scale {self.scale!r} lies outside [{self.least!r}, {self.greatest!r}].")
        if self.every < 1 or not 0 <= self.good < self.every:
            raise ValueError(
                f"{self.good!r} good steps of {self.every!r} are out of range: 0 <= good < every."
            )

    @property
    def skips(self) -> bool:
        """True."""
        return True

    def after(self, finite: bool) -> Self:
        """Halve, count, or double and count anew."""
        if not finite:
            return replace(self, scale=max(self.scale / 2, self.least), good=0)
        if self.good + 1 < self.every:
            return replace(self, good=self.good + 1)
        return replace(self, scale=min(self.scale * 2, self.greatest), good=0)


def all_finite(arith: Arithmetic, grads: list[Params]) -> bool:
    """Whether no gradient is NaN or infinite."""
    found = (np.isfinite(arith.values(g)).all() for own in grads for g in own.values())
    return bool(reduce(and_, found, True))  # waits for the backend once
