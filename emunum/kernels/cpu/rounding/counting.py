"""Roundings whose events are counted: the same bits, and a look at what became of the number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from emunum.kernels.contract import Counted, Event, Watched
from emunum.kernels.cpu.bits import bits_of, float_of
from emunum.kernels.cpu.compile import chosen_by_type, inlined
from emunum.kernels.cpu.rounding.choice import no, round_value, rounds, yes
from emunum.kernels.cpu.rounding.error_free import remainder

_ROUNDINGS, _OVERFLOW, _UNDERFLOW = int(Event.ROUNDINGS), int(Event.OVERFLOW), int(Event.UNDERFLOW)
_FLUSHED, _TIE, _NAN, _ROUNDED_UP = (
    int(Event.FLUSHED),
    int(Event.TIE),
    int(Event.NAN),
    int(Event.ROUNDED_UP),
)
_INFINITY = np.uint64(0x7FF << 52)
_PERIOD = Counted._fields.index("period")


@rounds(Counted)
def _count(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    rounded = np.float32(round_value(x, residual, to.rounder, draw))
    note(x, residual, rounded, not np.isnan(x), to, draw)
    return rounded


@inlined
def note(x: Any, residual: Any, rounded: Any, numbers: Any, to: Any, draw: Any) -> None:
    """Count the events of rounding x + residual; `numbers`: no operand was NaN."""
    counts = to.counts
    counts[_ROUNDINGS] += 1
    counts[_NAN] += np.int64(numbers & np.isnan(rounded))
    if abs(x) < np.inf:
        near, rest, beyond = within(x, residual, to)
        # The rounding as it would be with unbounded exponents; the tail, in quanta.
        whole = np.float64(round_value(near, rest, to.unbounded, draw))
        nonzero = (x != 0.0) | (residual != 0.0)
        scale = max(abs(near), to.smallest_normal)
        quanta = abs(near) / (float_of(np.uint64(bits_of(scale) & _INFINITY)) * to.eps)
        counts[_OVERFLOW] += np.int64((whole > to.max) | (whole < to.min) | beyond)
        counts[_UNDERFLOW] += np.int64(nonzero & (whole == 0.0) & (not beyond))
        counts[_FLUSHED] += np.int64((whole != 0.0) & (rounded == 0.0) & (abs(whole) < to.smallest_normal))
        counts[_TIE] += np.int64((rest == 0.0) & (quanta - np.floor(quanta) == 0.5))
        outward = (abs(whole) - abs(near)) - (rest if near > 0.0 else -rest)
        counts[_ROUNDED_UP] += np.int64(outward > 0.0)


def within(x: Any, residual: Any, to: Any) -> Any:
    """Return a number and a residual that have the tail of x + residual, and whether it lies beyond them.

    The quantum of fixed point is the same everywhere: what wraps is looked at within its period.
    """


@chosen_by_type(within)
def _(x: Any, residual: Any, to: Any) -> Any:
    return _as_it_is if isinstance(to.types[_PERIOD], types.NoneType) else _within_period


def _as_it_is(x: Any, residual: Any, to: Any) -> Any:
    return x, residual, False


def _within_period(x: Any, residual: Any, to: Any) -> Any:
    near, rest = remainder(x, residual, to.period)
    return near, rest, abs(x) >= to.period


def counts_events(to: Any) -> Any:
    """Whether events are counted: a constant at compile time."""


@chosen_by_type(counts_events)
def _(to: Any) -> Any:
    return yes if to.instance_class in (Counted, Watched) else no


def note_nan(born: Any, to: Any) -> None:
    """Count a NaN that is there before anything is rounded, if it is born there; else do nothing."""


@chosen_by_type(note_nan)
def _(born: Any, to: Any) -> Any:
    return _note_nan if to.instance_class in (Counted, Watched) else _pass_over


def _note_nan(born: Any, to: Any) -> None:
    to.counts[_NAN] += np.int64(born)


def _pass_over(born: Any, to: Any) -> None:
    pass
