"""Validation, early stopping, losses, optimizers, schedules and loss scaling in whole runs."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import emunum
from emunum.experiments.config import RunConfig
from emunum.experiments.run import execute
from emunum.experiments.training.counting import Phase
from emunum.experiments.training.state import EpochRecord, State
from emunum.experiments.training.train import DivergedError, Training

TOY: dict[str, Any] = {"dataset": "toy", "epochs": 6, "batch_size": 3, "format": "e4m3"}


def trained(config: RunConfig) -> tuple[Training, list[EpochRecord]]:
    training = Training(config)
    return training, list(training.epochs())


def states(config: RunConfig) -> tuple[Training, list[State]]:
    """The state before the first step and after each; a divergence ends them."""
    training = Training(config)
    found = [training.state]
    try:
        for _ in training.epochs(lambda step: found.append(training.state)):
            pass
    except DivergedError:
        pass
    return training, found


def digest(**options: Any) -> str:
    return trained(RunConfig(**options))[0].weights_sha256


# ----------------------------------------------------------------------------------------------------
# Validation
# ----------------------------------------------------------------------------------------------------

CHOOSING = TOY | {"validation_split": 0.25, "learning_rate": 0.35, "rounding": "stochastic", "epochs": 12}


def test_the_weights_are_those_of_the_least_validation_loss() -> None:
    training = Training(RunConfig(**CHOOSING))
    assert training.split.validation is not None
    target = training.split.validation.targets(slice(None)).astype(np.float64)
    losses, weights = [], []
    for epoch in training.epochs():
        # A float64 mean of squares of two or three terms: half an ulp for each sum and the division.
        y = training.predict(training.split.validation, Phase.VALIDATION).astype(np.float64)
        assert epoch.validation_loss == pytest.approx(((y - target) ** 2).mean(), rel=4 * 2.0**-53)
        losses.append(epoch.validation_loss)
        weights.append([w.copy() for w in training.named_weights().values()])
    best = losses.index(min(losses))
    assert 0 < best < len(losses) - 1, "the best epoch has to be neither the first nor the last"
    assert training.best_epoch == best + 1
    for w, expected in zip(training.named_weights().values(), weights[best], strict=True):
        assert_array_equal(w, expected)
    metrics = training.metrics()
    assert metrics["validation_loss"] == losses[best]
    assert metrics["validation_accuracy"] is None


def test_validation_takes_samples_and_changes_no_random_bit_of_the_rest() -> None:
    with_validation, without = Training(RunConfig(**CHOOSING)), Training(RunConfig(**TOY))
    assert without.split.validation is None
    assert with_validation.split.validation is not None
    assert len(without.split.train) == 8
    assert (len(with_validation.split.train), len(with_validation.split.validation)) == (6, 2)
    first = digest(**CHOOSING | {"epochs": 1})
    measured = Training(RunConfig(**CHOOSING | {"epochs": 1}))
    for _ in measured.epochs():
        measured.metrics()
    assert measured.weights_sha256 == first


def test_patience_ends_a_run_that_gets_no_better() -> None:
    every = [epoch.validation_loss for epoch in trained(RunConfig(**CHOOSING))[1]]
    for patience in (1, 2, 3):
        waited, expected, least = 0, 0, math.inf
        for loss in every:
            expected += 1
            assert loss is not None
            waited = 0 if loss < least else waited + 1
            least = min(least, loss)
            if waited == patience:
                break
        record = execute(RunConfig(**CHOOSING, patience=patience))
        assert (record["status"], record["epochs_completed"]) == ("completed", expected)
        if expected < len(every):
            assert record["reason"] == f"no better validation loss for {patience} epochs"
            assert record["best_epoch"] == expected - patience
        else:
            assert record["reason"] is None
        assert record["validation_loss"] == least


def test_without_a_validation_set_the_last_weights_stay() -> None:
    record = execute(RunConfig(**TOY))
    assert (record["best_epoch"], record["validation_loss"], record["validation_accuracy"]) == (None,) * 3


# ----------------------------------------------------------------------------------------------------
# Losses and what they are measured by
# ----------------------------------------------------------------------------------------------------

DIGITS: dict[str, Any] = {"dataset": "digits", "epochs": 1, "batch_size": 256, "learning_rate": 0.1}


def test_classes_are_trained_by_cross_entropy_and_regressions_by_squares() -> None:
    classes, squares = execute(RunConfig(**DIGITS)), execute(RunConfig(**DIGITS, loss="mse"))
    assert (classes["loss_applied"], squares["loss_applied"]) == ("cross_entropy", "mse")
    assert classes["weights_sha256"] == digest(**DIGITS, loss="cross_entropy") != squares["weights_sha256"]
    assert classes["test_mse"] is classes["train_mse"] is classes["final_step_mse"] is None
    assert squares["test_loss"] == squares["test_mse"]
    assert squares["final_step_loss"] == squares["final_step_mse"]
    for record in (classes, squares):
        assert 0 < record["test_f1"] < 1
        assert record["test_accuracy"] * 360 == pytest.approx(round(record["test_accuracy"] * 360))
    regression = execute(RunConfig(**TOY))
    assert regression["loss_applied"] == "mse"
    assert regression["test_f1"] is regression["test_accuracy"] is None


def test_the_first_loss_of_ten_equal_outputs_is_the_logarithm_of_ten() -> None:
    _, [epoch] = trained(RunConfig(**DIGITS, init="zeros"))
    assert epoch.step_loss[0] == pytest.approx(math.log(10), rel=2.0**-50)


# ----------------------------------------------------------------------------------------------------
# Against torch
# ----------------------------------------------------------------------------------------------------

METHODS: dict[str, dict[str, Any]] = {
    "adam, cosine": {"optimizer": "adam", "schedule": "cosine", "learning_rate": 0.01},
    "adam, decay": {"optimizer": "adam", "weight_decay": 0.1, "learning_rate": 0.01},
    "nesterov, step": {"momentum": 0.9, "nesterov": True, "schedule": "step:3:0.5", "learning_rate": 0.1},
}


@pytest.mark.parametrize("name", METHODS)
def test_float32_training_follows_torch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    config = RunConfig(dataset="digits", batch_size=2000, shuffle=False, epochs=10, **METHODS[name])
    training = Training(config)
    x = torch.from_numpy(training.split.train.features(slice(None)).reshape(1437, 64))
    labels = torch.from_numpy(training.split.train.targets(slice(None)).argmax(axis=1))
    torch.manual_seed(config.seed)
    model = torch.nn.Linear(64, 10)
    if config.optimizer == "adam":
        optimizer = torch.optim.Adam(
            model.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
    else:
        optimizer = torch.optim.SGD(model.parameters(), config.learning_rate, config.momentum, nesterov=True)
    if config.schedule == "cosine":
        schedule: Any = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    else:
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5 if "step" in config.schedule else 1.0)
    theirs, rates = [], []
    for _ in range(10):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
        theirs.append(loss.item())
    epochs = list(training.epochs())
    assert [epoch.lr for epoch in epochs] == pytest.approx(rates, rel=1e-12)
    # torch adds 1,437 terms in another order: relative errors of some 20 u = 1e-6 in sums of random signs.
    # Adam divides gradients by their own size, so that one near 0 moves a weight by up to the rate.
    np.testing.assert_allclose([epoch.step_loss[0] for epoch in epochs], theirs, rtol=1e-4)


# ----------------------------------------------------------------------------------------------------
# Loss scaling
# ----------------------------------------------------------------------------------------------------

DYNAMIC = TOY | {"format": "e5m2", "overflow": "ieee", "loss_scale": "dynamic"}


def test_a_step_that_overflows_is_skipped_and_halves_the_scale() -> None:
    # e5m2 ends at 57344: 2 * 65536 / 3 times an error of some quarters does not fit, nor does half of that.
    training, found = states(RunConfig(**DYNAMIC))
    skipped = 0
    for before, after in pairwise(found):
        assert after.steps == before.steps + 1
        if after.updates == before.updates:
            skipped += 1
            assert after.scale.scale == before.scale.scale / 2
            assert after.params is before.params
            assert after.optimizer is before.optimizer
        else:
            assert after.updates == before.updates + 1
            assert after.scale.scale == before.scale.scale
            assert after.params is not before.params
    assert found[0].scale.scale == 65536.0
    assert 0 < skipped < training.steps - 1
    assert sum(epoch.skipped_steps for epoch in training.finished) == skipped
    assert training.finished[-1].loss_scale == 65536.0 / 2**skipped
    assert all(np.isfinite(w).all() for w in training.named_weights().values())


def test_where_nothing_overflows_a_dynamic_scale_is_a_constant_one() -> None:
    options = {"dataset": "diabetes", "epochs": 2, "format": "bfloat16", "model": "mlp", "hidden": (8,)}
    assert digest(**options, loss_scale="dynamic") == digest(**options, loss_scale=65536.0)


def test_a_run_that_overflows_at_the_least_scale_has_diverged() -> None:
    config = RunConfig(**TOY | {"format": "float32", "learning_rate": 1e30, "loss_scale": "dynamic"})
    training, found = states(config)
    # 2^16 to 2^0 in sixteen halvings: the step after them has nowhere to go.
    assert training.state.diverged is not None
    assert training.state.diverged.startswith("numbers overflow at the least loss scale, 1, at step ")
    assert sum(a.updates == b.updates for a, b in pairwise(found)) == 17
    assert all(np.isfinite(w).all() for w in training.named_weights().values())
    record = execute(config)
    assert (record["status"], record["reason"]) == ("diverged", training.state.diverged)


def test_the_epoch_in_which_a_run_diverges_is_handed_out_with_its_events() -> None:
    config = RunConfig(dataset="toy", format="e5m2", learning_rate=8.0, batch_size=3, epochs=200)
    training, seen = Training(config, events=True), []
    with pytest.raises(DivergedError) as error:
        for epoch in training.epochs():
            seen.append(epoch)
    assert [epoch.complete for epoch in seen] == [True] * (len(seen) - 1) + [False]
    assert all(epoch.events for epoch in seen)
    assert sum(len(epoch.step_loss) for epoch in seen) == training.steps
    assert str(error.value) == training.state.diverged


# ----------------------------------------------------------------------------------------------------
# Images
# ----------------------------------------------------------------------------------------------------

CNN: dict[str, Any] = {
    "dataset": "digits",
    "model": "cnn",
    "policy": "mixed",
    "format": "e4m3",
    "rounding": "stochastic",
    "epochs": 1,
    "batch_size": 480,
    "optimizer": "adam",
    "learning_rate": 0.001,
}


def test_a_convolutional_run_has_the_same_weights_for_any_number_of_threads(threads: None) -> None:
    found = set()
    for count in (1, 2, 4):
        emunum.set_threads(count)
        found.add(digest(**CNN, augment=True))
    assert len(found) == 1


def test_augmentation_follows_from_the_seed_and_changes_the_training_alone() -> None:
    plain = Training(RunConfig(**CNN))
    varied = Training(RunConfig(**CNN, augment=True))
    for part in ("validation", "test", "train"):
        ours, theirs = getattr(varied.split, part), getattr(plain.split, part)
        if ours is not None:
            assert_array_equal(ours.features(slice(0, 50)), theirs.features(slice(0, 50)))
    losses = [next(training.epochs()).step_loss for training in (plain, varied)]
    assert losses[0] != losses[1]
    again = Training(RunConfig(**CNN, augment=True))
    assert next(again.epochs()).step_loss == losses[1]
