"""The estimators compute what `emunum run` computes, and behave as scikit-learn's users expect."""

from __future__ import annotations

import inspect
import json
import math
import pickle
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emunum.experiments.config import RunConfig
from emunum.formats import parse_mode
from emunum.sklearn import EmulatedClassifier, EmulatedRegressor

STOCHASTIC: dict[str, Any] = {"format": "e4m3", "rounding": "stochastic"}


def recorded(tmp_path: Any, *options: object) -> dict[str, Any]:
    """The record of `emunum run` with these options."""
    from emunum_cli import main

    with pytest.raises(SystemExit) as stop:
        main(["run", "--quiet", "--output", str(tmp_path), "--name", "a", *map(str, options)], "emunum")
    assert not stop.value.code
    record: dict[str, Any] = json.loads((tmp_path / "a" / "record.json").read_text())
    return record


def diabetes() -> tuple[Any, Any]:
    """The data of the published protocol: standardised over all samples."""
    x, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(x), StandardScaler().fit_transform(y[:, None])[:, 0]


def digits() -> tuple[Any, Any]:
    """Pixels from -1 to 1."""
    x, y = load_digits(return_X_y=True)
    return x / 8 - 1, y


# ----------------------------------------------------------------------------------------------------
# The bits of the command line
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ((), {}),
        (("--format", "e4m3", "--rounding", "stochastic"), STOCHASTIC),
        (
            ("--policy", "int8", "--model", "mlp", "--hidden", "8", "--rounding", "stochastic", "--seed", 7),
            {"policy": "int8", "hidden": (8,), "rounding": "stochastic", "random_state": 7},
        ),
        (
            ("--format", "e4m3", "--momentum", 0.9, "--validation-split", 0.25, "--batch-size", 7),
            {"format": "e4m3", "momentum": 0.9, "validation_split": 0.25, "batch_size": 7},
        ),
    ],
    ids=["defaults", "e4m3", "int8", "validation"],
)
def test_a_regression_has_the_weights_and_the_error_of_the_command_line(
    tmp_path: Any, options: tuple[object, ...], parameters: dict[str, Any]
) -> None:
    seed = parameters.get("random_state", 42)
    record = recorded(tmp_path, "--dataset", "diabetes", "--epochs", 3, *options)
    x, x_test, y, y_test = train_test_split(*diabetes(), test_size=0.2, random_state=seed)
    model = EmulatedRegressor(epochs=3, **parameters).fit(x, y)
    assert model.weights_sha256_ == record["weights_sha256"]
    assert (model.n_iter_, model.best_epoch_) == (3, record["best_epoch"])
    off = model.predict(x_test) - y_test.astype(np.float32)
    assert math.fsum(off * off) / len(off) == record["test_mse"]


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        (("--model", "softmax_regression", "--format", "bfloat16"), {"format": "bfloat16"}),
        (
            ("--model", "mlp", "--hidden", 16, "--format", "e5m2", "--policy", "mixed", "--dropout", 0.1),
            {"hidden": [16], "format": "e5m2", "policy": "mixed", "dropout": 0.1},
        ),
    ],
    ids=["softmax_regression", "mlp"],
)
def test_a_classification_has_the_weights_and_the_scores_of_the_command_line(
    tmp_path: Any, options: tuple[object, ...], parameters: dict[str, Any]
) -> None:
    both = {"rounding": "stochastic", "epochs": 1, "batch_size": 64, "learning_rate": 0.05}
    both |= {"optimizer": "sgd", "momentum": 0.5, "loss_scale": 8.0}  # the command's differ for images
    given = [part for name, value in both.items() for part in (f"--{name.replace('_', '-')}", value)]
    record = recorded(tmp_path, "--dataset", "digits", *given, *options)
    x, x_test, y, y_test = train_test_split(*digits(), test_size=0.2, random_state=42)
    model = EmulatedClassifier(image_shape=(1, 8, 8), **both, **parameters).fit(x, y)
    assert model.weights_sha256_ == record["weights_sha256"]
    assert model.score(x_test, y_test) == record["test_accuracy"]
    assert f1_score(y_test, model.predict(x_test), average="macro") == record["test_f1"]


def test_parameters_have_the_defaults_of_the_command_line_for_tables() -> None:
    defaults = {field.name: field.default for field in fields(RunConfig)}
    parameters = {
        name: parameter.default
        for name, parameter in inspect.signature(EmulatedRegressor).parameters.items()
        if name not in ("model", "image_shape")
    }
    parameters["seed"] = parameters.pop("random_state")
    parameters["rounding"] = str(parse_mode(parameters["rounding"]))
    others = {"dataset", "model", "test_split", "train_samples", "augment"}
    assert parameters == {name: value for name, value in defaults.items() if name not in others}
    assert EmulatedClassifier().get_params() == EmulatedRegressor().get_params()


# ----------------------------------------------------------------------------------------------------
# Among other estimators
# ----------------------------------------------------------------------------------------------------


