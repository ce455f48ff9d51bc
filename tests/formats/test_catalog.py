"""Names: canonical, alias or of a family; and what an unknown one is told."""

from __future__ import annotations

import dataclasses

import pytest
from inputs import ALL_NAMED

from emunum.formats import ALIASES, NAMED, Format, Special, parse_format


@pytest.mark.parametrize("name", ALL_NAMED)
def test_a_canonical_name_is_its_format(name: str) -> None:
    assert parse_format(name) is NAMED[name]
    assert Format.from_name(name) is NAMED[name]
    assert NAMED[name].name == name


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("e4m3", "float8_e4m3fn"),
        ("e4m3fn", "float8_e4m3fn"),
        ("e5m2", "float8_e5m2"),
        ("e4m3fnuz", "float8_e4m3fnuz"),
        ("e5m2fnuz", "float8_e5m2fnuz"),
        ("e4m3b11fnuz", "float8_e4m3b11fnuz"),
        ("e2m3fn", "float6_e2m3fn"),
        ("e3m2fn", "float6_e3m2fn"),
        ("e2m1fn", "float4_e2m1fn"),
        ("e8m0fnu", "float8_e8m0fnu"),
        ("bf16", "bfloat16"),
        ("fp16", "float16"),
        ("half", "float16"),
        ("tf32", "tfloat32"),
        ("fp32", "float32"),
        ("single", "float32"),
        ("e3m4", "float8_e3m4"),
        ("e5m10", "float16"),
        ("e8m7", "bfloat16"),
        ("e8m10", "tfloat32"),
        ("e8m23", "float32"),
        (" E4M3 ", "float8_e4m3fn"),
        ("BFloat16", "bfloat16"),
    ],
)
def test_another_spelling_is_the_same_object(alias: str, name: str) -> None:
    assert parse_format(alias) is NAMED[name]


def test_every_alias_leads_to_a_named_format() -> None:
    assert set(ALIASES.values()) <= NAMED.keys()
    assert not ALIASES.keys() & NAMED.keys()


@pytest.mark.parametrize(("exponent_bits", "mantissa_bits"), [(2, 0), (6, 9), (8, 22), (2, 23), (5, 3)])
def test_other_widths_are_a_new_ieee_like_format(exponent_bits: int, mantissa_bits: int) -> None:
    format = parse_format(f"e{exponent_bits}m{mantissa_bits}")
    assert format == parse_format(f"E{exponent_bits}M{mantissa_bits}")
    assert format.name == f"e{exponent_bits}m{mantissa_bits}"
    assert (format.exponent_bits, format.mantissa_bits) == (exponent_bits, mantissa_bits)
    assert format.special is Special.IEEE


@pytest.mark.parametrize(
    ("name", "bits", "mantissa_bits", "signed", "infinities"),
    [
        ("binary8p4se", 8, 3, True, True),
        ("binary8p3sf", 8, 2, True, False),
        ("binary6p3ue", 6, 2, False, True),
        ("binary8p8uf", 8, 7, False, False),
        ("binary16p11se", 16, 10, True, True),
        ("BINARY3P1SE", 3, 0, True, True),
    ],
)
def test_p3109_names_say_width_precision_sign_and_infinities(
    name: str, bits: int, mantissa_bits: int, signed: bool, infinities: bool
) -> None:
    format = parse_format(name)
    assert (format.name, format.bits, format.mantissa_bits) == (name.lower(), bits, mantissa_bits)
    assert (format.signed, format.has_infinity, format.p3109) == (signed, infinities, True)
    assert parse_format(name) == format


@pytest.mark.parametrize("name", ["q4.4", "q1.7", "q16.0", "q1.23", "int8", "int2", "int16"])
def test_fixed_point_names_are_kept_and_not_p3109(name: str) -> None:
    format = parse_format(name)
    assert (format.name, format.fixed_point, format.special) == (name, True, Special.FIXED)
    assert (format.signed, format.p3109, format.has_infinity, format.has_nan) == (True, False, False, False)


def test_an_integer_is_fixed_point_without_a_fraction() -> None:
    fixed, integer = parse_format("q8.0"), parse_format("int8")
    assert integer != fixed
    assert dataclasses.replace(integer, name="q8.0") == fixed


