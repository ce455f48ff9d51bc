"""Losses: the value is measured in exact arithmetic, the gradient is computed in emulated arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from emunum.formats.names import unknown
from emunum.kernels import cpu
from emunum.nn.layers import Array
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Role
from emunum.ops.strict import plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A loss of outputs y and targets, both (N, C).

    `value(y, target)` measures it. `gradient(arith, y, target, loss_scale)` is its gradient with respect to
    y, times loss_scale, in emulated arithmetic.
    """

    name: str
    value: Callable[[Array, Array], float]
    gradient: Callable[[Arithmetic, Array, Array, float], Array]


def parse_loss(name: str) -> Loss:
    """Return the loss called `name`, or raise ValueError."""
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    return LOSSES[name]


def mean_squared_error(y: Array, target: Array) -> float:
    """(1/n) sum (y - t)^2 over all n elements: float64 terms, exactly summed, so the same everywhere.

    A measurement, not a step of training: NaN or Inf in y gives NaN or Inf.
    """
    difference = plain(y).astype(np.float64) - plain(target).astype(np.float64)
    return _mean((difference * difference).reshape(-1))


def mean_squared_error_gradient(arith: Arithmetic, y: Array, target: Array, loss_scale: float = 1.0) -> Array:
    """round((2 loss_scale / n) round(y - t)), both roundings in the accumulator's format."""
    difference = arith.subtract(y, target, Role.ERROR)
    return arith.scale(2.0 * loss_scale / y.size, difference, Role.ERROR)


def cross_entropy(y: Array, target: Array) -> float:
    """-(1/N) sum t log softmax(y), natural logarithm; y and target (N, C), each row of target adding up to 1.

    A row's term is log(sum exp(y - max y)) - sum t (y - max y), sums over classes in index order, all in
    float64 with exp and log from IEEE basic operations; the N terms are exactly summed. So it is the same
    everywhere. A measurement: NaN or +Inf in y gives NaN, -Inf where t > 0 gives Inf.
    """
    y, target = plain(y).astype(np.float64), plain(target).astype(np.float64)
    with np.errstate(invalid="ignore"):
        distance = y - y.max(axis=1, keepdims=True)
        picked = np.where(target == 0, 0.0, target * distance)
    return _mean(cpu.log(_in_index_order(cpu.exp(distance))) - _in_index_order(picked))


def softmax(arith: Arithmetic, y: Array) -> Array:
    """e^y / sum e^y of each row of y (N, C), rounded at every step.

    d = round(y - max y), e = round(exp d), s = the row sums of e in the accumulator, p = round(e / s),
    each but s in the elementwise format. The maximum of a row is exact, so that e has a 1 in each row and s
    cannot be 0.
    """
    d = arith.subtract(y, arith.row_max(y), Role.ERROR, part=0)
    e = arith.exp(d, Role.ERROR)
    s = arith.row_sum(e, Role.ERROR)
    return arith.divide(e, s[:, None], Role.ERROR)


def cross_entropy_gradient(arith: Arithmetic, y: Array, target: Array, loss_scale: float = 1.0) -> Array:
    """(loss_scale / N) (softmax(y) - t), rounded at every step; y and target (N, C).

    dy = round((loss_scale / N) round(p - t)), both in the elementwise format, p as `softmax` has it.
    """
    difference = arith.subtract(softmax(arith, y), target, Role.ERROR, part=1)
    return arith.scale(loss_scale / y.shape[0], difference, Role.ERROR)


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        loss.name: loss
        for loss in (
            Loss(name="mse", value=mean_squared_error, gradient=mean_squared_error_gradient),
            Loss(name="cross_entropy", value=cross_entropy, gradient=cross_entropy_gradient),
        )
    }
)
"""Name to loss."""


def _mean(terms: NDArray[np.float64]) -> float:
    return math.fsum(terms) / terms.size if np.isfinite(terms).all() else float(terms.sum())


def _in_index_order(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of each row, column by column."""
    total = x[:, 0]
    for column in range(1, x.shape[1]):
        total = total + x[:, column]
    return total
