"""Strict mode: a network's values refuse raw arithmetic, whole trainings need none."""

import math
import operator
import re
import warnings

import numpy as np
import pytest
from inputs import cast
from numpy.testing import assert_array_equal

from emunum.experiments.config import RunConfig
from emunum.experiments.training.train import Training
from emunum.kernels.random import Key
from emunum.nn.initial import SCHEMES, new_stream
from emunum.nn.layers import Linear
from emunum.nn.sequential import Sequential
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import POLICIES, Role, parse_policy
from emunum.ops.strict import Guarded, RawOperationError, guard, plain

F32 = np.float32
W = np.ones((3, 2), F32)


def x():
    """A network's values (2, 3)."""
    return guard(np.arange(1, 7, dtype=F32).reshape(2, 3) / F32(3))


def v():
    return x()[0]


def total(values):
    """The built-in sum, a loop over elements."""
    return sum(values)


# ----------------------------------------------------------------------------------------------------
# What is refused, and how the refusal names it
# ----------------------------------------------------------------------------------------------------

NAMED_IN_THE_REFUSAL = {
    "x * 2": (lambda: x() * 2, "multiply"),
    "2 * x": (lambda: 2 * x(), "multiply"),
    "x + 1": (lambda: x() + 1, "add"),
    "x - x": (lambda: x() - x(), "subtract"),
    "x / 2": (lambda: x() / 2, "divide"),
    "x // 2": (lambda: x() // 2, "floor_divide"),
    "x % 2": (lambda: x() % 2, "remainder"),
    "divmod(x, 2)": (lambda: divmod(x(), 2), "divmod"),
    "x ** 3": (lambda: x() ** 3, "power"),
    "x @ w": (lambda: x() @ W, "matmul"),
    "w @ x": (lambda: W @ x(), "matmul"),
    "x += 1": (lambda: operator.iadd(x(), 1), "add"),
    "plain += x": (lambda: operator.iadd(np.ones((2, 3), F32), x()), "add"),
    "np.float64(2) * x": (lambda: np.float64(2) * x(), "multiply"),
    "np.sqrt": (lambda: np.sqrt(x()), "sqrt"),
    "np.exp": (lambda: np.exp(x()), "exp"),
    "np.rint": (lambda: np.rint(x()), "rint"),
    "np.add(out=x)": (lambda: np.add(np.ones((2, 3), F32), 1, out=x()), "add"),
    "np.matmul(out=x)": (lambda: np.matmul(np.ones((2, 2), F32), np.ones((2, 3), F32), out=x()), "matmul"),
    "np.add.at": (lambda: np.add.at(x(), 0, 1), "add"),
    "np.add.at of x": (lambda: np.add.at(np.ones((2, 3), F32), 0, v()), "add"),
    "np.add.reduce": (lambda: np.add.reduce(x()), "add"),
    "np.add.accumulate": (lambda: np.add.accumulate(v()), "add"),
    "np.multiply.outer": (lambda: np.multiply.outer(v(), v()), "multiply"),
    "np.sum": (lambda: np.sum(x()), "sum"),
    "np.sum(out=x)": (lambda: np.sum(np.ones((2, 3)), axis=0, out=v()), "sum"),
    "np.mean": (lambda: np.mean(x()), "mean"),
    "np.var": (lambda: np.var(x()), "var"),
    "np.dot": (lambda: np.dot(x(), W), "dot"),
    "np.outer": (lambda: np.outer(v(), v()), "outer"),
    "np.tensordot": (lambda: np.tensordot(x(), W, 1), "tensordot"),
    "np.einsum": (lambda: np.einsum("ij->i", x()), "einsum"),
    "np.einsum(out=x)": (lambda: np.einsum("ij->ij", np.ones((2, 3)), out=x()), "einsum"),
    "np.linalg.norm": (lambda: np.linalg.norm(x()), "norm"),
    "np.cumsum": (lambda: np.cumsum(x()), "cumsum"),
    "np.clip": (lambda: np.clip(x(), 0, 0.1), "clip"),
    "np.round": (lambda: np.round(x()), "round"),
    "np.convolve": (lambda: np.convolve(v(), v()), "convolve"),
    "np.fft.fft": (lambda: np.fft.fft(v()), "fft"),
    "np.bincount": (lambda: np.bincount([0, 1, 1], weights=v()), "bincount"),
    "x.clip": (lambda: x().clip(0, 0.1), "clip"),
}

METHODS = ["fill", "put", "sum", "mean", "prod", "dot", "cumsum", "cumprod", "std", "var", "trace", "round"]

# Each of these hands out raw numbers, on which arithmetic then goes unseen.
UNSEEN = {
    "np.where(...) * 2": lambda: np.where(x() > 0, x(), 0) * 2,
    "np.concatenate(...) * 2": lambda: np.concatenate([x(), x()]) * 2,
    "np.stack(...) * 2": lambda: np.stack([x(), x()]) * 2,
    "np.pad(...) * 2": lambda: np.pad(x(), 1) * 2,
    "np.pad(mode='mean')": lambda: np.pad(x(), 1, mode="mean"),
    "np.pad(mode='linear_ramp')": lambda: np.pad(x(), 1, mode="linear_ramp"),
    "np.maximum(x, float64) * 2": lambda: np.maximum(x(), np.zeros(3)) * 2,
    "-float64(x) * 2": lambda: -x().astype(np.float64) * 2,
    "np.negative(dtype=float16)": lambda: np.negative(x(), dtype=np.float16, casting="unsafe"),
    "np.concatenate(dtype=float16)": lambda: np.concatenate([x()], dtype=np.float16, casting="unsafe"),
    "x.astype(float16)": lambda: x().astype(np.float16),
    "x[0, 0] * 2": lambda: x()[0, 0] * 2,
    "-(0-d x) * 2": lambda: -guard(np.asarray(F32(0.5))) * 2,
    "np.take(v, 0) * 2": lambda: np.take(v(), 0) * 2,
    "[a * 2 for a in v]": lambda: [a * 2 for a in v()],
    "sum(v)": lambda: total(v()),
    "math.fsum(v)": lambda: math.fsum(v()),
    "float(v[0])": lambda: float(v()[0]) * 2,
    "x.item(0)": lambda: x().item(0) * 2,
    "x.tolist()": lambda: x().tolist()[0][0] * 2,
    "x[0] = float64": lambda: operator.setitem(x(), 0, np.full(3, 0.1)),
    "np.copyto(x, float64)": lambda: np.copyto(x(), np.full((2, 3), 0.1)),
}

# NumPy asks a subclass of ndarray nothing here.
UNASKED = {
    "np.asarray(x) * 2": lambda: np.asarray(x()) * 2,
    "np.array(x) * 2": lambda: np.array(x()) * 2,
    "np.ascontiguousarray(x) * 2": lambda: np.ascontiguousarray(x()) * 2,
    "x.view(np.ndarray) * 2": lambda: x().view(np.ndarray) * 2,
    "ones.dot(ones, out=x)": lambda: np.ones((2, 2), F32).dot(np.ones((2, 3), F32), out=x()),
    "memoryview(x)": lambda: np.frombuffer(memoryview(v()), F32) * 2,
}


@pytest.mark.parametrize("case", NAMED_IN_THE_REFUSAL)
def test_raw_arithmetic_is_refused_by_name(case):
    operation, name = NAMED_IN_THE_REFUSAL[case]
    with pytest.raises(RawOperationError, match=rf"^raw float operation numpy\.{name} .*use the Arithmetic"):
        operation()


@pytest.mark.parametrize("method", METHODS)
def test_a_raw_method_is_refused_by_name(method):
    arguments = (W,) if method == "dot" else ()
    with pytest.raises(RawOperationError, match=rf"\b{method}\b.*use the Arithmetic"):
        getattr(x(), method)(*arguments)


def test_a_refused_operation_in_place_leaves_the_values_alone():
    values = x()
    with pytest.raises(RawOperationError):
        values += 1
    with pytest.raises(RawOperationError):
        np.multiply(values, 2, out=values)
    assert_array_equal(plain(values), plain(x()))


@pytest.mark.parametrize("case", UNSEEN)
def test_what_hands_out_raw_numbers_is_refused(case):
    with pytest.raises(RawOperationError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        UNSEEN[case]()


@pytest.mark.xfail(reason="a subclass of ndarray has no say in this", raises=pytest.fail.Exception)
@pytest.mark.parametrize("case", UNASKED)
def test_what_unpacks_the_array_is_refused(case):
    with pytest.raises(RawOperationError):
        UNASKED[case]()


# ----------------------------------------------------------------------------------------------------
# What passes
# ----------------------------------------------------------------------------------------------------

EXACT = {
    "x.T": lambda x: x.T,
    "x.reshape": lambda x: x.reshape(3, 2),
    "x.ravel": lambda x: x.ravel(),
    "x.copy": lambda x: x.copy(),
    "x[1:]": lambda x: x[1:],
    "x[mask]": lambda x: x[x > 1],
    "x[rows]": lambda x: x[[1, 0, 1]],
    "x[:, None]": lambda x: x[:, None],
    "x.swapaxes": lambda x: x.swapaxes(0, 1),
    "x.repeat": lambda x: x.repeat(2, axis=0),
    "-x": lambda x: -x,
    "abs(x)": lambda x: abs(x),
    "np.maximum": lambda x: np.maximum(x, x.T.reshape(2, 3)),
    "np.where": lambda x: np.where(x > 1, x, F32(0)),
    "np.concatenate": lambda x: np.concatenate([x, x]),
    "np.stack": lambda x: np.stack([x, x]),
    "np.pad": lambda x: np.pad(x, 1),
    "np.transpose": lambda x: np.transpose(x),
    "np.reshape": lambda x: np.reshape(x, -1),
    "np.broadcast_to": lambda x: np.broadcast_to(x, (4, 2, 3)),
    "np.flip": lambda x: np.flip(x),
    "np.zeros_like": lambda x: np.zeros_like(x),
}

QUESTIONS = {
    "x > 1": lambda x: x > 1,
    "x <= x": lambda x: x <= x,
    "x == x": lambda x: x == x,
    "np.isnan": lambda x: np.isnan(x),
    "np.isfinite": lambda x: np.isfinite(x),
    "np.signbit": lambda x: np.signbit(x),
    "np.argmax": lambda x: np.argmax(x, axis=1),
    "np.array_equal": lambda x: np.array_equal(x, x),
    "len": lambda x: len(x),
    "x.shape": lambda x: x.shape,
}


@pytest.mark.parametrize("case", EXACT)
def test_exact_operations_pass_with_their_values(case):
    assert_array_equal(plain(EXACT[case](x())), EXACT[case](plain(x())))


@pytest.mark.parametrize("case", EXACT)
def test_exact_operations_keep_the_guard(case):
    assert type(EXACT[case](x())) is Guarded


@pytest.mark.parametrize("case", QUESTIONS)
def test_questions_are_answered_in_plain_values(case):
    answer = QUESTIONS[case](x())
    assert type(answer) is not Guarded
    assert_array_equal(answer, QUESTIONS[case](plain(x())))


def test_guarding_and_unguarding_copy_nothing():
    values = np.ones(3, F32)
    assert guard(values).ctypes.data == plain(guard(values)).ctypes.data == values.ctypes.data
    assert plain(values) is values
    assert plain("text") == "text"


# ----------------------------------------------------------------------------------------------------
# Networks
# ----------------------------------------------------------------------------------------------------


class Careless(Linear):
    """A layer that scales its output by hand."""

    def forward(self, arith, params, x, training=True):
        y, saved = Linear.forward(self, arith, params, x, training)
        return y * 2, saved


def test_a_layer_with_a_raw_operation_is_caught_in_strict_mode_and_only_there():
    model = Sequential(layers=(Careless(n_in=3, n_out=2),))
    params = model.initial(SCHEMES["torch"], new_stream(0))
    arith = Arithmetic(policy=parse_policy("full", cast("e4m3")), key=Key(0))
    model.forward(arith, params, np.ones((4, 3), F32))
    strict = Arithmetic(policy=arith.policy, key=Key(0), strict=True)
    with pytest.raises(RawOperationError, match=re.escape("numpy.multiply")):
        model.forward(strict, params, strict.cast(Role.INPUT, np.ones((4, 3), F32)))


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("model", ["linear", "mlp"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_whole_training_passes_in_strict_mode_with_the_same_weights(policy, model, rounding):
    config = RunConfig(
        dataset="toy",
        format="e4m3",
        rounding=rounding,
        policy=policy,
        model=model,
        hidden=(4, 3) if model == "mlp" else (),
        epochs=3,
        batch_size=3,
        momentum=0.9,
        weight_decay=0.01,
        loss_scale=4.0,
    )
    strict, loose = Training(config, strict=True), Training(config)
    assert [epoch.step_loss for epoch in strict.epochs()] == [epoch.step_loss for epoch in loose.epochs()]
    assert all(type(w) is Guarded for own in strict.params for w in own.values())
    assert strict.metrics() == loose.metrics()
    assert strict.weights_sha256 == loose.weights_sha256
