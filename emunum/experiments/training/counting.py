"""What the roundings of an epoch did, as rows: one for each layer, pass and role."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum

from emunum.ops.events import EVENTS, EventLog
from emunum.ops.policy import Role

EventRow = Mapping[str, str | int | float]
"""layer, pass, role, a count for each Event, the largest errors of matrix products and their bound n u."""

_PASSES = {Role.ERROR: "backward", Role.GRADIENT: "backward", Role.UPDATE: "update", Role.MASTER: "update"}
_ERRORS = ("forward_error", "backward_error", "worst_case")


class Phase(IntEnum):
    """Where in a run an operation happens: with the step, the outermost part of its random counter.

    The i-th batch of a measurement, i = 0, 1, ..., stands at phase + 16 i.
    """

    TRAIN = 0
    UPDATE = 1
    TEST_ON_TRAIN = 2
    TEST_ON_TEST = 3
    INITIAL = 4
    VALIDATION = 5


def drained(log: EventLog, name_of: Callable[[int], str]) -> list[EventRow]:
    """Return what was counted since the last call, without measurements; `name_of` a layer's number."""
    rows: list[EventRow] = []
    for place, role, entry in log.drain():
        phase = place[0][1]
        if phase not in (Phase.TRAIN, Phase.UPDATE, Phase.INITIAL):
            continue
        rows.append(
            {
                "layer": name_of(place[1][0]) if len(place) > 1 else "loss",
                "pass": "initial" if phase == Phase.INITIAL else _PASSES.get(Role[role.upper()], "forward"),
                "role": role,
                **dict(zip(EVENTS, map(int, entry.counts), strict=True)),
                "forward_error": entry.forward,
                "backward_error": entry.backward,
                "worst_case": entry.bound,
            }
        )
    return rows


def merged(rows: Iterable[EventRow]) -> tuple[EventRow, ...]:
    """Return one row for each layer, pass and role, as they come: sums of counts, largest errors."""
    found: dict[tuple[object, ...], dict[str, str | int | float]] = {}
    for row in rows:
        place = row["layer"], row["pass"], row["role"]
        if place not in found:
            found[place] = dict(row)
            continue
        total = found[place]
        for event in EVENTS:
            total[event] = int(total[event]) + int(row[event])
        for error in _ERRORS:
            total[error] = max(float(total[error]), float(row[error]))
    return tuple(found.values())
