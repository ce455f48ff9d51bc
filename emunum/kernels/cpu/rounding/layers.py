"""What a cast asks for beyond a rounder: flushing, wrapping, bounds by sign, one zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from emunum.kernels.contract import Flushed, OneZero, Ranged, TwoSum, Wrapped, ZeroDown
from emunum.kernels.cpu.rounding.choice import round_value, rounds
from emunum.kernels.cpu.rounding.error_free import remainder


@rounds(Flushed)
def _flush(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    rounded = np.float32(round_value(x, residual, to.rounder, draw))
    return rounded * np.float32(0.0) if abs(rounded) < to.smallest_normal else rounded


@rounds(Wrapped)
def _wrap(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    # 1. Modulo the period, exactly.
    high, rest = remainder(x, residual, to.period)
    # 2. Rounded two bits wider than the format, then moved into [-period / 2, period / 2).
    rounded = np.float64(round_value(high, rest, to.rounder, draw))
    turns = np.floor((rounded + to.period * 0.5) / to.period)
    return np.float32(rounded - to.period * turns)


@rounds(Ranged)
def _bound(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    rounded = np.float32(round_value(x, residual, to.rounder, draw))
    bounded = to.overflow if rounded > to.max else rounded
    bounded = to.negative_overflow if rounded < to.min else bounded
    bounded = to.infinity if x == np.float32(np.inf) else bounded
    return to.negative_infinity if x == np.float32(-np.inf) else bounded


@rounds(OneZero)
def _join_zeros(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    return np.float32(round_value(x, residual, to.rounder, draw)) + np.float32(0.0)


@rounds(TwoSum, ZeroDown)  # what these two add is for sums alone: operations.py
def _inner(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    return round_value(x, residual, to.rounder, draw)
