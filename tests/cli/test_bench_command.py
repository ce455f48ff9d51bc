"""emunum bench: rows that a program can read. Speeds are asserted nowhere."""

import json
import sys

import pytest

from emunum.experiments import bench


def test_the_quick_bench_is_json_and_nothing_else(emunum):
    result = emunum("bench", "--quick", "--json")
    facts = json.loads(result.out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert result.code == 0
    assert set(facts) == {"backend", "device", "threads", "repeats", "not_installed", "rows"}
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
    monkeypatch.setattr(bench, "cases", lambda *_, **__: cases)
    lines = emunum("bench").out.splitlines()
    assert [line.split("│")[-2].strip() for line in lines if "│" in line] == ["a", "a", "b"]
    monkeypatch.setattr(bench, "cases", lambda *_, **__: cases[:2])
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
    monkeypatch.setattr(bench, "cases", lambda *_, **__: [case])
    result = emunum("bench", "--only", "x", *(["--json"] if as_json else []))
    assert (result.code, result.out) == (130, "")
    assert result.err.splitlines()[-1] == "emunum: stopped."


def test_a_race_of_training_is_json_and_nothing_else(emunum):
    result = emunum("bench", "train", "--steps", 1, "--images", 4, "--batch-size", 2, "--json")
    facts = json.loads(result.out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert (result.code, facts["images"]) == (0, 4)
    names = [row["name"] for row in facts["rows"]]
    assert names[:2] == ["mixed e4m3 nearest", "mixed e4m3 stochastic"]
    assert ("PyTorch float32" in names) == (facts["not_installed"] == [])
    assert {(row["steps"], row["batch_size"]) for row in facts["rows"]} == {(1, 2)}


def test_the_table_of_training_says_from_how_many_steps(emunum, monkeypatch):
    row = {
        "name": "full e4m3 nearest", "steps": 3, "batch_size": 256, "threads": 2, "step_s": 0.5,
        "epoch_s": 105.5, "ratio_to_pytorch": None, "peak_bytes": 123_000_000, "inside": 0.914,
        "slowest": {"convolve": 0.5, "cast": 0.25},
    }  # fmt: skip
    monkeypatch.setattr("emunum.experiments.bench.training.measure", lambda *_, **__: ([row], ["torch"]))
    lines = emunum("bench", "train").out.splitlines()
    assert lines[0].strip() == "An epoch of 54,000 images in batches of 256, from 3 steps, 2 threads"
    [line] = [line for line in lines if "full e4m3 nearest" in line]
    assert [cell.strip() for cell in line.split("│")[1:-1]] == [
        "full e4m3 nearest", "0.5", "106", "-", "123", "91%", "convolve 50%, cast 25%",
    ]  # fmt: skip
    assert lines[-1] == "not installed, and so not measured: torch"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--quick", "train"], "--quick is not for train, whose options stand after it."),
        (["train", "--images", 8], "--batch-size 256 is out of range: there are 8 images."),
    ],
)
def test_a_wrong_race_of_training_is_one_line(emunum, words, message):
    result = emunum("bench", *words)
    assert (result.code, result.out, result.err) == (2, "", f"emunum: {message}\n")
