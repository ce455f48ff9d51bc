"""The facts of formats as plain values, for tables and JSON."""

from __future__ import annotations

from typing import Any

from emunum.formats.blocks import BlockFormat
from emunum.formats.catalog import ALIASES
from emunum.formats.spec import Format


def facts(format: Format) -> dict[str, Any]:
    """Return what there is to know of a format; null where its kind has no such thing."""
    of_floats = None if format.fixed_point else format
    return {
        "name": format.name,
        "aliases": [alias for alias, canonical in ALIASES.items() if canonical == format.name],
        "bits": format.bits,
        "exponent_bits": format.exponent_bits,
        "mantissa_bits": format.mantissa_bits,
        "bias": format.bias,
        "special_values": str(format.special),
        "precision": of_floats and of_floats.precision,
        "emin": of_floats and of_floats.emin,
        "emax": of_floats and of_floats.emax,
        "max": format.max,
        "min": format.min,
        "smallest_normal": of_floats and of_floats.smallest_normal,
        "smallest_subnormal": of_floats and of_floats.smallest_subnormal,
        "eps": format.eps,
        "unit_roundoff": of_floats and of_floats.unit_roundoff,
        "code_count": format.code_count,
        "max_code": format.max_code,
        "infinity_code": format.infinity_code,
        "nan_code": format.nan_code,
        "signed": format.signed,
        "negative_zero": format.has_negative_zero,
    }


def block_facts(format: BlockFormat) -> dict[str, Any]:
    """Return what there is to know of a block format beside the facts of its element and its scale."""
    return {
        "name": format.name,
        "element": format.element.name,
        "scale": format.scale.name,
        "block_size": format.block_size,
        "bits_per_value": format.bits_per_value,
        "tensor_scale": "float32" if format.tensor_scaled else None,
        "largest_element": format.largest,
        "scale_rules": [str(rule) for rule in format.rules],
    }
