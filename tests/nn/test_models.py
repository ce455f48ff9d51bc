"""Models by name, and layers in a row."""

from itertools import pairwise

import numpy as np
import pytest
from inputs import cast
from oracles import assert_same
from twins import Unrounded

from emunum.kernels.random import Key
from emunum.nn.initial import SCHEMES, linear, new_stream
from emunum.nn.layers import Dropout, Flatten, Linear, ReLU
from emunum.nn.models import DEFAULT_HIDDEN, MODELS, build, parameter_count
from emunum.nn.normalisation import BatchNorm2d
from emunum.nn.sequential import Sequential
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import parse_policy

F32 = np.float32


def arithmetic(rounding="nearest"):
    return Arithmetic(policy=parse_policy("full", cast("e4m3", rounding)), key=Key(3))


def test_linear_is_one_affine_layer():
    assert build("linear", (10,), 2) == Sequential(layers=(Linear(n_in=10, n_out=2),))


@pytest.mark.parametrize("hidden", [(), (32,), (7, 5)], ids=str)
def test_mlp_has_a_relu_after_each_hidden_layer_and_none_at_the_end(hidden):
    sizes = (10, *hidden, 2)
    linears = [Linear(n_in=a, n_out=b) for a, b in pairwise(sizes)]
    layers = [part for layer in linears[:-1] for part in (layer, ReLU())] + [linears[-1]]
    assert build("mlp", (10,), 2, hidden).layers == tuple(layers)


def test_the_models_and_the_default_width_are_the_documented_ones():
    assert list(MODELS) == [
        *("linear", "mlp", "softmax_regression", "cnn", "lenet5", "cifar_quick", "resnet20"),
    ]
    assert DEFAULT_HIDDEN == (32,)
    assert build("mlp", (10,), 2) == build("mlp", (10,), 2, (32,))


# Counted by hand from the layers; the first two and cnn, lenet5 and resnet20 are published counts.
COUNTS = [
    ("softmax_regression", (1, 28, 28), 784 * 10 + 10, 7_850),
    ("mlp", (1, 28, 28), 784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10, 235_146),
    ("cnn", (1, 28, 28), 9 * 32 + 32 + 288 * 64 + 64 + 3136 * 128 + 128 + 1290, 421_642),
    ("cnn", (1, 8, 8), 9 * 32 + 32 + 288 * 64 + 64 + 256 * 128 + 128 + 1290, 53_002),
    ("lenet5", (1, 28, 28), 25 * 6 + 6 + 150 * 16 + 16 + 400 * 120 + 120 + 120 * 84 + 84 + 850, 61_706),
    ("lenet5", (3, 32, 32), 75 * 6 + 6 + 150 * 16 + 16 + 400 * 120 + 120 + 120 * 84 + 84 + 850, 62_006),
    (
        "cifar_quick",
        (3, 32, 32),
        75 * 32 + 32 + 800 * 32 + 32 + 800 * 64 + 64 + 1024 * 64 + 64 + 650,
        145_578,
    ),
    # 0.27 M: He et al. 2016 (CVPR), table 6. Convolutions, gammas and betas, the affine layer.
    (
        "resnet20",
        (3, 32, 32),
        9 * (3 * 16 + 6 * 16**2 + 16 * 32 + 5 * 32**2 + 32 * 64 + 5 * 64**2)
        + 2 * (7 * 16 + 6 * 32 + 6 * 64)
        + 650,
        269_722,
    ),
    ("linear", (13,), 14, 14),
    ("mlp", (13,), 13 * 32 + 32 + 33, 481),
]


@pytest.mark.parametrize(("name", "shape", "by_hand", "count"), COUNTS, ids=lambda value: str(value))
def test_a_model_has_the_published_number_of_parameters(name, shape, by_hand, count):
    outputs = 10 if len(shape) == 3 else 1
    assert parameter_count(build(name, shape, outputs)) == by_hand == count


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 13, 17), (1, 28, 28), (3, 32, 32)], ids=str)
def test_a_model_gives_its_outputs_for_images_of_any_size_it_takes(name, shape):
    model = build(name, shape, 7)
    params = model.initial(SCHEMES["he"], new_stream(0))
    x = np.random.default_rng(0).normal(size=(2, *shape))
    y, _ = model.forward(Unrounded(), params, x, training=False)
    assert y.shape == (2, 7)
    assert np.isfinite(y).all()


