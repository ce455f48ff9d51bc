"""Learning-rate schedules: frozen descriptions of the factor that multiplies the base learning rate.

rate(step, steps_per_epoch, total_steps) is the factor of a step, counted from 1, out of IEEE basic operations
alone: a run's record names the schedule, and every machine computes the same rates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import pi
from types import MappingProxyType
from typing import Protocol

from emunum.kernels.elementary import cos, power


class Schedule(Protocol):
    """What a trainer asks of a schedule."""

    def rate(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Return the factor of the learning rate in this step, 1 <= step <= total_steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """Always 1."""

    def rate(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """factor^i in the epochs i `every` + 1 to (i + 1) `every`, counted from 1."""

    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"a step every {self.every!r} epochs is out of range: at least 1 is needed.")
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor {self.factor!r} is out of range: above 0, at most 1.")

    def rate(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """The power by repeated squaring (kernels.elementary.power)."""
        return power(self.factor, (step - 1) // steps_per_epoch // self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine:
    """floor + (1 - floor) (1 + cos(pi t / T)) / 2, t = step - 1 and T = total_steps.

    It starts at 1 and would reach the floor, a fraction of the base rate, at step T + 1. Source: Loshchilov
    and Hutter 2017, "SGDR", eq. 5, without restarts.
    """

    floor: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor {self.floor!r} is out of range: from 0 to 1.")

    def rate(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """In float64, the cosine within 1 ulp."""
        return self.floor + (1.0 - self.floor) * (0.5 * (1.0 + cos(pi * ((step - 1) / total_steps))))


SCHEDULES: Mapping[str, Callable[..., Schedule]] = MappingProxyType(
    {"constant": Constant, "step": Step, "cosine": Cosine}
)
"""Name to schedule, which is called with its options."""
