"""emunum formats: the listing, the facts, and every value."""

import json
import math
import re

import pytest

from emunum.formats import ALIASES, NAMED, Format
from emunum.formats.exact import decode_exact

# name, precision, bias, max, smallest normal, smallest subnormal, Inf, NaN: by hand, from the
# OCP and IEEE definitions. The exponents are those of powers of two.
FACTS = """
    float8_e4m3fn       4    7   448          -6    -9  no  yes
    float8_e5m2         3   15   57344       -14   -16  yes yes
    float8_e4m3fnuz     4    8   240          -7   -10  no  yes
    float8_e5m2fnuz     3   16   57344       -15   -17  no  yes
    float8_e4m3b11fnuz  4   11   30          -10   -13  no  yes
    float8_e4m3         4    7   240          -6    -9  yes yes
    float8_e3m4         5    3   15.5         -2    -6  yes yes
    float6_e2m3fn       4    1   7.5           0    -3  no  no
    float6_e3m2fn       3    3   28           -2    -4  no  no
    float4_e2m1fn       2    1   6             0    -1  no  no
    float8_e8m0fnu      1  127   0x1p127    -127     -  no  yes
    bfloat16            8  127   0xffp120   -126  -133  yes yes
    float16            11   15   65504       -14   -24  yes yes
    tfloat32           11  127   0x7ffp117  -126  -136  yes yes
    float32            24  127   0xffffffp104 -126 -149 yes yes
"""
ROWS = [line.split() for line in FACTS.strip().splitlines()]


# OCP Microscaling Formats 1.0, table 1, and NVFP4: element, scale, block size, largest element
BLOCKS = {
    "mxfp8_e4m3": ("float8_e4m3fn", "float8_e8m0fnu", 32, 448),
    "mxfp8_e5m2": ("float8_e5m2", "float8_e8m0fnu", 32, 57344),
    "mxfp6_e2m3": ("float6_e2m3fn", "float8_e8m0fnu", 32, 7.5),
    "mxfp6_e3m2": ("float6_e3m2fn", "float8_e8m0fnu", 32, 28),
    "mxfp4_e2m1": ("float4_e2m1fn", "float8_e8m0fnu", 32, 6),
    "mxint8": ("q2.6", "float8_e8m0fnu", 32, 127 / 64),
    "nvfp4": ("float4_e2m1fn", "float8_e4m3fn", 16, 6),
}


def number(text):
    return float.fromhex(text) if text.startswith("0x") else float(text)


def power(text):
    return None if text == "-" else 2.0 ** int(text)


def test_the_listing_has_every_format_with_its_aliases_and_facts(emunum):
    result = emunum("formats")
    assert (result.code, result.err) == (0, "")
    lines = {line.split("│")[1].strip(): line for line in result.out.splitlines() if line.startswith("│")}
    assert list(lines) == [*NAMED, *BLOCKS]
    assert list(NAMED) == [row[0] for row in ROWS]
    for name, precision, _, largest, normal, subnormal, infinity, nan in ROWS:
        cells = [cell.strip() for cell in lines[name].split("│")[2:-1]]
        assert cells[0].split() == [alias for alias, canonical in ALIASES.items() if canonical == name]
        assert cells[1:3] == [str(NAMED[name].bits), precision]
        assert cells[5] == f"{number(largest):.6g}"
        assert cells[6:] == [f"2^{normal}", "-" if subnormal == "-" else f"2^{subnormal}", infinity, nan]


