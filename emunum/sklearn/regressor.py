"""EmulatedRegressor"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from emunum.sklearn.estimator import Emulated


class EmulatedRegressor(RegressorMixin, Emulated):  # type: ignore[misc]
    """A linear model, or a network of ReLU layers, trained and evaluated in emulated arithmetic.

    Parameters have the names, meanings and defaults of `emunum run`'s options for tables, with scikit-learn's
    random_state for the seed and these differences: model "auto" is "mlp" where `hidden` has sizes and
    "linear" where it has none, and image_shape = (channels, height, width) makes images of the rows of X,
    for the models that take them. random_state 42 makes every fit the same; None draws a seed.

    Neither features nor targets are scaled: put a StandardScaler before it in a Pipeline, and it into a
    TransformedTargetRegressor(transformer=StandardScaler()). X and y are rounded to float32 first, to
    nearest. y is (n,) or (n, k); the loss is the mean over all its elements.

    weights_: the master weights by name; weights_sha256_: their digest, that of `emunum run` on the same
    samples in the same order; status_: "completed", or "diverged" where the loss or a weight became
    infinite or NaN, which a ConvergenceWarning says too; n_iter_: epochs completed; loss_curve_: the mean
    loss of each epoch's steps; best_epoch_: the epoch whose weights were kept, None where validation_split
    is 0; n_features_in_ and feature_names_in_: of X.

    fit raises ValueError for data that scikit-learn refuses and for a parameter that makes no sense.
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train on X (n, d) and y, from the start."""
        x, y = validate_data(self, X, y, dtype=np.float32, y_numeric=True, multi_output=True)
        with np.errstate(over="ignore"):
            target = np.asarray(y, np.float32)
        if not np.isfinite(target).all():
            raise ValueError("y holds numbers beyond float32's 3.4e38: scale it.")
        self._single = target.ndim == 1
        return self._train(x, target.reshape(len(target), -1), "regression")

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the network's emulated output, in y's shape: float64, which holds the same values.

        The i-th batch of 512 samples has the random bits of its place: with stochastic rounding the output
        for a sample depends on where in X it stands, and with policy int8 on what stands beside it.
        """
        y = self._outputs(X).astype(np.float64)
        return y[:, 0] if self._single else y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
