"""What runs are measured by: against definitions, and a batch at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from emunum.experiments.config import RunConfig
from emunum.experiments.datasets import Samples
from emunum.experiments.training.counting import Phase
from emunum.experiments.training.evaluation import EVALUATION_BATCH, accuracy_of, macro_f1
from emunum.experiments.training.storage import Storage
from emunum.experiments.training.train import Training


def one_hot(labels: Any, classes: int) -> Any:
    return np.eye(classes, dtype=np.float32)[np.asarray(labels)]


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_and_f1_are_what_their_definitions_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((60, 4)).astype(np.float32)
    truth = rng.integers(0, 4, 60)
    guess = [max(range(4), key=row.__getitem__) for row in y.tolist()]
    pairs = list(zip(guess, truth.tolist(), strict=True))
    scores = []
    for label in range(4):
        hits = sum(g == t == label for g, t in pairs)
        misses = sum((g == label) != (t == label) for g, t in pairs)
        scores.append(2 * hits / (2 * hits + misses))
    target = one_hot(truth, 4)
    assert accuracy_of(y, target) == sum(g == t for g, t in pairs) / 60
    # The order of the sum over 4 classes is scikit-learn's: 4 terms below 1, errors below 4 u each.
    assert macro_f1(y, target) == pytest.approx(sum(scores) / 4, abs=2e-15)


def test_classes_that_nobody_meant_or_said_do_not_count() -> None:
    y, target = one_hot([0, 0, 1, 1], 5), one_hot([0, 0, 0, 1], 5)
    # Class 0: 2 hits, 1 miss; class 1: 1 hit, 1 miss; classes 2 to 4 do not occur.
    assert macro_f1(y, target) == pytest.approx((4 / 5 + 2 / 3) / 2, abs=1e-15)
    assert accuracy_of(y, target) == 0.75


def test_a_class_never_right_has_a_score_of_zero() -> None:
    assert macro_f1(one_hot([1, 1], 2), one_hot([0, 1], 2)) == pytest.approx((0 + 2 / 3) / 2, abs=1e-15)


def test_the_first_of_equal_outputs_is_the_answer() -> None:
    assert accuracy_of(np.zeros((2, 3), np.float32), one_hot([0, 1], 3)) == 0.5


def test_a_regression_has_neither() -> None:
    y = np.zeros((3, 1), np.float32)
    assert accuracy_of(y, y) is macro_f1(y, y) is None


# ----------------------------------------------------------------------------------------------------
# A batch at a time
# ----------------------------------------------------------------------------------------------------


class Counted:
    """Samples that note how many of them are asked for at once."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.samples)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.samples, name)

    def features(self, rows: Any) -> Any:
        x = self.samples.features(rows)
        self.asked.append(len(x))
        return x


DIGITS: dict[str, Any] = {
    "dataset": "digits",
    "model": "mlp",
    "hidden": (16,),
    "epochs": 1,
    "batch_size": 100,
}


def test_no_measurement_takes_more_than_a_batch_of_images_at_once() -> None:
    training = Training(RunConfig(**DIGITS))
    samples = Counted(training.split.train)
    assert training.predict(samples, Phase.TEST_ON_TRAIN).shape == (1437, 10)  # type: ignore[arg-type]
    assert samples.asked == [512, 512, 413]


def test_without_chance_the_batches_of_a_measurement_do_not_show() -> None:
    training = Training(RunConfig(**DIGITS, format="e4m3"))
    train = training.split.train
    whole = training.predict(train, Phase.TEST_ON_TRAIN)
    for start in (0, 100, 900):
        part = Counted(train)
        part.features = lambda rows, at=start: train.features(slice(at, at + 60))  # type: ignore[assignment]
        assert_array_equal(training.predict(part, Phase.TEST_ON_TRAIN)[:60], whole[start : start + 60])


def test_random_bits_of_a_measurement_follow_from_phase_batch_and_place_in_it() -> None:
    training = Training(RunConfig(**DIGITS, format="e4m3", rounding="stochastic"))
    x = training.split.train.features(slice(0, 1))

    class Copies:
        """One sample, 1,200 times."""

        def __len__(self) -> int:
            return 1200

        def features(self, rows: slice) -> Any:
            return np.repeat(x, len(range(1200)[rows]), axis=0)

    y = training.predict(Copies(), Phase.VALIDATION)  # type: ignore[arg-type]
    assert_array_equal(training.predict(Copies(), Phase.VALIDATION), y)  # type: ignore[arg-type]
    other = training.predict(Copies(), Phase.TEST_ON_TEST)  # type: ignore[arg-type]
    first, second = y[:EVALUATION_BATCH], y[EVALUATION_BATCH : 2 * EVALUATION_BATCH]
    for a, b in ((first, second), (y, other), (first[:100], first[100:200])):
        assert (a != b).any(axis=1).mean() > 0.5


# ----------------------------------------------------------------------------------------------------
# Storage
# ----------------------------------------------------------------------------------------------------


def stored(**options: Any) -> Storage:
    return Training(RunConfig(**options)).storage()


def test_bytes_of_a_linear_regression_by_hand() -> None:
    # 10 weights and a bias; 10 features and an output for each of 32 samples.
    float32 = {"weight_float32_bytes": 44, "activation_float32_bytes": 32 * 11 * 4}
    assert stored(format="e4m3") == Storage(weight_bytes=11, activation_bytes=352, **float32)
    assert stored(format="bfloat16") == Storage(weight_bytes=22, activation_bytes=704, **float32)
    assert stored(format="e2m1fn") == Storage(weight_bytes=6, activation_bytes=176, **float32)  # 44 bits
    # Policy output: only outputs are in the format.
    expected = Storage(weight_bytes=44, activation_bytes=32 * (10 * 4 + 1), **float32)
    assert stored(format="e4m3", policy="output") == expected
    # int8: weights and their scale, the bias in float32; features and outputs with a scale each.
    assert stored(policy="int8") == Storage(
        weight_bytes=10 + 4 + 4, activation_bytes=32 * 11 + 2 * 4, **float32
    )


def test_bytes_of_a_network_count_what_it_rounds_to_activations() -> None:
    options = {"dataset": "digits", "model": "mlp", "hidden": (16, 8), "dropout": 0.5, "batch_size": 50}
    weights = 64 * 16 + 16 + 16 * 8 + 8 + 8 * 10 + 10
    assert stored(format="e4m3", policy="mixed", **options) == Storage(
        weight_bytes=weights,
        weight_float32_bytes=4 * weights,
        activation_bytes=50 * (64 + 16 + 8 + 10),
        activation_float32_bytes=200 * (64 + 16 + 8 + 10),
    )


def test_a_batch_is_no_larger_than_the_data() -> None:
    assert stored(dataset="toy", batch_size=1000, format="e4m3").activation_bytes == 8 * 2
