"""EmulatedClassifier"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from emunum.nn.loss import softmax
from emunum.sklearn.estimator import Emulated


class EmulatedClassifier(ClassifierMixin, Emulated):  # type: ignore[misc]
    """Softmax regression, or a network of ReLU layers, trained and evaluated in emulated arithmetic.

    Parameters and attributes are EmulatedRegressor's, and classes_: the labels in their order, one output
    each. loss "auto" is the cross entropy. fit raises ValueError for y with one class, too.
    """

    classes_: NDArray[Any]

    def fit(self, X: Any, y: Any) -> Self:
        """Train on X (n, d) and labels y (n,), from the start."""
        x, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y holds one class, {self.classes_[0]}: a classifier needs samples of at least 2 classes."
            )
        one_hot = np.eye(len(self.classes_), dtype=np.float32)
        return self._train(x, one_hot[labels], "classification")

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of the largest emulated output (the first of equals), of each row of X.

        As to random bits, see EmulatedRegressor.predict.
        """
        columns = self._outputs(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[columns]
        return labels

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the emulated softmax of the outputs, (n, classes).

        In a narrow format its rows add up to 1 only roughly, which scikit-learn's metrics refuse, so each
        row is divided by its sum in float64; a row that is all zeros becomes equal shares.
        """
        p = self._outputs(X, softmax).astype(np.float64)
        sums = p.sum(axis=1, keepdims=True)
        shares = np.full_like(p, 1 / p.shape[1])
        np.divide(p, sums, out=shares, where=sums != 0)
        return shares
