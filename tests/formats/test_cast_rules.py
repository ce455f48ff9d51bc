"""Modes, overflow rules and what a Cast says becomes of Inf and of overflow."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from inputs import cast

from emunum.formats import MODES, Cast, Format, Mode, Overflow, parse_mode, parse_overflow

E4M3, E5M2, E2M1 = "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn"


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("nearest", Mode.NEAREST_EVEN),
        ("nearest_even", Mode.NEAREST_EVEN),
        ("nearest_away", Mode.NEAREST_AWAY),
        ("toward_zero", Mode.TOWARD_ZERO),
        ("up", Mode.UP),
        ("down", Mode.DOWN),
        ("to_odd", Mode.TO_ODD),
        ("stochastic", Mode.STOCHASTIC),
        ("stochastic_a", Mode.STOCHASTIC),
        ("stochastic_b", Mode.STOCHASTIC_B),
        ("stochastic_c", Mode.STOCHASTIC_C),
    ],
)
def test_a_mode_is_parsed_from_its_name(name: str, mode: Mode) -> None:
    assert parse_mode(name) is mode
    assert MODES[mode.name] is mode
    assert mode.stochastic == name.startswith("stochastic")
    assert str(mode) == mode.name


def test_there_are_nine_modes_and_no_two_are_equal() -> None:
    assert len(MODES) == len(set(MODES.values())) == 9


@pytest.mark.parametrize("rule", Overflow)
def test_an_overflow_rule_is_parsed_from_its_name(rule: Overflow) -> None:
    assert parse_overflow(str(rule.value)) is rule


@pytest.mark.parametrize(
    ("parse", "name", "near"),
    [
        (parse_mode, "stochastik", "stochastic"),
        (parse_mode, "nearst", "nearest"),
        (parse_mode, "nearest_awy", "nearest_away"),
        (parse_mode, "to_od", "to_odd"),
        (parse_overflow, "propagte", "propagate"),
        (parse_overflow, "warp", "wrap"),
        (parse_overflow, "saturated", "saturate"),
    ],
)
def test_an_unknown_rule_is_answered_with_a_near_one(parse, name: str, near: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"unknown") as raised:
        parse(name)
    assert repr(name) in str(raised.value)
    assert f"Did you mean {near!r}?" in str(raised.value)


# Rule asked for -> rule that applies, what -Inf and +Inf become, what overflow to nearest becomes on either
# side; hand-written.
INF, NAN = math.inf, math.nan
RULES = [
    (E5M2, "auto", "ieee", (-INF, INF), (-INF, INF)),
    (E5M2, "ieee", "ieee", (-INF, INF), (-INF, INF)),
    (E5M2, "saturate", "saturate", (-57344, 57344), (-57344, 57344)),
    (E5M2, "propagate", "propagate", (-INF, INF), (-57344, 57344)),
    (E4M3, "auto", "saturate", (-448, 448), (-448, 448)),
    (E4M3, "ieee", "ieee", (NAN, NAN), (NAN, NAN)),
    (E4M3, "saturate", "saturate", (-448, 448), (-448, 448)),
    (E4M3, "propagate", "propagate", (NAN, NAN), (-448, 448)),
    (E2M1, "auto", "saturate", (-6, 6), (-6, 6)),
    (E2M1, "ieee", "ieee", (-6, 6), (-6, 6)),
    (E2M1, "saturate", "saturate", (-6, 6), (-6, 6)),
    (E2M1, "propagate", "propagate", (-6, 6), (-6, 6)),
    ("e5m0", "auto", "ieee", (-INF, INF), (-INF, INF)),
    ("float8_e4m3fnuz", "auto", "saturate", (-240, 240), (-240, 240)),
    ("float8_e4m3fnuz", "ieee", "ieee", (NAN, NAN), (NAN, NAN)),
    ("e5m2_ftz", "auto", "ieee", (-INF, INF), (-INF, INF)),
    # P3109: SatNone, SatFinite, SatPropagate. Unsigned formats have no -Inf, and their least value is 0.
    ("binary8p4se", "auto", "ieee", (-INF, INF), (-INF, INF)),
    ("binary8p4se", "saturate", "saturate", (-224, 224), (-224, 224)),
    ("binary8p4se", "propagate", "propagate", (-INF, INF), (-224, 224)),
    ("binary8p4sf", "auto", "saturate", (-240, 240), (-240, 240)),
    ("binary8p4sf", "ieee", "ieee", (NAN, NAN), (NAN, NAN)),
    ("binary8p4ue", "auto", "ieee", (NAN, INF), (NAN, INF)),
    ("binary8p4ue", "saturate", "saturate", (0, 53248), (0, 53248)),
    ("binary8p4ue", "propagate", "propagate", (NAN, INF), (0, 53248)),
    ("binary8p4uf", "auto", "saturate", (0, 57344), (0, 57344)),
    ("binary8p4uf", "ieee", "ieee", (NAN, NAN), (NAN, NAN)),
    # Fixed point has one value more below zero, and nothing but finite values.
    ("q4.4", "auto", "saturate", (-8, 7.9375), (-8, 7.9375)),
    ("q4.4", "ieee", "ieee", (-8, 7.9375), (-8, 7.9375)),
    ("q4.4", "propagate", "propagate", (-8, 7.9375), (-8, 7.9375)),
    ("int8", "saturate", "saturate", (-128, 127), (-128, 127)),
]


@pytest.mark.parametrize(("name", "asked", "applies", "of_infinities", "of_overflow"), RULES)
@pytest.mark.parametrize("mode", ["nearest", "nearest_away", "stochastic", "stochastic_b", "stochastic_c"])
def test_overflow_rules_resolve(
    name: str, asked: str, applies: str, of_infinities: object, of_overflow: object, mode: str
) -> None:
    to = cast(name, mode, asked)
    assert to.rule is Overflow(applies)
    np.testing.assert_array_equal([to.on_infinity(True), to.on_infinity(False)], of_infinities)
    np.testing.assert_array_equal([to.on_overflow(True), to.on_overflow(False)], of_overflow)


@pytest.mark.parametrize(("name", "asked", "applies", "of_infinities", "of_overflow"), RULES)
def test_directed_modes_overflow_only_outward_but_take_infinity_as_the_rule_says(
    name: str, asked: str, applies: str, of_infinities: object, of_overflow: tuple[float, float]
) -> None:
    format = Format.from_name(name)
    below, above = of_overflow  # IEEE 754-2019 7.4
    for mode, expected in {
        "toward_zero": (format.min, format.max),
        "to_odd": (format.min, format.max),
        "up": (format.min, above),
        "down": (below, format.max),
    }.items():
        to = cast(name, mode, asked)
        np.testing.assert_array_equal([to.on_overflow(True), to.on_overflow(False)], expected)
        np.testing.assert_array_equal([to.on_infinity(True), to.on_infinity(False)], of_infinities)


def test_infinities_do_not_wrap_and_become_nan() -> None:
    to = cast("q4.4", overflow="wrap")
    assert to.rule is Overflow.WRAP
    assert math.isnan(to.on_infinity(True))
    assert math.isnan(to.on_infinity(False))


@pytest.mark.parametrize("name", ["e4m3", "float32", "binary8p3se", "e8m0fnu", "e5m2_ftz"])
def test_only_fixed_point_wraps(name: str) -> None:
    with pytest.raises(ValueError, match=r"^overflow rule 'wrap' needs a fixed-point format.*Choose"):
        cast(name, overflow="wrap")


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
