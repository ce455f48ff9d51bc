"""The table of a study: what its cells say, in Markdown and LaTeX, too."""

import pytest
from studies import failed, formats_and_roundings, record

from emunum.report.sweep.study import decimals, number, seeds_of, studies
from emunum.report.sweep.tables import study_table, to_latex, to_markdown_table


def table_of(records, **options):
    [study] = studies(records, **options)
    return study_table(study.rows(), study.metric, "float32")


def texts(table):
    return [[cell.text for cell in line] for line in table.lines]


RUNS = [
    *(record(value, seed=seed) for seed, value in enumerate([1.0, 2.0, 3.0])),
    *(record(value, format="e4m3", seed=seed) for seed, value in enumerate([11.0, 12.5, 12.0])),
    record(7.0, format="e5m2", rounding="up", seed=8),
    failed("no", format="e5m2", rounding="up", seed=9),
]


def test_a_row_has_runs_mean_interval_difference_and_its_interval():
    # Student's t at 0.975 and 2 degrees of freedom is 4.303, so that for the second row's 11, 12.5, 12
    # s = 0.7638, t s / sqrt(3) = 1.897; the differences 10, 10.5, 9 have the same deviation, as it happens.
    table = table_of(RUNS)
    assert table.header == (
        "format", "rounding", "runs", "test MSE", "95 % interval", "difference to float32",
        "its 95 % interval",
    )  # fmt: skip
    assert texts(table) == [
        ["float32", "nearest", "3", "2.00", "[\u22120.48, 4.48]", "-", "-"],
        ["float8_e4m3fn", "nearest", "3", "11.83", "[9.94, 13.73]", "+9.83", "[+7.94, +11.73]"],
        ["float8_e5m2", "up", "2 (1 failed)", "7.00", "-", "-", "-"],
    ]


def test_a_difference_whose_interval_excludes_zero_is_marked():
    marked = [[cell.text for cell in line if cell.clear] for line in table_of(RUNS).lines]
    assert marked == [[], ["+9.83"], []]


def test_cells_are_sorted_by_their_values():
    values = [[cell.value for cell in line] for line in table_of(RUNS).lines]
    assert [line[:4] for line in values] == [
        ["float32", "nearest_even", 3, 2.0],
        ["float8_e4m3fn", "nearest_even", 3, pytest.approx(11.8333, abs=1e-4)],
        ["float8_e5m2", "up", 2, 7.0],
    ]
    assert values[2][4:] == [None, None, None]


def test_accuracies_are_percentages():
    runs = [record(value, metric="test_accuracy", seed=seed) for seed, value in enumerate([0.5, 0.6])]
    [line] = texts(table_of(runs))
    # s = 0.0707, t(0.975, 1) = 12.706: 55 -+ 100 * 12.706 * 0.0707 / sqrt(2) = 55 -+ 63.53
    assert line[-2:] == ["55.00", "[\u22128.53, 118.53]"]


def test_without_a_baseline_there_is_no_difference():
    table = table_of([record(0.5, format="e5m2"), record(0.6, format="e4m3")])
    assert table.header == ("format", "runs", "test MSE", "95 % interval")


def test_markdown_is_a_pipe_table_with_escaped_cells():
    lines = to_markdown_table(table_of(RUNS)).splitlines()
    assert lines[1] == "|" + " --- |" * 7
    assert (
        lines[3]
        == r"| float8\_e4m3fn | nearest | 3 | 11.83 | \[9.94, 13.73\] | **+9.83** | \[+7.94, +11.73\] |"
    )


def test_latex_is_a_tabular_with_the_rules_of_booktabs():
    lines = to_latex(table_of(RUNS)).splitlines()
    assert lines[0] == r"\begin{tabular}{llrrrrr}"
    assert [line.strip() for line in lines if line.strip().endswith("rule")] == [
        r"\toprule", r"\midrule", r"\bottomrule",
    ]  # fmt: skip
    assert (
        r"  float8\_e4m3fn & nearest & 3 & 11.83 & [9.94, 13.73] & \textbf{+9.83} & [+7.94, +11.73] \\"
        in lines
    )
    assert r"  float32 & nearest & 3 & 2.00 & [$-$0.48, 4.48] & - & - \\" in lines
    assert lines[-1] == r"\end{tabular}"


def test_a_study_is_made_for_each_data_set():
    runs = [*formats_and_roundings(seeds=1), record(0.5, metric="test_accuracy", dataset="digits")]
    found = studies(runs)
    assert [(study.dataset, study.metric) for study in found] == [
        ("diabetes", "test_mse"),
        ("digits", "test_accuracy"),
    ]
    assert found[0].varied == ["format", "rounding"]


@pytest.mark.parametrize(
    ("widths", "places"),
    [([0.034, 1.2], 3), ([0.0034], 4), ([1e-9], 6), ([123.0], 2), ([None, 0.0], 4), ([], 4), ([0.01], 3)],
)
def test_decimals_show_two_digits_of_the_narrowest_interval(widths, places):
    assert decimals(widths) == places


@pytest.mark.parametrize(
    ("value", "places", "sign", "text"),
    [
        (0.5, 3, False, "0.500"),
        (-0.5, 2, False, "\u22120.50"),
        (0.5, 2, True, "+0.50"),
        (None, 2, True, "-"),
        (2.5e7, 2, False, "2.500e+07"),
    ],
)
def test_a_number_is_written_with_its_decimals_and_a_real_minus(value, places, sign, text):
    assert number(value, places, sign) == text


@pytest.mark.parametrize(
    ("seeds", "words"),
    [([0, 1, 2, 7], "0 to 2, 7"), ([5], "5"), ([3, 1], "1, 3"), ([], "-"), ([2, 2, 3], "2 to 3")],
)
def test_seeds_are_listed_as_ranges(seeds, words):
    assert seeds_of({"seed": seed, "rounding_seed": None} for seed in seeds) == words


def test_seeds_of_the_random_bits_are_listed_too():
    assert seeds_of({"seed": 42, "rounding_seed": n} for n in (0, 1, 2)) == "42; rounding 0 to 2"
