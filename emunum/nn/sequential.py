"""Layers in a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emunum.nn import initial
from emunum.nn.layers import Array, Layer, Params, trained
from emunum.ops.arithmetic import Arithmetic


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequential:
    """y = layer_L(... layer_1(x)). Layer i computes at place i of the arithmetic it is handed."""

    layers: tuple[Layer, ...]

    def name_of(self, index: int) -> str:
        """Return a layer's name: its number and its kind, such as "0.Linear"."""
        return f"{index}.{type(self.layers[index]).__name__}"

    def initial(self, scheme: initial.Scheme, stream: np.random.RandomState) -> list[Params]:
        """Return the parameters of every layer, drawn from one stream in order."""
        return [layer.initial(scheme, stream) for layer in self.layers]

    def forward(
        self, arith: Arithmetic, params: list[Params], x: Array, training: bool = True
    ) -> tuple[Array, list[Any]]:
        """Return the output and what every layer saved."""
        saved = []
        for index, (layer, own) in enumerate(zip(self.layers, params, strict=True)):
            x, kept = layer.forward(arith.at(index), own, x, training)
            saved.append(kept)
        return x, saved

    def backward(self, arith: Arithmetic, params: list[Params], saved: list[Any], dy: Array) -> list[Params]:
        """Return the gradients of every layer's parameters, and no dx that leads to none."""
        grads: list[Params] = [{} for _ in self.layers]
        first = next((index for index, own in enumerate(params) if trained(own)), len(self.layers))
        error: Array | None = dy
        for index in reversed(range(first, len(self.layers))):
            assert error is not None
            error, grads[index] = self.layers[index].backward(
                arith.at(index), params[index], saved[index], error, needs_dx=index > first
            )
        return grads

    def observe(self, arith: Arithmetic, params: list[Params], saved: list[Any]) -> list[Params]:
        """Return the parameters, those that are not trained advanced by what a training step saw."""
        return [
            layer.observe(arith.at(index), *seen)
            for index, (layer, *seen) in enumerate(zip(self.layers, params, saved, strict=True))
        ]
