"""Models by name, as sequences of layers."""

from __future__ import annotations

from emunum.formats.names import unknown
from emunum.nn.layers import Layer, Linear, ReLU
from emunum.nn.sequential import Sequential

MODELS = ("linear", "mlp")
DEFAULT_HIDDEN = (32,)


def build(name: str, n_in: int, n_out: int, hidden: tuple[int, ...] = ()) -> Sequential:
    """Return a model: `linear` is one affine layer; `mlp` has ReLU layers of the `hidden` sizes before it.

    Raises ValueError for an unknown name, for hidden sizes below 1, and for hidden sizes with `linear`.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    if name == "linear" and hidden:
        raise ValueError(f"hidden sizes {hidden!r} need --model mlp: the linear model has no hidden layer.")
    if any(size < 1 for size in hidden):
        raise ValueError(f"hidden sizes {hidden!r}: each must be at least 1.")
    layers: list[Layer] = []
    for size in hidden:
        layers += [Linear(n_in=n_in, n_out=size), ReLU()]
        n_in = size
    return Sequential(layers=(*layers, Linear(n_in=n_in, n_out=n_out)))
