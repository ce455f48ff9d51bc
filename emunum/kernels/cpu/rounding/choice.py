"""Which code a lowered cast becomes: `round_value`, and the table its algorithms enter themselves in.

`to` is a named tuple from contract/lowered.py. Its class is known when a kernel is compiled, and so the
algorithm is looked up then, and its code inlined: nothing is decided while a kernel runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types

from emunum.kernels.contract import LAYERS, RANDOM
from emunum.kernels.cpu.compile import Function, chosen_by_type

_ALGORITHMS: dict[tuple[type, bool], Any] = {}
"""(class, whether its rounder works on float32) to the function of (x, residual, to, draw)."""


def rounds(*lowered: type, words: tuple[int, ...] = (32, 64)) -> Callable[[Function], Function]:
    """Enter the decorated function as the algorithm of these classes, in words of these sizes."""

    def enter(function: Function) -> Function:
        _ALGORITHMS.update(((each, word == 32), function) for each in lowered for word in words)
        return function

    return enter


def round_value(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    """Round x + residual, |residual| <= ulp(x) / 2, to a float32 that `to`'s format holds."""


@chosen_by_type(round_value)
def _(x: Any, residual: Any, to: Any, draw: Any) -> Any:
    return _ALGORITHMS[to.instance_class, is_narrow(to)]


def rounder_of(to: Any) -> Any:
    """Return the Numba type of the rounder inside all layers."""
    while to.instance_class in LAYERS:
        to = to.types[0]
    return to


def is_narrow(to: Any) -> bool:
    """Whether the rounder inside works on float32."""
    return bool(rounder_of(to).types[0] == types.float32)  # the first field has the word's dtype


def uses_draw(to: Any) -> Any:
    """Whether `to` is stochastic: a constant at compile time."""


@chosen_by_type(uses_draw)
def _(to: Any) -> Any:
    return yes if rounder_of(to).instance_class in RANDOM else no


def yes(to: Any) -> Any:
    """Say True, whatever `to` is."""
    return True


def no(to: Any) -> Any:
    """Say False, whatever `to` is."""
    return False
