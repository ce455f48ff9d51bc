"""The comparison every test of arithmetic leans on can fail."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import assert_same


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (0.0, -0.0),
        (np.float32(1), 2.0),
        (np.nan, 1.0),
        ([1.0, np.inf], [1.0, -np.inf]),
        ([[0.0], [-0.0]], [[0.0], [0.0]]),
    ],
)
def test_values_and_signs_of_zero_that_differ_are_told_apart(actual: object, expected: object) -> None:
    for pair in [(actual, expected), (expected, actual)]:
        with pytest.raises(AssertionError, match=r"^1 of \d differ"):
            assert_same(*pair)


def test_shapes_that_differ_are_told_apart() -> None:
    with pytest.raises(AssertionError):
        assert_same([1.0, 1.0], 1.0)
    with pytest.raises(AssertionError):
        assert_same([[1.0, 1.0]], [1.0, 1.0])


def test_what_is_the_same_passes() -> None:
    assert_same([0.0, -0.0, np.nan, np.inf, 1.5], np.array([0.0, -0.0, -np.nan, np.inf, 1.5], np.float32))
    assert_same([], np.empty(0, np.float32))