@pytest.mark.parametrize("name", ["e4m3", "float16", "e6m9", "binary8p3se", "e2m1fn"])
def test_the_ending_ftz_takes_the_subnormals_away_and_nothing_else(name: str) -> None:
    whole, flushed = parse_format(name), parse_format(f"{name}_ftz")
    assert flushed.name == f"{whole.name}_ftz"
    assert (whole.has_subnormals, flushed.has_subnormals) == (True, False)
    assert dataclasses.replace(flushed, name=whole.name, subnormals=True) == whole
    assert parse_format(f" {name.upper()}_FTZ ") == flushed


@pytest.mark.parametrize("name", ["e5m0_ftz", "e8m0fnu_ftz", "q4.4_ftz", "int8_ftz", "binary8p1se_ftz"])
def test_where_there_are_no_subnormals_there_are_none_to_flush(name: str) -> None:
    with pytest.raises(ValueError, match=r"has no subnormals to flush") as raised:
        parse_format(name)
    assert repr(name) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("binary2p1se", r"K in 3\.\.16 and P in 1\.\.K - 1"),
        ("binary17p8se", r"K in 3\.\.16"),
        ("binary8p8se", r"P in 1\.\.K - 1"),
        ("binary8p9ue", r"P in 1\.\.K\."),
        ("binary8p0uf", r"P in 1\.\."),
        ("binary16p2se", r"14 exponent bits reach beyond float32"),
        ("binary16p8ue", r"9 exponent bits reach beyond float32"),
        ("q0.8", r"qI\.F needs I of at least 1 and I \+ F in 2\.\.24"),
        ("q1.0", r"I \+ F in 2\.\.24"),
        ("q20.5", r"I \+ F in 2\.\.24"),
        ("int1", r"intN needs N in 2\.\.16"),
        ("int17", r"intN needs N in 2\.\.16"),
    ],
)
def test_widths_out_of_a_familys_range_are_told_the_range(name: str, what: str) -> None:
    with pytest.raises(ValueError, match=what) as raised:
        parse_format(name)
    assert f"unknown format {name!r}" in str(raised.value)
    assert "'emunum formats' lists them." in str(raised.value)


def test_widths_of_two_digits_with_a_zero_mean_what_they_mean_without() -> None:
    assert parse_format("e04m03") is parse_format("e4m3")


@pytest.mark.parametrize("name", ["e2m1", "e2m3", "e3m2"])
def test_small_widths_without_fn_are_ieee_like_with_infinities(name: str) -> None:
    assert parse_format(name).has_infinity
    assert not parse_format(name + "fn").has_infinity


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("e4m33", "e4m3"),
        ("e4m3fm", "e4m3fn"),
        ("float8_e4m3f", "float8_e4m3fn"),
        ("bfloat", "bfloat16"),
        ("flaot16", "float16"),
        ("e5m2fnu", "e5m2fnuz"),
    ],
)
def test_an_unknown_name_is_answered_with_a_near_one(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=r"unknown format") as raised:
        parse_format(name)
    message = str(raised.value)
    assert repr(name) in message
    assert f"Did you mean {near!r}?" in message
    assert "'emunum formats' lists them." in message


@pytest.mark.parametrize("name", ["e99m99", "e1m3", "e9m0", "e8m24", "e0m0"])
def test_widths_out_of_range_are_told_the_range(name: str) -> None:
    with pytest.raises(ValueError, match=r"eXmY needs X in 2\.\.8 and Y in 0\.\.23") as raised:
        parse_format(name)
    assert f"unknown format {name!r}" in str(raised.value)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "zzzzzzzz",
        "e-4m3",
        "e4m",
        "m3e4",
        "e4m3 fn",
        "e12345m3",
        "e4m3_ftz_ftz",
        "q4",
        "q-1.3",
        "int",
        "int-8",
        "binary8p3",
        "binary8p3xe",
    ],
)
def test_what_is_no_name_is_refused_without_a_guess_that_hides_it(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown format") as raised:
        parse_format(name)
    assert repr(name) in str(raised.value)


def test_the_catalog_is_read_only() -> None:
    with pytest.raises(TypeError):
        NAMED["float8_e4m3fn"] = NAMED["float32"]  # type: ignore[index]
    with pytest.raises(TypeError):
        ALIASES["e4m3"] = "float32"  # type: ignore[index]
