"""Two-dimensional convolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emunum.kernels.windows import Window
from emunum.nn import initial
from emunum.nn.layers import Array, Layer, Params
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv2d(Layer):
    """y[n, o, i, j] = b[o] + sum over (c, r, s) of w[o, c, r, s] x[n, c, i sh - ph + r, j sw - pw + s].

    x (N, n_in, H, W), w (n_out, n_in, R, S), b (n_out,), y (N, n_out, OH, OW); x is 0 beyond its edges.
    Forward: w and b cast to weights, the sum over c, then r, then s in the accumulator, + b in the
    elementwise format, y cast to activations. Backward: dy cast to errors; dw and dx are convolutions in
    the accumulator, db the sum of dy over samples and pixels, in index order, in it too; dw and db are cast
    to gradients, dx where the next layer takes it. Without `bias` there is no b.
    """

    n_in: int
    n_out: int
    window: Window
    bias: bool = True

    def initial(self, scheme: initial.Scheme, stream: np.random.RandomState) -> Params:
        """Weights, row-major, then biases, as of a linear layer with n_in R S inputs."""
        taps = self.n_in * self.window.kernel[0] * self.window.kernel[1]
        shape = (self.n_out, self.n_in, *self.window.kernel)
        if not self.bias:
            return {"w": initial.weights(scheme, stream, taps, self.n_out).reshape(shape)}
        w, b = initial.linear(scheme, stream, taps, self.n_out)
        return {"w": w.reshape(shape), "b": b}

    def forward(
        self, arith: Arithmetic, params: Params, x: Array, training: bool = True
    ) -> tuple[Array, tuple[Array, Array]]:
        """Return y and (x, w as it was used)."""
        w = arith.cast(Role.WEIGHT, params["w"], part=0)
        y = arith.convolve(x, w, self.window, Role.ACTIVATION)
        if self.bias:
            b = arith.cast(Role.WEIGHT, params["b"], part=1)
            y = arith.add(y, b.reshape(-1, 1, 1), Role.ACTIVATION)
        return arith.cast(Role.ACTIVATION, y), (x, w)

    def backward(
        self, arith: Arithmetic, params: Params, saved: tuple[Array, Array], dy: Array, needs_dx: bool
    ) -> tuple[Array | None, Params]:
        """Return dx and {"w": dw, "b": db}."""
        x, w = saved
        dy = arith.cast(Role.ERROR, dy)
        dw = arith.convolve_weights(dy, x, self.window, Role.GRADIENT)
        grads = {"w": arith.cast(Role.GRADIENT, dw, part=0)}
        if self.bias:
            grads["b"] = arith.cast(Role.GRADIENT, arith.channel_sum(dy, Role.GRADIENT), part=1)
        if not needs_dx:
            return None, grads
        return arith.convolve_input(dy, w, self.window, x.shape, Role.ERROR), grads
