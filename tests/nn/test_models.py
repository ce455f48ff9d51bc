"""Models by name, and layers in a row."""

from itertools import pairwise

import numpy as np
import pytest
from inputs import cast
from oracles import assert_same

from emunum.kernels.random import Key
from emunum.nn.initial import SCHEMES, linear, new_stream
from emunum.nn.layers import Linear, ReLU
from emunum.nn.models import DEFAULT_HIDDEN, MODELS, build
from emunum.nn.sequential import Sequential
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import parse_policy

F32 = np.float32


def arithmetic(rounding="nearest"):
    return Arithmetic(policy=parse_policy("full", cast("e4m3", rounding)), key=Key(3))


def test_linear_is_one_affine_layer():
    assert build("linear", 10, 2) == Sequential(layers=(Linear(n_in=10, n_out=2),))


@pytest.mark.parametrize("hidden", [(), (32,), (7, 5)], ids=str)
def test_mlp_has_a_relu_after_each_hidden_layer_and_none_at_the_end(hidden):
    sizes = (10, *hidden, 2)
    linears = [Linear(n_in=a, n_out=b) for a, b in pairwise(sizes)]
    layers = [part for layer in linears[:-1] for part in (layer, ReLU())] + [linears[-1]]
    assert build("mlp", 10, 2, hidden).layers == tuple(layers)


def test_the_models_and_the_default_width_are_the_documented_ones():
    assert MODELS == ("linear", "mlp")
    assert DEFAULT_HIDDEN == (32,)


@pytest.mark.parametrize(
    ("name", "hidden", "message"),
    [
        ("cnn", (), "unknown model 'cnn'. Known: linear, mlp."),
        ("liner", (), "unknown model 'liner'. Did you mean 'linear'? Known: linear, mlp."),
        (
            "linear",
            (8,),
            "hidden sizes (8,) need --model mlp: the linear model has no hidden layer.",
        ),
        ("mlp", (8, 0), "hidden sizes (8, 0): each must be at least 1."),
    ],
)
def test_a_model_that_makes_no_sense_is_refused(name, hidden, message):
    with pytest.raises(ValueError) as error:
        build(name, 3, 1, hidden)
    assert str(error.value) == message


def test_parameters_come_from_one_stream_in_layer_order():
    params = build("mlp", 3, 1, (4,)).initial(SCHEMES["torch"], new_stream(9))
    stream = new_stream(9)
    first, last = (linear(SCHEMES["torch"], stream, *shape) for shape in ((3, 4), (4, 1)))
    assert [list(own) for own in params] == [["w", "b"], [], ["w", "b"]]
    for own, (w, b) in ((params[0], first), (params[2], last)):
        assert_same(own["w"], w)
        assert_same(own["b"], b)


def test_a_network_chains_its_layers_each_at_its_own_place():
    model = build("mlp", 3, 2, (4,))
    params = model.initial(SCHEMES["torch"], new_stream(0))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(F32)
    dy = np.random.default_rng(1).normal(size=(5, 2)).astype(F32)
    arith = arithmetic("stochastic")
    y, saved = model.forward(arith, params, x)
    grads = model.backward(arith, params, saved, dy)

    hidden, kept_0 = model.layers[0].forward(arith.at(0), params[0], x)
    active, kept_1 = model.layers[1].forward(arith.at(1), params[1], hidden)
    out, kept_2 = model.layers[2].forward(arith.at(2), params[2], active)
    error, last = model.layers[2].backward(arith.at(2), params[2], kept_2, dy, needs_dx=True)
    error, none = model.layers[1].backward(arith.at(1), params[1], kept_1, error, needs_dx=True)
    _, first = model.layers[0].backward(arith.at(0), params[0], kept_0, error, needs_dx=False)

    assert_same(y, out)
    assert [list(own) for own in grads] == [["w", "b"], [], ["w", "b"]]
    assert none == {}
    for found, expected in ((grads[0], first), (grads[2], last)):
        for name in ("w", "b"):
            assert_same(found[name], expected[name])


def test_the_same_layer_in_two_places_rounds_with_different_bits():
    coins = Linear(n_in=256, n_out=256)
    params = {"w": np.full((256, 256), 1.0625, F32), "b": np.zeros(256, F32)}
    model = Sequential(layers=(coins, coins))
    _, saved = model.forward(arithmetic("stochastic"), [params, params], np.zeros((1, 256), F32))
    first, second = (w for _, w in saved)
    assert set(np.unique(first).tolist()) == set(np.unique(second).tolist()) == {1.0, 1.125}
    # Two fair coins agree in 32768 of 65536 throws, give or take 128 (one standard deviation).
    assert abs(int((first == second).sum()) - 32768) < 6 * 128


def test_the_error_that_reaches_the_input_is_not_computed():
    calls = []

    class Layer(Linear):
        def backward(self, arith, params, saved, dy, needs_dx):
            calls.append(needs_dx)
            return Linear.backward(self, arith, params, saved, dy, needs_dx)

    model = Sequential(layers=(Layer(n_in=2, n_out=2), Layer(n_in=2, n_out=2)))
    params = model.initial(SCHEMES["torch"], new_stream(0))
    _, saved = model.forward(arithmetic(), params, np.ones((3, 2), F32))
    model.backward(arithmetic(), params, saved, np.ones((3, 2), F32))
    assert calls == [True, False]


def test_a_network_refuses_parameters_of_another_one():
    model = build("mlp", 3, 2, (4,))
    params = model.initial(SCHEMES["torch"], new_stream(0))
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        model.forward(arithmetic(), params[:1], np.ones((1, 3), F32))
