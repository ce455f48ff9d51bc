"""Errors of tensor cores, against NumPy's arithmetic and exact sums."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from emunum.experiments.studies import study_named, tensor_cores
from emunum.formats.accumulator import TENSOR_CORES

CASE = {
    "accumulator": "float32", "order": "sequential", "rounding": "nearest_even",
    "operands": "float8_e4m3fn", "numbers": "normal", "rows": 4, "k": 4096, "seed": 0,
}  # fmt: skip


def test_every_tensor_core_is_measured_with_and_without_promotion():
    orders = {case["order"] for case in study_named("tensor_cores").asked()}
    assert {f"tensor_core:{name}" for name in TENSOR_CORES} <= orders
    assert {f"tensor_core:{name}:128" for name in TENSOR_CORES} <= orders


@pytest.mark.parametrize("numbers", ["uniform", "normal"])
def test_the_float64_product_of_the_operands_is_exact(numbers):
    a, b, exact = tensor_cores._operands("float8_e4m3fn", numbers, 2, 4096, 0)
    for i in range(2):
        for j in range(2):
            products = (
                Fraction(x) * Fraction(y) for x, y in zip(a[i].tolist(), b[:, j].tolist(), strict=True)
            )
            assert Fraction(exact[i, j].item()) == sum(products)


def test_the_errors_of_float32_sums_are_those_of_numpy():
    a, b, exact = tensor_cores._operands("float8_e4m3fn", "normal", 4, 4096, 0)
    y = np.zeros((4, 4), np.float32)
    for k in range(4096):
        y = y + np.outer(a[:, k], b[k])  # the products are exact in float32
    error = (y.astype(np.float64) - exact) * np.sign(exact) / np.sqrt(np.mean(exact * exact))
    record = tensor_cores.measure(CASE)
    assert record["largest_error"] == pytest.approx(np.abs(error).max(), rel=1e-8)  # 9 digits are kept
    assert record["mean_error"] == pytest.approx(error.mean(), rel=1e-6)  # and NumPy sums pairwise
    assert record["largest_error"] > 0 and record["overflows"] == 0


def test_sums_that_overflow_are_counted_and_no_error(monkeypatch):
    exact = tensor_cores._operands("float8_e4m3fn", "normal", 4, 4096, 0)[2]
    y = exact.copy()
    y[0, 0], y[1, 2] = np.inf, np.nan
    monkeypatch.setattr(tensor_cores, "matmul", lambda a, b, **options: y)
    assert tensor_cores.measure(CASE) == {"largest_error": 0.0, "mean_error": 0.0, "overflows": 2}


def test_promotion_leaves_less_error_than_the_fp8_cores_have_without_it():
    table = study_named("tensor_cores").rows(study_named("tensor_cores").records())
    largest = {(row["order"], row["numbers"], row["k"]): row["largest_error"] for row in table}
    for core in ("ada_fp8", "h100_fp8"):
        for numbers in ("uniform", "normal"):
            for k in (1024, 4096, 16384):
                alone = largest[f"tensor_core:{core}", numbers, k]
                assert largest[f"tensor_core:{core}:128", numbers, k] < alone / 4
