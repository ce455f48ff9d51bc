"""The regression study: its published numbers, its runs, and what counts as agreement."""

import csv
import math
import statistics
from importlib.resources import files

import pytest

from emunum.experiments.studies import study_named
from emunum.experiments.studies.regression import FORMATS, cases, configuration, measure, published, rows

# dataset, format, rounding, training MSE, test MSE over n: typed from the published tables once more.
PUBLISHED = """
    toy       float8_e5m2  stochastic    0.22    0.08932
    toy       float8_e5m2  nearest_even  0.2294  0.08281
    toy       float32      nearest_even  0.2312  0.0846
    toy       e6m9         stochastic    0.2312  0.08461
    toy       e6m9         nearest_even  0.2311  0.08461
    diabetes  float8_e5m2  stochastic    0.6695  0.007275
    diabetes  float8_e5m2  nearest_even  0.6627  0.007215
    diabetes  float32      nearest_even  0.6609  0.007236
    diabetes  e6m9         stochastic    0.6609  0.007238
    diabetes  e6m9         nearest_even  0.6609  0.007236
    boston    float8_e5m2  stochastic    0.5219  0.00418
    boston    float8_e5m2  nearest_even  0.53    0.004204
    boston    float32      nearest_even  0.5221  0.004211
    boston    e6m9         stochastic    0.5222  0.00421
    boston    e6m9         nearest_even  0.5221  0.004212
"""
TABLE = {
    (dataset, format, rounding): (float(train), float(test))
    for dataset, format, rounding, train, test in map(str.split, PUBLISHED.strip().splitlines())
}
# Student's t at 0.975, from the printed tables: degrees of freedom to quantile.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182}


@pytest.fixture(scope="module")
def records():
    """The deterministic rows, and four seeds of the stochastic ones, under the published policy."""
    return list(study_named("regression").run(cases({"policies": ["output"], "seeds": 4})))


def record(row, train, test, policy="output", **others):
    """What one run leaves for the table, made up."""
    return {
        "dataset": row[0],
        "format": row[1],
        "rounding": row[2],
        "policy": policy,
        "final_step_mse": train,
        "train_mse": 1.0,
        "test_mse": 2.0,
        "test_mse_over_n": test,
    } | others


# ----------------------------------------------------------------------------------------------------
# What was published
# ----------------------------------------------------------------------------------------------------


def test_the_published_rows_are_the_printed_ones():
    assert {
        (row.dataset, row.format, row.rounding): (row.train_mse, row.test_mse_over_n) for row in published()
    } == TABLE
    assert len(published()) == 15


def test_the_published_numbers_have_at_most_four_digits():
    lines = files("emunum_paper").joinpath("regression_published.csv").read_text().splitlines()
    for line in csv.DictReader(lines):
        for key in ("train_mse", "test_mse_over_n"):
            assert len(line[key].replace("0.", "").lstrip("0")) <= 4


def test_the_published_options_are_one_full_batch_for_thirty_epochs():
    for row in published():
        batch = 32 if row.dataset == "toy" else 512
        assert row.options == {
            "epochs": 30,
            "learning_rate": 0.01,
            "batch_size": batch,
            "test_split": 0.2,
            "seed": 42,
        }


def test_the_studys_formats_are_its_widths():
    assert FORMATS == {"float8": "float8_e5m2", "float16": "e6m9", "float32": "float32"}


# ----------------------------------------------------------------------------------------------------
# The runs
# ----------------------------------------------------------------------------------------------------


def test_a_deterministic_row_runs_once_and_a_stochastic_one_for_every_seed():
    asked = cases({"policies": ["output", "full"], "seeds": 5})
    assert len(asked) == 2 * (9 + 6 * 5)
    assert len({tuple(case.values()) for case in asked}) == len(asked)
    own = [c for c in asked if (c["dataset"], c["format"], c["policy"]) == ("toy", "e6m9", "full")]
    assert sorted(case["rounding_seed"] for case in own) == [0, 1, 2, 3, 4, 42]


def test_the_grid_asks_for_the_published_policy_and_for_all_rounded_with_thirty_seeds():
    assert study_named("regression").grid() == {"policies": ["output", "full"], "seeds": 30}


def test_a_case_is_a_run_with_the_published_options_in_order():
    configs = [configuration(case) for case in cases({"policies": ["full"], "seeds": 2})]
    assert {config.shuffle for config in configs} == {False}
    assert {config.seed for config in configs} == {42}
    assert {(config.dataset, config.batch_size) for config in configs} == {
        ("toy", 32),
        ("diabetes", 512),
        ("boston", 512),
    }


def test_a_run_keeps_its_loss_of_every_step(records):
    for entry in records:
        assert len(entry["step_mse"]) == 30
        assert entry["final_step_mse"] == entry["step_mse"][-1]
        assert entry["status"] == "completed"


def test_an_interrupted_run_ends_the_study(monkeypatch):
    monkeypatch.setattr(
        "emunum.experiments.studies.regression.execute", lambda *_, **__: {"status": "interrupted"}
    )
    with pytest.raises(KeyboardInterrupt):
        measure(cases({"policies": ["output"], "seeds": 2})[0])


@pytest.mark.parametrize("row", [row for row in TABLE if row[2] == "nearest_even"], ids="-".join)
def test_a_deterministic_row_has_the_published_digits(records, row):
    [own] = [r for r in records if (r["dataset"], r["format"], r["rounding"]) == row]
    train, test = TABLE[row]
    assert float(f"{own['final_step_mse']:.4g}") == train
    assert float(f"{own['test_mse_over_n']:.4g}") == test


