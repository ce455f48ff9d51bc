"""Rows as CSV and Markdown."""

import csv
import io

import pytest

from emunum.report.tables import (
    IMAGES_HEADER,
    REGRESSION_HEADER,
    images_cells,
    regression_cells,
    to_csv,
    to_markdown,
)

SINGLE = {
    "dataset": "toy",
    "format": "float8_e5m2",
    "rounding": "nearest_even",
    "policy": "output",
    "runs": 1,
    "final_step_mse": 0.229412,
    "test_mse_over_n": 0.0828123,
    "test_mse": 0.24843,
    "published_train_mse": 0.2294,
    "published_test_mse_over_n": 0.08281,
    "agrees": True,
} | {
    f"{key}_{name}": None
    for key in ("final_step_mse", "test_mse_over_n")
    for name in ("ci_low", "ci_high", "run_low", "run_high", "rank")
}
SEVERAL = SINGLE | {
    "rounding": "stochastic",
    "runs": 30,
    "final_step_mse_ci_low": 0.2281111,
    "final_step_mse_ci_high": 0.2312345,
    "final_step_mse_rank": 0.7,
    "test_mse_over_n_ci_low": 0.0811111,
    "test_mse_over_n_ci_high": 0.0845678,
    "test_mse_over_n_rank": 0.0,
    "agrees": False,
}


def test_csv_has_a_header_every_digit_and_nothing_for_null():
    text = to_csv([{"a": 0.1 + 0.2, "b": None, "c": 'say "x, y"'}, {"a": 1, "b": True, "c": ""}])
    assert text == 'a,b,c\n0.30000000000000004,,"say ""x, y"""\n1,True,\n'


def test_csv_numbers_come_back_as_they_were():
    values = [1 / 3, 5e-324, 1.7976931348623157e308, 0.0828123]
    lines = csv.DictReader(io.StringIO(to_csv([{"x": value} for value in values])))
    assert [float(line["x"]) for line in lines] == values


def test_no_rows_make_an_empty_file():
    assert to_csv([]) == ""


def test_rows_with_other_keys_are_refused():
    with pytest.raises(ValueError, match="not in fieldnames"):
        to_csv([{"a": 1}, {"b": 2}])


def test_markdown_is_a_pipe_table():
    assert to_markdown(["a", "b"], [["1", "2"], ["3", "4"]]) == (
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n"
    )
    assert to_markdown(["a"], []) == "| a |\n| --- |\n"


def test_a_single_run_has_four_digits_and_no_interval():
    assert regression_cells([SINGLE]) == [
        ["toy", "float8_e5m2", "nearest_even", "0.2294", "0.2294", "0.08281", "0.08281", "0.2484", "yes"]
    ]


def test_several_runs_have_an_interval_and_the_published_values_rank():
    [cells] = regression_cells([SEVERAL])
    assert cells[3:] == [
        "0.2294 [0.2281, 0.2312]",
        "0.2294 (> 21 of 30)",
        "0.08281 [0.08111, 0.08457]",
        "0.08281 (> 0 of 30)",
        "0.2484",
        "no",
    ]


def test_what_was_not_published_neither_agrees_nor_disagrees():
    assert regression_cells([SINGLE | {"agrees": None}])[0][-1] == "-"


def test_every_row_is_as_wide_as_the_header():
    for cells in regression_cells([SINGLE, SEVERAL]):
        assert len(cells) == len(REGRESSION_HEADER)


IMAGE_ROW = {
    "row": "input-int8", "format": "int8", "rounding": "toward_zero", "status": "completed",
    "epochs_completed": 10, "best_epoch": 7, "test_accuracy": 0.98561, "test_f1": 0.98549,
    "test_loss": 0.04321, "wall_s": 1234.56, "weight_bytes": 1_686_568,
    "activation_bytes": 1000, "data_note": None,
    "published_accuracy": 0.988, "published_f1": 0.9869, "published_loss": 0.038176,
    "published_runtime_s": 58.1,
}  # fmt: skip
NOTHING = dict.fromkeys(IMAGE_ROW) | {"row": "full-e4m3", "format": "float8_e4m3fn", "rounding": "stochastic"}


def test_an_image_row_has_ours_beside_the_published_numbers():
    assert images_cells([IMAGE_ROW]) == [
        [
            "input-int8", "int8", "toward_zero", "98.56", "98.80", "98.55", "98.69", "0.0432", "0.0382",
            "1,235", "58", "1,686,568", "1,000", "10 (7)", "as published",
        ]
    ]  # fmt: skip
    assert len(images_cells([IMAGE_ROW])[0]) == len(IMAGES_HEADER)


def test_an_image_row_without_record_has_dashes():
    assert images_cells([NOTHING]) == [
        ["full-e4m3", "float8_e4m3fn", "stochastic", *["-"] * (len(IMAGES_HEADER) - 3)]
    ]


@pytest.mark.parametrize(
    ("note", "shown"),
    [("JPEG copy of cifar10: near", "JPEG copy"), ("content differs from the published mnist", "altered")],
)
def test_an_image_row_says_what_its_data_are(note, shown):
    [cells] = images_cells([IMAGE_ROW | {"data_note": note}])
    assert cells[-1] == shown


def test_a_diverged_image_row_says_so_where_its_measures_would_be():
    gone = {"status": "diverged", "best_epoch": None, "epochs_completed": 2, "test_loss": None}
    [cells] = images_cells([IMAGE_ROW | gone])
    assert (cells[3], cells[5], cells[7], cells[13]) == ("diverged", "diverged", "diverged", "2")
