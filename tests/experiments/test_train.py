"""Whole trainings: bit for bit those of scalar rational arithmetic, and the same every time."""

import hashlib
import json
import math
from dataclasses import replace
from fractions import Fraction
from itertools import chain, pairwise

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from oracles import (
    ADD,
    CAST,
    COLUMN_SUM,
    MATMUL,
    MULTIPLY,
    SCALED_ADD_PRODUCT,
    SCALED_ADD_SUM,
    SUBTRACT,
    assert_same,
    element_draws,
    matmul_draw,
)

import emunum
from emunum.experiments.config import RunConfig
from emunum.experiments.datasets import TableSamples
from emunum.experiments.training.state import EpochRecord
from emunum.experiments.training.train import DivergedError, Training
from emunum.formats.exact import add_exact, dot_exact, multiply_exact, round_exact
from emunum.kernels.random import philox4x32
from emunum.nn import initial
from emunum.ops.policy import Role

F32 = np.float32

# ----------------------------------------------------------------------------------------------------
# The reference: a run, one scalar at a time, written from the docstrings
# ----------------------------------------------------------------------------------------------------

TRAIN, UPDATE, TEST_ON_TRAIN, TEST_ON_TEST, INITIAL = range(5)
FOLD = 8


class Scalars:
    """Arithmetic of a place: arrays of Python numbers, each rounded by itself."""

    def __init__(self, policy, key):
        self.policy, self.key = policy, key

    def at(self, a, b=0):
        low, high, _, _ = philox4x32((a, b, 0, FOLD), (self.key % 2**32, self.key >> 32))
        return Scalars(self.policy, high << 32 | low)

    def each(self, function, to, role, part, operation, *operands):
        key = self.at(role, part).key
        operands = np.broadcast_arrays(*operands)
        flat = [x.ravel().tolist() for x in operands]
        draws = (
            element_draws(len(flat[0]), to, key, operation).tolist() if to.stochastic else [0] * len(flat[0])
        )
        rounded = [function(*scalars, to, draw) for *scalars, draw in zip(*flat, draws, strict=True)]
        return np.array(rounded).reshape(operands[0].shape)

    def cast(self, role, x, part=0):
        return self.each(round_exact, self.policy.roles[role], role, part, CAST, x)

    def add(self, role, a, b):
        return self.each(add_exact, self.policy.elementwise, role, 0, ADD, a, b)

    def subtract(self, role, a, b):
        return self.each(add_exact, self.policy.elementwise, role, 0, SUBTRACT, a, -b)

    def scale(self, role, alpha, x, part=0):
        to = self.policy.roles[role] if role is Role.UPDATE else self.policy.elementwise
        return self.each(multiply_exact, to, role, part, MULTIPLY, float(F32(alpha)), x)

    def scaled_add(self, y, alpha, x, part):
        to, role = self.policy.roles[Role.UPDATE], Role.UPDATE
        product = self.each(multiply_exact, to, role, part, SCALED_ADD_PRODUCT, float(F32(alpha)), x)
        return self.each(add_exact, to, role, part, SCALED_ADD_SUM, y, product)

    def matmul(self, role, a, b, product="the policy's", operation=MATMUL):
        product = self.policy.product if product == "the policy's" else product
        to, key = self.policy.accumulator.cast, self.at(role, 0).key
        return np.array(
            [
                [
                    dot_exact(row, column, product, to, matmul_draw(i, j, key, product, to, operation))
                    for j, column in enumerate(b.T.tolist())
                ]
                for i, row in enumerate(a.tolist())
            ]
        )

    def column_sum(self, role, x):
        return self.matmul(role, np.ones((1, len(x))), x, None, COLUMN_SUM)[0]