def test_scalers_around_it_hand_it_the_standardised_data() -> None:
    x, y = load_diabetes(return_X_y=True)
    whole = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), EmulatedRegressor("bfloat16")), transformer=StandardScaler()
    ).fit(x, y)
    inner = whole.regressor_[-1]
    assert inner.weights_sha256_ == EmulatedRegressor("bfloat16").fit(*diabetes()).weights_sha256_
    assert 0.4 < whole.score(x, y) < 0.6  # least squares reaches 0.52


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_grid_search_finds_the_same_in_workers_as_alone(backend: str) -> None:
    x, y = diabetes()
    grid = {"format": ["e3m0", "bfloat16"], "learning_rate": np.array([0.01, 0.02])}
    alone = GridSearchCV(EmulatedRegressor(rounding="stochastic", epochs=2), grid, cv=2).fit(x, y)
    with parallel_config(backend, n_jobs=2):
        shared = GridSearchCV(EmulatedRegressor(rounding="stochastic", epochs=2), grid, cv=2).fit(x, y)
    assert_array_equal(shared.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert np.isfinite(alone.cv_results_["mean_test_score"]).all()
    assert shared.best_params_["format"] == "bfloat16"
    assert shared.best_estimator_.weights_sha256_ == alone.best_estimator_.weights_sha256_


def test_fits_in_threads_do_not_disturb_each_other() -> None:
    x, y = np.random.default_rng(0).normal(size=(600, 120)), np.zeros(600)
    seeds = (1, 2, 3, 4)

    def fit(seed: int) -> str:
        model = EmulatedRegressor(**STOCHASTIC, hidden=(60,), epochs=2, batch_size=300, random_state=seed)
        return str(model.fit(x, y).weights_sha256_)

    alone = [fit(seed) for seed in seeds]
    assert Parallel(4, backend="threading")(delayed(fit)(seed) for seed in seeds) == alone
    assert len(set(alone)) == 4


@pytest.mark.parametrize(
    "parameters",
    [
        STOCHASTIC | {"hidden": (4,)},
        {"policy": "int8", "rounding": "stochastic", "per_channel": True},
        {"policy": "hfp8", "optimizer": "adam"},
    ],
    ids=["full", "int8", "hfp8"],
)
def test_a_pickled_copy_predicts_the_same_and_a_clone_forgets(parameters: dict[str, Any]) -> None:
    x, y = digits()
    model = EmulatedClassifier(epochs=1, **parameters).fit(x[:100], y[:100])
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.predict_proba(x), model.predict_proba(x))
    assert copy.weights_sha256_ == model.weights_sha256_
    again = clone(model)
    assert again.get_params() == model.get_params()
    assert not hasattr(again, "weights_")
    assert again.fit(x[:100], y[:100]).weights_sha256_ == model.weights_sha256_


def test_a_fitted_model_does_not_heed_parameters_set_later() -> None:
    x, y = diabetes()
    model = EmulatedRegressor(**STOCHASTIC, epochs=1).fit(x, y)
    before = model.predict(x)
    model.set_params(format="e5m2", random_state=1, hidden=(3,))
    assert_array_equal(model.predict(x), before)


def test_names_of_columns_are_kept_and_compared() -> None:
    pandas = pytest.importorskip("pandas", reason="data frames are pandas's")
    x = load_diabetes(as_frame=True).data
    model = EmulatedRegressor(epochs=1).fit(x, np.zeros(len(x)))
    assert model.feature_names_in_.tolist() == list(x.columns)
    assert model.n_features_in_ == 10
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(x.rename(columns={"age": "years"}))
    assert isinstance(x, pandas.DataFrame)


# ----------------------------------------------------------------------------------------------------
# What it leaves, and what it says
# ----------------------------------------------------------------------------------------------------


def test_a_seed_makes_every_fit_the_same_and_none_draws_one() -> None:
    x, y = diabetes()

    def fit(random_state: Any) -> str:
        return str(EmulatedRegressor(epochs=1, random_state=random_state).fit(x, y).weights_sha256_)

    state = np.random.get_state()[1].copy()
    assert fit(42) == fit(42) == fit(np.int64(42))
    assert_array_equal(np.random.get_state()[1], state)
    assert fit(np.random.RandomState(3)) == fit(np.random.RandomState(3))
    assert len({fit(None), fit(None), fit(42)}) == 3


def test_several_targets_are_learned_at_once() -> None:
    x, y = diabetes()
    both = np.stack([y, -y], axis=1)
    model = EmulatedRegressor(init="zeros", learning_rate=0.02).fit(x, both)
    first, second = model.predict(x).T
    assert_array_equal(first, -second)  # rounding to nearest is symmetric
    assert model.score(x, both) > 0.4


def test_the_loss_falls_and_the_weights_are_those_that_predict() -> None:
    x, y = (array.astype(np.float32).astype(np.float64) for array in diabetes())
    model = EmulatedRegressor().fit(x, y)
    assert len(model.loss_curve_) == model.n_iter_ == 30
    assert model.loss_curve_[-1] < 0.6 < model.loss_curve_[0]
    assert {name: w.shape for name, w in model.weights_.items()} == {"0.w": (1, 10), "0.b": (1,)}
    w, b = model.weights_["0.w"].astype(np.float64)[0], float(model.weights_["0.b"][0])
    # 11 terms in float32, whose rounding errors are below 11 u times the sum of their magnitudes
    bound = 12 * 2.0**-24 * (np.abs(x) @ np.abs(w) + abs(b))
    assert (np.abs(model.predict(x) - (x @ w + b)) <= bound).all()


