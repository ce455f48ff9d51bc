"""Optimizers with every operation and every state array in the update's format.

Descriptions are frozen; what changes from step to step (state, learning rate, number of the step) is handed
in each time. A schedule computes the rate; a checkpoint holds parameters and state: arrays by layer and name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from emunum.kernels.elementary import power
from emunum.nn.layers import Array, Params
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Role


class Optimizer(Protocol):
    """What a trainer asks of an optimizer."""

    def state(self, params: list[Params]) -> list[Params]:
        """Return the state before the first step: arrays by name, for each layer."""

    def step(
        self,
        arith: Arithmetic,
        params: list[Params],
        grads: list[Params],
        state: list[Params],
        lr: float,
        step: int,
        loss_scale: float = 1.0,
    ) -> tuple[list[Params], list[Params]]:
        """Return the next parameters and state, new dicts; `step` counts from 1.

        Only names in `grads` take part. Other parameters (running statistics) stay as they are.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SGD:
    """g = g / loss_scale; g = g + weight_decay w; v = momentum v + g; w = w - lr v.

    Each line is a scaled add (its product rounded, then its sum) in the update's format, skipped where
    its coefficient makes it the identity; coefficients are float32 constants. v starts at 0. The new w is
    cast to the master weights' format. Without momentum, v is g and no state is kept. With `nesterov`, one
    more scaled add before the last: g = g + momentum v, and w = w - lr g.
    """

    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum: choose a momentum above 0, such as 0.9.")

    def state(self, params: list[Params]) -> list[Params]:
        """v = 0 for each parameter, or nothing."""
        if self.momentum == 0:
            return [{} for _ in params]
        return [{name: np.zeros_like(w) for name, w in own.items()} for own in params]

    def step(
        self,
        arith: Arithmetic,
        params: list[Params],
        grads: list[Params],
        state: list[Params],
        lr: float,
        step: int,
        loss_scale: float = 1.0,
    ) -> tuple[list[Params], list[Params]]:
        """Return the next parameters and state; the number of the step is of no account."""

        def update(here: Arithmetic, name: str, w: Array, g: Array, kept: Params, slot: int) -> Array:
            part = slot * _SGD_PARTS
            g = _decayed(here, w, g, self.weight_decay, loss_scale, part)
            if self.momentum != 0:
                v = kept[name] = here.scaled_add(g, self.momentum, kept[name], part + 2)
                # Under part + 0 nothing but a product was rounded so far, so that its sums are free.
                g = here.scaled_add(g, self.momentum, v, part) if self.nesterov else v
            return here.cast(Role.MASTER, here.scaled_add(w, -lr, g, part + 3), part)

        return _stepped(arith, params, grads, state, update)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adam:
    """Adam (Kingma and Ba 2015) with the weight decay added to the gradient, as torch.optim.Adam has it.

    In step t = 1, 2, ..., every line rounded as said, in the update's format:

        g = round(g / loss_scale)                              skipped for a loss scale of 1
        g = round(g + round(weight_decay w))                   skipped for a decay of 0
        m = round(m + round((1 - beta1) round(g - m)))
        v = round(v + round((1 - beta2) round(round(g g) - v)))
        q = round(m / round(round(sqrt v) + eps_t))
        w = round(w - round(lr_t q)), then cast to the master weights' format

    with lr_t = lr sqrt(1 - beta2^t) / (1 - beta1^t) and eps_t = eps sqrt(1 - beta2^t), which in exact
    arithmetic is lr m^ / (sqrt(v^) + eps) with m^ = m / (1 - beta1^t) and v^ = v / (1 - beta2^t) (section 2
    of the paper, its more efficient form, eps kept as in the first): a rounding for each parameter less.
    Moving m and v by a part of a difference, rather than adding two products, leaves them where they
    are when g and g^2 equal them, and halves what rounding adds up to. v stays at 0 or above in every mode.

    Constants are computed in float64 (powers by `power`) and rounded to float32. eps_t is at least the least
    positive number of the format: in a narrow one eps is 0, and a gradient of 0 must not make 0 / 0.
    State of parameter `w`: `w.m` and `w.v`, from 0.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)!r} is out of range: 0 <= {name} < 1.")

    def state(self, params: list[Params]) -> list[Params]:
        """m = 0 and v = 0 for each parameter."""
        return [
            {f"{name}.{moment}": np.zeros_like(w) for name, w in own.items() for moment in "mv"}
            for own in params
        ]

    def step(
        self,
        arith: Arithmetic,
        params: list[Params],
        grads: list[Params],
        state: list[Params],
        lr: float,
        step: int,
        loss_scale: float = 1.0,
    ) -> tuple[list[Params], list[Params]]:
        """Return the next parameters and state."""
        root = math.sqrt(1.0 - power(self.beta2, step))
        rate = lr * root / (1.0 - power(self.beta1, step))
        eps = np.asarray(max(self.eps * root, arith.smallest(Role.UPDATE)), np.float32)

        def update(here: Arithmetic, name: str, w: Array, g: Array, kept: Params, slot: int) -> Array:
            part = slot * _ADAM_PARTS
            g = _decayed(here, w, g, self.weight_decay, loss_scale, part)
            m = kept[f"{name}.m"] = here.move(kept[f"{name}.m"], 1.0 - self.beta1, g, part + 2)
            square = here.multiply(g, g, Role.UPDATE, part + 3)
            v = kept[f"{name}.v"] = here.move(kept[f"{name}.v"], 1.0 - self.beta2, square, part + 3)
            size = here.add(here.square_root(v, Role.UPDATE, part + 4), eps, Role.UPDATE, part + 4)
            q = here.divide(m, size, Role.UPDATE, part + 4)
            return here.cast(Role.MASTER, here.scaled_add(w, -rate, q, part + 5), part)

        return _stepped(arith, params, grads, state, update)


_SGD_PARTS, _ADAM_PARTS = 4, 8
"""Numbers set aside for a parameter's random bits: those of one operation differ in their part."""

_Update = Callable[[Arithmetic, str, Array, Array, Params, int], Array]
"""(arithmetic of the layer, name, w, g, state to be replaced, number of the parameter) -> the new w."""


def _decayed(
    arith: Arithmetic, w: Array, g: Array, weight_decay: float, loss_scale: float, part: int
) -> Array:
    """g / loss_scale + weight_decay w."""
    if loss_scale != 1:
        g = arith.scale(1.0 / loss_scale, g, Role.UPDATE, part)
    return arith.scaled_add(g, weight_decay, w, part + 1) if weight_decay != 0 else g


def _stepped(
    arith: Arithmetic, params: list[Params], grads: list[Params], state: list[Params], update: _Update
) -> tuple[list[Params], list[Params]]:
    stepped, kept = [dict(own) for own in params], [dict(own) for own in state]
    for index, own in enumerate(stepped):
        here = arith.at(index)
        for slot, (name, w) in enumerate(own.items()):
            if name in grads[index]:
                own[name] = update(here, name, w, grads[index][name], kept[index], slot)
    return stepped, kept
