"""A case of the benchmark, and how cases are timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from emunum.kernels.cpu import get_threads, set_threads
from emunum.kernels.cpu.threads import share

Call = Callable[[], object]


class MissingPeerError(Exception):
    """A case of a library that is not installed; the message is its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something to time: `work` units a call."""

    group: str
    name: str
    work: int
    unit: str
    prepare: Callable[[], Call]
    """Makes the operands and returns the call to time. Raises MissingPeerError."""
    reference: str
    """Name of the case whose rate this one is set beside."""
    bound: str | None = None
    """Name of the case that measures what bounds this one."""
    cost: Callable[[], float | None] = lambda: None
    """What a unit of work takes of that: bytes moved or vector instructions; None where nobody knows."""
    threads: int | None = None
    """Threads to use, if not as many as are set."""
    lingers_s: float = 0.0
    """How long threads of the call's own go on spinning after it, in the way of the next case."""


def measure(
    selected: list[Case],
    *,
    repeats: int = 7,
    on_step: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Time every case `repeats` times, taking turns; return a row each, and the libraries not installed.

    Turns share out what else the machine does. The first turn prepares and compiles and is not counted.
    A row has the median rate in units a second, the slowest and fastest, the ratio of the median to that
    of its reference, and its limit: bound's rate times bound's cost over its own cost. `on_step` is called
    after each call and each reading of a cost, repeats + 2 times a case.
    """
    calls, times, missing = dict[str, Call](), dict[str, list[float]](), list[str]()
    for turn in range(repeats + 1):
        for case in selected:
            on_step()
            if turn == 0:
                try:
                    calls[case.name] = case.prepare()
                except MissingPeerError as peer:
                    missing.append(str(peer))
            if case.name in calls:
                with _threads(case.threads):
                    start = clock()
                    calls[case.name]()
                    wall_s = clock() - start
                if turn:
                    times.setdefault(case.name, []).append(wall_s)
                time.sleep(case.lingers_s)
    timed = [case for case in selected if case.name in calls]
    rates = {case.name: case.work / median(times[case.name]) for case in timed}
    costs = {}
    for case in selected:
        costs[case.name] = case.cost() if case.name in calls else None
        on_step()
    rows = [_row(case, times[case.name], rates, costs) for case in timed]
    return rows, list(dict.fromkeys(missing))


def _row(
    case: Case, times: list[float], rates: dict[str, float], costs: dict[str, float | None]
) -> dict[str, Any]:
    rate, own, limit = rates[case.name], costs[case.name], None
    if case.bound in rates and own and (of_bound := costs[case.bound]):
        limit = rates[case.bound] * of_bound / own
    return {
        "group": case.group,
        "name": case.name,
        "unit": case.unit,
        "work": case.work,
        "threads": case.threads or get_threads(),
        "median_per_s": rate,
        "slowest_per_s": case.work / max(times),
        "fastest_per_s": case.work / min(times),
        "reference": case.reference,
        "ratio_to_reference": rate / rates[case.reference] if case.reference in rates else None,
        "bound": case.bound,
        "cost": own,
        "limit_per_s": limit,
        "share_of_limit": limit and rate / limit,
    }


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Use `count` threads, then as many as before: they are started at once, at no later case's expense."""
    if count is None:
        yield
        return
    before = get_threads()
    set_threads(count)
    try:
        yield
    finally:
        set_threads(before)
        share(lambda begin, end: None, before, work=1 << 30)
