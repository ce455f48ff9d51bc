"""Names: canonical, alias or eXmY, one object each; and what an unknown one is told."""

from __future__ import annotations

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


@pytest.mark.parametrize("name", ["", "zzzzzzzz", "e-4m3", "e4m", "m3e4", "e4m3 fn", "e12345m3"])
def test_what_is_no_name_is_refused_without_a_guess_that_hides_it(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown format") as raised:
        parse_format(name)
    assert repr(name) in str(raised.value)


def test_the_catalog_is_read_only() -> None:
    with pytest.raises(TypeError):
        NAMED["float8_e4m3fn"] = NAMED["float32"]  # type: ignore[index]
    with pytest.raises(TypeError):
        ALIASES["e4m3"] = "float32"  # type: ignore[index]
