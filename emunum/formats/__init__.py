"""Formats and roundings as values, and the rational-arithmetic definition of correct."""

from emunum.formats.accumulator import Accumulator, Order, TensorCore, parse_accumulator
from emunum.formats.catalog import ALIASES, FLOAT32, NAMED, parse_format
from emunum.formats.rounding import MODES, Cast, Mode, Overflow, parse_mode, parse_overflow
from emunum.formats.spec import Format, Special

__all__ = [
    "ALIASES",
    "FLOAT32",
    "MODES",
    "NAMED",
    "Accumulator",
    "Cast",
    "Format",
    "Mode",
    "Order",
    "Overflow",
    "Special",
    "TensorCore",
    "parse_accumulator",
    "parse_format",
    "parse_mode",
    "parse_overflow",
]
