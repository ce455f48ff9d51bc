"""Linear and ReLU, every element against the rational reference, in a policy of distinct formats."""

import numpy as np
import pytest
from inputs import cast
from oracles import assert_same

from emunum.formats import Accumulator
from emunum.formats.exact import add_exact, dot_exact, round_exact
from emunum.kernels.random import Key
from emunum.nn.initial import SCHEMES, linear, new_stream
from emunum.nn.layers import Linear, ReLU
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Policy, Role, parse_policy

F32 = np.float32
N, N_IN, N_OUT = 7, 5, 3
LAYER = Linear(n_in=N_IN, n_out=N_OUT)

ROLES = {
    Role.INPUT: cast("float32"),
    Role.WEIGHT: cast("e5m2"),
    Role.ACTIVATION: cast("e3m4"),
    Role.ERROR: cast("e4m3"),
    Role.GRADIENT: cast("e5m3"),
    Role.UPDATE: cast("float32"),
    Role.MASTER: cast("float32"),
}
PLAIN = Arithmetic(policy=parse_policy("full", cast("float32")), key=Key(0))


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(F32)


def rounded(x, role):
    return np.vectorize(lambda value: round_exact(value, ROLES[role]), otypes=[float])(x)


def product(policy, a, b):
    return np.array([[dot_exact(r, c, policy.product, policy.accumulator.cast) for c in b.T] for r in a])


def added(to, a, b):
    return np.vectorize(lambda left, right: add_exact(left, right, to), otypes=[float])(a, b)


@pytest.fixture(params=["e6m3", "e6m9"])
def policy(request):
    """Sums narrower and wider than the tensors, so that neither's rounding hides the other's."""
    sums = Accumulator(cast=cast(request.param))
    return Policy(
        name="distinct", product=cast("e5m4"), accumulator=sums, elementwise=cast("e5m5"), roles=ROLES
    )


@pytest.fixture
def arith(policy):
    return Arithmetic(policy=policy, key=Key(0))


@pytest.fixture
def params():
    return {"w": numbers(1, N_OUT, N_IN), "b": numbers(2, N_OUT)}


@pytest.fixture
def x():
    return numbers(3, N, N_IN)


def test_linear_forward_is_the_sum_of_the_bias_and_the_product_of_cast_weights(arith, policy, params, x):
    w, b = rounded(params["w"], Role.WEIGHT), rounded(params["b"], Role.WEIGHT)
    y, (saved_x, saved_w) = LAYER.forward(arith, params, x)
    assert_same(
        y, rounded(added(policy.elementwise, product(policy, x.astype(float), w.T), b), Role.ACTIVATION)
    )
    assert_same(saved_x, x)
    assert_same(saved_w, w)


def test_linear_backward_casts_the_error_sums_both_gradients_and_hands_the_error_on(arith, policy, params, x):
    dy = numbers(4, N, N_OUT)
    _, saved = LAYER.forward(arith, params, x)
    dx, grads = LAYER.backward(arith, params, saved, dy, needs_dx=True)
    error = rounded(dy, Role.ERROR)
    w = rounded(params["w"], Role.WEIGHT)
    assert_same(grads["w"], rounded(product(policy, error.T, x.astype(float)), Role.GRADIENT))
    sums = [0.0] * N_OUT
    for row in error:
        sums = added(policy.accumulator.cast, sums, row)
    assert_same(grads["b"], rounded(sums, Role.GRADIENT))
    assert_same(dx, product(policy, error, w))
    assert list(grads) == ["w", "b"]


def test_linear_computes_no_dx_that_nobody_needs(arith, params, x):
    _, saved = LAYER.forward(arith, params, x)
    needed, grads = LAYER.backward(arith, params, saved, numbers(4, N, N_OUT), needs_dx=True)
    skipped, same = LAYER.backward(arith, params, saved, numbers(4, N, N_OUT), needs_dx=False)
    assert needed is not None
    assert skipped is None
    assert_same(same["w"], grads["w"])


