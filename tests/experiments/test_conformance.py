"""Comparisons with peers: what counts as a breach, a known difference and an unexplained one."""

from __future__ import annotations

import importlib.util
import json
import math

import numpy as np
import oracles
import pytest

from emunum.experiments.conformance import inputs, ours, run
from emunum.experiments.conformance.comparison import Comparison, Known, compare, differ
from emunum.experiments.conformance.draws import cast_draws
from emunum.experiments.conformance.inputs import Sampling
from emunum.formats import NAMED, Cast, Format, Mode
from emunum.formats.exact import decode_exact
from emunum.kernels.random import Key
from emunum.report.conformance import to_page

QUICK = Sampling(quick=True)


def values(name):
    """The values of the codes from 0 up to the largest finite one."""
    format = Format.from_name(name)
    return np.array([decode_exact(code, format) for code in range(format.max_code + 1)])


def squaring(mine, theirs, known=()):
    """A comparison of x^2 for x = 0, 1, ..., 9, which the reference gets right."""
    return Comparison(
        operation="square",
        format="float64",
        rounding="-",
        overflow="-",
        operands=lambda sampling: (np.arange(10.0),),
        ours=mine,
        theirs=theirs,
        exact=lambda x: x * x,
        known=known,
    )


def right(x):
    return x * x


def wrong_from_8(x):
    return np.where(x >= 8, 0.0, x * x)


ABOVE_7 = Known(title="above 7", reason="It cannot count that far.", holds=lambda cases: cases.x > 8)


# ----------------------------------------------------------------------------------------------------
# Verdicts
# ----------------------------------------------------------------------------------------------------


def test_agreement_is_counted_and_nothing_else():
    outcome = compare(squaring(right, right), QUICK)
    assert (outcome.cases, outcome.mismatches, outcome.unexplained, outcome.breaches) == (10, 0, 0, 0)
    assert (outcome.explained, outcome.examples) == ({}, {})


def test_a_peer_that_is_wrong_is_unexplained_unless_a_reason_covers_it():
    outcome = compare(squaring(right, wrong_from_8), QUICK)
    assert (outcome.mismatches, outcome.unexplained, outcome.breaches) == (2, 2, 0)
    outcome = compare(squaring(right, wrong_from_8, (ABOVE_7,)), QUICK)
    assert (outcome.mismatches, outcome.unexplained, outcome.breaches) == (2, 1, 0)
    assert outcome.explained == {"above 7": 1}
    example = outcome.examples["above 7"]
    assert (example.operands, example.theirs, example.ours, example.exact) == ((9.0,), 0.0, 81.0, 81.0)


def test_a_result_of_ours_that_is_wrong_is_a_breach_which_no_reason_covers():
    everything = Known(title="all", reason="-", holds=lambda cases: np.ones(cases.x.size, bool))
    for theirs in (right, lambda x: -wrong_from_8(x)):
        outcome = compare(squaring(wrong_from_8, theirs, (everything,)), QUICK)
        assert outcome.breaches == 2
    assert outcome.examples["breach"].operands == (8.0,)  # one significant bit


def test_zeros_have_signs_and_all_nans_are_one():
    a = np.array([0.0, -0.0, math.nan, 1.0, math.inf])
    b = np.array([-0.0, -0.0, -math.nan, math.nan, -math.inf])
    assert differ(a, b).tolist() == [True, False, False, True, True]


def test_both_zeros_are_judged():
    comparison = squaring(right, lambda x: -x)
    sizes = Comparison(
        **{
            **{name: getattr(comparison, name) for name in comparison.__slots__},
            "operands": lambda sampling: (np.array([0.0, -0.0]),),
            "ours": lambda x: x,
            "exact": lambda x: x,
        }
    )
    assert compare(sizes, QUICK).breaches == 0  # as they would be, were -0.0 looked up as 0.0


# ----------------------------------------------------------------------------------------------------
# Inputs and draws
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e8m0fnu", "float16", "bfloat16", "binary8p3se"])
def test_the_midpoints_lie_halfway_between_neighbours(name):
    held = values(name)
    found = inputs.midpoints(Format.from_name(name))
    np.testing.assert_array_equal(found[:-1], (held[1:] + held[:-1]) / 2)
    format = Format.from_name(name)
    assert found[-1] - held[-1] == 2.0 ** (format.emax - format.mantissa_bits - 1)


def test_the_midpoints_of_fixed_point_are_odd_halves():
    assert set(inputs.midpoints(Format.from_name("q4.4"))) == {(2 * k + 1) / 32 for k in range(128)}


def test_conversions_see_every_value_of_both_16_bit_formats():
    x = inputs.numbers_32(NAMED["float8_e4m3fn"], Sampling(), 1)
    assert set(values("float16")) | set(-values("bfloat16")) <= set(x)
    assert set(-values("float16")) | set(values("bfloat16")) <= set(x)
    assert np.isnan(x).any()
    assert (x.astype(np.float32)[~np.isnan(x)] == x[~np.isnan(x)]).all()


def test_a_quick_run_takes_a_tenth():
    everything, some = Sampling().some(np.arange(1000.0)), QUICK.some(np.arange(1000.0))
    assert everything.size == 1000
    assert np.unique(some).size == some.size == 100


@pytest.mark.parametrize("name", ["float16", "bfloat16", "e6m9"])
def test_pairs_are_values_of_the_format(name):
    held = {*values(name), math.inf}
    for side in inputs.some_pairs(Format.from_name(name), QUICK, 1 << 12):
        assert set(np.abs(side)) <= held


def stochastic(random_bits):
    return Cast(format=NAMED["float8_e4m3fn"], mode=Mode.STOCHASTIC, random_bits=random_bits)


