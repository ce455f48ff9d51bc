"""int8 arrays with scales by the names people use: quantise, multiply, requantise."""

from __future__ import annotations

import re

from numpy.typing import ArrayLike

from emunum.formats import Cast, Mode, parse_mode, parse_overflow
from emunum.formats.names import unknown
from emunum.formats.rounding import DEFAULT_RANDOM_BITS
from emunum.kernels.random import Key
from emunum.ops import scaling
from emunum.ops.arrays import real
from emunum.ops.scaling import INT8, IntegerAccumulator, Scale, Scaled


def quantize_int8(
    x: ArrayLike | Scaled,
    *,
    axis: int | None = None,
    scale: str = "absmax",
    rounding: str | Mode = "nearest",
    random_bits: int = DEFAULT_RANDOM_BITS,
    seed: int = 0,
) -> Scaled:
    """Return x as int8 codes and a scale: q = clip(round(x / s), -127, 127), the exact quotient rounded once.

    x: an array (float64 is rounded from float64 directly), or a Scaled one, which is requantised. scale:
    "absmax", s = max|x| / 127 rounded to float32, or "power_of_two", the least one of at least that.
    `axis` asks for a scale for each index along it (per channel). Raises ValueError for unknown names and
    values that are not finite.

    >>> q = quantize_int8([1.0, -0.5, 0.25], scale="power_of_two")
    >>> q.codes.tolist(), float(q.scale), q.values().tolist()
    ([64, -32, 16], 0.015625, [1.0, -0.5, 0.25])
    """
    if scale not in list(Scale):
        raise unknown("scale", scale, Scale)
    mode = rounding if isinstance(rounding, Mode) else parse_mode(rounding)
    to = Cast(format=INT8, mode=mode, random_bits=random_bits)
    source = x if isinstance(x, Scaled) else real(x, "x")
    return scaling.quantize_int8(source, to, Key(seed), scale=Scale(scale), axis=axis)


def matmul_int8(
    a: Scaled, b: Scaled, *, accumulator: str = "int32", overflow: str = "saturate"
) -> tuple[Scaled, int]:
    """Return the product of int8 matrices (M, K) and (K, N), and how many additions left the accumulator.

    acc = acc + a[i, k] b[k, j], k = 0, 1, ..., in integers of `accumulator` = "int2" to "int32", which
    saturate or wrap. The result's scale is the product of the operands'; quantize_int8 requantises it.
    Raises ValueError for unknown names, and where a scale varies along k.
    """
    width = re.fullmatch(r"int(\d{1,2})", accumulator)
    if width is None:
        raise ValueError(f"unknown accumulator {accumulator!r}: int8 products add up in int2 to int32.")
    if a.codes.ndim != 2 or b.codes.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"shapes {a.shape} and {b.shape} do not multiply: (M, K) and (K, N) are needed.")
    rule = IntegerAccumulator(bits=int(width[1]), overflow=parse_overflow(overflow))
    return scaling.matmul_int8(a, b, rule)