def test_the_table_says_that_the_deterministic_rows_agree(records):
    table = [row for row in rows(records) if row["rounding"] == "nearest_even"]
    assert [row["agrees"] for row in table] == [True] * 9
    assert [row["runs"] for row in table] == [1] * 9


def test_the_rows_stand_in_the_published_order(records):
    found = [(row["dataset"], row["format"], row["rounding"]) for row in rows(records)]
    assert found == list(TABLE)


@pytest.mark.parametrize("dataset", ["toy", "diabetes", "boston"])
def test_stochastic_rows_of_ten_significand_bits_stay_near_the_float32_row(records, dataset):
    # 2^-10 is the unit roundoff of e6m9: 30 steps of noise that size leave a loss within a percent.
    by_row = {(row["dataset"], row["format"], row["rounding"]): row for row in rows(records)}
    noisy, wide = by_row[dataset, "e6m9", "stochastic"], by_row[dataset, "float32", "nearest_even"]
    assert noisy["runs"] == 4
    assert noisy["final_step_mse"] == pytest.approx(wide["final_step_mse"], rel=0.01)


# ----------------------------------------------------------------------------------------------------
# The table
# ----------------------------------------------------------------------------------------------------

STOCHASTIC = ("toy", "float8_e5m2", "stochastic")  # published: 0.22 and 0.08932
NEAREST = ("toy", "float8_e5m2", "nearest_even")  # published: 0.2294 and 0.08281


@pytest.mark.parametrize(
    ("train", "test", "agrees"),
    [
        (0.2294, 0.08281, True),
        (0.22944999, 0.082814999, True),
        (0.22935001, 0.082805001, True),
        (0.22946, 0.08281, False),
        (0.2294, 0.08282, False),
        (0.2293, 0.08281, False),
    ],
)
def test_one_run_agrees_where_its_four_digits_are_the_published_ones(train, test, agrees):
    [row] = rows([record(NEAREST, train, test)])
    assert row["agrees"] is agrees
    assert row["runs"] == 1
    assert (row["published_train_mse"], row["published_test_mse_over_n"]) == (0.2294, 0.08281)
    for key in ("final_step_mse", "test_mse_over_n"):
        assert all(
            row[f"{key}_{name}"] is None for name in ("ci_low", "ci_high", "run_low", "run_high", "rank")
        )


@pytest.mark.parametrize("count", [2, 3, 4])
def test_several_runs_give_the_mean_and_students_intervals(count):
    values = [0.20, 0.23, 0.26, 0.21][:count]
    [row] = rows([record(STOCHASTIC, value, value / 2) for value in values])
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    spread = STUDENT[count - 1] * deviation
    expected = {
        "": mean,
        "_ci_low": mean - spread / math.sqrt(count),
        "_ci_high": mean + spread / math.sqrt(count),
        "_run_low": mean - spread * math.sqrt(1 + 1 / count),
        "_run_high": mean + spread * math.sqrt(1 + 1 / count),
    }
    for suffix, value in expected.items():
        # The printed quantiles have three decimals: the interval's half width is off by 1e-4 of itself.
        assert row[f"final_step_mse{suffix}"] == pytest.approx(value, abs=2e-4 * spread)
        assert row[f"test_mse_over_n{suffix}"] == pytest.approx(value / 2, abs=2e-4 * spread)
    assert row["runs"] == count
    assert row["final_step_mse_rank"] == sum(value < 0.22 for value in values) / count
    assert (row["train_mse"], row["test_mse"]) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("train", "test", "agrees"),
    [
        ((0.21, 0.23), (0.088, 0.090), True),
        ((0.2199, 0.2201), (0.088, 0.090), True),
        ((0.30, 0.30), (0.088, 0.090), False),
        ((0.21, 0.23), (0.02, 0.02), False),
        ((0.22004, 0.22004), (0.08932, 0.08932), True),  # the published 0.22 is known to 0.00005
        ((0.22006, 0.22006), (0.08932, 0.08932), False),
    ],
)
def test_several_runs_agree_where_both_published_values_lie_where_one_more_run_would(train, test, agrees):
    [row] = rows([record(STOCHASTIC, *pair) for pair in zip(train, test, strict=True)])
    assert row["agrees"] is agrees


def test_under_another_policy_nothing_was_published_to_agree_with():
    [row] = rows([record(NEAREST, 0.2294, 0.08281, policy="full")])
    assert row["agrees"] is None


def test_policies_are_kept_apart_and_rows_without_runs_are_left_out():
    table = rows(
        [
            record(NEAREST, 1.0, 1.0, policy="full"),
            record(NEAREST, 0.2294, 0.08281),
            record(("boston", "e6m9", "nearest_even"), 0.5, 0.004, policy="full"),
        ]
    )
    assert [(row["policy"], row["dataset"]) for row in table] == [
        ("full", "toy"),
        ("full", "boston"),
        ("output", "toy"),
    ]


def test_no_records_make_no_rows():
    assert rows([]) == []


def test_a_diverged_run_makes_a_row_that_does_not_agree():
    gone = record(STOCHASTIC, None, None, train_mse=None, test_mse=None)
    [row] = rows([gone, record(STOCHASTIC, 0.22, 0.08932)])
    assert row["agrees"] is False
    [row] = rows([record(NEAREST, None, None, train_mse=None, test_mse=None)])
    assert row["agrees"] is False
