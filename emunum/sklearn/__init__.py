"""Emulated training behind scikit-learn's interface: the arithmetic, and the digests, of `emunum run`.

>>> from emunum.sklearn import EmulatedRegressor
>>> x, y = [[-1.0], [0.0], [1.0]], [-2.0, 0.0, 2.0]
>>> EmulatedRegressor("e4m3", learning_rate=0.25).fit(x, y).predict(x).tolist()
[-2.0, 0.0, 2.0]
"""

from __future__ import annotations

from emunum.sklearn.classifier import EmulatedClassifier
from emunum.sklearn.regressor import EmulatedRegressor

__all__ = ["EmulatedClassifier", "EmulatedRegressor"]