@pytest.mark.parametrize("random_bits", [1, 4, 16, 17, 32])
def test_draws_are_those_of_the_layout(random_bits):
    to = stochastic(random_bits)
    key = 0x0123456789ABCDEF
    np.testing.assert_array_equal(cast_draws(700, to, Key(key)), oracles.element_draws(700, to, key))


def test_every_small_draw_meets_the_repeated_numbers():
    comparison = ours.drawn(stochastic(4), lambda x, draw: x, patterns=1 << 10)
    x, draws = comparison.operands(QUICK)
    for value in x[: ours.REPEATED]:
        assert set(draws[x == value]) == set(range(16))


# ----------------------------------------------------------------------------------------------------
# Peers
# ----------------------------------------------------------------------------------------------------


def report(name, only):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: it is one of the peers (extra `conform`)")
    try:
        peer = run.load(name, only)
    except ImportError as error:
        pytest.skip(str(error))
    assert peer.comparisons, f"no comparison of {name} contains {only!r}"
    return run.run([peer], quick=True)


@pytest.mark.parametrize(
    ("name", "only"),
    [
        ("numpy", "float16"),
        ("gmpy2", "float8_e5m2"),
        ("gmpy2", "fma (matrix product) bfloat16"),
        ("gfloat", "cast from float32 float8_e5m2fnuz down"),
        ("gfloat", "float8_e4m3fn stochastic"),
        ("apytypes", "float8_e3m4 nearest_away"),
        ("apytypes", "q4.4"),
        ("ml_dtypes", "float8_e3m4"),
        ("pychop", "binary6p3se stochastic"),
    ],
)
def test_every_difference_from_a_peer_is_explained(name, only):
    found = report(name, only)
    assert found.cases > 1000
    assert (found.breaches, found.unexplained) == (0, 0), run.differences(found)


TWICE = "float64 is rounded twice, through float32"
NO_NAN = "NaN becomes -0 where the format has no NaN"
CARRY = "a subnormal that rounds up to 2^emin becomes 0"
UNSIGNED = "unsigned formats keep negative numbers"
TO_ODD = "Chop: round to odd changes numbers that need no rounding"


@pytest.mark.parametrize(
    ("name", "only", "title"),
    [
        ("ml_dtypes", "cast from float64 float8_e4m3fn", TWICE),
        ("ml_dtypes", "cast from float16 float4_e2m1fn", NO_NAN),
        ("apytypes", "cast from float32 float8_e4m3 nearest_even", CARRY),
        ("gfloat", "cast from float64 binary8p4uf up", UNSIGNED),
        ("pychop", "cast from float32 float8_e5m2 to_odd", TO_ODD),
    ],
)
def test_known_differences_are_still_there(name, only, title):
    found = run.differences(report(name, only))
    assert title in [difference["title"] for difference in found]
    assert {difference["kind"] for difference in found} == {"known"}
    for difference in found:
        assert difference["cases"] > 0
        assert repr(difference["example"]["theirs"]) != repr(difference["example"]["exact"])
        assert difference["example"]["ours"] == difference["example"]["exact"]


def test_a_package_that_is_not_there_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"gfloat is not installed: pip install 'emunum\[conform\]'"):
        run.load("gfloat")


# ----------------------------------------------------------------------------------------------------
# Rows and the page
# ----------------------------------------------------------------------------------------------------


def planted(*comparisons):
    return run.run([run.Peer(name="peer", version="1", comparisons=comparisons)])


def test_rows_are_merged_where_they_differ_in_the_same_ways():
    found = planted(squaring(right, right), squaring(right, right), squaring(right, wrong_from_8, (ABOVE_7,)))
    rows = run.rows(found)
    assert [row["mismatches"] for row in rows] == [0, 0, 2]
    assert [(row["cases"], row["explained"], row["unexplained"]) for row in run.summary(rows)] == [
        (20, 0, 0),
        (10, 1, 1),
    ]
    assert (found.cases, found.unexplained, found.breaches) == (30, 1, 0)


def test_each_difference_is_told_once_with_its_smallest_example():
    known = Known(title="all", reason="Why not.", holds=lambda cases: cases.x > 0)
    found = run.differences(planted(*2 * [squaring(right, wrong_from_8, (known,))]))
    [difference] = found
    assert (difference["kind"], difference["title"], difference["reason"]) == ("known", "all", "Why not.")
    assert (difference["cases"], difference["comparisons"]) == (4, 2)
    assert difference["example"]["operands"] == [{"hex": "0x1p+3", "value": 8.0}]


def test_the_record_is_json_and_the_page_follows_from_it():
    record = run.record(planted(squaring(right, wrong_from_8, (ABOVE_7,))))
    record = json.loads(json.dumps(record, allow_nan=False))
    page = to_page(record)
    assert "| peer 1 | square | float64 | - | - | 10 | 2 | 1 | 1 |" in page
    assert "1. peer 1, known: above 7. 1 cases in 1 comparisons.\n   It cannot count that far.\n" in page
    assert "square float64 - - of 0x1.2p+3 (9.0): peer 0.0, emunum 81.0, exact 81.0." in page
    assert "0 breaches" in page
    assert "a tenth" not in page


def test_numbers_that_json_does_not_have_become_text():
    assert [run.number(x) for x in (1.5, math.inf, -math.inf, math.nan)] == [1.5, "inf", "-inf", "nan"]
    assert [run.hexadecimal(x) for x in (1.5, -0.0, 2.0, math.inf)] == [
        "0x1.8p+0",
        "-0x0p+0",
        "0x1p+1",
        "inf",
    ]
