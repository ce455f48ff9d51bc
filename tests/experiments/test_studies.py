"""The studies of the paper: what their cases are, what is measured, and what counts as agreement."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest

from emunum.experiments.studies import NAMES, chunks, formats, growth, stagnation, study_named
from emunum.experiments.studies.study import published, read_records, record_lines

HARMONIC = {"sum": "harmonic", "seed": 0, "overflow": "saturate", "terms": 20, "numbers_seed": None}


# ----------------------------------------------------------------------------------------------------
# What studies have in common
# ----------------------------------------------------------------------------------------------------


def test_a_study_has_the_name_it_is_asked_by():
    assert [study_named(name).name for name in NAMES] == list(NAMES)


def test_an_unknown_study_is_refused_by_name():
    with pytest.raises(ValueError, match=r"^unknown study 'chunk'\. Did you mean 'chunks'\?"):
        study_named("chunk")


@pytest.mark.parametrize("name", [name for name in NAMES if study_named(name).cases is not None])
def test_cases_are_different_flat_and_of_equal_keys(name):
    asked = study_named(name).asked()
    assert len({json.dumps(case) for case in asked}) == len(asked)
    assert {tuple(case) for case in asked} == {tuple(asked[0])}
    assert not any(isinstance(value, dict | list) for case in asked for value in case.values())


def test_records_come_back_as_they_were_written(tmp_path):
    records = [{"a": 0.1 + 0.2, "b": None}, {"a": 5e-324, "b": [1, "x"]}]
    (tmp_path / "records.jsonl").write_text(record_lines(records))
    assert read_records(tmp_path / "records.jsonl") == records


def test_a_record_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        record_lines([{"a": math.nan}])


def test_comments_are_no_published_lines():
    assert all(line["format"] for line in published("stagnation"))
    assert len(published("stagnation")) == 8


# ----------------------------------------------------------------------------------------------------
# stagnation
# ----------------------------------------------------------------------------------------------------


def test_a_harmonic_sum_in_e5m2_worked_out_by_hand():
    # 1, 1.5, 1.5 + 0.3125 = 1.8125 -> 1.75, 2: there the quantum is 0.5, and 1/5 is below half of it.
    case = HARMONIC | {"format": "float8_e5m2", "rounding": "nearest_even"}
    found = stagnation.measure(case)
    assert found["n"] == [1, 2, 4, 8, 16, 20]
    assert found["partial"] == [1.0, 1.5, 2.0, 2.0, 2.0, 2.0]
    assert (found["value"], found["stalls_at"]) == (2.0, 5)
    assert found["exact"] == pytest.approx(float(sum(Fraction(1, n) for n in range(1, 21))), rel=1e-15)


def test_a_sum_that_grows_to_the_end_stops_nowhere():
    found = stagnation.measure(HARMONIC | {"format": "float32", "rounding": "nearest_even"})
    assert found["stalls_at"] is None


def test_a_stochastic_sum_has_a_seed_and_no_last_term():
    cases = [HARMONIC | {"format": "float8_e5m2", "rounding": "stochastic", "seed": s} for s in range(8)]
    found = [stagnation.measure(case) for case in cases]
    assert {record["stalls_at"] for record in found} == {None}
    assert len({record["value"] for record in found}) > 1
    for record in found:
        assert record["partial"] == sorted(record["partial"])


@pytest.mark.parametrize(
    ("value", "stalls_at", "agrees"), [(5.0625, 65, True), (5.09375, 65, False), (5.0625, 66, False)]
)
def test_a_sum_agrees_where_value_and_term_are_the_published_ones(value, stalls_at, agrees):
    record = HARMONIC | {"format": "bfloat16", "rounding": "nearest_even", "exact": 15.0}
    [row] = stagnation.rows([record | {"value": value, "stalls_at": stalls_at}])
    assert row["agrees"] is agrees
    assert (row["published"], row["published_stalls_at"]) == (5.0625, 65)


def test_stochastic_sums_have_a_mean_and_its_interval():
    record = HARMONIC | {"format": "e6m9", "rounding": "stochastic", "exact": 15.0, "stalls_at": None}
    [row] = stagnation.rows([record | {"seed": seed, "value": value} for seed, value in enumerate((14, 16))])
    # Student's t at 0.975 with one degree of freedom is 12.706; s / sqrt(2) is 1 for 14 and 16.
    assert (row["nearest"], row["stochastic"], row["seeds"], row["agrees"]) == (None, 15.0, 2, None)
    assert row["stochastic_ci_low"] == pytest.approx(15 - 12.706, abs=1e-3)
    assert row["stochastic_ci_high"] == pytest.approx(15 + 12.706, abs=1e-3)


# ----------------------------------------------------------------------------------------------------
# growth
# ----------------------------------------------------------------------------------------------------


def of_growth(rounding, *errors, n=1000):
    place = {"format": "bfloat16", "n": n, "rounding": rounding, "unit_roundoff": 2.0**-8}
    return [place | {"seed": seed, "backward_error": error} for seed, error in enumerate(errors)]


@pytest.mark.parametrize(
    ("error", "agrees"), [(0.2524, True), (0.2516, True), (0.2526, False), (0.25, False)]
)
def test_an_error_to_nearest_agrees_to_the_last_published_digit(error, agrees):
    [row] = growth.rows(of_growth("nearest_even", error))
    assert (row["published"], row["agrees"]) == (0.252, agrees)
    assert (row["n_u"], row["sqrt_n_u"]) == (1000 / 256, pytest.approx(math.sqrt(1000) / 256))
    assert row["backward_error_run_low"] is None


@pytest.mark.parametrize(("errors", "agrees"), [((0.09, 0.1), True), ((0.12, 0.1201), False)])
def test_stochastic_errors_agree_where_one_more_run_would_fall(errors, agrees):
    [row] = growth.rows(of_growth("stochastic", *errors))
    half = 12.706 * abs(errors[0] - errors[1]) / math.sqrt(2) * math.sqrt(1.5)
    assert row["backward_error_run_high"] - row["backward_error"] == pytest.approx(half, rel=1e-3)
    assert (row["published"], row["agrees"]) == (0.094, agrees)


def test_what_was_not_published_is_no_disagreement():
    [row] = growth.rows(of_growth("nearest_even", 0.5, n=300))
    assert (row["published"], row["agrees"]) == (None, None)


# ----------------------------------------------------------------------------------------------------
# chunks
# ----------------------------------------------------------------------------------------------------


def test_no_chunk_is_longer_than_its_sum():
    asked = study_named("chunks").asked()
    assert all(case["chunk"] <= case["n"] for case in asked)
    assert {case["chunk"] for case in asked if case["n"] == 65536} == {1 << k for k in range(17)}


def test_one_chunk_of_all_and_chunks_of_one_are_the_plain_sum():
    case = {"format": "e6m9", "numbers": 65536, "n": 8192, "rounding": "nearest_even", "seed": 0}
    values = [chunks.measure(case | {"chunk": chunk})["value"] for chunk in (1, 8192)]
    assert values == [4096.0, 4096.0]


def test_the_error_of_a_chunk_is_the_mean_over_its_seeds():
    place = {"n": 65536, "chunk": 8, "rounding": "nearest_even"}
    values = ((0, 16800.0, 67200.0), (1, 30.0, 40.0))
    [row] = chunks.rows([place | {"seed": s, "value": v, "exact": e} for s, v, e in values])
    assert row["relative_error"] == pytest.approx((0.75 + 0.25) / 2)
    assert (row["value"], row["exact"], row["published"], row["agrees"]) == (16800.0, 67200.0, 16800.0, True)
    [row] = chunks.rows([place | {"seed": 0, "value": 16832.0, "exact": 65600.0}])
    assert row["agrees"] is False


# ----------------------------------------------------------------------------------------------------
# formats
# ----------------------------------------------------------------------------------------------------


def test_a_format_that_is_not_its_specification_does_not_agree():
    own = study_named("formats")
    [e4m3] = [record for record in own.records() if record["format"] == "float8_e4m3fn"]
    assert formats.rows([e4m3])[0]["agrees"] is True
    for key, other in (("max", 240.0), ("bias", 8), ("precision", 3), ("smallest_subnormal", None)):
        assert formats.rows([e4m3 | {key: other}])[0]["agrees"] is False


def test_every_row_has_every_column():
    own = study_named("formats")
    rows = own.rows(own.records())
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    [nvfp4] = [row for row in rows if row["format"] == "nvfp4"]
    assert (nvfp4["block_size"], nvfp4["bits_per_value"], nvfp4["precision"]) == (16, 4.5, None)
