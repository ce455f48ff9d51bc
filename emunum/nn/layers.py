"""Layers: frozen descriptions whose parameters live in plain dicts of float32 arrays.

forward(arith, params, x, training) -> (y, saved); backward(arith, params, saved, dy, needs_dx) -> (dx,
grads); observe(arith, params, saved) -> params. Arithmetic is handed in and is the only source of rounded
values; what layers do themselves (transpose, select, compare) is exact.

What a layer keeps from step to step without training it lies in its params too, under names that begin with
"running_" and that grads do not contain: optimizers leave it alone and `observe` advances it.
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


def trained(params: Params) -> Params:
    """Return the parameters that gradients belong to: all but running statistics, in blocks too."""
    return {name: w for name, w in params.items() if not name.rpartition(".")[2].startswith("running_")}


class Layer(Protocol):
    """What Sequential asks of a layer. A layer that inherits it starts with no parameters."""

    def initial(self, scheme: initial.Scheme, stream: np.random.RandomState) -> Params:
        """Return float32 parameters, drawn from the stream in a fixed order."""
        return {}

    def forward(
        self, arith: Arithmetic, params: Params, x: Array, training: bool = True
    ) -> tuple[Array, Any]:
        """Return the layer's output and what backward (and observe) will need of a training step."""

    def backward(
        self, arith: Arithmetic, params: Params, saved: Any, dy: Array, needs_dx: bool
    ) -> tuple[Array | None, Params]:
        """Return the gradient with respect to x (None unless needed) and to each trained parameter."""

    def observe(self, arith: Arithmetic, params: Params, saved: Any) -> Params:
        """Return the parameters with what is not trained advanced by what a training step saw."""
        return params


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(Layer):
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

    def forward(
        self, arith: Arithmetic, params: Params, x: Array, training: bool = True
    ) -> tuple[Array, tuple[Array, Array]]:
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
class ReLU(Layer):
    """y = max(x, 0) of any shape, exact; the gradient at 0 is 0."""

    def forward(
        self, arith: Arithmetic, params: Params, x: Array, training: bool = True
    ) -> tuple[Array, Array]:
        """Return y and where x > 0. NaN passes."""
        positive = ~(x <= 0)
        return arith.select(positive, x), positive

    def backward(
        self, arith: Arithmetic, params: Params, saved: Array, dy: Array, needs_dx: bool
    ) -> tuple[Array | None, Params]:
        """Return dy where x > 0, else 0."""
        return arith.select(saved, dy), {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten(Layer):
    """x (N, ...) as y (N, D), in C order: exact."""

    def forward(
        self, arith: Arithmetic, params: Params, x: Array, training: bool = True
    ) -> tuple[Array, tuple[int, ...]]:
        """Return y and the shape of x."""
        return arith.rearrange(lambda x: x.reshape(len(x), -1), x), x.shape

    def backward(
        self, arith: Arithmetic, params: Params, saved: tuple[int, ...], dy: Array, needs_dx: bool
    ) -> tuple[Array | None, Params]:
        """Return dy in the shape of x."""
        return arith.rearrange(lambda dy: dy.reshape(saved), dy), {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropout(Layer):
    """y = x / (1 - rate) where a random mask keeps x, else +0; in evaluation y = x.

    An element is kept with probability 1 - rate, by a draw of its own for each step, place and index
    (Arithmetic.keep). Forward: x times the float32 constant 1 / (1 - rate) rounded to the elementwise
    format, then cast to activations; backward: dy alike in the elementwise format, cast where the next
    layer takes it. Raises ValueError where rate is not in [0, 1).

    Source: Srivastava et al., Dropout (JMLR 2014), scaled in training as is usual since.
    """

    rate: float

    def __post_init__(self) -> None:
        """Check the rate."""
        if not 0 <= self.rate < 1:
            raise ValueError(f"a dropout rate of {self.rate!r} is out of range: at least 0, below 1.")

    def forward(
        self, arith: Arithmetic, params: Params, x: Array, training: bool = True
    ) -> tuple[Array, Array | None]:
        """Return y and the mask."""
        if not training:
            return x, None
        kept = arith.keep(x.shape, self.rate, Role.ACTIVATION)
        y = arith.scale(1 / (1 - self.rate), arith.select(kept, x), Role.ACTIVATION)
        return arith.cast(Role.ACTIVATION, y), kept

    def backward(
        self, arith: Arithmetic, params: Params, saved: Array, dy: Array, needs_dx: bool
    ) -> tuple[Array | None, Params]:
        """Return dy / (1 - rate) where x was kept, else +0."""
        return arith.scale(1 / (1 - self.rate), arith.select(saved, dy), Role.ERROR), {}
