"""QPyTorch: conversions of float32 tensors into floats without Inf and NaN, and into fixed point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.conformance import ours
from emunum.experiments.conformance.comparison import Comparison, Differing, Known, Mask, differ
from emunum.formats import Cast, Format, Mode, Overflow, Special
from emunum.kernels import cpu

_WIDTHS = ((2, 1), (2, 3), (3, 2), (4, 3), (5, 2), (3, 4), (5, 10), (6, 9))
_FIXED = ((4, 4), (2, 6), (8, 8), (1, 15))


_NAN = Known(
    title="float_quantize: NaN becomes the largest value",
    reason="NaN's bit pattern is taken for a number beyond the largest value.",
    holds=lambda cases: np.isnan(cases.x),
)
_ZERO_SIGN = Known(
    title="float_quantize: negative numbers that round to zero become +0",
    reason="Numbers below 2^emin are rounded by adding and subtracting 2^emin with their sign, which "
    "leaves +0. -0 goes the same way.",
    holds=lambda cases: (cases.ours == 0) & (cases.theirs == 0),
)
_FIXED_ZERO = Known(
    title="fixed_point_quantize: a zero has a sign",
    reason="Results are float32 and keep the sign of what was rounded to zero; a fixed-point number has "
    "one zero, and emunum's is +0.",
    holds=lambda cases: (cases.ours == 0) & (cases.theirs == 0),
)


def _moved(format: Format) -> Known:
    quantum = 2.0 ** (format.emin - format.mantissa_bits)
    return Known(
        title="fixed_point_quantize: stochastic rounding may move values of the format",
        reason="A random number within half a float32 ulp of 1 makes the float32 sum with it an integer "
        "more, and the tie that is left once 0.5 is taken away may go up.",
        holds=lambda cases: (cases.ours == cases.x) & (np.abs(cases.theirs - cases.ours) == quantum),
    )


def _ties_away(format: Format) -> Known:
    def holds(cases: Differing) -> Mask:
        away = Cast(format=format, mode=Mode.NEAREST_AWAY, overflow=Overflow.SATURATE)
        return ~differ(cpu.cast(ours.narrow(cases.x), away, ours.KEY).astype(np.float64), cases.theirs)

    return Known(
        title="float_quantize: 'nearest' sends ties away from zero",
        reason="Its documentation says to nearest even; it adds half a quantum to the magnitude and "
        "truncates.",
        holds=holds,
    )


def _subnormal_twice(format: Format) -> Known:
    """Below 2^emin: ours, after the float32 addition and subtraction of 2^emin, gives their result."""

    def holds(cases: Differing) -> Mask:
        shift = np.copysign(np.float32(format.smallest_normal), ours.narrow(cases.x))
        moved = (ours.narrow(cases.x) + shift) - shift
        away = Cast(format=format, mode=Mode.NEAREST_AWAY, overflow=Overflow.SATURATE)
        same = ~differ(cpu.cast(moved, away, ours.KEY).astype(np.float64) + 0.0, cases.theirs + 0.0)
        return same & (np.abs(cases.x) < format.smallest_normal)

    return Known(
        title="float_quantize: subnormal results are rounded twice",
        reason="Below 2^emin the number is added to 2^emin in float32, which rounds it to nearest even to a "
        "multiple of 2^(emin - 23), and then rounded to the format: numbers just below a tie become ties.",
        holds=holds,
    )


def _fixed_twice(to: Cast) -> Known:
    """The rounding done as they do it gives their result."""
    format = to.format
    scale = np.float32(2.0 ** (format.mantissa_bits - format.emin))

    def holds(cases: Differing) -> Mask:
        total = (ours.narrow(cases.x) * scale + np.float32(0.5)).astype(np.float64)
        result: Mask = np.clip(np.rint(total - 0.5) / scale, format.min, format.max) == cases.theirs
        return result

    return Known(
        title="fixed_point_quantize: a float32 sum is rounded before the rounding",
        reason="What is rounded to an integer is the float32 sum of the scaled number and 0.5, less 0.5. "
        "Where the number has bits below that sum's last one, they are lost or carry.",
        holds=holds,
    )


def comparisons() -> Iterator[Comparison]:
    """float_quantize and fixed_point_quantize."""
    for exponent_bits, mantissa_bits in _WIDTHS:
        format = _format(exponent_bits, mantissa_bits)
        for mode in (Mode.NEAREST_EVEN, Mode.NEAREST_AWAY):
            to = Cast(format=format, mode=mode, overflow=Overflow.SATURATE)
            ties = (_ties_away(format),) if mode == Mode.NEAREST_EVEN else ()
            known = (_NAN, _ZERO_SIGN, *ties, _subnormal_twice(format))
            yield ours.casting(to, _float(format, "nearest"), known, patterns=1 << 15, limit=1 << 16)
        to = Cast(format=format, overflow=Overflow.SATURATE)
        # Its generator has no seed: negative numbers become -0 or not by chance, and counts would vary.
        yield ours.either_neighbour(
            to, _float(format, "stochastic"), (_NAN,), patterns=1 << 15, positive=True
        )
    for i, f in _FIXED:
        to = Cast(format=Format.from_name(f"q{i}.{f}"), overflow=Overflow.SATURATE)
        yield ours.casting(
            to, _fixed(i, f, "nearest"), (_FIXED_ZERO, _fixed_twice(to)), patterns=1 << 15, limit=1 << 16
        )
        yield ours.either_neighbour(
            to, _fixed(i, f, "stochastic"), (_FIXED_ZERO, _moved(to.format)), patterns=1 << 15
        )


def _format(exponent_bits: int, mantissa_bits: int) -> Format:
    """QPyTorch's format: every code finite, as in OCP's 6- and 4-bit formats."""
    return Format(
        name=f"e{exponent_bits}m{mantissa_bits} (all finite)", exponent_bits=exponent_bits,
        mantissa_bits=mantissa_bits, bias=(1 << (exponent_bits - 1)) - 1, special=Special.NONE,
    )  # fmt: skip


def _float(format: Format, rounding: str) -> Callable[..., NDArray[Any]]:
    import torch
    from qtorch.quant import float_quantize

    def call(x: NDArray[Any]) -> NDArray[Any]:
        tensor = torch.from_numpy(ours.narrow(x))
        return np.asarray(
            float_quantize(tensor, format.exponent_bits, format.mantissa_bits, rounding).numpy()
        )

    return call


def _fixed(i: int, f: int, rounding: str) -> Callable[..., NDArray[Any]]:
    import torch
    from qtorch.quant import fixed_point_quantize

    def call(x: NDArray[Any]) -> NDArray[Any]:
        torch.manual_seed(0)
        tensor = torch.from_numpy(ours.narrow(x))
        return np.asarray(fixed_point_quantize(tensor, i + f, f, rounding=rounding).numpy())

    return call