def test_probabilities_are_the_softmax_of_the_outputs() -> None:
    x, y = digits()
    x = x.astype(np.float32).astype(np.float64)
    model = EmulatedClassifier(epochs=2).fit(x, y)
    outputs = x @ model.weights_["0.w"].astype(np.float64).T + model.weights_["0.b"]
    e = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    # float32 sums of 65 terms of magnitude below 1 are off by less than 65^2 u, e^d by as much again
    assert_allclose(model.predict_proba(x), e / e.sum(axis=1, keepdims=True), rtol=4 * 65**2 * 2.0**-24)
    assert_array_equal(model.predict(x), model.predict_proba(x).argmax(axis=1))


def test_probabilities_in_8_bits_still_add_up_to_one() -> None:
    x, y = digits()
    model = EmulatedClassifier("e4m3", learning_rate=0.1, epochs=2).fit(x, y)
    p = model.predict_proba(x)
    assert_allclose(p.sum(axis=1), 1, rtol=2.0**-50)
    assert 0.9 < roc_auc_score(y, p, multi_class="ovr") <= 1


def test_a_softmax_below_every_value_of_the_format_says_nothing() -> None:
    # Of ten equal outputs each e^0 is 1; their sum stays at 4, since 5 lies between 4 and 6 and 4 is even;
    # a quarter is half of e2m1's least value and rounds to the even zero.
    x, y = digits()
    model = EmulatedClassifier("float4_e2m1fn", init="zeros", learning_rate=1e-9, epochs=1).fit(x, y)
    assert_array_equal(model.predict_proba(x[:3]), np.full((3, 10), 0.1))


def test_labels_may_be_words() -> None:
    x, y = digits()
    words = np.array([f"digit {label}" for label in range(10)])
    named = EmulatedClassifier(epochs=1).fit(x, words[y])
    assert named.classes_.tolist() == words.tolist()
    assert_array_equal(named.predict(x), words[EmulatedClassifier(epochs=1).fit(x, y).predict(x)])


def test_a_run_that_diverges_warns_and_keeps_what_the_command_line_keeps(tmp_path: Any) -> None:
    record = recorded(tmp_path, "--dataset", "diabetes", "--learning-rate", 1e9, "--epochs", 9)
    assert record["status"] == "diverged"
    x, _, y, _ = train_test_split(*diabetes(), test_size=0.2, random_state=42)
    model = EmulatedRegressor(learning_rate=1e9, epochs=9)
    with pytest.warns(ConvergenceWarning, match=r"at step \d+\. Scale the features"):
        model.fit(x, y)
    assert (model.status_, model.n_iter_) == ("diverged", record["epochs_completed"])
    assert model.weights_sha256_ == record["weights_sha256"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"format": "e4m33"}, "unknown format 'e4m33':"),
        ({"format": 3}, "format 3 is int: it must be a name."),
        ({"hidden": 8}, "hidden 8 is int: it must be a tuple of sizes."),
        ({"learning_rate": -1}, "learning_rate -1.0 is out of range: it must be a finite number above 0."),
        ({"learning_rate": "fast"}, "learning_rate 'fast' is str: it must be a number."),
        ({"random_state": -1}, "random_state -1 is out of range: it must be from 0 to 2**32 - 1."),
        ({"random_state": 0.5}, "random_state 0.5 is out of range: it must be a whole number."),
        ({"model": "linear", "hidden": (4,)}, "hidden sizes (4,) need model mlp:"),
        ({"optimizer": "adam", "momentum": 0.9}, "momentum and nesterov are for optimizer sgd:"),
        ({"patience": 2}, "patience 2 waits for a better validation loss: give validation_split."),
        ({"image_shape": (1, 3, 3)}, "image_shape (1, 3, 3) does not fit X with 10 features:"),
        ({"loss": "cross_entropy"}, "loss 'cross_entropy' is for classes:"),
        ({"validation_split": 0.999}, "validation_split 0.999 takes all 442 samples"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_parameter_that_makes_no_sense_is_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        EmulatedRegressor(**parameters).fit(*diabetes())
    assert str(caught.value).startswith(message)
    assert "--" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning:sklearn")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning:numpy")
def test_what_cannot_be_learned_is_refused() -> None:
    x, y = diabetes()
    with pytest.raises(ValueError, match="y holds one class, 1: a classifier needs"):
        EmulatedClassifier().fit(x, np.ones(len(x), int))
    with pytest.raises(ValueError, match=r"y holds numbers beyond float32's 3\.4e38"):
        EmulatedRegressor().fit(x, y * 1e40)
    with pytest.raises(ValueError, match="too large for dtype"):
        EmulatedRegressor().fit((x * 1e40).tolist(), y)