class Reference:
    """What Training computes. Linear layers stand at places 0, 2, 4, ... with ReLU between them."""

    def __init__(self, config, split):
        self.config, self.split = config, split
        self.root = Scalars(
            config.build_policy(), config.seed if config.rounding_seed is None else config.rounding_seed
        )
        sizes = [*split.train.shape, *config.hidden, 1]
        stream, start = initial.new_stream(config.seed), self.root.at(0, INITIAL)
        self.layers = []
        for index, shape in enumerate(pairwise(sizes)):
            drawn = initial.linear(initial.parse_scheme(config.init), stream, *shape)
            place = start.at(2 * index)
            self.layers.append([place.cast(Role.MASTER, p, part) for part, p in enumerate(drawn)])
        self.velocity = [[np.zeros_like(p) for p in layer] for layer in self.layers]
        self.steps = 0

    def forward(self, place, x):
        """The output, and for each layer its input, its weights as used and where its output was positive."""
        saved = []
        for index, (w, b) in enumerate(self.layers):
            here = place.at(2 * index)
            w, b = here.cast(Role.WEIGHT, w, 0), here.cast(Role.WEIGHT, b, 1)
            y = here.add(Role.ACTIVATION, here.matmul(Role.ACTIVATION, x, w.T), b)
            y = here.cast(Role.ACTIVATION, y)
            saved.append((x, w, y > 0))
            x = np.where(y > 0, y, 0.0) if index < len(self.layers) - 1 else y
        return x, saved

    def backward(self, place, saved, dy):
        grads = []
        for index in reversed(range(len(self.layers))):
            (x, w, positive), here = saved[index], place.at(2 * index)
            if index < len(self.layers) - 1:
                dy = np.where(positive, dy, 0.0)
            dy = here.cast(Role.ERROR, dy)
            dw = here.cast(Role.GRADIENT, here.matmul(Role.GRADIENT, dy.T, x), 0)
            db = here.cast(Role.GRADIENT, here.column_sum(Role.GRADIENT, dy), 1)
            grads.append([dw, db])
            if index:
                dy = here.matmul(Role.ERROR, dy, w)
        return grads[::-1]

    def update(self, place, grads):
        config = self.config
        for index, own in enumerate(grads):
            here = place.at(2 * index)
            for slot, g in enumerate(own):
                w, v = self.layers[index][slot], self.velocity[index][slot]
                if config.loss_scale != 1:
                    g = here.scale(Role.UPDATE, 1 / config.loss_scale, g, 4 * slot)
                if config.weight_decay:
                    g = here.scaled_add(g, config.weight_decay, w, 4 * slot + 1)
                if config.momentum:
                    g = self.velocity[index][slot] = here.scaled_add(g, config.momentum, v, 4 * slot + 2)
                w = here.scaled_add(w, -config.learning_rate, g, 4 * slot + 3)
                self.layers[index][slot] = here.cast(Role.MASTER, w, 4 * slot)

    def step(self, rows):
        place = self.root.at(self.steps, TRAIN)
        x = place.cast(Role.INPUT, self.split.train.features(rows), 0)
        target = place.cast(Role.INPUT, self.split.train.targets(rows), 1)
        y, saved = self.forward(place, x)
        difference = place.subtract(Role.ERROR, y, target)
        dy = place.scale(Role.ERROR, 2 * self.config.loss_scale / y.size, difference)
        self.update(self.root.at(self.steps, UPDATE), self.backward(place, saved, dy))
        self.steps += 1
        return mean_square(y, target)

    def epoch(self, epoch):
        samples, batch = len(self.split.train), self.config.batch_size
        order = np.arange(samples)
        if self.config.shuffle:
            order = np.random.RandomState([self.config.seed, epoch]).permutation(samples)
        return [self.step(order[at : at + batch]) for at in range(0, samples, batch)]

    def test_mse(self, phase, x, target):
        place = self.root.at(self.steps, phase)
        y, _ = self.forward(place, place.cast(Role.INPUT, x))
        return mean_square(y, target)


def whole(samples):
    """The features and the targets of all samples."""
    return samples.features(slice(None)), samples.targets(slice(None))


def mean_square(y, target):
    """float64 squares of float64 differences, exactly summed, then divided."""
    differences = [float(a) - float(b) for a, b in zip(y.flat, target.flat, strict=True)]
    return float(sum(Fraction(d * d) for d in differences)) / len(differences)


