"""gmpy2, MPFR's arithmetic: every operation rounded once, in the contexts of IEEE-like formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.conformance import ours
from emunum.experiments.conformance.comparison import Comparison
from emunum.formats import Cast, Format, Mode

FORMATS = ("float8_e4m3", "float8_e5m2", "float8_e3m4", "float16", "bfloat16", "e6m9", "tfloat32", "float32")
MODES = {
    Mode.NEAREST_EVEN: "RoundToNearest",
    Mode.TOWARD_ZERO: "RoundToZero",
    Mode.UP: "RoundUp",
    Mode.DOWN: "RoundDown",
}
_METHODS = dict(zip(ours.OPERATIONS, ("add", "sub", "mul", "div", "sqrt"), strict=True))


def comparisons() -> Iterator[Comparison]:
    """Conversions from float64, arithmetic and fma."""
    for name in FORMATS:
        for mode in MODES:
            to = Cast(format=Format.from_name(name), mode=mode)
            yield ours.casting(to, _call(to, "plus"), source="float64", patterns=1 << 14, limit=1 << 14)
            for operation, method in _METHODS.items():
                yield ours.arithmetic(operation, to, _call(to, method), count=1 << 15)
            yield ours.fused(to, _call(to, "fma"), side=200)


def _call(to: Cast, method: str) -> Callable[..., NDArray[Any]]:
    import gmpy2

    format = to.format
    # MPFR's significands are below 1, so its exponents are one larger; emin is that of the subnormals.
    context = gmpy2.context(
        precision=format.precision, emin=format.emin - format.mantissa_bits + 1, emax=format.emax + 1,
        subnormalize=True, round=getattr(gmpy2, MODES_OF[to.mode.name]),
    )  # fmt: skip
    operation, exactly = getattr(context, method), gmpy2.context(precision=64)

    def call(*operands: NDArray[Any]) -> NDArray[Any]:
        with exactly:
            numbers = [[gmpy2.mpfr(value) for value in x.tolist()] for x in operands]
        return np.array([float(operation(*case)) for case in zip(*numbers, strict=True)])

    return call


MODES_OF = {mode.name: theirs for mode, theirs in MODES.items()}
