"""emunum explain: one number's rounding, in a table and as JSON, and wrong usage in one line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from emunum_cli.explain import is_exact, parse

import emunum as package


def explained(emunum, *words):
    result = emunum("explain", *words, "--json")
    assert (result.code, result.err) == (0, "")
    return json.loads(result.out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


def test_a_third_or_so_of_e4m3_is_explained_as_computed_by_hand(emunum):
    # 0.3 is 1.001|1001... x 2^-2; q = 2^-5; S = 9; 9 q = 0.28125 has code 0 0101 001 = 0x29.
    found = explained(emunum, "0.3", "--format", "e4m3")
    assert (found["format"], found["rounding"], found["overflow_applied"]) == (
        "float8_e4m3fn",
        "nearest_even",
        "saturate",
    )
    assert (found["sign"], found["exponent"], found["quantum_exponent"], found["s"]) == ("+", -2, -5, 9)
    assert found["significand"].startswith("1.001|100110011001")
    assert found["fraction"] == "5404319552844595/18014398509481984"
    assert found["given_is_exact"] is False
    assert (found["lower"], found["upper"]) == (
        {"value": 0.28125, "code": "0x29"},
        {"value": 0.3125, "code": "0x2a"},
    )
    [outcome] = found["outcomes"]
    assert (outcome["result"], outcome["code"], outcome["fields"]) == (0.3125, "0x2a", ["0", "0101", "010"])
    assert outcome["error_ulps"] == pytest.approx(0.4, rel=1e-12)
    assert outcome["relative_error_u"] == pytest.approx(0.0125 / 0.3 * 16, rel=1e-12)  # u = 2^-4


def test_the_table_says_the_same(emunum):
    shown = emunum("explain", "0.3", "--format", "e4m3").out
    for text in (
        "0.3 is no float64; the nearest is taken",
        "0.299999999999999988897769753748434595763683319091796875",
        "5404319552844595 / 2^54",
        "1.001|1001100110",
        "q = 2^-5 = 0.03125",
        "0.28125, code 0x29",
        "0.3125, code 0x2a",
        "0.3125; code 0x2a = 0 0101 010; error 0.4 ulp, 0.666667 u relative",
    ):
        assert text in shown


def test_a_draw_decides_and_without_one_both_results_have_their_probability(emunum):
    # The tail 0.1001|1001... gives T = 9 of 16: 9 + 6 stays below 16, 9 + 7 does not.
    words = ("-0.3", "--format", "e4m3", "--rounding", "stochastic", "--random-bits", "4")
    both = explained(emunum, *words)
    assert both["result"] is None
    assert [(o["probability"], o["result"], o["code"]) for o in both["outcomes"]] == [
        ("7/16", -0.28125, "0xa9"),
        ("9/16", -0.3125, "0xaa"),
    ]
    assert explained(emunum, *words, "--draw", "6")["result"] == -0.28125
    assert explained(emunum, *words, "--draw", "7")["result"] == -0.3125
    assert "T + R = 9 + 7 = 16 >= 16: S goes up." in emunum("explain", *words, "--draw", "7").out
    assert "with probability 9/16" in emunum("explain", *words).out


@pytest.mark.parametrize(
    ("words", "result", "code", "remark"),
    [
        (["500", "-", "e4m3"], 448.0, "0x7e", "512.0 lies beyond the largest value 448.0."),
        (["500", "ieee", "e4m3"], "nan", "0x7f", "The rule 'ieee' makes it nan."),
        (["-500", "-", "e5m2"], -512.0, "0xe0", ""),
        (["-1e9", "-", "e5m2"], "-inf", "0xfc", "('auto': the format has infinities) makes it -inf."),
        (["inf", "saturate", "e5m2"], 57344.0, "0x7b", "The rule 'saturate' makes an infinity 57344.0."),
        (["nan", "-", "e2m1fn"], "nan", None, "NaN stays NaN, though float4_e2m1fn has no code for it."),
        (["nan", "-", "e4m3fnuz"], "nan", "0x80", "NaN stays NaN."),
        (["-0", "-", "e4m3fnuz"], 0.0, "0x00", "float8_e4m3fnuz has one zero, without a sign."),
        (["-0", "-", "e4m3"], -0.0, "0x80", "Zero is a value of the format."),
        (["0.001", "-", "e4m3"], 2.0**-9, "0x01", ""),
        (["0.001", "-", "e4m3_ftz"], 0.0, "0x00", "The format has no subnormals: the result is flushed"),
        (["1e-40", "-", "e8m0fnu"], 2.0**-127, "0x00", "its least value takes the place"),
        (["-1", "-", "e8m0fnu"], "nan", "0xff", "float8_e8m0fnu has no negative values: NaN."),
        (["0", "-", "e8m0fnu"], "nan", "0xff", "float8_e8m0fnu has no zero: NaN."),
        (["3", "-", "binary8p1se"], 4.0, "0x42", ""),
        (["9", "wrap", "q4.4"], -7.0, "0x90", "9.0 lies beyond the largest value 7.9375."),
        (["9", "-", "q4.4"], 7.9375, "0x7f", "The rule 'saturate' ('auto': the format has no infinities)"),
        (["0x1.8p-1", "-", "int8"], 1.0, "0x01", ""),
    ],
    ids=str,
)
def test_what_follows_the_rounding_is_told(emunum, words, result, code, remark):
    value, overflow, name = words
    options = [] if overflow == "-" else ["--overflow", overflow]
    found = explained(emunum, value, "--format", name, *options)
    [outcome] = found["outcomes"]
    assert repr(outcome["result"]) == repr(result)
    assert outcome["code"] == code
    assert remark in found["remark"]
    assert bool(found["remark"]) == bool(remark)


@pytest.mark.parametrize("name", ["e4m3", "bfloat16", "binary8p3se", "q4.4", "e8m0fnu", "float32", "e6m9"])
@pytest.mark.parametrize("rounding", ["nearest", "nearest_away", "toward_zero", "up", "down", "to_odd"])
def test_the_result_is_quantizes(emunum, name, rounding):
    for value in ("0.3", "-7.3", "1e-5", "1e39"):
        found = explained(emunum, value, "--format", name, "--rounding", rounding)["result"]
        expected = float(package.quantize(float(value), name, rounding=rounding))
        assert repr(float(found)) == repr(expected)


def test_a_number_beyond_float64_is_shown_as_a_power_of_two(emunum):
    shown = emunum("explain", "-1.7976931348623157e308", "--format", "float32").out
    assert "-2^1024, not in the format" in shown


@pytest.mark.parametrize(
    ("text", "number", "exact"),
    [
        ("0.5", 0.5, True),
        (".1", 0.1, False),
        ("-1e3", -1000.0, True),
        ("0x1.8p-3", 0.1875, True),
        ("-0X.8P1", -1.0, True),
        ("0x1.00000000000001p0", 1.0, False),
        ("+Infinity", float("inf"), True),
        ("1e-999999999", 0.0, False),
        ("9007199254740993", 9007199254740992.0, False),
    ],
)
def test_a_text_becomes_the_nearest_float64(text, number, exact):
    assert parse(text) == number
    assert is_exact(text, number) is exact


NO_NUMBER = "is no number: give a decimal, a hexadecimal such as 0x1.8p-3, inf or nan."


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        ("0x2A", "", "'0x2A' looks like a code: explain takes values, such as 0.3 or 0x1.8p-3."),
        ("abc", "", f"'abc' {NO_NUMBER}"),
        ("1_0", "", f"'1_0' {NO_NUMBER}"),
        ("0x.p1", "", "'0x.p1' is no number: a hexadecimal one looks like 0x1.8p-3."),
        ("1e999", "", "'1e999' is beyond float64, where values come from: write inf for infinity."),
        ("0.3", "--draw 3", "draw 3 has no use: nearest_even rounding is not stochastic."),
        ("0.3", "--nothing", "Got unexpected extra argument (--nothing)"),
    ],
)
def test_wrong_usage_is_one_line(emunum, value, options, message):
    words = ["explain", value, "--format", "e4m3", *options.split()]
    assert emunum(*words) == (2, "", f"emunum: {message}\n")


def test_a_missing_and_an_unknown_format_are_one_line(emunum):
    assert emunum("explain", "0.3") == (2, "", "emunum: Missing option '--format'.\n")
    result = emunum("explain", "0.3", "--format", "bfloat")
    assert result.code == 2
    assert result.err.startswith("emunum: unknown format 'bfloat'. Did you mean 'bfloat16'?")
    assert result.err.count("\n") == 1


def test_explaining_loads_nothing_heavy():
    code = (
        "import sys\nfrom emunum_cli import main\n"
        "try:\n    main(['explain', '0.3', '--format', 'e4m3'])\nexcept SystemExit:\n    pass\n"
        "print('loaded', [name for name in ('numpy', 'numba') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded []\n")