def test_an_mlp_of_images_flattens_them_and_drops_out_and_one_of_tables_does_not():
    kinds = [type(layer) for layer in build("mlp", (1, 4, 4), 3).layers]
    assert kinds == [Flatten, Linear, ReLU, Dropout, Linear, ReLU, Dropout, Linear]
    kinds = [type(layer) for layer in build("mlp", (16,), 3, (5,)).layers]
    assert kinds == [Linear, ReLU, Linear]
    kinds = [type(layer) for layer in build("mlp", (1, 4, 4), 3, (5,), dropout=0.0).layers]
    assert kinds == [Flatten, Linear, ReLU, Linear]
    kinds = [type(layer) for layer in build("mlp", (16,), 3, (5,), dropout=0.5).layers]
    assert kinds == [Linear, ReLU, Dropout, Linear]
    assert build("linear", (1, 4, 4), 3).layers == (Flatten(), Linear(n_in=16, n_out=3))


def test_cnn_drops_half_of_its_last_hidden_layer_unless_told_otherwise():
    assert Dropout(rate=0.5) in build("cnn", (1, 28, 28), 10).layers
    assert Dropout(rate=0.25) in build("cnn", (1, 28, 28), 10, dropout=0.25).layers
    assert not any(isinstance(layer, Dropout) for layer in build("cnn", (1, 28, 28), 10, dropout=0.0).layers)


SHAPES_REFUSED = [
    (
        "cnn",
        (10,),
        "model cnn takes images (channels, height, width) of at least 4 x 4 pixels, not samples of shape "
        "(10,). What fits them: linear, mlp, softmax_regression.",
    ),
    (
        "lenet5",
        (1, 8, 8),
        "model lenet5 takes images (channels, height, width) of at least 12 x 12 pixels, not samples of "
        "shape (1, 8, 8). What fits them: linear, mlp, softmax_regression, cnn, cifar_quick, resnet20.",
    ),
    (
        "resnet20",
        (3, 3, 40),
        "model resnet20 takes images (channels, height, width) of at least 4 x 4 pixels, not samples of "
        "shape (3, 3, 40). What fits them: linear, mlp, softmax_regression.",
    ),
]


@pytest.mark.parametrize(("name", "shape", "message"), SHAPES_REFUSED, ids=["cnn", "lenet5", "resnet20"])
def test_a_shape_that_a_model_does_not_take_is_refused_and_what_fits_is_named(name, shape, message):
    with pytest.raises(ValueError) as error:
        build(name, shape, 10)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "dropout", "message"),
    [
        (
            "resnet20",
            0.5,
            "a dropout rate of 0.5 is for models with dropout (mlp, cnn, lenet5, cifar_quick): "
            "resnet20 has none.",
        ),
        ("cnn", 1.0, "a dropout rate of 1.0 is out of range: at least 0, below 1."),
    ],
)
def test_a_dropout_rate_that_makes_no_sense_is_refused(name, dropout, message):
    with pytest.raises(ValueError) as error:
        build(name, (3, 32, 32), 10, dropout=dropout)
    assert str(error.value) == message


def test_running_statistics_are_advanced_and_everything_else_is_left_alone():
    model = Sequential(layers=(BatchNorm2d(n=2), ReLU(), Flatten(), Linear(n_in=8, n_out=1)))
    params = model.initial(SCHEMES["torch"], new_stream(0))
    x = np.random.default_rng(0).normal(size=(5, 2, 2, 2)).astype(F32)
    _, saved = model.forward(arithmetic(), params, x, training=True)
    seen = model.observe(arithmetic(), params, saved)
    assert [list(own) for own in seen] == [list(own) for own in params]
    changed = {
        (index, name)
        for index, own in enumerate(params)
        for name, w in own.items()
        if not np.array_equal(w, seen[index][name])
    }
    assert changed <= {(0, "running_mean"), (0, "running_variance")}
    assert changed


@pytest.mark.parametrize(
    ("name", "hidden", "message"),
    [
        ("vgg", (), f"unknown model 'vgg'. Known: {', '.join(MODELS)}."),
        ("liner", (), f"unknown model 'liner'. Did you mean 'linear'? Known: {', '.join(MODELS)}."),
        ("cnn", (8,), "hidden sizes (8,) need --model mlp: the cnn model has its own."),
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
        build(name, (3,), 1, hidden)
    assert str(error.value) == message


def test_parameters_come_from_one_stream_in_layer_order():
    params = build("mlp", (3,), 1, (4,)).initial(SCHEMES["torch"], new_stream(9))
    stream = new_stream(9)
    first, last = (linear(SCHEMES["torch"], stream, *shape) for shape in ((3, 4), (4, 1)))
    assert [list(own) for own in params] == [["w", "b"], [], ["w", "b"]]
    for own, (w, b) in ((params[0], first), (params[2], last)):
        assert_same(own["w"], w)
        assert_same(own["b"], b)


def test_a_network_chains_its_layers_each_at_its_own_place():
    model = build("mlp", (3,), 2, (4,))
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
    model = build("mlp", (3,), 2, (4,))
    params = model.initial(SCHEMES["torch"], new_stream(0))
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        model.forward(arithmetic(), params[:1], np.ones((1, 3), F32))