DIABETES = {"dataset": "diabetes", "epochs": 1}  # 353 samples in batches of 32: the last one has one
TOY = {"dataset": "toy", "epochs": 6, "batch_size": 3}  # 8 samples: the last batch has two
DEEP = TOY | {"model": "mlp", "hidden": (4, 3), "momentum": 0.9, "weight_decay": 0.01, "epochs": 3}

RUNS = {
    "e4m3 nearest": DIABETES | {"format": "e4m3"},
    "e4m3 stochastic": DIABETES | {"format": "e4m3", "rounding": "stochastic"},
    "e4m3 toward_zero": TOY | {"format": "e4m3", "rounding": "toward_zero"},
    "e4m3 unshuffled": TOY | {"format": "e4m3", "rounding": "stochastic", "shuffle": False},
    "e5m2 mlp": DEEP | {"format": "e5m2", "rounding": "stochastic", "loss_scale": 8.0},
    "e5m2 saturating": TOY | {"format": "e5m2", "overflow": "saturate", "learning_rate": 0.5},
    "e4m3fnuz": TOY | {"format": "e4m3fnuz", "rounding": "stochastic", "loss_scale": 1000.0},
    "32 random bits": TOY | {"format": "e5m2", "rounding": "stochastic", "random_bits": 32},
    "3 random bits": TOY | {"format": "e6m9", "rounding": "stochastic", "random_bits": 3},
    "bfloat16 full batch": {"dataset": "boston", "epochs": 2, "batch_size": 512, "format": "bfloat16"},
    "wide accumulator": DEEP | {"format": "e4m3", "rounding": "stochastic", "accumulator": "e6m9"},
    "mixed nearest": DEEP | {"format": "e5m2", "policy": "mixed"},
    "mixed stochastic": DEEP | {"format": "e4m3", "policy": "mixed", "rounding": "stochastic"},
    "mixed narrow accumulator": DEEP | {"format": "e4m3", "policy": "mixed", "accumulator": "e5m6"},
    "output stochastic": DEEP | {"format": "e5m2", "policy": "output", "rounding": "stochastic"},
    "rounding seed": TOY | {"format": "e4m3", "rounding": "stochastic", "rounding_seed": 7},
    "float32": DEEP | {"init": "he"},
}


@pytest.mark.parametrize("run", RUNS)
def test_a_training_has_the_bits_of_the_scalar_reference(run):
    config = RunConfig(**RUNS[run])
    training = Training(config)
    reference = Reference(config, training.split)
    for epoch in training.epochs():
        assert list(epoch.step_loss) == reference.epoch(epoch.epoch)
        found = [[own["w"], own["b"]] for own in training.params if own]
        for layer, expected in zip(found, reference.layers, strict=True):
            for p, q in zip(layer, expected, strict=True):
                assert_same(p, q)
    assert training.steps == reference.steps
    split, metrics = training.split, training.metrics()
    assert metrics["train_mse"] == reference.test_mse(TEST_ON_TRAIN, *whole(split.train))
    assert metrics["test_mse"] == reference.test_mse(TEST_ON_TEST, *whole(split.test))


# ----------------------------------------------------------------------------------------------------
# The same every time
# ----------------------------------------------------------------------------------------------------

# Final weights of whole runs. The reference above ends in the same ones: `tox -e exhaustive` shows it. The
# mlp is wide enough for its products and its elementwise operations to be shared out over threads.
STORED = {
    "float32": ({}, "772f0592d13029f678f5ae4d960925aa17a9d7cb67ea9468772990769a422e13"),
    "e4m3 stochastic": (
        {"format": "e4m3", "rounding": "stochastic"},
        "c8dd88bb113e4b200bee589c0e31256c71cf7ec29bc47f6d45f99afe9f84d90c",
    ),
    "e4m3 stochastic toy": (  # whose beginning emunum doctor compares with
        {"dataset": "toy", "format": "e4m3", "rounding": "stochastic", "epochs": 5},
        "8ebef11cc0281523d5bb3c9c5cce7e870842e540e18dcd860c9735a26717af5a",
    ),
    "e5m2 mixed mlp": (
        {
            "format": "e5m2",
            "rounding": "stochastic",
            "policy": "mixed",
            "model": "mlp",
            "hidden": (128,),
            "epochs": 2,
            "batch_size": 512,
        },
        "a355378eaa43802472d73343e1f754da5bff46c0ee0303bbb57700abd6352205",
    ),
    "e6m9 output boston": (
        {"dataset": "boston", "format": "e6m9", "rounding": "stochastic", "policy": "output", "epochs": 5},
        "f699ba586095e4922945c6fa13afa3337ac81d90303d036cf6026f83369ce1a6",
    ),
}


