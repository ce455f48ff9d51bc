"""Layers: frozen descriptions whose parameters live in plain dicts of float32 arrays.

forward(arith, params, x) -> (y, saved); backward(arith, params, saved, dy, needs_dx) -> (dx, grads).
Arithmetic is handed in and is the only source of rounded values; what layers do themselves (transpose,
select, compare) is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from emunum.nn import initial
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Role

Array = NDArray[Any]
Params = dict[str, Array]


class Layer(Protocol):
    """What Sequential asks of a layer."""

    def initial(self, scheme: initial.Scheme, stream: np.random.RandomState) -> Params:
        """Return float32 parameters, drawn from the stream in a fixed order."""

    def forward(self, arith: Arithmetic, params: Params, x: Array) -> tuple[Array, Any]:
        """Return the layer's output and what backward will need."""

    def backward(
        self, arith: Arithmetic, params: Params, saved: Any, dy: Array, needs_dx: bool
    ) -> tuple[Array | None, Params]:
        """Return the gradient with respect to x (None unless needed) and to each parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """y = x w^T + b: x (N, n_in), w (n_out, n_in), b (n_out,), y (N, n_out).

    Forward: w and b cast to weights, the matrix product in the accumulator, + b in the accumulator, y
    cast to activations. Backward: dy cast to errors; dw = dy^T x and db = column sums of dy in the
    accumulator, cast to gradients; dx = dy w in the accumulator, cast where the next layer takes it.
    """

    n_in: int
    n_out: int

    def initial(self, scheme: initial.Scheme, stream: np.random.RandomState) -> Params:
        """Weights first, row-major, then biases."""
        w, b = initial.linear(scheme, stream, self.n_in, self.n_out)
        return {"w": w, "b": b}

    def forward(self, arith: Arithmetic, params: Params, x: Array) -> tuple[Array, tuple[Array, Array]]:
        """Return y and (x, w as it was used)."""
        w = arith.cast(Role.WEIGHT, params["w"], part=0)
        b = arith.cast(Role.WEIGHT, params["b"], part=1)
        y = arith.matmul(x, w.T, Role.ACTIVATION)
        y = arith.add(y, b, Role.ACTIVATION)
        return arith.cast(Role.ACTIVATION, y), (x, w)

    def backward(
        self, arith: Arithmetic, params: Params, saved: tuple[Array, Array], dy: Array, needs_dx: bool
    ) -> tuple[Array | None, Params]:
        """Return dx and {"w": dw, "b": db}."""
        x, w = saved
        dy = arith.cast(Role.ERROR, dy)
        dw = arith.cast(Role.GRADIENT, arith.matmul(dy.T, x, Role.GRADIENT), part=0)
        db = arith.cast(Role.GRADIENT, arith.column_sum(dy, Role.GRADIENT), part=1)
        dx = arith.matmul(dy, w, Role.ERROR) if needs_dx else None
        return dx, {"w": dw, "b": db}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReLU:
    """y = max(x, 0), exact; the gradient at 0 is 0."""

    def initial(self, scheme: initial.Scheme, stream: np.random.RandomState) -> Params:
        """No parameters."""
        return {}

    def forward(self, arith: Arithmetic, params: Params, x: Array) -> tuple[Array, Array]:
        """Return y and where x > 0. NaN passes."""
        positive = ~(x <= 0)
        return arith.select(positive, x), positive

    def backward(
        self, arith: Arithmetic, params: Params, saved: Array, dy: Array, needs_dx: bool
    ) -> tuple[Array | None, Params]:
        """Return dy where x > 0, else 0."""
        return arith.select(saved, dy), {}
