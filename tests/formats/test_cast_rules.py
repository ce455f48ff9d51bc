"""Modes, overflow rules and what a Cast says becomes of Inf and of overflow."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from inputs import cast

from emunum.formats import Cast, Format, Mode, Overflow, parse_mode, parse_overflow

E4M3, E5M2, E2M1 = "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn"


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("nearest", Mode.NEAREST_EVEN),
        ("nearest_even", Mode.NEAREST_EVEN),
        ("toward_zero", Mode.TOWARD_ZERO),
        ("stochastic", Mode.STOCHASTIC),
    ],
)
def test_a_mode_is_parsed_from_its_name(name: str, mode: Mode) -> None:
    assert parse_mode(name) is mode


@pytest.mark.parametrize("rule", Overflow)
def test_an_overflow_rule_is_parsed_from_its_name(rule: Overflow) -> None:
    assert parse_overflow(str(rule.value)) is rule


@pytest.mark.parametrize(
    ("parse", "name", "near"),
    [
        (parse_mode, "stochastik", "stochastic"),
        (parse_mode, "nearst", "nearest"),
        (parse_overflow, "saturated", "saturate"),
    ],
)
def test_an_unknown_rule_is_answered_with_a_near_one(parse, name: str, near: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"unknown") as raised:
        parse(name)
    assert repr(name) in str(raised.value)
    assert f"Did you mean {near!r}?" in str(raised.value)


# Rule asked for -> rule that applies, what +Inf becomes, what overflow to nearest becomes; hand-written.
RULES = [
    (E5M2, "auto", "ieee", math.inf, math.inf),
    (E5M2, "ieee", "ieee", math.inf, math.inf),
    (E5M2, "saturate", "saturate", 57344.0, 57344.0),
    (E4M3, "auto", "saturate", 448.0, 448.0),
    (E4M3, "ieee", "ieee", math.nan, math.nan),
    (E4M3, "saturate", "saturate", 448.0, 448.0),
    (E2M1, "auto", "saturate", 6.0, 6.0),
    (E2M1, "ieee", "ieee", 6.0, 6.0),
    (E2M1, "saturate", "saturate", 6.0, 6.0),
    ("e5m0", "auto", "ieee", math.inf, math.inf),
    ("float8_e4m3fnuz", "auto", "saturate", 240.0, 240.0),
    ("float8_e4m3fnuz", "ieee", "ieee", math.nan, math.nan),
]


@pytest.mark.parametrize(("name", "asked", "applies", "of_infinity", "of_overflow"), RULES)
@pytest.mark.parametrize("mode", ["nearest", "stochastic"])
def test_overflow_rules_resolve(
    name: str, asked: str, applies: str, of_infinity: float, of_overflow: float, mode: str
) -> None:
    to = cast(name, mode, asked)
    assert to.rule is Overflow(applies)
    np.testing.assert_array_equal([to.on_infinity, to.on_overflow], [of_infinity, of_overflow])


@pytest.mark.parametrize(("name", "asked", "applies", "of_infinity", "of_overflow"), RULES)
def test_toward_zero_never_overflows_but_takes_infinity_as_the_rule_says(
    name: str, asked: str, applies: str, of_infinity: float, of_overflow: float
) -> None:
    to = cast(name, "toward_zero", asked)
    assert to.on_overflow == Format.from_name(name).max
    np.testing.assert_array_equal(to.on_infinity, of_infinity)


@pytest.mark.parametrize("random_bits", [0, 33, -1, 64])
def test_random_bits_out_of_range_are_refused(random_bits: int) -> None:
    with pytest.raises(ValueError, match=rf"random_bits {random_bits} is out of range.*1 to 32"):
        cast(E4M3, "stochastic", random_bits=random_bits)


def test_a_cast_defaults_to_nearest_even_and_auto_and_sixteen_random_bits() -> None:
    to = Cast(format=Format.from_name(E4M3))
    assert (to.mode, to.overflow, to.random_bits) == (Mode.NEAREST_EVEN, Overflow.AUTO, 16)
    assert to == Cast.from_names("e4m3")
    assert not to.stochastic
    assert cast(E4M3, "stochastic").stochastic


def test_a_cast_is_a_frozen_hashable_value() -> None:
    to = cast(E4M3)
    assert len({to, cast(E4M3), cast(E4M3, "toward_zero")}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        to.random_bits = 8  # type: ignore[misc]