def digest(**options):
    training = Training(RunConfig(**options))
    for _ in training.epochs():
        pass
    return training.weights_sha256


@pytest.mark.parametrize("run", STORED)
def test_a_run_ends_in_the_stored_weights_for_any_number_of_threads(run, threads):
    options, expected = STORED[run]
    for count in (1, 2, 4):
        emunum.set_threads(count)
        assert digest(**options) == expected


@pytest.mark.parametrize("policy", ["full", "mixed"])
def test_a_convolutional_run_ends_in_the_same_weights_for_any_number_of_threads(policy, threads):
    options = {
        "dataset": "digits", "model": "cnn", "format": "e4m3", "rounding": "stochastic", "policy": policy,
        "momentum": 0.9, "loss_scale": 64, "batch_size": 200, "train_samples": 500, "epochs": 1,
    }  # fmt: skip
    ends = set()
    for count in (1, 2, 4):
        emunum.set_threads(count)
        training = Training(RunConfig(**options))
        [epoch] = training.epochs()
        ends.add((training.weights_sha256, epoch.step_loss, training.metrics()["test_loss"]))
    assert len(ends) == 1


@pytest.mark.exhaustive
@pytest.mark.parametrize("run", STORED)
def test_the_stored_weights_are_the_scalar_references(run):
    options, expected = STORED[run]
    config = RunConfig(**options)
    reference = Reference(config, Training(config).split)
    for epoch in range(1, config.epochs + 1):
        reference.epoch(epoch)
    digest = hashlib.sha256()
    for index, (w, b) in enumerate(reference.layers):
        for name, p in (("w", w), ("b", b)):
            digest.update(f"{2 * index}.{name} {p.shape} ".encode() + p.astype("<f4").tobytes())
    assert digest.hexdigest() == expected


SHORT = {"dataset": "toy", "epochs": 3, "format": "e4m3"}


def test_another_seed_gives_another_run():
    assert len({digest(**SHORT, seed=seed) for seed in range(6)}) == 6
    assert len({digest(**SHORT, seed=seed, rounding="stochastic") for seed in range(6)}) == 6


def test_the_rounding_seed_changes_stochastic_runs_only():
    assert len({digest(**SHORT, rounding_seed=seed) for seed in (None, 0, 1, 42)}) == 1
    stochastic = [digest(**SHORT, rounding="stochastic", rounding_seed=seed) for seed in (None, 42, 0, 1)]
    assert stochastic[0] == stochastic[1]
    assert len(set(stochastic)) == 3


def test_the_number_of_random_bits_changes_a_stochastic_run():
    options = {"dataset": "diabetes", "epochs": 2, "format": "e4m3"}
    assert len({digest(**options, rounding="stochastic", random_bits=n) for n in (1, 16, 32)}) == 3
    assert digest(**options, random_bits=3) == digest(**options)


def order_of_samples(config):
    """The rows of every step, read off the training data, which a spy hands out."""
    seen = []

    class Spy(TableSamples):
        def features(self, rows):
            seen.append(np.asarray(rows).tolist())
            return super().features(rows)

    training = Training(config)
    train = training.split.train
    training._stepper = replace(training._stepper, samples=Spy(x=train.x, y=train.y))
    for _ in training.epochs():
        pass
    return seen


