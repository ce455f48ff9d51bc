"""scikit-learn's own checks of an estimator, with default parameters and no failure expected."""

from __future__ import annotations

from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from emunum.sklearn import EmulatedClassifier, EmulatedRegressor


@parametrize_with_checks([EmulatedRegressor(), EmulatedClassifier()])
def test_scikit_learn_finds_nothing_wrong(estimator: Any, check: Any) -> None:
    check(estimator)  # asserts
