"""What the benchmark lists, and what its rows say of fabricated times. Speeds are asserted nowhere."""

import subprocess
import sys
from itertools import count

import pytest

from emunum.experiments import bench
from emunum.experiments.bench import Case, MissingPeerError
from emunum.formats import MODES
from emunum.kernels.cpu import get_threads, set_threads

CASES = {case.name: case for case in bench.cases(size=8, elements=64)}


def case(name, work, seconds, clock, **facts):
    """A case whose every call takes the next of `seconds` on a clock that stands still otherwise."""
    taken = iter(seconds)

    def call():
        clock[0] += next(taken)

    facts = {"group": "g", "unit": "units/s", "reference": "reference", "prepare": lambda: call} | facts
    return Case(name=name, work=work, **facts)


def measured(selected, clock, repeats=3):
    rows, missing = bench.measure(selected, repeats=repeats, clock=lambda: clock[0])
    return {row["name"]: row for row in rows}, missing


def test_names_are_unique():
    names = [case.name for case in bench.cases(size=8, elements=64)]
    assert len(set(names)) == len(names)


def test_every_reference_and_bound_is_a_case():
    assert {case.reference for case in CASES.values()} <= set(CASES)
    assert {case.bound for case in CASES.values() if case.bound} <= set(CASES)


def test_the_quick_cases_exist_with_what_they_are_set_beside():
    assert set(bench.QUICK) <= set(CASES)
    assert {CASES[name].reference for name in bench.QUICK} <= set(bench.QUICK)
    assert {CASES[name].bound for name in bench.QUICK} <= {*bench.QUICK, None}


@pytest.mark.parametrize("format", ["e4m3", "e5m2", "e6m9", "float16", "bfloat16"])
def test_every_mode_is_timed_in_every_format(format):
    assert {f"{kind} {format} {mode}" for kind in ("cast", "matmul") for mode in MODES} <= set(CASES)
    assert {f"cast int8 {mode}" for mode in MODES} <= set(CASES)


def test_a_case_is_chosen_with_its_reference_and_bound_and_theirs():
    chosen = bench.chosen(list(CASES.values()), "skinny e4m3 nearest_even long K")
    assert [case.name for case in chosen] == [
        "BLAS float32",
        "vector instructions",
        "matmul e4m3 nearest_even",
        "skinny e4m3 nearest_even long K",
    ]
    assert bench.chosen(list(CASES.values()), "no such case") == []


@pytest.mark.parametrize(
    "name",
    [
        "copy float32",
        "cast e4m3 nearest_even",
        "cast int8 stochastic_c",
        "encode int8",
        "decode e6m9",
        "BLAS float32",
        "vector instructions",
        "matmul e4m3 nearest_even",
        "matmul e4m3 stochastic kahan",
        "matmul e4m3 fma into float32",
        "matmul e4m3 tensor_core:h100_fp8:128",
        "matmul int8 into int32",
        "matmul int8 into int16 saturating",
        "skinny e4m3 nearest_even 1 column",
        "threads e4m3 nearest_even, one",
    ],
)
def test_a_case_can_be_prepared_and_called(name, threads):
    CASES[name].prepare()()


@pytest.mark.parametrize(
    "name",
    [name for name in CASES if name.split()[0] in ("ml_dtypes", "qtorch", "pychop", "gfloat", "apytypes")],
)
def test_a_peer_runs_or_says_that_it_is_missing(name):
    try:
        call = CASES[name].prepare()
    except MissingPeerError as missing:
        assert str(missing) == name.split()[0]
    else:
        assert call() is not None


def test_the_first_turn_is_not_counted_and_the_rate_is_a_median():
    clock = [0.0]
    rows, missing = measured([case("reference", 12, [99.0, 1.0, 4.0, 3.0], clock)], clock)
    row = rows["reference"]
    assert (row["slowest_per_s"], row["median_per_s"], row["fastest_per_s"]) == (3.0, 4.0, 12.0)
    assert row["ratio_to_reference"] == 1
    assert missing == []