def test_every_epoch_visits_each_sample_once_in_the_stored_order():
    rows = order_of_samples(RunConfig(dataset="toy", epochs=2, batch_size=3))
    assert [len(step) for step in rows] == [3, 3, 2, 3, 3, 2]
    first, second = [*chain(*rows[:3])], [*chain(*rows[3:])]
    assert sorted(first) == sorted(second) == list(range(8))
    assert first != second
    assert (first, second) == ([1, 2, 5, 6, 0, 3, 4, 7], [3, 2, 1, 5, 7, 4, 0, 6])


def test_another_seed_gives_another_order():
    one, other = (order_of_samples(RunConfig(dataset="toy", epochs=1, batch_size=8, seed=s)) for s in (1, 2))
    assert one != other


def test_without_shuffling_the_samples_come_as_they_are():
    rows = order_of_samples(RunConfig(dataset="toy", epochs=2, batch_size=5, shuffle=False))
    assert rows == [[0, 1, 2, 3, 4], [5, 6, 7]] * 2


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 8), (3, 3), (4, 2), (8, 1), (9, 1), (10**12, 1)])
def test_an_epoch_has_as_many_steps_as_batches(batch_size, steps):
    training = Training(RunConfig(dataset="toy", epochs=2, batch_size=batch_size))
    epochs = list(training.epochs())
    assert [len(epoch.step_loss) for epoch in epochs] == [steps, steps]
    assert training.steps == 2 * steps
    assert [epoch.epoch for epoch in epochs] == [1, 2]


def test_a_batch_larger_than_the_data_is_one_full_batch():
    assert digest(**SHORT, batch_size=8) == digest(**SHORT, batch_size=10**12)


def test_the_mean_of_an_epoch_is_the_mean_of_its_steps():
    assert EpochRecord(epoch=1, step_loss=(1.0, 2.0, 6.0), wall_s=0.0).train_loss == 3.0


def test_a_loss_scale_of_a_power_of_two_changes_no_bit_in_float32():
    # 2 s / n and each gradient scale exactly: nothing is subnormal, nothing overflows.
    options = {"dataset": "diabetes", "epochs": 2, "model": "mlp", "hidden": (8,)}
    assert digest(**options) == digest(**options, loss_scale=1024.0) == digest(**options, loss_scale=0.25)


def test_a_coefficient_of_zero_is_no_coefficient():
    assert digest(**SHORT) == digest(**SHORT, momentum=0.0, weight_decay=0.0, loss_scale=1.0)


def test_the_digest_covers_names_shapes_and_bytes_of_all_master_weights():
    training = Training(RunConfig(dataset="toy", model="mlp", hidden=(2,), epochs=1))
    weights = training.named_weights()
    assert list(weights) == ["0.w", "0.b", "2.w", "2.b"]
    digest = hashlib.sha256()
    for name, shape in (("0.w", "(2, 1)"), ("0.b", "(2,)"), ("2.w", "(1, 2)"), ("2.b", "(1,)")):
        digest.update(f"{name} {shape} ".encode() + weights[name].astype("<f4").tobytes())
    assert training.weights_sha256 == digest.hexdigest()


def test_numpys_global_generator_is_untouched():
    np.random.seed(1)
    before = np.random.get_state(legacy=False)
    digest(**SHORT, rounding="stochastic")
    after = np.random.get_state(legacy=False)
    assert_array_equal(before["state"]["key"], after["state"]["key"])
    assert before["state"]["pos"] == after["state"]["pos"]


def test_an_epoch_is_finished_before_it_is_handed_out():
    training = Training(RunConfig(dataset="toy", epochs=2, batch_size=4))
    epochs = training.epochs()
    next(epochs)
    assert training.steps == 2
    one = training.weights_sha256
    next(epochs)
    assert training.weights_sha256 != one


# ----------------------------------------------------------------------------------------------------
# Metrics
# ----------------------------------------------------------------------------------------------------


