"""emunum bench: rows that a program can read. Speeds are asserted nowhere."""

import json

import pytest


def test_the_quick_bench_is_json_and_nothing_else(emunum):
    result = emunum("bench", "--quick", "--json")
    rows = json.loads(result.out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert result.code == 0
    assert {row["group"] for row in rows} == {"cast", "matmul"}
    assert len({row["name"] for row in rows}) == len(rows)
    for row in rows:
        assert 0 < row["slowest_per_s"] <= row["median_per_s"] <= row["fastest_per_s"]
        assert row["ratio_to_reference"] > 0
        assert row["reference"] in {other["name"] for other in rows}
    assert all(row["ratio_to_reference"] == 1 for row in rows if row["name"] == row["reference"])


def test_a_part_of_the_bench_is_measured_beside_its_reference(emunum):
    result = emunum("bench", "--quick", "--json", "--only", "cast e4m3 nearest")
    assert [row["name"] for row in json.loads(result.out)] == ["copy float32", "cast e4m3 nearest"]


def test_a_case_that_does_not_exist_is_one_line(emunum):
    result = emunum("bench", "--quick", "--only", "nothing")
    assert (result.code, result.out) == (2, "")
    assert result.err == "emunum: --only 'nothing' matches no case; 'emunum bench --quick' lists them.\n"