def test_the_json_listing_has_the_defined_facts(emunum):
    listing = {entry["name"]: entry for entry in json.loads(emunum("formats", "--json").out)}
    assert list(listing) == [*(row[0] for row in ROWS), *BLOCKS]
    for name, precision, bias, largest, normal, subnormal, infinity, nan in ROWS:
        entry = listing[name]
        assert (entry["precision"], entry["bias"]) == (int(precision), int(bias))
        assert entry["max"] == number(largest)
        assert entry["smallest_normal"] == power(normal)
        assert entry["smallest_subnormal"] == power(subnormal)
        assert (entry["infinity_code"] is not None) == (infinity == "yes")
        assert (entry["nan_code"] is not None) == (nan == "yes")
        assert entry["unit_roundoff"] == 2.0 ** -int(precision)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_format_has_its_elements_and_scales(emunum, name):
    entry, (element, scale, size, largest) = json.loads(emunum("formats", name, "--json").out), BLOCKS[name]
    assert (entry["element"], entry["scale"], entry["block_size"]) == (element, scale, size)
    assert entry["largest_element"] == largest
    assert entry["tensor_scale"] == ("float32" if name == "nvfp4" else None)
    shown = emunum("formats", name)
    assert shown.code == 0
    assert {name, element, scale, str(size)} <= set(shown.out.replace("│", " ").split())


def test_a_format_has_its_facts_and_its_values(emunum):
    shown = emunum("formats", "e4m3").out
    for fact in ("float8_e4m3fn", "e4m3 e4m3fn", "448.0", "2^-6 = 0.015625", "0x7e", "0x7f", "2^-4 = 0.0625"):
        assert fact in shown
    grid = {
        cells[0]: cells[1:]
        for line in shown.splitlines()
        if re.match(r"│ [0-9a-f]{2} │", line)
        for cells in [[cell.strip() for cell in line.strip("│").split("│")]]
    }
    assert len(grid) == 32
    for code in range(128):
        cell, value = grid[f"{code & ~3:02x}"][code % 4], decode_exact(code, NAMED["float8_e4m3fn"])
        assert cell == "nan" if math.isnan(value) else float(cell) == value
    assert grid["7c"][2:] == ["448", "nan"]


@pytest.mark.parametrize("name", [*NAMED, "e2m0", "e3m0", "e2m1", "e4m2", "e6m9", "e8m23", "e3m20"])
def test_the_json_of_a_format_has_the_value_of_every_code(emunum, name):
    result = emunum("formats", name, "--json")
    entry = json.loads(result.out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    format = Format.from_name(name)
    assert entry["name"] == format.name
    if format.bits > 8:
        assert entry["values"] is None
        return
    assert len(entry["values"]) == 2**format.bits == entry["code_count"]
    for code, value in enumerate(entry["values"]):
        expected = decode_exact(code, format)
        assert repr(float(value)) == repr(expected)
        assert isinstance(value, str) == (not math.isfinite(expected))


@pytest.mark.parametrize("name", [*NAMED, "e2m0", "e3m0", "e2m1", "e4m2", "e6m9", "e8m23"])
def test_every_format_is_printed(emunum, name):
    result = emunum("formats", name)
    assert (result.code, result.err) == (0, "")
    assert Format.from_name(name).name in result.out
    assert ("Values" in result.out) == (Format.from_name(name).bits <= 8)


def test_a_format_without_negative_zero_says_what_its_code_is(emunum):
    assert "0x80 is the NaN, not -0." in emunum("formats", "e4m3fnuz").out
    assert "is the NaN, not -0." not in emunum("formats", "e4m3").out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "e99m99",
            "unknown format 'e99m99': eXmY needs X in 2..8 and Y in 0..23. 'emunum formats' lists them.",
        ),
        ("e4m", "unknown format 'e4m'. Did you mean 'e4m3'? 'emunum formats' lists them."),
        ("bfloat", "unknown format 'bfloat'. Did you mean 'bfloat16'? 'emunum formats' lists them."),
        ("", "unknown format ''. 'emunum formats' lists them."),
        ("binary64", "unknown format 'binary64'. 'emunum formats' lists them."),
    ],
)
def test_an_unknown_format_is_one_line(emunum, name, message):
    assert emunum("formats", name) == (2, "", f"emunum: {message}\n")


def test_more_than_one_name_is_wrong_usage(emunum):
    assert emunum("formats", "e4m3", "e5m2").code == 2
