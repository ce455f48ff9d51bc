"""Formats and roundings as values, and the rational-arithmetic definition of correct."""

from emunum.formats.catalog import ALIASES, FLOAT32, NAMED, parse_format
from emunum.formats.rounding import Cast, Mode, Overflow, parse_mode, parse_overflow
from emunum.formats.spec import Format, Special

__all__ = [
    "ALIASES",
    "FLOAT32",
    "NAMED",
    "Cast",
    "Format",
    "Mode",
    "Overflow",
    "Special",
    "parse_format",
    "parse_mode",
    "parse_overflow",
]
