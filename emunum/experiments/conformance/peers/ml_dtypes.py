"""ml_dtypes: NumPy types for the OCP, IEEE-like and fnuz formats, to nearest even."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.conformance import ours
from emunum.experiments.conformance.comparison import Comparison, Differing, Known, Mask, differ
from emunum.formats import NAMED, Cast, Overflow
from emunum.kernels import cpu

_NAMES = tuple(name for name in NAMED if name not in ("float16", "tfloat32", "float32"))


_NO_NAN = Known(
    title="NaN becomes -0 where the format has no NaN",
    reason="The 4- and 6-bit formats have no code for NaN. A conversion of NaN, 0 / 0 and the root of a "
    "negative number give a zero there, mostly -0; float32 carries emunum's values, and NaN stays "
    "NaN in it.",
    holds=lambda cases: np.isnan(cases.ours) & (cases.theirs == 0),
)
_SCALE_SUBNORMALS = Known(
    title="float8_e8m0fnu: subnormal float32 numbers are rounded up",
    reason="Between 2^-127 and 2^-126 float32 is subnormal, and everything above 2^-127 goes to 2^-126; to "
    "nearest, what lies below 1.5 * 2^-127 is 2^-127. From 2^-126 on ml_dtypes rounds to nearest.",
    holds=lambda cases: (cases.x > 2.0**-127) & (cases.x < 1.5 * 2.0**-127) & (cases.theirs == 2.0**-126),
)


def _twice(to: Cast) -> Known:
    """Conversion of float64 to float32 first: ours, made to do the same, gives their result."""

    def holds(cases: Differing) -> Mask:
        through_float32 = cpu.cast(ours.narrow(cases.x), to, ours.KEY).astype(np.float64)
        return ~differ(cases.theirs, through_float32)

    return Known(
        title="float64 is rounded twice, through float32",
        reason="A conversion from float64 goes to float32 first, to nearest even. Within half a float32 "
        "ulp of a midpoint of the target the second rounding no longer knows on which side the "
        "number lay. emunum rounds float64 once.",
        holds=holds,
    )


def comparisons() -> Iterator[Comparison]:
    """Every code, conversions from float32, float64 and 16-bit types, arithmetic on all pairs."""
    import ml_dtypes

    for name in _NAMES:
        format, dtype = NAMED[name], np.dtype(getattr(ml_dtypes, name))
        to = Cast(format=format, overflow=Overflow.IEEE)
        code = np.uint16 if format.bits > 8 else np.uint8
        yield ours.decoding(
            format, lambda codes, code=code, dtype=dtype: codes.astype(code).view(dtype).astype(np.float32)
        )
        known = (_SCALE_SUBNORMALS,) if not format.signed else () if format.has_nan else (_NO_NAN,)
        yield ours.casting(to, _convert("float32", dtype), known)
        yield ours.casting(to, _convert("float64", dtype), (*known, _twice(to)), source="float64")
        yield ours.casting_from(
            to, ours.every_value(NAMED["float16"]), "float16", _convert("float16", dtype), known
        )
        if not format.signed:
            continue
        for operation, ufunc in zip(
            ours.OPERATIONS, (np.add, np.subtract, np.multiply, np.divide, np.sqrt), strict=True
        ):
            yield ours.arithmetic(operation, to, _apply(ufunc, dtype), known)


def _convert(source: str, dtype: np.dtype[Any]) -> Callable[..., NDArray[Any]]:
    def call(x: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(all="ignore"):
            return x.astype(source).astype(dtype).astype(np.float32)

    return call


def _apply(ufunc: Any, dtype: np.dtype[Any]) -> Callable[..., NDArray[Any]]:
    def call(*operands: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(all="ignore"):
            return np.asarray(ufunc(*(x.astype(np.float32).astype(dtype) for x in operands))).astype(
                np.float32
            )

    return call
