"""Stochastic gradient descent with every operation in the update's format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emunum.nn.layers import Params
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Role

_SLOTS = 4  # roundings a parameter has in one step


@dataclass(frozen=True, slots=True, kw_only=True)
class SGD:
    """g = g / loss_scale; g = g + weight_decay w; v = momentum v + g; w = w - lr v.

    Each line is a scaled add (its product rounded, then its sum) in the update's format, skipped where
    its coefficient makes it the identity; coefficients are float32 constants. v starts at 0. The new w is
    cast to the master weights' format. Without momentum, v is g and no state is kept.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    def state(self, params: list[Params]) -> list[Params]:
        """Return the state before the first step: v = 0 for each parameter, or nothing."""
        if self.momentum == 0:
            return [{} for _ in params]
        return [{name: np.zeros_like(w) for name, w in own.items()} for own in params]

    def step(
        self,
        arith: Arithmetic,
        params: list[Params],
        grads: list[Params],
        state: list[Params],
        loss_scale: float = 1.0,
    ) -> tuple[list[Params], list[Params]]:
        """Return the next parameters and state."""
        stepped = [
            self._step_layer(arith.at(index), *layer, loss_scale)
            for index, layer in enumerate(zip(params, grads, state, strict=True))
        ]
        return [own for own, _ in stepped], [kept for _, kept in stepped]

    def _step_layer(
        self, arith: Arithmetic, params: Params, grads: Params, state: Params, loss_scale: float
    ) -> tuple[Params, Params]:
        new, kept = {}, {}
        for slot, (name, w) in enumerate(params.items()):
            part = slot * _SLOTS
            g = grads[name]
            if loss_scale != 1:
                g = arith.scale(1.0 / loss_scale, g, Role.UPDATE, part)
            if self.weight_decay != 0:
                g = arith.scaled_add(g, self.weight_decay, w, part + 1)
            if self.momentum != 0:
                g = kept[name] = arith.scaled_add(g, self.momentum, state[name], part + 2)
            new[name] = arith.cast(Role.MASTER, arith.scaled_add(w, -self.lr, g, part + 3), part)
        return new, kept
