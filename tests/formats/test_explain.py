"""What is said about a rounding is what the rational reference does."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from oracles import assert_same

import emunum
from emunum.formats import MODES, NAMED, Cast, Format, Mode
from emunum.formats.exact import decode_exact, round_exact
from emunum.formats.explain import code_of, explain, fields, significand

FORMATS = (
    *NAMED,
    "e6m9",
    "e2m0",
    "e8m0",
    "binary8p4se",
    "binary8p3uf",
    "binary8p1se",
    "binary6p3sf",
    "q4.4",
    "q1.15",
    "int8",
    "e4m3_ftz",
)
VALUES = (
    0.3, -0.3, 1.0, 0.001, -1e-4, 2.0**-10, -(2.0**-7), 1.5 * 2.0**-10, 3.0, 9.0, 30.0, -31.0, 447.99, 464.0,
    465.0, -1e6, 1e39, 1e-40, 1e-44, 5e-324, -1.7976931348623157e308, 0.0, -0.0,
    math.inf, -math.inf, math.nan,
)  # fmt: skip


def cast(name: str, mode: Mode, overflow: str = "auto", random_bits: int = 4) -> Cast:
    return Cast.from_names(name, mode.name, overflow, random_bits)


@pytest.mark.parametrize("name", FORMATS)
def test_the_code_of_every_value_is_the_one_it_was_decoded_from(name: str) -> None:
    format = Format.from_name(name)
    every = range(format.code_count)
    codes = every if format.bits <= 12 else np.random.default_rng(0).choice(format.code_count, 2000).tolist()
    for code in codes:
        value = decode_exact(code, format)
        back = code_of(value, format)
        if math.isnan(value):
            assert back == format.nan_code
        elif not format.subnormals and value == 0:
            assert back in (0, 1 << (format.bits - 1))
        else:
            assert back == code


@pytest.mark.parametrize("value", [0.3, 2.0**-20, 449.0, 1e300, -0.0])
def test_what_is_no_value_has_no_code(value: float) -> None:
    assert code_of(value, NAMED["float6_e3m2fn"] if value else NAMED["float8_e4m3fnuz"]) is None


@pytest.mark.parametrize("mode", MODES.values(), ids=str)
@pytest.mark.parametrize("name", FORMATS)
def test_results_are_the_rational_references(name: str, mode: Mode) -> None:
    for overflow in ("auto", "ieee", "saturate", "propagate"):
        to = cast(name, mode, overflow)
        for draw in (0, 7, 15) if mode.stochastic else (None,):
            explained = [explain(value, to, draw) for value in VALUES]
            results = [explanation.result for explanation in explained]
            assert_same(results, [round_exact(value, to, draw or 0) for value in VALUES], VALUES)
            for explanation in explained:
                [outcome] = explanation.outcomes
                assert outcome.code == code_of(outcome.result, to.format)


@pytest.mark.parametrize("mode", [mode for mode in MODES.values() if not mode.stochastic], ids=str)
@pytest.mark.parametrize("name", ["float8_e4m3fn", "bfloat16", "float8_e8m0fnu", "binary8p3uf", "q4.4"])
def test_results_are_what_quantize_returns(name: str, mode: Mode) -> None:
    ours = emunum.quantize(VALUES, name, rounding=mode.name)
    assert_same(ours, [explain(value, cast(name, mode)).result for value in VALUES], VALUES)


@pytest.mark.parametrize("mode", [mode for mode in MODES.values() if mode.stochastic], ids=str)
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2fnuz", "binary8p1se", "q4.4", "e4m3_ftz"])
def test_probabilities_are_the_shares_of_the_draws(name: str, mode: Mode) -> None:
    to = cast(name, mode)
    for value in VALUES:
        counted: dict[str, int] = {}
        for draw in range(16):
            result = str(round_exact(value, to, draw))
            counted[result] = counted.get(result, 0) + 1
        said: dict[str, Fraction] = {}
        for outcome in explain(value, to).outcomes:
            said[str(outcome.result)] = said.get(str(outcome.result), Fraction(0)) + Fraction(
                outcome.draws, outcome.of
            )
        assert said == {result: Fraction(count, 16) for result, count in counted.items()}, value


@pytest.mark.parametrize("mode", MODES.values(), ids=str)
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float6_e2m3fn", "e6m9", "binary8p1se", "q4.4"])
def test_the_decision_is_the_neighbour_taken(name: str, mode: Mode) -> None:
    to = cast(name, mode)
    for value in VALUES:
        explanation = explain(value, to, 9 if mode.stochastic else None)
        place, [outcome] = explanation.place, explanation.outcomes
        if place is None:
            continue
        assert abs(Fraction(value)) == (place.s + place.tail) * place.quantum
        assert ("goes up" in explanation.decision) == outcome.increment
        assert outcome.overflowed == ("beyond" in explanation.remark)
        if not outcome.overflowed:
            assert outcome.result == place.neighbour(outcome.increment)


# By hand: the quantum of e4m3 is 2^-3 in [1, 2), 2^-9 below 2^-6.
@pytest.mark.parametrize(
    ("name", "value", "digits"),
    [
        ("e4m3", 1.0625, "1.000|1"),
        ("e4m3", -1.0, "1.000|0"),
        ("e4m3", 2.0**-8 + 2.0**-11, "0.010|01"),
        ("e8m0fnu", 1.5, "1.|1"),
        ("q4.4", 3.28125, "0011.0100|1"),
        ("int8", -2.5, "00000010.|1"),
    ],
)
def test_significand_and_tail_are_those_computed_by_hand(name: str, value: float, digits: str) -> None:
    format = Format.from_name(name)
    place = explain(value, Cast(format=format)).place
    assert place is not None
    assert significand(place, format) == digits


def test_a_long_tail_is_cut_and_its_length_told() -> None:
    format = NAMED["float32"]
    place = explain(5e-324, Cast(format=format)).place
    assert place is not None
    assert significand(place, format, most=4).endswith("|0000... (925 digits)")  # 2^-1074 in units of 2^-149


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [
        ("e4m3", 0xA9, ["1", "0101", "001"]),
        ("e8m0fnu", 0x7F, ["01111111"]),
        ("binary8p1se", 0x42, ["0", "1000010"]),
        ("q4.4", 0xF8, ["11111000"]),
        ("binary8p3uf", 0x07, ["000001", "11"]),
    ],
)
def test_a_code_has_the_fields_of_its_format(name: str, code: int, expected: list[str]) -> None:
    assert fields(code, Format.from_name(name)) == expected


def test_a_draw_without_use_and_one_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="draw 3 has no use: nearest_even rounding is not stochastic"):
        explain(0.3, cast("e4m3", Mode.NEAREST_EVEN), 3)
    with pytest.raises(ValueError, match="draw 16 is out of range: 4 random bits make 0 to 15"):
        explain(0.3, cast("e4m3", Mode.STOCHASTIC), 16)
