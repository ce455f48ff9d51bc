"""Roundings whose events are counted: the same bits, and a look at what became of the number."""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.contract import Counted, Event
from emunum.kernels.cpu.bits import bits_of, float_of
from emunum.kernels.cpu.compile import inlined
from emunum.kernels.cpu.rounding.choice import round_value, rounds

_ROUNDINGS, _OVERFLOW, _UNDERFLOW = int(Event.ROUNDINGS), int(Event.OVERFLOW), int(Event.UNDERFLOW)
_FLUSHED, _ABSORBED, _TIE = int(Event.FLUSHED), int(Event.ABSORBED), int(Event.TIE)
_NAN, _ROUNDED_UP = int(Event.NAN), int(Event.ROUNDED_UP)
_INFINITY = np.uint64(0x7FF << 52)


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
        # The rounding as it would be with unbounded exponents; the tail, in quanta.
        whole = np.float64(round_value(x, residual, to.unbounded, draw))
        nonzero = (x != 0.0) | (residual != 0.0)
        scale = max(abs(x), to.smallest_normal)
        quanta = abs(x) / (float_of(np.uint64(bits_of(scale) & _INFINITY)) * to.eps)
        counts[_OVERFLOW] += np.int64((whole > to.max) | (whole < to.min))
        counts[_UNDERFLOW] += np.int64(nonzero & (whole == 0.0))
        counts[_FLUSHED] += np.int64((whole != 0.0) & (rounded == 0.0) & (abs(whole) < to.smallest_normal))
        counts[_TIE] += np.int64((residual == 0.0) & (quanta - np.floor(quanta) == 0.5))
        outward = (abs(whole) - abs(x)) - (residual if x > 0.0 else -residual)
        counts[_ROUNDED_UP] += np.int64(outward > 0.0)
