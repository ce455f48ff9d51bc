"""Runs that differ in their seeds alone, taken together; baselines, and rows of means and differences."""

import pytest
from studies import failed, formats_and_roundings, record

from emunum.experiments.results.grouping import baselines, fixed, grouped, is_float32, metric_of, rows, varied


def names(groups):
    return [(group.options["format"], group.options["rounding"]) for group in groups]


def test_a_group_is_a_configuration_without_its_seeds():
    groups = grouped(formats_and_roundings(seeds=3))
    assert names(groups) == [
        (format, rounding)
        for format in ("float32", "float8_e4m3fn", "float8_e5m2")
        for rounding in ("nearest_even", "stochastic")
    ]
    assert [len(group.runs) for group in groups] == [3] * 6
    assert varied(groups) == ["format", "rounding"]
    assert fixed(groups)["dataset"] == "diabetes"
    assert not {"format", "rounding", "seed", "rounding_seed"} & fixed(groups).keys()


def test_seeds_of_the_random_bits_are_seeds_too():
    groups = grouped(record(0.1 * n, rounding="stochastic", rounding_seed=n) for n in range(4))
    assert [len(group.runs) for group in groups] == [4]


def test_of_equal_runs_the_last_counts():
    [group] = grouped([record(0.5), record(0.75), record(0.25, seed=1)])
    assert sorted(group.values("test_mse").values()) == [0.25, 0.75]


def test_an_integer_and_a_float_of_one_value_are_one_option():
    one, other = record(0.5, seed=1), record(0.5, seed=2)
    other["loss_scale"] = 1
    assert len(grouped([one, other])) == 1


def test_only_completed_runs_have_values():
    runs = [record(0.5), record(9.0, seed=1, status="diverged"), failed("no", seed=2), record(None, seed=3)]
    [group] = grouped(runs)
    assert list(group.values("test_mse").values()) == [0.5]
    counts = {status: group.count(status) for status in ("completed", "diverged", "failed", "interrupted")}
    assert counts == {"completed": 2, "diverged": 1, "failed": 1, "interrupted": 0}


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (["test_mse"], "test_mse"),
        (["test_loss", "test_accuracy"], "test_accuracy"),
        (["test_loss"], "test_loss"),
    ],
)
def test_the_main_result_is_accuracy_or_mse_or_loss(metrics, expected):
    assert metric_of([record(0.5, metric=metric) for metric in metrics]) == expected


def test_without_a_completed_run_there_is_no_result():
    with pytest.raises(ValueError, match="no run was completed"):
        metric_of([failed("no"), record(0.5, status="diverged")])


def test_a_groups_baseline_agrees_with_it_in_the_most_options():
    groups = grouped(formats_and_roundings(seeds=1))
    found = baselines(groups, is_float32)
    assert found[:2] == [None, None]
    assert names(found[2:]) == [("float32", "nearest_even"), ("float32", "stochastic")] * 2


def test_a_baseline_is_on_the_same_data():
    groups = grouped(
        [record(0.1, dataset="toy"), record(0.2, format="e5m2"), record(0.3, dataset="toy", format="e5m2")]
    )
    assert [base and base.options["dataset"] for base in baselines(groups, is_float32)] == [None, None, "toy"]


def test_any_configuration_can_be_the_baseline():
    groups = grouped(formats_and_roundings(seeds=1))
    found = baselines(groups, lambda options: options["rounding"] == "nearest_even")
    assert [base and base.options["format"] for base in found] == [
        None, "float32", None, "float8_e4m3fn", None, "float8_e5m2",
    ]  # fmt: skip


def test_rows_have_means_intervals_and_differences_over_shared_seeds():
    runs = [record(value, seed=seed) for seed, value in enumerate([1.0, 2.0, 3.0])]
    runs += [record(value, format="e5m2", seed=seed + 1) for seed, value in enumerate([2.5, 4.0, 9.0])]
    groups = grouped(runs)
    base, other = rows(groups, ["test_mse"], baselines(groups, is_float32))
    assert base["format"] == "float32"
    assert (base["runs"], base["completed"], base["failed"]) == (3, 3, 0)
    assert base["test_mse"] == 2.0
    # t(0.975, 2) s / sqrt(3) = 4.303 * 1 / 1.732, the quantile to its three printed decimals
    assert base["test_mse_ci_high"] == pytest.approx(2 + 2.4843, abs=5e-4)
    assert (base["test_mse_difference"], base["test_mse_pairs"]) == (None, 0)
    # seeds 1 and 2 are shared: 2.5 - 2 and 4 - 3
    assert (other["test_mse_difference"], other["test_mse_pairs"]) == (0.75, 2)
    assert other["test_mse_difference_ci_low"] == pytest.approx(0.75 - 12.706 * 0.25, abs=5e-4)


def test_rows_of_no_completed_run_are_empty_but_counted():
    groups = grouped([record(0.5), failed("no", format="e5m2")])
    [_, row] = rows(groups, ["test_mse"], baselines(groups, is_float32))
    assert (row["runs"], row["failed"], row["test_mse"], row["test_mse_difference"]) == (1, 1, None, None)
