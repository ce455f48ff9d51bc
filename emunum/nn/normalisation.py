"""Batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emunum.nn import initial
from emunum.nn.layers import Array, Layer, Params
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Role

_OBSERVED = 1 << 16
"""Parts of `observe`: behind those of any optimizer, which works with the same role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchNorm2d(Layer):
    """y = gamma (x - mean) / sqrt(variance + eps) + beta, a mean and a variance for each channel.

    x, y (N, n, H, W); every vector (n,). "Sum" is that over samples and pixels in index order in the
    accumulator, M = N H W of them; every other operation is rounded to the elementwise format, the
    constants 1/M and eps being float32. Forward:

        mean = (1/M) sum x;  d = x - mean;  variance = (1/M) sum (d d)
        r = 1 / sqrt(variance + eps);  h = d r;  y = gamma h + beta

    gamma and beta cast to weights, y to activations. In evaluation running_mean and running_variance take
    the place of mean and variance. Backward, dy cast to errors, through mean and variance:

        dbeta = sum dy;  dgamma = sum (dy h)
        dx = (gamma r) ((dy - (1/M) dbeta) - h ((1/M) dgamma))

    dgamma and dbeta are then cast to gradients. `observe` advances the running statistics in the update's
    format: running = running + momentum (new - running), where the new variance is M/(M - 1) variance.
    Under int8 tensors all this is float32 arithmetic on what they stand for; only x's sum and dbeta are
    integers.

    An eps that the elementwise format rounds away leaves 1 / 0 for a constant channel: the largest value
    where the format saturates, Inf (and then y = NaN) where it does not.
    Source: Ioffe and Szegedy, Batch normalization (ICML 2015), algorithm 1.
    """

    n: int
    eps: float = 1e-5
    momentum: float = 0.1

    def initial(self, scheme: initial.Scheme, stream: np.random.RandomState) -> Params:
        """gamma = running_variance = 1, beta = running_mean = 0: nothing is drawn."""
        ones, zeros = np.ones(self.n, np.float32), np.zeros(self.n, np.float32)
        return {"gamma": ones, "beta": zeros, "running_mean": zeros.copy(), "running_variance": ones.copy()}

    def forward(
        self, arith: Arithmetic, params: Params, x: Array, training: bool = True
    ) -> tuple[Array, Any]:
        """Return y and (h, gamma as it was used, r, mean, variance)."""
        role = Role.ACTIVATION
        gamma = arith.cast(Role.WEIGHT, params["gamma"], part=0)
        beta = arith.cast(Role.WEIGHT, params["beta"], part=1)
        mean, variance = params["running_mean"], params["running_variance"]
        if training:
            mean = arith.scale(1 / _count(x), arith.channel_sum(x, role, 0), role, 0)
        d = arith.subtract(x, _by_channel(mean), role)
        if training:
            squares = arith.multiply(d, d, role, 1)
            variance = arith.scale(1 / _count(x), arith.channel_sum(squares, role, 1), role, 2)
        root = arith.square_root(arith.add(variance, _constant(self.eps), role, 0), role)
        r = arith.divide(_constant(1.0), root, role)
        h = arith.multiply(d, _by_channel(r), role, 3)
        y = arith.add(arith.multiply(_by_channel(gamma), h, role, 4), _by_channel(beta), role, 1)
        return arith.cast(role, y), (h, gamma, r, mean, variance)

    def backward(
        self, arith: Arithmetic, params: Params, saved: Any, dy: Array, needs_dx: bool
    ) -> tuple[Array | None, Params]:
        """Return dx and {"gamma": dgamma, "beta": dbeta}."""
        h, gamma, r, _, _ = saved
        role, fraction = Role.ERROR, 1 / _count(h)
        dy = arith.cast(role, dy)
        dgamma = arith.channel_sum(arith.multiply(dy, h, role, 0), Role.GRADIENT, 0)
        dbeta = arith.channel_sum(dy, Role.GRADIENT, 1)
        grads = {
            "gamma": arith.cast(Role.GRADIENT, dgamma, part=0),
            "beta": arith.cast(Role.GRADIENT, dbeta, part=1),
        }
        if not needs_dx:
            return None, grads
        centred = arith.subtract(dy, _by_channel(arith.scale(fraction, dbeta, role, 1)), role, 0)
        slope = arith.multiply(h, _by_channel(arith.scale(fraction, dgamma, role, 2)), role, 3)
        factor = arith.multiply(gamma, r, role, 4)
        dx = arith.multiply(_by_channel(factor), arith.subtract(centred, slope, role, 1), role, 5)
        return dx, grads

    def observe(self, arith: Arithmetic, params: Params, saved: Any) -> Params:
        """Return params with the running statistics moved toward those of the batch."""
        h, _, _, mean, variance = saved
        count = _count(h)
        if count > 1:
            variance = arith.scale(count / (count - 1), variance, Role.UPDATE, _OBSERVED)
        new = {"running_mean": mean, "running_variance": variance}
        for part, (name, seen) in enumerate(new.items(), _OBSERVED + 1):
            away = arith.subtract(seen, params[name], Role.UPDATE, part)
            new[name] = arith.scaled_add(params[name], self.momentum, away, part)
        return params | new


def _count(x: Array) -> int:
    """N H W."""
    return int(x.size // x.shape[1])


def _by_channel(vector: Array) -> Array:
    """(n,) as (n, 1, 1)."""
    return vector.reshape(-1, 1, 1)


def _constant(value: float) -> Array:
    return np.asarray(value, np.float32)