def test_the_weights_and_the_bias_of_a_layer_round_with_different_bits():
    stochastic = cast("e4m3", "stochastic")
    arith = Arithmetic(
        policy=Policy(
            name="w",
            product=None,
            accumulator=Accumulator(cast=cast("float32")),
            elementwise=cast("float32"),
            roles=dict.fromkeys(Role, stochastic),
        ),
        key=Key(0),
    )
    coins = np.full(256, 1.0625, F32)  # midway between two values of e4m3
    layer = Linear(n_in=256, n_out=1)
    _, (_, w) = layer.forward(arith, {"w": coins[None], "b": coins[:1]}, np.ones((1, 256), F32))
    wide = Linear(n_in=1, n_out=256)
    y, _ = wide.forward(arith, {"w": np.zeros((256, 1), F32), "b": coins}, np.ones((1, 1), F32))
    assert set(w.ravel().tolist()) == set(y.ravel().tolist()) == {1.0, 1.125}
    assert (w.ravel() != y.ravel()).any()


def test_the_gradients_of_weights_and_bias_round_with_different_bits():
    roles = dict.fromkeys(Role, cast("float32")) | {Role.GRADIENT: cast("e4m3", "stochastic")}
    wide = cast("float32")
    policy = Policy(name="g", product=None, accumulator=Accumulator(cast=wide), elementwise=wide, roles=roles)
    arith = Arithmetic(policy=policy, key=Key(0))
    layer, dy = Linear(n_in=1, n_out=256), np.full((1, 256), 1.0625, F32)
    params = {"w": np.zeros((256, 1), F32), "b": np.zeros(256, F32)}
    _, grads = layer.backward(arith, params, (np.ones((1, 1), F32), params["w"]), dy, needs_dx=False)
    assert set(grads["w"].ravel().tolist()) == set(grads["b"].tolist()) == {1.0, 1.125}
    assert (grads["w"].ravel() != grads["b"]).any()


def test_linear_parameters_are_the_streams_weights_then_biases():
    params = LAYER.initial(SCHEMES["torch"], new_stream(5))
    w, b = linear(SCHEMES["torch"], new_stream(5), N_IN, N_OUT)
    assert list(params) == ["w", "b"]
    assert_same(params["w"], w)
    assert_same(params["b"], b)


def test_linear_leaves_its_parameters_alone(arith, params, x):
    before = {name: value.copy() for name, value in params.items()}
    _, saved = LAYER.forward(arith, params, x)
    LAYER.backward(arith, params, saved, numbers(4, N, N_OUT), needs_dx=True)
    for name, value in before.items():
        assert_same(params[name], value)


def test_relu_keeps_what_is_positive_and_nan():
    x = np.array([-np.inf, -1.0, -0.0, 0.0, 2.0**-149, 1.03, np.inf, np.nan], F32)
    y, saved = ReLU().forward(PLAIN, {}, x)
    assert_same(y, [0.0, 0.0, 0.0, 0.0, 2.0**-149, F32(1.03), np.inf, np.nan])
    assert saved.tolist() == [False, False, False, False, True, True, True, True]


def test_relu_hands_the_error_on_where_its_input_was_positive():
    _, saved = ReLU().forward(PLAIN, {}, np.array([-1.0, 0.0, 1.0, np.nan], F32))
    dx, grads = ReLU().backward(PLAIN, {}, saved, np.array([1.03, np.nan, 1.03, 2.0], F32), needs_dx=True)
    assert_same(dx, [0.0, 0.0, F32(1.03), 2.0])
    assert grads == {}


def test_relu_has_no_parameters_and_draws_nothing():
    stream = new_stream(0)
    assert ReLU().initial(SCHEMES["torch"], stream) == {}
    assert stream.randint(2**32, dtype=np.uint32) == new_stream(0).randint(2**32, dtype=np.uint32)
