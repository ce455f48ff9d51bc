"""Residual blocks, and the shortcut without parameters that changes an image's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emunum.nn import initial
from emunum.nn.layers import Array, Layer, Params
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut(Layer):
    """Every stride-th row and column of x, and zeros for the channels that are missing: exact.

    x (N, C, H, W), y (N, n_out, ceil(H / stride), ceil(W / stride)), n_out >= C: y's first C channels are
    x's. Source: He et al., Deep residual learning (CVPR 2016), section 3.3, option A.
    """

    n_out: int
    stride: int = 1

    def forward(
        self, arith: Arithmetic, params: Params, x: Array, training: bool = True
    ) -> tuple[Array, tuple[int, ...]]:
        """Return y and the shape of x."""
        missing = self.n_out - x.shape[1]

        def move(x: Array) -> Array:
            return np.pad(x[:, :, :: self.stride, :: self.stride], ((0, 0), (0, missing), (0, 0), (0, 0)))

        return arith.rearrange(move, x), x.shape

    def backward(
        self, arith: Arithmetic, params: Params, saved: tuple[int, ...], dy: Array, needs_dx: bool
    ) -> tuple[Array | None, Params]:
        """Return dy where y was x, +0 elsewhere."""

        def move(dy: Array) -> Array:
            dx = np.zeros_like(dy, order="C", shape=saved)
            dx[:, :, :: self.stride, :: self.stride] = dy[:, : saved[1]]
            return dx

        return arith.rearrange(move, dy), {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual(Layer):
    """y = shortcut(x) + body(x): layers in a row, and a way around them; x itself without a shortcut.

    The sum is rounded to the elementwise format and cast to activations. Backward: dx is the sum of what
    the two ways hand back, in the elementwise format; each layer casts dy to errors where it computes with
    it. Layer i of the body computes at place i, the shortcut at the place behind them. Parameters
    are called "0.w", "2.gamma", ... by their layer, those of the shortcut too.
    Source: He et al., Identity mappings in deep residual networks (ECCV 2016): nothing behind the sum.
    """

    body: tuple[Layer, ...]
    shortcut: Layer | None = None

    def initial(self, scheme: initial.Scheme, stream: np.random.RandomState) -> Params:
        """The body's first, in order."""
        drawn = [layer.initial(scheme, stream) for layer in self._layers]
        return {f"{index}.{name}": w for index, own in enumerate(drawn) for name, w in own.items()}

    def forward(
        self, arith: Arithmetic, params: Params, x: Array, training: bool = True
    ) -> tuple[Array, list[Any]]:
        """Return y and what each layer saved."""
        y, saved = x, []
        for index, layer in enumerate(self.body):
            y, kept = layer.forward(arith.at(index), _of(params, index), y, training)
            saved.append(kept)
        if self.shortcut is not None:
            last = len(self.body)
            x, kept = self.shortcut.forward(arith.at(last), _of(params, last), x, training)
            saved.append(kept)
        return arith.cast(Role.ACTIVATION, arith.add(x, y, Role.ACTIVATION)), saved

    def backward(
        self, arith: Arithmetic, params: Params, saved: list[Any], dy: Array, needs_dx: bool
    ) -> tuple[Array | None, Params]:
        """Return dx and the gradients of every layer's parameters."""
        found: Params = {}

        def back(index: int, dy: Array, needed: bool) -> Array | None:
            own = _of(params, index)
            dx, of_layer = self._layers[index].backward(arith.at(index), own, saved[index], dy, needed)
            found.update({f"{index}.{name}": g for name, g in of_layer.items()})
            return dx

        error: Array | None = dy
        for index in reversed(range(len(self.body))):
            assert error is not None
            error = back(index, error, needs_dx or index > 0)
        around = dy if self.shortcut is None else back(len(self.body), dy, needs_dx)
        grads = {name: found[name] for name in params if name in found}
        if not needs_dx:
            return None, grads
        assert error is not None
        assert around is not None
        return arith.add(around, error, Role.ERROR), grads

    def observe(self, arith: Arithmetic, params: Params, saved: list[Any]) -> Params:
        """Return params with every layer's advanced."""
        seen = [
            layer.observe(arith.at(index), _of(params, index), kept)
            for index, (layer, kept) in enumerate(zip(self._layers, saved, strict=True))
        ]
        return {f"{index}.{name}": w for index, own in enumerate(seen) for name, w in own.items()}

    @property
    def _layers(self) -> tuple[Layer, ...]:
        return self.body if self.shortcut is None else (*self.body, self.shortcut)


def _of(params: Params, index: int) -> Params:
    start = f"{index}."
    return {name[len(start) :]: w for name, w in params.items() if name.startswith(start)}
