"""Block formats: the facts of the OCP MX specification, and what is no block format."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emunum.formats import NAMED, Format
from emunum.formats.blocks import BLOCK_FORMATS, BlockFormat, ScaleRule, parse_block_format, parse_scale_rule

MX = ("mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4_e2m1", "mxint8")

# By hand, from OCP MX 1.0 (and for nvfp4 from NVIDIA's description): element format, scale format, block
# size, whether the tensor has a scale, largest element, its exponent, least positive element, bits a value.
FACTS = {
    "mxfp8_e4m3": ("float8_e4m3fn", "float8_e8m0fnu", 32, False, 448.0, 8, 2.0**-9, 8.25),
    "mxfp8_e5m2": ("float8_e5m2", "float8_e8m0fnu", 32, False, 57344.0, 15, 2.0**-16, 8.25),
    "mxfp6_e2m3": ("float6_e2m3fn", "float8_e8m0fnu", 32, False, 7.5, 2, 0.125, 6.25),
    "mxfp6_e3m2": ("float6_e3m2fn", "float8_e8m0fnu", 32, False, 28.0, 4, 0.0625, 6.25),
    "mxfp4_e2m1": ("float4_e2m1fn", "float8_e8m0fnu", 32, False, 6.0, 2, 0.5, 4.25),
    "mxint8": ("q2.6", "float8_e8m0fnu", 32, False, 127 / 64, 0, 1 / 64, 8.25),
    "nvfp4": ("float4_e2m1fn", "float8_e4m3fn", 16, True, 6.0, 2, 0.5, 4.5),
}


def test_these_are_the_named_block_formats() -> None:
    assert set(BLOCK_FORMATS) == set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_a_block_format_has_the_published_facts(name: str) -> None:
    fmt = BlockFormat.from_name(name)
    element, scale = fmt.element, fmt.scale
    facts = (element.name, scale.name, fmt.block_size, fmt.tensor_scaled, fmt.largest, element.emax)
    assert (*facts, element.smallest, fmt.bits_per_value) == FACTS[name]
    assert (fmt.name, str(fmt)) == (name, name)


@pytest.mark.parametrize("name", MX)
def test_a_block_format_is_the_one_that_gfloat_has(name: str) -> None:
    formats = pytest.importorskip("gfloat.formats", reason="gfloat is one of the oracles")
    fmt, theirs = BLOCK_FORMATS[name], getattr(formats, f"format_info_{name}")
    assert (fmt.block_size, fmt.element.bits, fmt.scale.bits) == (theirs.k, theirs.etype.k, theirs.stype.k)
    assert (fmt.element.max, fmt.element.min) == (theirs.etype.max, theirs.etype.min)
    assert (fmt.element.emax, fmt.element.smallest) == (theirs.etype.emax, theirs.etype.smallest)
    assert (fmt.scale.max, fmt.scale.smallest) == (theirs.stype.max, theirs.stype.smallest)


@pytest.mark.parametrize("name", FACTS)
def test_a_block_format_is_a_value(name: str) -> None:
    fmt = parse_block_format(name.upper())
    assert fmt == BLOCK_FORMATS[name]
    assert hash(fmt) == hash(BLOCK_FORMATS[name])
    with pytest.raises(AttributeError):
        fmt.block_size = 8  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "near"), [("mxfp8_e4m4", "mxfp8_e4m3"), ("nvfp", "nvfp4"), ("mxint4", "mxint8")]
)
def test_an_unknown_name_gets_a_near_one_and_the_list(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=rf"unknown block format '{name}'. Did you mean '{near}'\?") as error:
        parse_block_format(name)
    assert all(known in str(error.value) for known in FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_the_rules_of_the_scale_depend_on_its_format(name: str) -> None:
    fmt = BLOCK_FORMATS[name]
    default = ScaleRule.NEAREST if name == "nvfp4" else ScaleRule.FLOOR
    other = ScaleRule.FLOOR if name == "nvfp4" else ScaleRule.NEAREST
    assert parse_scale_rule(None, fmt) is default
    assert parse_scale_rule(str(default), fmt) is default
    assert parse_scale_rule("ceil", fmt) is ScaleRule.CEIL
    with pytest.raises(ValueError, match=rf"unknown scale rule of {name} '{other}'.*Known: {default}, ceil"):
        parse_scale_rule(str(other), fmt)


@pytest.mark.parametrize("size", [0, -1, 2**16 + 1])
def test_a_block_has_1_to_65536_elements(size: int) -> None:
    with pytest.raises(ValueError, match=rf"block size {size} is out of range: blocks have 1 to 65536"):
        replace(BLOCK_FORMATS["mxint8"], block_size=size)


@pytest.mark.parametrize("name", ["float8_e8m0fnu", "binary8p4uf", "tfloat32", "q4.16"])
def test_an_element_has_a_zero_a_sign_and_at_most_16_bits(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} cannot be the element of a block"):
        replace(BLOCK_FORMATS["mxint8"], element=Format.from_name(name))


@pytest.mark.parametrize("name", ["q2.6", "float16", "float4_e2m1fn", "float32"])
def test_a_scale_is_a_float_with_a_nan_and_at_most_8_significand_bits(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} cannot be the scale of a block"):
        replace(BLOCK_FORMATS["mxint8"], scale=Format.from_name(name))


def test_a_block_format_of_ones_own() -> None:
    fmt = BlockFormat(name="mine", element=Format.from_name("e3m1"), scale=NAMED["bfloat16"], block_size=8)
    assert not fmt.power_of_two
    assert fmt.rules == (ScaleRule.NEAREST, ScaleRule.CEIL)
    assert fmt.bits_per_value == 7.0
