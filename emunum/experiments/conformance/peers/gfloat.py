"""gfloat: any format, every mode but to_odd, stochastic rounding with the random bits handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.conformance import ours
from emunum.experiments.conformance.comparison import Comparison, Known
from emunum.formats import Cast, Format, Mode, Overflow

MODES = {
    Mode.NEAREST_EVEN: "TiesToEven",
    Mode.NEAREST_AWAY: "TiesToAway",
    Mode.TOWARD_ZERO: "TowardZero",
    Mode.UP: "TowardPositive",
    Mode.DOWN: "TowardNegative",
}
STOCHASTIC = {
    Mode.STOCHASTIC: "StochasticFastest",
    Mode.STOCHASTIC_B: "StochasticFast",
    Mode.STOCHASTIC_C: "Stochastic",
}
# name: (bits, precision, bias, -0 exists, Inf exists, NaNs at the top of each sign), from the OCP, IEEE and
# ml_dtypes definitions; gfloat describes only some of these by name.
_FACTS = {
    "float8_e4m3fn": (8, 4, 7, True, False, 1),
    "float8_e5m2": (8, 3, 15, True, True, 3),
    "float8_e4m3fnuz": (8, 4, 8, False, False, 0),
    "float8_e5m2fnuz": (8, 3, 16, False, False, 0),
    "float8_e4m3b11fnuz": (8, 4, 11, False, False, 0),
    "float8_e4m3": (8, 4, 7, True, True, 7),
    "float8_e3m4": (8, 5, 3, True, True, 15),
    "float6_e2m3fn": (6, 4, 1, True, False, 0),
    "float6_e3m2fn": (6, 3, 3, True, False, 0),
    "float4_e2m1fn": (4, 2, 1, True, False, 0),
    "bfloat16": (16, 8, 127, True, True, 127),
    "float16": (16, 11, 15, True, True, 1023),
    "tfloat32": (19, 11, 127, True, True, 1023),
    "float32": (32, 24, 127, True, True, 2**23 - 1),
}
_P3109 = (
    "binary8p4se",
    "binary8p3sf",
    "binary8p1se",
    "binary6p3se",
    "binary8p4uf",
    "binary8p3ue",
    "binary16p11se",
)

_UNSIGNED = Known(
    title="unsigned formats keep negative numbers",
    reason="round_ndarray looks at the sign only in signed formats: a negative number is rounded as it "
    "stands and stays negative, or becomes 0. In an unsigned format emunum's least value is 0, and "
    "what lies below overflows.",
    holds=lambda cases: np.signbit(cases.x),
)


def comparisons() -> Iterator[Comparison]:
    """Every code; conversions in every mode, stochastic ones with every R for N up to 4."""
    import gfloat

    for name in (*_FACTS, *_P3109):
        format, info = Format.from_name(name), _info(name)
        if format.bits <= 16:
            dtype = np.uint8 if format.bits <= 8 else np.uint16
            yield ours.decoding(
                format, lambda codes, info=info, dtype=dtype: gfloat.decode_ndarray(info, codes.astype(dtype))
            )
        rules = (
            [Overflow.IEEE, Overflow.SATURATE]
            if format.has_nan or format.has_infinity
            else [Overflow.SATURATE]
        )
        known = () if format.signed else (_UNSIGNED,)
        few = None if format.signed else 1 << 12
        for mode in MODES:
            for rule in rules:
                to = Cast(format=format, mode=mode, overflow=rule)
                yield ours.casting(
                    to,
                    _round(info, to, MODES[mode]),
                    known,
                    patterns=few or 1 << 16,
                    limit=few,
                )
            converted = _round(info, to, MODES[mode])
            yield ours.casting(
                to, converted, known, source="float64", patterns=few or 1 << 15, limit=few
            )  # fmt: skip
            if format.signed:
                scalar = ours.casting(
                    to, _round_float(info, to, MODES[mode]), patterns=1 << 10, limit=1 << 10
                )
                yield replace(scalar, operation="cast from float32 (round_float)")
    for name in (
        "float8_e4m3fn",
        "float8_e5m2",
        "float6_e3m2fn",
        "float8_e5m2fnuz",
        "bfloat16",
        "binary8p3se",
    ):
        format, info = Format.from_name(name), _info(name)
        rule = Overflow.IEEE if format.has_nan else Overflow.SATURATE
        for mode, theirs in STOCHASTIC.items():
            for n in (1, 2, 3, 4):
                to = Cast(format=format, mode=mode, overflow=rule, random_bits=n)
                yield ours.every_draw(to, _round(info, to, theirs))
                yield ours.drawn(to, _round(info, to, theirs), patterns=1 << 15)
            for n in (8, 16, 24):
                to = Cast(format=format, mode=mode, overflow=rule, random_bits=n)
                yield ours.drawn(to, _round(info, to, theirs))


def _info(name: str) -> Any:
    from gfloat import FormatInfo
    from gfloat.formats import format_info_p3109
    from gfloat.types import Domain, Signedness

    if name not in _FACTS:
        p3109 = Format.from_name(name)
        return format_info_p3109(
            p3109.bits, p3109.precision,
            Signedness.Signed if p3109.signed else Signedness.Unsigned,
            Domain.Extended if p3109.has_infinity else Domain.Finite,
        )  # fmt: skip
    bits, precision, bias, negative_zero, infinity, nans = _FACTS[name]
    return FormatInfo(
        name, bits, precision, bias=bias, is_signed=True, has_nz=negative_zero, num_high_nans=nans,
        domain=Domain.Extended if infinity else Domain.Finite, has_subnormals=True,
        is_twos_complement=False,
    )  # fmt: skip


def _round_float(info: Any, to: Cast, mode: str) -> Callable[..., NDArray[Any]]:
    """gfloat's scalar function, which refuses NaN where the format has none: here NaN stays NaN."""
    import gfloat

    def one(x: float) -> float:
        if x != x and info.num_nans == 0:
            return x
        return float(gfloat.round_float(info, x, gfloat.RoundMode[mode], sat=to.rule is Overflow.SATURATE))

    return lambda x: np.array([one(value) for value in x.tolist()])


def _round(info: Any, to: Cast, mode: str) -> Callable[..., NDArray[Any]]:
    import gfloat

    def call(x: NDArray[Any], draws: NDArray[Any] | None = None) -> NDArray[Any]:
        bits = None if draws is None else draws.astype(np.int64)
        with np.errstate(all="ignore"):
            return np.asarray(
                gfloat.round_ndarray(
                    info, x, gfloat.RoundMode[mode], sat=to.rule is Overflow.SATURATE, srbits=bits,
                    srnumbits=to.random_bits if to.stochastic else 0,
                )
            )  # fmt: skip

    return call
