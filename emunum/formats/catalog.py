"""Every named format, and the one place where a name becomes a Format."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from emunum.formats.names import suggestion
from emunum.formats.spec import Format, Special

EXPONENT_BITS = range(2, 9)
MANTISSA_BITS = range(0, 24)
P3109_WIDTHS = range(3, 17)
FIXED_BITS = range(2, 25)
INTEGER_BITS = range(2, 17)


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
            replace(_format("float8_e8m0fnu", 8, 0, 127, Special.SCALE), signed=False),
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
    """Return the format called `name`; ValueError says what is wrong with it and suggests near ones.

    Canonical names and aliases come first (so `e4m3` is OCP's float8_e4m3fn), then the families: eXmY (the
    IEEE-like format of those widths), binaryKpP{s,u}{e,f} (IEEE P3109), qI.F (fixed point), intN. The
    ending _ftz takes the subnormals away from any of the floats.
    """
    key = re.sub(r"(?<=[em])0+(?=\d)", "", name.strip().lower())  # e04m03 is e4m3
    if key.endswith(_FLUSHED):
        try:
            return _flushed(parse_format(key.removesuffix(_FLUSHED)))
        except ValueError as error:
            raise ValueError(f"unknown format {name!r}: {error}") from None
    canonical = ALIASES.get(key, key)
    if canonical in NAMED:
        return NAMED[canonical]
    for pattern, build in FAMILIES.items():
        if match := re.fullmatch(pattern, key):
            try:
                return build(*match.groups())
            except ValueError as error:
                near = suggestion(key, [*ALIASES, *NAMED])
                raise ValueError(f"unknown format {name!r}: {error} {near}{_LISTING}") from None
    raise ValueError(f"unknown format {name!r}. {suggestion(key, [*ALIASES, *NAMED])}{_LISTING}")


_LISTING = "'emunum formats' lists them."
_FLUSHED = "_ftz"


def _ieee_like(x: str, y: str) -> Format:
    exponent_bits, mantissa_bits = int(x), int(y)
    if exponent_bits not in EXPONENT_BITS or mantissa_bits not in MANTISSA_BITS:
        raise ValueError(
            f"eXmY needs X in {EXPONENT_BITS[0]}..{EXPONENT_BITS[-1]} and Y in "
            f"{MANTISSA_BITS[0]}..{MANTISSA_BITS[-1]}."
        )
    if (exponent_bits, mantissa_bits) in _IEEE_LIKE:
        return _IEEE_LIKE[exponent_bits, mantissa_bits]
    bias = (1 << (exponent_bits - 1)) - 1
    return _format(f"e{exponent_bits}m{mantissa_bits}", exponent_bits, mantissa_bits, bias, Special.IEEE)


def _p3109(k: str, p: str, signedness: str, domain: str) -> Format:
    """IEEE P3109: signed formats have one NaN on the code of -0, unsigned ones on all ones."""
    width, precision, signed = int(k), int(p), signedness == "s"
    exponent_bits = width - precision + (0 if signed else 1)
    if width not in P3109_WIDTHS or precision < 1 or exponent_bits < 1:
        raise ValueError(
            f"binaryKpP{signedness}{domain} needs K in {P3109_WIDTHS[0]}..{P3109_WIDTHS[-1]} and P in 1.."
            f"{'K - 1' if signed else 'K'}."
        )
    finite = Special.FNUZ if signed else Special.FN
    if exponent_bits > EXPONENT_BITS[-1]:
        raise ValueError(f"its {exponent_bits} exponent bits reach beyond float32, which carries all values.")
    return Format(
        name=f"binary{width}p{precision}{signedness}{domain}",
        exponent_bits=exponent_bits,
        mantissa_bits=precision - 1,
        bias=1 << (exponent_bits - 1),
        special=Special.EXTENDED if domain == "e" else finite,
        signed=signed,
        p3109=True,
    )


def _fixed(i: str, f: str) -> Format:
    integer_bits, fraction_bits = int(i), int(f)
    if integer_bits < 1 or integer_bits + fraction_bits not in FIXED_BITS:
        raise ValueError(f"qI.F needs I of at least 1 and I + F in {FIXED_BITS[0]}..{FIXED_BITS[-1]}.")
    name = f"q{integer_bits}.{fraction_bits}"
    return _format(name, 0, integer_bits + fraction_bits - 1, 2 - integer_bits, Special.FIXED)


def _integer(n: str) -> Format:
    if int(n) not in INTEGER_BITS:
        raise ValueError(f"intN needs N in {INTEGER_BITS[0]}..{INTEGER_BITS[-1]}.")
    return replace(_fixed(n, "0"), name=f"int{int(n)}")


def _flushed(format: Format) -> Format:
    if not format.has_subnormals or format.fixed_point:
        raise ValueError(f"{format} has no subnormals to flush.")
    return replace(format, name=format.name + _FLUSHED, subnormals=False)


FAMILIES: Mapping[str, Callable[..., Format]] = MappingProxyType(
    {
        r"e(\d{1,4})m(\d{1,4})": _ieee_like,
        r"binary(\d{1,4})p(\d{1,4})([su])([ef])": _p3109,
        r"q(\d{1,4})\.(\d{1,4})": _fixed,
        r"int(\d{1,4})": _integer,
    }
)
"""Pattern of a family's names to what makes a format of the pattern's groups, or raises ValueError."""