def test_ratio_limit_and_share_follow_from_rates_and_costs():
    clock = [0.0]
    reference = case("reference", 10, [1.0] * 4, clock)
    bound = case("bound", 600, [2.0] * 4, clock, bound="bound", cost=lambda: 8.0)
    own = case("own", 100, [4.0] * 4, clock, bound="bound", cost=lambda: 20.0)
    row = measured([reference, bound, own], clock)[0]["own"]
    # 25 units/s beside 10; the bound does 300 units of 8 a second, enough for 120 of 20.
    assert (row["median_per_s"], row["ratio_to_reference"]) == (25.0, 2.5)
    assert (row["cost"], row["limit_per_s"], row["share_of_limit"]) == (20.0, 120.0, 25 / 120)


@pytest.mark.parametrize(
    ("of_bound", "of_own", "with_bound"), [(None, 2.0, True), (2.0, None, True), (2.0, 2.0, False)]
)
def test_there_is_no_limit_where_a_cost_or_the_bound_is_unknown(of_bound, of_own, with_bound):
    clock = [0.0]
    bound = case("bound", 1, [1.0] * 4, clock, cost=lambda: of_bound)
    own = case("own", 1, [1.0] * 4, clock, bound="bound", cost=lambda: of_own)
    row = measured([bound, own] if with_bound else [own], clock)[0]["own"]
    assert (row["limit_per_s"], row["share_of_limit"], row["ratio_to_reference"]) == (None, None, None)


def test_rows_have_the_same_columns():
    rows, _ = bench.measure([CASES["copy float32"], CASES["ml_dtypes bfloat16"]], repeats=1)
    assert set(rows[0]) == {
        "group", "name", "unit", "work", "threads", "median_per_s", "slowest_per_s", "fastest_per_s",
        "reference", "ratio_to_reference", "bound", "cost", "limit_per_s", "share_of_limit",
    }  # fmt: skip
    assert all(set(row) == set(rows[0]) for row in rows)


def test_a_missing_library_is_named_once_and_has_no_row():
    clock = [0.0]

    def missing():
        raise MissingPeerError("somelib")

    cases = [case("reference", 1, [1.0] * 4, clock)]
    cases += [case(name, 1, [], clock, prepare=missing) for name in ("somelib a", "somelib b")]
    rows, names = measured(cases, clock)
    assert (list(rows), names) == (["reference"], ["somelib"])


def test_a_step_is_told_for_every_call_and_every_cost():
    clock, steps = [0.0], count()
    cases = [case(name, 1, [1.0] * 4, clock) for name in ("reference", "other")]
    bench.measure(cases, repeats=3, clock=lambda: clock[0], on_step=lambda: next(steps))
    assert next(steps) == len(cases) * (3 + 2)


def test_a_case_has_its_own_thread_count_and_leaves_the_others_theirs(threads):
    set_threads(2)
    clock, seen = [0.0], []
    alone = case("alone", 1, [], clock, threads=1, prepare=lambda: lambda: seen.append(get_threads()))
    shared = case("shared", 1, [], clock, prepare=lambda: lambda: seen.append(get_threads()))
    ticks = count()
    rows, _ = bench.measure([alone, shared], repeats=1, clock=lambda: next(ticks))
    assert seen == [1, 2, 1, 2]
    assert [row["threads"] for row in rows] == [1, 2]


def test_no_other_library_is_imported_before_its_case_is_prepared():
    code = "import sys; from emunum.experiments import bench; bench.cases(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"apytypes", "gfloat", "ml_dtypes", "pychop", "qtorch", "torch"} & set(loaded.split())


def test_encoding_and_decoding_move_fewer_bytes_than_a_cast():
    costs = {
        name: CASES[name].cost() for name in ("copy float32", "cast e4m3 up", "encode e4m3", "decode float16")
    }
    assert costs == {"copy float32": 8, "cast e4m3 up": 8, "encode e4m3": 5, "decode float16": 6}
