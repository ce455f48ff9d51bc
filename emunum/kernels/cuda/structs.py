"""Arguments of kernels that are structs: their C++ type, and their bytes as the compiler lays them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.kernels import contract
from emunum.kernels.contract import CodeLayout, Lowered

_LOSSY = (contract.OffsetDeterministic, contract.OffsetStochastic, contract.OffsetLots)
_BY_WORD = (contract.Unrounded, contract.WordDeterministic, contract.WordStochastic)
_CPP = {np.float32: "float", np.float64: "double"}


@dataclass(frozen=True, slots=True)
class Struct:
    """A value of the C++ type `type`: `fields` as a NumPy array of one element, laid out as C does."""

    type: str
    fields: NDArray[Any]


def struct(type: str, *fields: Any) -> Struct:
    """Return a struct of NumPy scalars, small arrays and other structs, in the order of the C++ fields."""
    kinds: list[Any] = []
    values: list[Any] = []
    for number, field in enumerate(fields):
        name = f"f{number}"
        if isinstance(field, Struct):
            kinds.append((name, field.fields.dtype))
            values.append(field.fields[0])
        elif isinstance(field, np.ndarray):
            kinds.append((name, field.dtype, field.shape))
            values.append(field)
        else:
            kinds.append((name, field.dtype))
            values.append(field)
    out = np.zeros(1, np.dtype(kinds, align=True))
    for (name, *_), value in zip(kinds, values, strict=True):
        out[name] = value
    return Struct(type, out)


_made: dict[int, tuple[Any, Struct]] = {}
"""By identity, with what they were made of: tuples of different classes may be equal, and so may words."""


def lowered_struct(to: Lowered) -> Struct:
    """Return a lowered cast as the class of the same name in source/rounding.cuh, with the same fields."""
    return _once(to, _lowered_struct)


def layout_struct(layout: CodeLayout) -> Struct:
    """Return the bit layout of a format's codes."""
    return _once(layout, lambda layout: struct("CodeLayout", *layout))


def _once(source: Any, make: Callable[[Any], Struct]) -> Struct:
    if id(source) not in _made:
        _made[id(source)] = source, make(source)
    return _made[id(source)][1]


def _lowered_struct(to: Lowered) -> Struct:
    kind = type(to)
    if kind in contract.LAYERS:
        rounder, *rest = to
        inner = lowered_struct(rounder)
        return struct(f"{kind.__name__}<{inner.type}>", inner, *rest)
    fields = to._asdict()
    argument = ""
    if kind in _LOSSY:
        argument = "<false>" if fields.pop("lossy") is None else "<true>"
    elif kind in _BY_WORD:
        argument = f"<{_CPP[type(to.max)]}>"
    return struct(kind.__name__ + argument, *fields.values())


def u32s(type: str, numbers: Sequence[Any]) -> Struct:
    """Return a struct of 32-bit words."""
    return struct(type, *(np.uint32(int(number) & 0xFFFFFFFF) for number in numbers))
