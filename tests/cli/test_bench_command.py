"""emunum bench: rows that a program can read. Speeds are asserted nowhere."""

import json
import sys

import pytest

from emunum.experiments import bench


def test_the_quick_bench_is_json_and_nothing_else(emunum):
    result = emunum("bench", "--quick", "--json")
    facts = json.loads(result.out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert result.code == 0
    assert set(facts) == {"threads", "repeats", "not_installed", "rows"}
    rows = facts["rows"]
    left_out = {name for name in bench.QUICK if name.split()[0] in facts["not_installed"]}
    assert {row["name"] for row in rows} == set(bench.QUICK) - left_out
    assert {row["group"] for row in rows} == {"cast", "matmul", "skinny", "threads"}
    for row in rows:
        assert 0 < row["slowest_per_s"] <= row["median_per_s"] <= row["fastest_per_s"]
        assert row["ratio_to_reference"] > 0
        assert row["reference"] in {other["name"] for other in rows}
    assert all(row["ratio_to_reference"] == 1 for row in rows if row["name"] == row["reference"])
    assert {row["share_of_limit"] for row in rows if row["name"] == "copy float32"} == {1}


def test_a_part_of_the_bench_is_measured_beside_its_reference(emunum):
    result = emunum("bench", "--quick", "--json", "--only", "cast e4m3 toward_zero")
    rows = json.loads(result.out)["rows"]
    assert [row["name"] for row in rows] == ["copy float32", "cast e4m3 toward_zero"]


def test_the_table_has_a_limit_for_what_has_one(emunum):
    result = emunum("bench", "--quick", "--only", "e4m3 toward_zero chunked")
    assert result.code == 2
    result = emunum("bench", "--quick", "--only", "e4m3 nearest_even chunked")
    lines = result.out.splitlines()
    assert "matmul: multiply-adds/s" in lines[0]
    [header] = [line for line in lines if "share of limit" in line]
    assert "ratio to BLAS float32" in header
    [chunked] = [line for line in lines if "chunked:64" in line]
    assert [cell.strip() for cell in chunked.split("│")[-3:-1]] == ["-", "-"]


def test_references_that_differ_have_a_column(emunum, monkeypatch):
    def case(name, reference):
        return bench.Case(
            group="g", name=name, work=1, unit="u", prepare=lambda: lambda: None, reference=reference
        )

    cases = [case("a", "a"), case("b", "a"), case("c", "b")]
    monkeypatch.setattr(bench, "cases", lambda **_: cases)
    lines = emunum("bench").out.splitlines()
    assert [line.split("│")[-2].strip() for line in lines if "│" in line] == ["a", "a", "b"]
    monkeypatch.setattr(bench, "cases", lambda **_: cases[:2])
    out = emunum("bench").out
    assert "ratio to a" in out
    assert "reference" not in out


def test_a_library_that_is_missing_is_named_under_the_table(emunum, monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    result = emunum("bench", "--quick", "--only", "ml_dtypes bfloat16")
    assert result.code == 0
    assert result.out.splitlines()[-1] == "not installed, and so not measured: ml_dtypes"


def test_the_list_has_every_case_and_measures_none(emunum):
    result = emunum("bench", "--list")
    assert result.code == 0
    assert result.out.splitlines() == [case.name for case in bench.cases(size=1, elements=1)]


def test_a_case_that_does_not_exist_is_one_line(emunum):
    result = emunum("bench", "--quick", "--only", "nothing")
    assert (result.code, result.out) == (2, "")
    assert result.err == "emunum: --only 'nothing' matches no case; 'emunum bench --list' lists them.\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_stopped_prints_nothing_half(emunum, monkeypatch, as_json):
    calls = iter([None, None])  # the third is Ctrl-C, when one turn has been timed

    def call():
        if next(calls, "stop") is not None:
            raise KeyboardInterrupt

    case = bench.Case(group="g", name="x", work=1, unit="u", prepare=lambda: call, reference="x")
    monkeypatch.setattr(bench, "cases", lambda **_: [case])
    result = emunum("bench", "--only", "x", *(["--json"] if as_json else []))
    assert (result.code, result.out) == (130, "")
    assert result.err.splitlines()[-1] == "emunum: stopped."
