"""NumPy's float16 and float32: IEEE 754 formats, to nearest even."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.conformance import ours
from emunum.experiments.conformance.comparison import Array, Comparison
from emunum.formats import Cast

_UFUNCS: dict[str, Any] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "square root": np.sqrt,
}


def comparisons() -> Iterator[Comparison]:
    """Conversions, arithmetic and sequential sums."""
    for name in ("float16", "float32"):
        to, dtype = Cast.from_names(name), np.dtype(name)
        if name == "float16":
            yield ours.decoding(to.format, lambda codes: codes.astype(np.uint16).view(np.float16))
            yield ours.casting(
                to, _silent(lambda x: x.astype(np.float32).astype(np.float16)), patterns=1 << 21
            )
        yield ours.casting(
            to, _silent(lambda x, dtype=dtype: x.astype(dtype)), source="float64", patterns=1 << 20
        )
        for operation, ufunc in _UFUNCS.items():
            yield ours.arithmetic(operation, to, _apply(ufunc, dtype))
        yield ours.summing(to, _accumulate(dtype))


def _silent(call: Callable[..., NDArray[Any]]) -> Callable[..., NDArray[Any]]:
    def quiet(*operands: Array) -> NDArray[Any]:
        with np.errstate(all="ignore"):
            return call(*operands)

    return quiet


def _apply(ufunc: Any, dtype: np.dtype[Any]) -> Callable[..., NDArray[Any]]:
    return _silent(lambda *operands: ufunc(*(x.astype(dtype) for x in operands)))


def _accumulate(dtype: np.dtype[Any]) -> Callable[..., NDArray[Any]]:
    """np.add.accumulate adds in order, which np.add.reduce does not; from +0, as ours."""
    return _silent(
        lambda *terms: np.add.accumulate([np.zeros_like(terms[0]), *terms], axis=0, dtype=dtype)[-1]
    )