def test_the_published_normalisation_divides_batch_means_by_samples():
    training = Training(RunConfig(dataset="diabetes", epochs=1, batch_size=32))
    for _ in training.epochs():
        pass
    metrics, split = training.metrics(), training.split
    w, b = training.params[0]["w"].astype(float), training.params[0]["b"].astype(float)
    x, target = whole(split.test)
    squares = ((x @ w.T + b - target) ** 2).ravel()
    # float32 outputs of 11 terms: relative error below 11 u of values near 1, so 1e-5 is ample.
    assert metrics["test_mse"] == pytest.approx(squares.mean(), rel=1e-5)
    means = [squares[at : at + 32].mean() for at in range(0, 89, 32)]
    assert metrics["test_mse_over_n"] == pytest.approx(sum(means) / 89, rel=1e-5)
    assert metrics["test_rmse"] == math.sqrt(metrics["test_mse"])
    assert metrics["train_rmse"] == math.sqrt(metrics["train_mse"])


def test_asking_for_metrics_changes_nothing():
    training = Training(RunConfig(**SHORT, rounding="stochastic"))
    for _ in training.epochs():
        training.metrics()
    assert training.metrics() == training.metrics()
    assert training.weights_sha256 == digest(**SHORT, rounding="stochastic")


# ----------------------------------------------------------------------------------------------------
# Divergence
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"learning_rate": 1e30}, r"the loss became inf|a weight became NaN or infinite"),
        ({"format": "e5m2", "overflow": "ieee", "learning_rate": 1e4}, r"the loss became|a weight became"),
        (
            {"format": "e4m3", "overflow": "ieee", "learning_rate": 1e3},
            r"the loss became nan|a weight became",
        ),
    ],
    ids=["float32", "e5m2", "e4m3"],
)
def test_a_run_whose_numbers_are_no_longer_finite_stops_at_that_step(options, reason):
    training = Training(RunConfig(**options))
    with pytest.raises(DivergedError, match=rf"({reason}).* at step \d+$") as error:
        list(training.epochs())
    assert str(error.value).endswith(f"at step {training.steps}")


def test_a_saturating_format_does_not_diverge():
    training = Training(RunConfig(dataset="toy", format="e4m3", learning_rate=1e3, epochs=3))
    assert all(math.isfinite(loss) for epoch in training.epochs() for loss in epoch.step_loss)


def test_the_digest_of_diverged_weights_does_not_depend_on_the_nans_bits():
    training = Training(RunConfig(**SHORT))
    digests = set()
    for bits in (0x7FC00000, 0xFFC00000, 0x7F800001):
        training.params[0]["w"] = np.array([[bits]], np.uint32).view(F32)
        digests.add(training.weights_sha256)
    assert len(digests) == 1


# ----------------------------------------------------------------------------------------------------
# torch
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9, "weight_decay": 0.1},
        {"model": "mlp", "hidden": (16,), "momentum": 0.9, "learning_rate": 0.05},
    ],
    ids=["linear", "momentum and decay", "mlp"],
)
def test_float32_training_follows_torch(options):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    config = RunConfig(dataset="diabetes", batch_size=512, shuffle=False, **options)
    training = Training(config)
    torch.manual_seed(config.seed)
    sizes = [10, *config.hidden, 1]
    layers = [part for shape in pairwise(sizes) for part in (torch.nn.Linear(*shape), torch.nn.ReLU())]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(
        model.parameters(), config.learning_rate, config.momentum, weight_decay=config.weight_decay
    )
    x, t = map(torch.from_numpy, whole(training.split.train))
    theirs = []
    for _ in range(config.epochs):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), t)
        loss.backward()
        optimizer.step()
        theirs.append(loss.item())
    ours = [loss for epoch in training.epochs() for loss in epoch.step_loss]
    # torch sums in another order, and its loss in float32: 353 terms, of which errors of u = 2^-24 add up
    # to at most 353 u = 2.1e-5 each step and, with random signs, to about 20 u = 1e-6.
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    mine = [p for own in training.params for p in own.values()]
    for p, q in zip(mine, model.parameters(), strict=True):
        np.testing.assert_allclose(p, q.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_epochs_are_json():
    training = Training(RunConfig(dataset="toy", epochs=1))
    [epoch] = training.epochs()
    assert json.loads(json.dumps(epoch.step_loss)) == list(epoch.step_loss)
    assert epoch.wall_s >= 0
