"""Training with int8 tensors: it learns, it repeats, its products are int8 and its sums are counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from emunum.experiments.config import RunConfig
from emunum.experiments.datasets import load, split
from emunum.experiments.run import execute
from emunum.experiments.training.counting import Phase
from emunum.experiments.training.train import Training
from emunum.formats import Cast, Mode, Overflow
from emunum.kernels import cpu
from emunum.kernels.random import Key
from emunum.nn.layers import Linear
from emunum.ops.arithmetic import IntegerArithmetic
from emunum.ops.policy import IntegerPolicy, Role
from emunum.ops.scaling import INT8, IntegerAccumulator, Scale, Scaled, quantize_int8

F32 = np.float32


class Spy(ModuleType):
    """The CPU backend, which remembers what int8 products take and which keys draw random bits."""

    def __init__(self) -> None:
        super().__init__("spy")
        self.operands: list[np.ndarray] = []
        self.keys: list[int] = []
        self.float_products = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(cpu, name)

    def matmul_integers(self, a: np.ndarray, b: np.ndarray, *rest: Any) -> Any:
        self.operands += [a, b]
        return cpu.matmul_integers(a, b, *rest)

    def rescale(self, x: Any, scale: Any, divisor: Any, to: Cast, key: Key) -> Any:
        if to.stochastic:
            self.keys.append(key.value)
        return cpu.rescale(x, scale, divisor, to, key)

    def matmul(self, *arguments: Any, **options: Any) -> Any:
        self.float_products += 1
        return cpu.matmul(*arguments, **options)

    column_sum = matmul


def _config(**options: Any) -> RunConfig:
    chosen: dict[str, Any] = {"policy": "int8", "rounding": "stochastic", "dataset": "diabetes", "epochs": 3}
    return RunConfig(**chosen | options)


def _digits(**options: Any) -> RunConfig:
    # Targets of 0 and 1 have a tenth of the variance of standardised ones: the rate makes up for that.
    chosen: dict[str, Any] = {"dataset": "digits", "loss": "mse", "epochs": 5, "learning_rate": 0.5}
    chosen |= {"model": "mlp", "hidden": (32,), "dropout": 0.0}
    return _config(**chosen | options)


def _spied(config: RunConfig) -> tuple[Training, Spy]:
    training, spy = Training(config), Spy()
    training._arith = replace(training._arith, backend=spy)
    training._stepper = replace(training._stepper, arith=training._arith)
    return training, spy


def _trained(config: RunConfig, **options: Any) -> Training:
    training = Training(config, **options)
    for _ in training.epochs():
        pass
    return training


@pytest.fixture(params=["absmax", "power_of_two", "per channel", "int8 master", "nearest"])
def options(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    yield {
        "absmax": {},
        "power_of_two": {"scale": "power_of_two"},
        "per channel": {"per_channel": True},
        "int8 master": {"master": "int8"},
        "nearest": {"rounding": "nearest"},
    }[request.param]


# ----------------------------------------------------------------------------------------------------
# It learns, and repeats
# ----------------------------------------------------------------------------------------------------


def test_the_loss_of_diabetes_falls(options: dict[str, Any]) -> None:
    losses = [epoch.train_loss for epoch in Training(_config(**options)).epochs()]
    assert losses[-1] < 0.85 * losses[0]


def test_digits_are_told_apart(options: dict[str, Any]) -> None:
    training = Training(_digits(**options))
    losses = [epoch.train_loss for epoch in training.epochs()]
    metrics = training.metrics()
    assert losses[-1] < losses[0] / 2
    assert metrics["test_accuracy"] is not None
    assert metrics["test_accuracy"] > 0.9


def test_threads_and_strictness_decide_nothing(options: dict[str, Any], threads: None) -> None:
    config = _digits(epochs=1, **options)
    cpu.set_threads(1)
    expected = _trained(config).weights_sha256
    assert _trained(config).weights_sha256 == expected
    assert _trained(config, strict=True).weights_sha256 == expected
    cpu.set_threads(2)
    assert _trained(config).weights_sha256 == expected
    assert _trained(config, events=True).weights_sha256 == expected
    assert _trained(replace(config, rounding_seed=7)).weights_sha256 != expected or (
        config.rounding == "nearest_even" and config.master == "float32"
    )


def test_options_change_the_weights() -> None:
    choices: list[dict[str, Any]] = [
        {},
        {"scale": "power_of_two"},
        {"per_channel": True},
        {"master": "int8"},
        {"rounding": "nearest"},
        {"random_bits": 3},
        {"accumulator": "int15"},
        {"accumulator": "int15", "overflow": "wrap"},
    ]
    found = {_trained(_digits(epochs=1, **options)).weights_sha256 for options in choices}
    assert len(found) == len(choices)


# ----------------------------------------------------------------------------------------------------
# What is int8, and what is not
# ----------------------------------------------------------------------------------------------------


def test_every_product_takes_int8(options: dict[str, Any]) -> None:
    training, spy = _spied(_config(model="mlp", hidden=(8,), epochs=1, **options))
    for _ in training.epochs():
        pass
    training.metrics()
    # A step: 2 products forward; dW and db of each layer and dx of the last. Two forward passes measure.
    assert len(spy.operands) == 2 * (training.steps * (2 + 4 + 1) + 2 * 2)
    assert {x.dtype for x in spy.operands} == {np.dtype(np.int8)}
    assert min(x.min() for x in spy.operands) >= -127  # -128 has no counterpart
    assert spy.float_products == 0


def _grid(w: np.ndarray) -> list[int]:
    """w in units of the least power of two of which 127 reach its largest magnitude; fails off the grid."""
    s = Fraction(1, 2**60)
    while 127 * s < Fraction(float(np.abs(w).max())):
        s *= 2
    units = [Fraction(float(x)) / s for x in w.reshape(-1)]
    assert all(unit.denominator == 1 for unit in units)
    return [int(unit) for unit in units]


def test_int8_master_weights_are_at_most_127_steps_of_a_power_of_two() -> None:
    for training in (_trained(_config(master="int8")), Training(_config(master="int8"))):  # initial ones too
        for w in training.named_weights().values():
            assert w.dtype == F32
            assert max(map(abs, _grid(w))) <= 127


def test_float32_master_weights_are_on_no_such_grid() -> None:
    with pytest.raises(AssertionError):
        _grid(_trained(_config()).named_weights()["0.w"])


def _updates(rounding: str, steps: int, policy: IntegerPolicy, step: float) -> np.ndarray:
    arith = IntegerArithmetic(policy=policy, key=Key(1))
    w = np.append(np.zeros(500), 1.0).astype(F32)  # the one keeps the scale at 2^-6
    for at in range(steps):
        place = arith.at(at)
        moved = place.scaled_add(w, step, np.append(np.ones(500), 0).astype(F32))
        w = place.cast(Role.MASTER, moved)
    return w[:-1]


def test_small_steps_are_lost_to_nearest_and_kept_on_average_by_stochastic_updates() -> None:
    # Steps of 1/16 of the grid's 2^-6, 32 times: 2 grid steps, or none at all. The standard error of the
    # mean of 500 sums of 32 draws of variance 15/256 is 0.06 grid steps.
    grid = 2.0**-6
    policy = _config(master="int8").build_policy()
    assert isinstance(policy, IntegerPolicy)
    assert policy.master.mode == Mode.STOCHASTIC
    stochastic = _updates("stochastic", 32, policy, grid / 16)
    assert abs(stochastic.mean() / grid - 2) < 5 * 0.06
    nearest = np.append(np.zeros(500), 1.0).astype(F32)
    for _ in range(32):
        moved = (nearest + np.append(np.full(500, grid / 16), 0)).astype(F32)
        kept = quantize_int8(moved, Cast(format=INT8), Key(0), scale=Scale.POWER_OF_TWO)
        nearest = kept.values()
    assert not nearest[:-1].any()


def test_weights_updated_to_nearest_stay_where_they_began(monkeypatch: pytest.MonkeyPatch) -> None:
    config = _config(master="int8", learning_rate=1e-4, epochs=1)
    assert any((a != b).any() for a, b in _before_and_after(config))
    nearest = property(lambda self: replace(self.cast, mode=Mode.NEAREST_EVEN))
    monkeypatch.setattr(IntegerPolicy, "master", nearest)
    assert all((a == b).all() for a, b in _before_and_after(config))


def _before_and_after(config: RunConfig) -> list[tuple[np.ndarray, np.ndarray]]:
    before, after = Training(config).named_weights(), _trained(config).named_weights()
    return [(before[name], after[name]) for name in before]


# ----------------------------------------------------------------------------------------------------
# A layer by hand
# ----------------------------------------------------------------------------------------------------


def _policy(**options: Any) -> IntegerPolicy:
    chosen: dict[str, Any] = {
        "name": "int8",
        "cast": Cast(format=INT8),
        "accumulator": IntegerAccumulator(),
        "scale": Scale.ABSMAX,
        "per_channel": False,
        "integer_master": False,
    }
    return IntegerPolicy(**chosen | options)


def _int8(x: Any, axis: int | None = None, scale: Scale = Scale.ABSMAX) -> Scaled:
    return quantize_int8(x, Cast(format=INT8), Key(0), scale=scale, axis=axis)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("scale", list(Scale))
def test_a_linear_layer_is_these_integers(scale: Scale, per_channel: bool) -> None:
    arith = IntegerArithmetic(policy=_policy(scale=scale, per_channel=per_channel), key=Key(1))
    rng = np.random.default_rng(1)
    w, b = rng.normal(size=(4, 6)).astype(F32) * np.array([[1], [9], [0.1], [3]], F32), rng.normal(size=4)
    x, dy = rng.normal(size=(5, 6)).astype(F32), rng.normal(size=(5, 4)).astype(F32)
    params = {"w": w, "b": b.astype(F32)}
    layer, x8 = Linear(n_in=6, n_out=4), arith.cast(Role.INPUT, x)
    y, saved = layer.forward(arith, params, x8)
    dx, grads = layer.backward(arith, params, saved, dy, needs_dx=True)

    w8 = _int8(w, 0 if per_channel else None, scale)
    assert_array_equal(x8.codes, _int8(x, None, scale).codes)
    sums = x8.codes.astype(int) @ w8.codes.T.astype(int)
    s = np.broadcast_to(x8.scale * w8.scale.T, (1, 4))
    bias = [round(Fraction(float(v)) / Fraction(t)) for v, t in zip(params["b"], s[0].tolist(), strict=True)]
    with_bias = Scaled(codes=sums + np.array(bias), scale=x8.scale * w8.scale.T)
    expected = _int8(with_bias, None, scale)
    assert_array_equal(y.codes, expected.codes)
    assert float(y.scale) == float(expected.scale)

    dy8 = _int8(dy, None, scale)
    dw = _int8(
        Scaled(codes=dy8.codes.T.astype(int) @ x8.codes.astype(int), scale=dy8.scale * x8.scale), None, scale
    )
    assert_array_equal(grads["w"].codes, dw.codes)
    db = _int8(Scaled(codes=dy8.codes.astype(int).sum(axis=0), scale=dy8.scale), None, scale)
    assert_array_equal(grads["b"].codes, db.codes)
    one_scale = _int8(w8, None, scale) if per_channel else w8  # the rows are summed over
    assert_array_equal(dx.codes, dy8.codes.astype(int) @ one_scale.codes.astype(int))
    assert_array_equal(dx.scale, dy8.scale * one_scale.scale)


def test_a_channel_has_its_own_scale() -> None:
    arith = IntegerArithmetic(policy=_policy(per_channel=True), key=Key(1))
    w = np.array([[127.0, 1], [254, 2], [0, 0]], F32)
    cast = arith.cast(Role.WEIGHT, w)
    assert (cast.scale.tolist(), cast.codes.tolist()) == ([[1.0], [2.0], [1.0]], [[127, 1], [127, 1], [0, 0]])
    assert arith.cast(Role.INPUT, w).scale.shape == ()


# ----------------------------------------------------------------------------------------------------
# Narrow accumulators
# ----------------------------------------------------------------------------------------------------


def test_narrow_accumulators_leave_their_range_and_the_record_says_so() -> None:
    counts = {
        (name, overflow): execute(_digits(epochs=1, accumulator=name, overflow=overflow))[
            "accumulator_overflows"
        ]
        for name in ("int15", "int18", "int32")
        for overflow in ("saturate", "wrap")
    }
    assert counts["int15", "saturate"] > counts["int18", "saturate"]
    assert counts["int15", "wrap"] > 0
    assert counts["int32", "saturate"] == counts["int32", "wrap"] == 0
    assert execute(RunConfig(dataset="toy", epochs=1))["accumulator_overflows"] is None


def test_the_events_of_int8_are_the_additions() -> None:
    config = _config(epochs=2, model="mlp", hidden=(32,), accumulator="int15")
    training = Training(config, events=True)
    rows = [row for epoch in training.epochs() for row in epoch.events]
    assert sum(int(row["overflow"]) for row in rows) == training.accumulator_overflows
    assert training.accumulator_overflows
    places = {(row["layer"], row["pass"], row["role"]) for row in rows}
    assert places == {
        *((layer, "forward", "activation") for layer in ("0.Linear", "2.Linear")),
        *((layer, "backward", "gradient") for layer in ("0.Linear", "2.Linear")),
        ("2.Linear", "backward", "error"),
    }
    # Products x w^T over 353 samples an epoch: 10 terms and a bias for 32 outputs, then 32 for one.
    for layer, terms in (("0.Linear", 11 * 32), ("2.Linear", 33)):
        forward = [row for row in rows if (row["layer"], row["role"]) == (layer, "activation")]
        assert sum(int(row["roundings"]) for row in forward) == 2 * 353 * terms


# ----------------------------------------------------------------------------------------------------
# Configuration
# ----------------------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"format": "e4m3"}, "--format 'float8_e4m3fn' with --policy int8: its tensors are int8"),
    ({"order": "pairwise"}, "--order and --outer are for float sums"),
    ({"outer": "float32"}, "--order and --outer are for float sums"),
    ({"accumulator": "float32"}, "--accumulator 'float32' with --policy int8: its sums are int2..int32"),
    ({"accumulator": "int1"}, "1 bits is out of range: int2 to int32 exist"),
    ({"accumulator": "int33"}, "33 bits is out of range: int2 to int32 exist"),
    ({"accumulator": "int128"}, "--accumulator 'int128' with --policy int8"),
    ({"scale": "max"}, "unknown scale 'max'"),
    ({"master": "int16"}, "unknown master 'int16'"),
    ({"random_bits": 0}, "random_bits 0 is out of range"),
    (
        {"policy": "full", "format": "e4m3", "scale": "power_of_two"},
        "--scale 'power_of_two' is for --policy int8",
    ),
    ({"policy": "mixed", "per_channel": True}, "--per-channel True is for --policy int8"),
    ({"policy": "output", "master": "int8"}, "--master 'int8' is for --policy int8"),
    ({"policy": "int9"}, "unknown policy 'int9'. Did you mean 'int8'"),
    ({"policy": "full", "order": "tensor_core:h100"}, "Choose --policy mixed"),
    ({"policy": "mixed", "order": "kahan", "outer": "float32"}, "only sums of chunks have one"),
    ({"policy": "mixed", "order": "chunked:0"}, "unknown order 'chunked:0'"),
    ({"policy": "mixed", "order": "chunked:8", "outer": "e8m0fnu"}, "Choose another --outer"),
    ({"policy": "mixed", "accumulator": "e8m0fnu"}, "Choose another --accumulator"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_makes_no_sense_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        _config(**options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_int8_is_written_into_the_configuration() -> None:
    config = _config(accumulator="int20", overflow="wrap", per_channel=1, master="int8", scale="power_of_two")
    written = config.as_dict()
    assert (written["format"], written["policy"], written["accumulator"]) == ("int8", "int8", "int20")
    assert (written["per_channel"], written["master"], written["scale"]) == (True, "int8", "power_of_two")
    assert RunConfig(**written | {"hidden": tuple(written["hidden"])}) == config
    assert config.build_policy() == IntegerPolicy(
        name="int8",
        cast=Cast(format=INT8, mode=Mode.STOCHASTIC),
        accumulator=IntegerAccumulator(bits=20, overflow=Overflow.WRAP),
        scale=Scale.POWER_OF_TWO,
        per_channel=True,
        integer_master=True,
    )


# ----------------------------------------------------------------------------------------------------
# Digits
# ----------------------------------------------------------------------------------------------------


def test_digits_are_images_with_a_target_of_0_and_1_for_each_class() -> None:
    parts = split(load("digits"), 0.2, 42)
    y_train, y_test = (part.targets(slice(None)) for part in (parts.train, parts.test))
    assert (len(parts.train), parts.train.shape, y_test.shape) == (1437, (1, 8, 8), (360, 10))
    y = np.concatenate([y_train, y_test])
    assert_array_equal(y.sum(axis=1), np.ones(1797))
    assert_array_equal(np.unique(y), [0, 1])


def test_accuracy_is_for_classes_alone() -> None:
    assert Training(_config(dataset="toy", rounding="nearest")).metrics()["test_accuracy"] is None
    training = Training(_digits())
    test = training.split.test
    y, target = training.predict(test, Phase.TEST_ON_TEST), test.targets(slice(None))
    right = [int(a.argmax() == b.argmax()) for a, b in zip(y, target, strict=True)]
    assert training.metrics()["test_accuracy"] == sum(right) / 360


# ----------------------------------------------------------------------------------------------------
# Where it is not right yet
# ----------------------------------------------------------------------------------------------------


def test_no_two_roundings_of_a_run_share_their_random_bits() -> None:
    training, spy = _spied(_config(epochs=1))
    for _ in training.epochs():
        pass
    assert len(set(spy.keys)) == len(spy.keys)


def test_weights_requantised_for_dx_have_random_bits_of_their_own() -> None:
    policy, spy = _policy(cast=Cast(format=INT8, mode=Mode.STOCHASTIC), per_channel=True), Spy()
    arith = IntegerArithmetic(policy=policy, key=Key(1), backend=spy)
    rng = np.random.default_rng(1)
    w = arith.cast(Role.WEIGHT, rng.normal(size=(3, 4)).astype(F32))
    spy.keys.clear()
    dy = arith.cast(Role.ERROR, rng.normal(size=(3, 3)).astype(F32))
    arith.matmul(dy, w, Role.ERROR)
    assert len(set(spy.keys)) == len(spy.keys) == 2


def test_a_bias_is_an_integer_of_at_most_24_bits() -> None:
    arith = IntegerArithmetic(policy=_policy(), key=Key(1))
    sums = Scaled(codes=np.zeros((1, 2), np.int32), scale=np.asarray(2.0**-30))
    y = arith.add(sums, np.array([1.0, -0.5], F32), Role.ACTIVATION)
    assert y.codes.tolist() == [[2**23 - 1, -(2**23)]]


@pytest.mark.parametrize(("rule", "expected"), [(Overflow.SATURATE, 127), (Overflow.WRAP, -128)])
def test_a_bias_is_added_as_the_accumulator_adds(rule: Overflow, expected: int) -> None:
    arith = IntegerArithmetic(
        policy=_policy(accumulator=IntegerAccumulator(bits=8, overflow=rule)), key=Key(1)
    )
    sums = Scaled(codes=np.full((1, 1), 127, np.int32), scale=np.asarray(1.0))
    y = arith.add(sums, np.array([1.0], F32), Role.ACTIVATION)
    assert y.codes.tolist() == [[expected]]
    assert arith.overflows.total() == 1


def test_measuring_adds_nothing_to_the_overflows_of_training() -> None:
    training = _trained(_digits(epochs=1, accumulator="int15"))
    before = training.accumulator_overflows
    training.metrics()
    assert training.accumulator_overflows == before


@pytest.mark.parametrize("overflow", ["ieee", "propagate"])
def test_an_overflow_rule_that_integers_lack_is_refused_or_recorded_as_what_applied(overflow: str) -> None:
    try:
        config = _config(dataset="toy", epochs=1, overflow=overflow)
    except ValueError:
        return
    assert execute(config)["overflow_applied"] == "saturate"


def test_equal_configurations_have_one_spelling() -> None:
    assert _config(accumulator="int08") == _config(accumulator="int8")
    options: dict[str, Any] = {"policy": "mixed", "format": "e5m2"}
    assert _config(order="chunked:064", **options) == _config(order="chunked:64", **options)
