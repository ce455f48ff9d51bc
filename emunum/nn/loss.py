"""Losses: the value is measured in exact arithmetic, the gradient is computed in emulated arithmetic."""

from __future__ import annotations

import math

import numpy as np

from emunum.nn.layers import Array
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Role
from emunum.ops.strict import plain


def mean_squared_error(y: Array, target: Array) -> float:
    """(1/n) sum (y - t)^2 over all n elements: float64 terms, exactly summed, so the same everywhere.

    A measurement, not a step of training: NaN or Inf in y gives NaN or Inf.
    """
    difference = plain(y).astype(np.float64) - plain(target).astype(np.float64)
    squares = (difference * difference).reshape(-1)
    return math.fsum(squares) / squares.size if np.isfinite(squares).all() else float(squares.sum())


def mean_squared_error_gradient(arith: Arithmetic, y: Array, target: Array, loss_scale: float = 1.0) -> Array:
    """round((2 loss_scale / n) round(y - t)), both roundings in the accumulator's format."""
    difference = arith.subtract(y, target, Role.ERROR)
    return arith.scale(2.0 * loss_scale / y.size, difference, Role.ERROR)
