"""APyTypes: IEEE-like floats of any width and fixed point, in six of our modes; sums in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.conformance import inputs, ours
from emunum.experiments.conformance.comparison import Comparison, Known
from emunum.experiments.conformance.inputs import Sampling
from emunum.formats import Cast, Format, Mode, Overflow

MODES = {
    Mode.NEAREST_EVEN: "TIES_EVEN",
    Mode.NEAREST_AWAY: "TIES_AWAY",
    Mode.TOWARD_ZERO: "TO_ZERO",
    Mode.UP: "TO_POS",
    Mode.DOWN: "TO_NEG",
    Mode.TO_ODD: "JAM_UNBIASED",
}
_EIGHT_BITS = ("float8_e4m3", "float8_e5m2", "float8_e3m4")
_WIDER = ("float16", "bfloat16", "e6m9", "tfloat32")
_FIXED = ("q4.4", "q2.6", "q8.8", "q1.15", "int8")


def _lost_carry(format: Format) -> Known:
    least = format.smallest_normal
    return Known(
        title="a subnormal that rounds up to 2^emin becomes 0",
        reason="In a conversion, a number below 2^emin whose rounding carries into the smallest normal "
        "value loses the carry and becomes a zero of its sign. Sums and products are right there.",
        holds=lambda cases: (np.abs(cases.x) < least) & (np.abs(cases.ours) == least) & (cases.theirs == 0),
    )


def comparisons() -> Iterator[Comparison]:
    """Every code, conversions, sums, differences, products, quotients, sequential sums; fixed point."""
    for name in (*_EIGHT_BITS, *_WIDER):
        format = Format.from_name(name)
        if format.bits <= 16:
            yield ours.decoding(format, _decode(format))
        for mode in MODES:
            to = Cast(format=format, mode=mode)
            known = (_lost_carry(format),)
            yield ours.casting(to, _convert(to), known, patterns=1 << 18)
            yield ours.casting(to, _convert(to), known, source="float64", patterns=1 << 17)
            for operation, symbol in zip(ours.OPERATIONS, _SYMBOLS, strict=False):
                yield ours.arithmetic(operation, to, _apply(to, symbol))
            yield ours.summing(to, _sum(to), sums=1024)
    for name in _FIXED:
        for mode in MODES:
            for rule in (Overflow.SATURATE, Overflow.WRAP):
                to = Cast(format=Format.from_name(name), mode=mode, overflow=rule)
                yield ours.casting(to, _fixed(to), source="float64", numbers=_multiples)


_SYMBOLS = ("__add__", "__sub__", "__mul__", "__truediv__")


def _floats(x: NDArray[Any], format: Format) -> Any:
    from apytypes import APyFloatArray

    return APyFloatArray.from_array(x, format.exponent_bits, format.mantissa_bits)


def _mode(to: Cast) -> Any:
    from apytypes import QuantizationMode

    return getattr(QuantizationMode, MODES_OF[to.mode.name])


def _decode(format: Format) -> Callable[..., NDArray[Any]]:
    from apytypes import APyFloatArray

    def call(codes: NDArray[Any]) -> NDArray[Any]:
        bits = codes.astype(np.int64).tolist()
        return np.asarray(
            APyFloatArray.from_bits(bits, format.exponent_bits, format.mantissa_bits).to_numpy()
        )

    return call


def _convert(to: Cast) -> Callable[..., NDArray[Any]]:
    from apytypes import APyFloatArray

    def call(x: NDArray[Any]) -> NDArray[Any]:
        wide = APyFloatArray.from_array(x, 11, 52)
        narrow = wide.cast(to.format.exponent_bits, to.format.mantissa_bits, quantization=_mode(to))
        return np.asarray(narrow.to_numpy())

    return call


def _apply(to: Cast, symbol: str) -> Callable[..., NDArray[Any]]:
    from apytypes import APyFloatQuantizationContext

    def call(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        x, y = _floats(a, to.format), _floats(b, to.format)
        with APyFloatQuantizationContext(_mode(to)):
            return np.asarray(getattr(x, symbol)(y).to_numpy())

    return call


def _sum(to: Cast) -> Callable[..., NDArray[Any]]:
    from apytypes import APyFloatQuantizationContext

    def call(*terms: NDArray[Any]) -> NDArray[Any]:
        with APyFloatQuantizationContext(_mode(to)):
            return np.asarray(_floats(np.stack(terms), to.format).sum(axis=0).to_numpy())

    return call


def _fixed(to: Cast) -> Callable[..., NDArray[Any]]:
    from apytypes import APyFixedArray, OverflowMode

    overflow = OverflowMode.WRAP if to.rule is Overflow.WRAP else OverflowMode.SAT
    fraction_bits = to.format.mantissa_bits - to.format.emin
    integer_bits = to.format.bits - fraction_bits

    def call(x: NDArray[Any]) -> NDArray[Any]:
        wide = APyFixedArray.from_array(x, int_bits=28, frac_bits=36)
        return np.asarray(wide.cast(integer_bits, fraction_bits, _mode(to), overflow).to_numpy())

    return call


def _multiples(format: Format, sampling: Sampling) -> NDArray[np.float64]:
    """Multiples of 2^-36 below 2^26: midpoints, beside them, and up to four times the format's range."""
    rng, count = sampling.random(6), sampling.count(1 << 17)
    middle = inputs.midpoints(format)
    near = np.concatenate([middle, middle - 2.0**-36, middle + 2.0**-36])
    spread = np.floor(rng.uniform(-4 * format.max, 4 * format.max, count) * 2.0**36) / 2.0**36
    wide = np.ldexp(rng.integers(-(2**20), 2**20, count // 8).astype(np.float64), 6)
    return np.concatenate([sampling.some(np.concatenate([near, -near])), spread, wide, [0.0]])


MODES_OF = {mode.name: theirs for mode, theirs in MODES.items()}
