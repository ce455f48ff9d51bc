"""Training in fixed point: its cases, its rows, and committed runs again."""

from __future__ import annotations

import pytest

from emunum.experiments.studies import study_named

OWN = study_named("fixed_point")


def run(format: str, seed: int, accuracy: float | None, losses: list[float]) -> dict:
    case = next(case for case in OWN.asked() if case["format"] == format)
    measured = {"status": "completed", "test_accuracy": accuracy, "test_loss": 1.0, "epoch_loss": losses}
    return case | {"seed": seed, "rounding": "stochastic"} | measured


def test_formats_have_sixteen_bits():
    formats = list(dict.fromkeys(case["format"] for case in OWN.asked()))
    assert formats == ["float32", "q8.8", "q6.10", "q4.12", "q3.13", "q2.14"]


def test_a_row_has_the_mean_of_the_seeds_and_the_last_epoch():
    [row] = OWN.rows([run("q6.10", 0, 0.5, [3.0, 2.0]), run("q6.10", 1, 0.75, [3.0, 1.0])])
    assert (row["test_accuracy"], row["train_loss"], row["seeds"]) == (0.625, 1.5, 2)
    assert (row["quantum"], row["largest"]) == (2.0**-10, 2.0**5 - 2.0**-10)
    # Student's t at 0.975 with one degree of freedom is 12.7062, the standard deviation of 0.5, 0.75 0.1768
    assert row["test_accuracy_ci_high"] == pytest.approx(0.625 + 12.7062 * 0.125, rel=1e-5)


def test_a_row_with_a_run_that_diverged_has_no_mean():
    [row] = OWN.rows([run("q2.14", 0, None, []), run("q2.14", 1, 0.75, [1.0])])
    assert row["test_accuracy"] is None and row["train_loss"] is None and row["test_loss"] == 1.0


def test_short_fractions_train_stochastically_and_not_to_nearest():
    loss = {(row["format"], row["rounding"]): row["train_loss"] for row in OWN.rows(OWN.records())}
    wide = loss["float32", "nearest_even"]
    assert loss["q8.8", "nearest_even"] > 2 * wide
    assert loss["q8.8", "stochastic"] < loss["q8.8", "nearest_even"] / 1.5
