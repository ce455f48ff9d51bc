"""What roundings did to a run's numbers, counted by place, and what matrix products lost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from emunum.formats import Accumulator, Format
from emunum.kernels.contract import Event
from emunum.kernels.windows import Window

EVENTS = tuple(event.name.lower() for event in Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """How far a matrix product lies from the exact one, beside what rounding theory allows.

    forward: max |y - y'| / |y'| over entries with y' nonzero; backward: max |y - y'| / (|a| |b|), the least
    relative change of the products that explains y. n is the number of terms. n u bounds the backward
    error of nearest rounding in any order to first order (Higham 2002, section 3.1); sqrt(n) u is what
    stochastic rounding reaches with a probability near 1, up to a constant (Connolly, Higham and Mary
    2021).
    """

    n: int
    forward: float
    backward: float
    unit_roundoff: float

    @property
    def worst_case(self) -> float:
        """n u."""
        return self.n * self.unit_roundoff

    @property
    def probabilistic(self) -> float:
        """sqrt(n) u."""
        return math.sqrt(self.n) * self.unit_roundoff


def errors_of(a: Any, b: Any, y: Any, format: Format) -> Errors:
    """Compare y, an emulated product of a (M, K) and b (K, N), with its float64 shadow.

    `format` is that of the sums: u is its unit roundoff. Entries that are not finite are left out.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        shadow, sizes = a @ b, np.abs(a) @ np.abs(b)
        off = np.abs(np.asarray(y, np.float64) - shadow)
    return Errors(
        n=a.shape[1],
        forward=_largest_ratio(off, np.abs(shadow)),
        backward=_largest_ratio(off, sizes),
        unit_roundoff=format.unit_roundoff,
    )


def patches_of(x: Any, window: Window) -> NDArray[Any]:
    """Return what lies under a window: x (N, C, H, W) -> (C R S, N OH OW), padded with zeros."""
    (rows, columns), (down, across) = window.kernel, window.stride
    padded = np.pad(x, ((0, 0), (0, 0), *((padding, padding) for padding in window.padding)))
    views = sliding_window_view(padded, (rows, columns), (2, 3))[:, :, ::down, ::across]
    return views.transpose(1, 4, 5, 0, 2, 3).reshape(x.shape[1] * rows * columns, -1)


def _largest_ratio(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    usable = np.isfinite(x) & np.isfinite(y) & (y > 0)
    return float((x[usable] / y[usable]).max(initial=0.0))


@dataclass(slots=True)
class Entry:
    """The counters of a place, and the largest errors of its matrix products."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(Event), np.int64))
    backward: float = 0.0
    forward: float = 0.0
    bound: float = 0.0


Place = tuple[tuple[int, int], ...]
"""The (place, sub) pairs through which an arithmetic was entered."""


@dataclass(frozen=True, slots=True)
class EventLog:
    """Entries by place and role, until they are drained."""

    entries: dict[tuple[Place, str], Entry] = field(default_factory=dict)

    def entry(self, place: Place, role: str) -> Entry:
        """Return the entry of a role in a place, its outermost number (the step) left out."""
        outer = tuple((0, sub) for _, sub in place[:1])
        return self.entries.setdefault(((*outer, *place[1:]), role), Entry())

    def compare(self, entry: Entry, a: Any, b: Any, y: Any, accumulator: Accumulator) -> None:
        """Note how far a matrix product is off."""
        errors = errors_of(a, b, y, accumulator.last.format)
        entry.backward, entry.forward = (
            max(entry.backward, errors.backward),
            max(entry.forward, errors.forward),
        )
        entry.bound = max(entry.bound, errors.worst_case)

    def drain(self) -> list[tuple[Place, str, Entry]]:
        """Return what was counted so far, and begin anew."""
        found = [(place, role, entry) for (place, role), entry in self.entries.items()]
        self.entries.clear()
        return found
