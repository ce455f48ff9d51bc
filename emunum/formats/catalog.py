"""Every named format, and the one place where a name becomes a Format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from emunum.formats.names import suggestion
from emunum.formats.spec import Format, Special

EXPONENT_BITS = range(2, 9)
MANTISSA_BITS = range(0, 24)


def _format(name: str, exponent_bits: int, mantissa_bits: int, bias: int, special: Special) -> Format:
    return Format(
        name=name, exponent_bits=exponent_bits, mantissa_bits=mantissa_bits, bias=bias, special=special
    )


NAMED: Mapping[str, Format] = MappingProxyType(
    {
        format.name: format
        for format in (
            _format("float8_e4m3fn", 4, 3, 7, Special.FN),
            _format("float8_e5m2", 5, 2, 15, Special.IEEE),
            _format("float8_e4m3fnuz", 4, 3, 8, Special.FNUZ),
            _format("float8_e5m2fnuz", 5, 2, 16, Special.FNUZ),
            _format("float8_e4m3b11fnuz", 4, 3, 11, Special.FNUZ),
            _format("float8_e4m3", 4, 3, 7, Special.IEEE),
            _format("float8_e3m4", 3, 4, 3, Special.IEEE),
            _format("float6_e2m3fn", 2, 3, 1, Special.NONE),
            _format("float6_e3m2fn", 3, 2, 3, Special.NONE),
            _format("float4_e2m1fn", 2, 1, 1, Special.NONE),
            _format("float8_e8m0fnu", 8, 0, 127, Special.SCALE),
            _format("bfloat16", 8, 7, 127, Special.IEEE),
            _format("float16", 5, 10, 15, Special.IEEE),
            _format("tfloat32", 8, 10, 127, Special.IEEE),
            _format("float32", 8, 23, 127, Special.IEEE),
        )
    }
)
"""Canonical name (as ml_dtypes spells it) to format."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "e4m3": "float8_e4m3fn",
        "e4m3fn": "float8_e4m3fn",
        "e5m2": "float8_e5m2",
        "e4m3fnuz": "float8_e4m3fnuz",
        "e5m2fnuz": "float8_e5m2fnuz",
        "e4m3b11fnuz": "float8_e4m3b11fnuz",
        "e2m3fn": "float6_e2m3fn",
        "e3m2fn": "float6_e3m2fn",
        "e2m1fn": "float4_e2m1fn",
        "e8m0fnu": "float8_e8m0fnu",
        "bf16": "bfloat16",
        "fp16": "float16",
        "half": "float16",
        "tf32": "tfloat32",
        "fp32": "float32",
        "single": "float32",
    }
)
"""Other spelling to canonical name. `e4m3` and `e5m2` alone mean the OCP formats."""

FLOAT32 = NAMED["float32"]

_IEEE_LIKE = {
    (format.exponent_bits, format.mantissa_bits): format
    for format in NAMED.values()
    if format.special is Special.IEEE
}


def parse_format(name: str) -> Format:
    """Return the format called `name`.

    Canonical names and aliases come first (so `e4m3` is OCP's float8_e4m3fn); any other eXmY with X in
    2..8 and Y in 0..23 is the IEEE-like format of those widths. Raises ValueError.
    """
    key = re.sub(r"(?<=[em])0+(?=\d)", "", name.strip().lower())  # e04m03 is e4m3
    canonical = ALIASES.get(key, key)
    if canonical in NAMED:
        return NAMED[canonical]
    widths = re.fullmatch(r"e(\d{1,4})m(\d{1,4})", key)
    near = suggestion(key, [*ALIASES, *NAMED])
    if not widths:
        raise ValueError(f"unknown format {name!r}. {near}'emunum formats' lists them.")
    exponent_bits, mantissa_bits = map(int, widths.groups())
    if exponent_bits not in EXPONENT_BITS or mantissa_bits not in MANTISSA_BITS:
        raise ValueError(
            f"unknown format {name!r}: eXmY needs X in {EXPONENT_BITS[0]}..{EXPONENT_BITS[-1]} and Y in "
            f"{MANTISSA_BITS[0]}..{MANTISSA_BITS[-1]}. {near}'emunum formats' lists them."
        )
    if (exponent_bits, mantissa_bits) in _IEEE_LIKE:
        return _IEEE_LIKE[exponent_bits, mantissa_bits]
    bias = (1 << (exponent_bits - 1)) - 1
    return _format(f"e{exponent_bits}m{mantissa_bits}", exponent_bits, mantissa_bits, bias, Special.IEEE)
