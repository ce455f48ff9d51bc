"""Layers of image networks, bit for bit: the operations their docstrings list, one scalar at a time.

Every sequence is written down again here with its parts (which random bits a rounding takes), in a policy
with a format of its own for each place, under stochastic rounding among others.
"""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from oracles import assert_same
from twins import distinct

from emunum.kernels.random import Key
from emunum.kernels.windows import Window
from emunum.nn.convolution import Conv2d
from emunum.nn.initial import SCHEMES, linear, new_stream, weights
from emunum.nn.layers import Dropout, Flatten, ReLU, trained
from emunum.nn.normalisation import BatchNorm2d
from emunum.nn.pooling import AvgPool2d, MaxPool2d
from emunum.nn.residual import Residual, Shortcut
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Role

F32 = np.float32
ACTIVATION, ERROR, GRADIENT, WEIGHT, UPDATE = (
    Role.ACTIVATION, Role.ERROR, Role.GRADIENT, Role.WEIGHT, Role.UPDATE,
)  # fmt: skip
HALVES = Window(kernel=(2, 2), stride=(2, 2))
OVERLAPPING = Window(kernel=(3, 3), stride=(2, 2), padding=(1, 1))


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(F32)


# ----------------------------------------------------------------------------------------------------
# ReLU, Flatten, Dropout
# ----------------------------------------------------------------------------------------------------


def test_relu_takes_images(both):
    arith, _ = both
    x, dy = numbers(1, 2, 3, 4, 5), numbers(2, 2, 3, 4, 5)
    y, saved = ReLU().forward(arith, {}, x, training=False)
    assert_same(y, np.where(x > 0, x, 0))
    dx, grads = ReLU().backward(arith, {}, saved, dy, needs_dx=True)
    assert_same(dx, np.where(x > 0, dy, 0))
    assert grads == {}


def test_flatten_lays_channels_rows_and_columns_in_a_row_and_back(both):
    arith, _ = both
    x = numbers(3, 2, 3, 4, 5)
    y, saved = Flatten().forward(arith, {}, x)
    assert_same(y, [[x[n, c, h, w] for c in range(3) for h in range(4) for w in range(5)] for n in range(2)])
    dx, _ = Flatten().backward(arith, {}, saved, y, needs_dx=True)
    assert_same(dx, x)


def test_dropout_rounds_what_it_keeps_times_the_constant(both):
    arith, twin = both
    layer, x, dy = Dropout(rate=0.3), numbers(4, 5, 30), numbers(5, 5, 30)
    kept = twin.keep(x.shape, 0.3, ACTIVATION)
    y, saved = layer.forward(arith, {}, x, training=True)
    scaled = twin.scale(1 / 0.7, np.where(kept, x, 0.0), ACTIVATION)
    assert_same(y, twin.cast(ACTIVATION, scaled))
    assert 20 < kept.sum() < 150
    dx, grads = layer.backward(arith, {}, saved, dy, needs_dx=True)
    assert_same(dx, twin.scale(1 / 0.7, np.where(kept, dy, 0.0), ERROR))
    assert grads == {}


def test_dropout_hands_on_the_very_input_in_evaluation(both):
    arith, _ = both
    x = numbers(6, 4, 3)
    y, _ = Dropout(rate=0.9).forward(arith, {}, x, training=False)
    assert y is x


def test_two_places_drop_different_elements(both):
    arith, _ = both
    x = np.ones((1, 400), F32)
    masks = {Dropout(rate=0.5).forward(arith.at(n), {}, x)[1].tobytes() for n in range(4)}
    assert len(masks) == 4


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0, float("nan")])
def test_a_dropout_rate_out_of_range_is_refused(rate):
    with pytest.raises(ValueError, match=rf"dropout rate of {rate!r} is out of range"):
        Dropout(rate=rate)


# ----------------------------------------------------------------------------------------------------
# Pooling
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [HALVES, OVERLAPPING], ids=str)
def test_max_pool_is_exact_and_casts_errors_only_where_it_adds_them(both, window):
    arith, twin = both
    layer = MaxPool2d(window=window)
    x = numbers(7, 2, 2, 5, 6)
    y, saved = layer.forward(arith, {}, x)
    best, winners = twin.max_pool(x.astype(float), window)
    assert_same(y, best)
    dy = numbers(8, *y.shape)
    error = dy if window is HALVES else twin.cast(ERROR, dy)
    dx, grads = layer.backward(arith, {}, saved, dy, needs_dx=True)
    assert_same(dx, twin.window_scatter(error, winners, window, x.shape, ERROR))
    assert grads == {}
    assert layer.backward(arith, {}, saved, dy, needs_dx=False) == (None, {})


@pytest.mark.parametrize("window", [HALVES, OVERLAPPING, None], ids=str)
def test_avg_pool_rounds_the_sum_then_the_mean_then_the_activation(both, window):
    arith, twin = both
    layer, x = AvgPool2d(window=window), numbers(9, 2, 2, 5, 6)
    used = window or Window(kernel=(5, 6))
    y, saved = layer.forward(arith, {}, x)
    count = used.kernel[0] * used.kernel[1]
    total = twin.window_sum(x.astype(float), used, ACTIVATION)
    assert_same(y, twin.cast(ACTIVATION, twin.scale(1 / count, total, ACTIVATION)))
    dy = numbers(10, *y.shape)
    dx, grads = layer.backward(arith, {}, saved, dy, needs_dx=True)
    spread = twin.scale(1 / count, twin.cast(ERROR, dy), ERROR)
    if window is None:
        assert_same(dx, np.broadcast_to(spread, x.shape))
    else:
        assert_same(dx, twin.window_scatter(spread, None, window, x.shape, ERROR))
    assert grads == {}
    assert layer.backward(arith, {}, saved, dy, needs_dx=False) == (None, {})


@pytest.mark.parametrize("layer", [MaxPool2d, AvgPool2d])
def test_a_window_of_nothing_but_padding_is_refused(layer):
    with pytest.raises(ValueError, match=r"padding \(0, 3\) beside a kernel \(3, 3\).*Pad less"):
        layer(window=Window(kernel=(3, 3), padding=(0, 3)))


# ----------------------------------------------------------------------------------------------------
# Batch normalisation
# ----------------------------------------------------------------------------------------------------

COUNT = 3 * 2 * 4
CHANNELS = 6
NORM = BatchNorm2d(n=CHANNELS, eps=0.01, momentum=0.25)


def vector(x):
    return np.asarray(x).reshape(-1, 1, 1)


def norm_params(seed):
    names = ("gamma", "beta", "running_mean", "running_variance")
    found = {name: numbers(seed + n, CHANNELS) for n, name in enumerate(names)}
    return found | {"running_variance": np.abs(found["running_variance"])}


def normalised(twin, params, x, mean=None, variance=None):
    """The forward sequence; mean and variance of the batch unless given."""
    gamma, beta = twin.cast(WEIGHT, params["gamma"], 0), twin.cast(WEIGHT, params["beta"], 1)
    training = mean is None
    if training:
        mean = twin.scale(1 / COUNT, twin.channel_sum(x, ACTIVATION, 0), ACTIVATION, 0)
    d = twin.subtract(x, vector(mean), ACTIVATION, 0)
    if training:
        squares = twin.multiply(d, d, ACTIVATION, 1)
        variance = twin.scale(1 / COUNT, twin.channel_sum(squares, ACTIVATION, 1), ACTIVATION, 2)
    root = twin.square_root(twin.add(variance, np.float32(0.01), ACTIVATION, 0), ACTIVATION, 0)
    r = twin.divide(1.0, root, ACTIVATION, 0)
    h = twin.multiply(d, vector(r), ACTIVATION, 3)
    y = twin.add(twin.multiply(vector(gamma), h, ACTIVATION, 4), vector(beta), ACTIVATION, 1)
    return twin.cast(ACTIVATION, y), h, gamma, r, mean, variance


def test_batch_norm_rounds_every_operation_of_its_forward_sequence(both):
    arith, twin = both
    x, params = numbers(11, 3, CHANNELS, 2, 4), norm_params(12)
    y, _ = NORM.forward(arith, params, x, training=True)
    assert_same(y, normalised(twin, params, x.astype(float))[0])


def test_batch_norm_takes_the_running_statistics_in_evaluation(both):
    arith, twin = both
    x, params = numbers(13, 3, CHANNELS, 2, 4), norm_params(14)
    y, _ = NORM.forward(arith, params, x, training=False)
    running = params["running_mean"], params["running_variance"]
    assert_same(y, normalised(twin, params, x.astype(float), *running)[0])


def test_batch_norm_rounds_every_operation_of_its_backward_sequence(both):
    arith, twin = both
    x, dy, params = numbers(15, 3, CHANNELS, 2, 4), numbers(16, 3, CHANNELS, 2, 4), norm_params(17)
    _, saved = NORM.forward(arith, params, x, training=True)
    dx, grads = NORM.backward(arith, params, saved, dy, needs_dx=True)
    _, h, gamma, r, _, _ = normalised(twin, params, x.astype(float))
    dy = twin.cast(ERROR, dy)
    dgamma = twin.channel_sum(twin.multiply(dy, h, ERROR, 0), GRADIENT, 0)
    dbeta = twin.channel_sum(dy, GRADIENT, 1)
    assert_same(grads["gamma"], twin.cast(GRADIENT, dgamma, 0))
    assert_same(grads["beta"], twin.cast(GRADIENT, dbeta, 1))
    centred = twin.subtract(dy, vector(twin.scale(1 / COUNT, dbeta, ERROR, 1)), ERROR, 0)
    slope = twin.multiply(h, vector(twin.scale(1 / COUNT, dgamma, ERROR, 2)), ERROR, 3)
    inner = twin.subtract(centred, slope, ERROR, 1)
    assert_same(dx, twin.multiply(vector(twin.multiply(gamma, r, ERROR, 4)), inner, ERROR, 5))
    assert NORM.backward(arith, params, saved, dy, needs_dx=False)[0] is None


def test_running_statistics_move_toward_the_batch_in_the_updates_format(both):
    arith, twin = both
    x, params = numbers(18, 3, CHANNELS, 2, 4), norm_params(19)
    _, saved = NORM.forward(arith, params, x, training=True)
    before = {name: w.copy() for name, w in params.items()}
    new = NORM.observe(arith, params, saved)
    *_, mean, variance = normalised(twin, params, x.astype(float))
    base = 1 << 16
    unbiased = twin.scale(COUNT / (COUNT - 1), variance, UPDATE, base)
    for part, (name, seen) in enumerate([("running_mean", mean), ("running_variance", unbiased)], base + 1):
        away = twin.subtract(seen, params[name], UPDATE, part)
        assert_same(new[name], twin.scaled_add(params[name], 0.25, away, part))
    assert list(new) == list(params)
    assert_same(new["gamma"], params["gamma"])
    for name, w in before.items():
        assert_same(params[name], w)


def test_batch_norm_starts_as_the_identity_of_standard_numbers():
    stream = new_stream(0)
    params = BatchNorm2d(n=3).initial(SCHEMES["torch"], stream)
    assert {name: w.tolist() for name, w in params.items()} == {
        "gamma": [1, 1, 1],
        "beta": [0, 0, 0],
        "running_mean": [0, 0, 0],
        "running_variance": [1, 1, 1],
    }
    assert list(trained(params)) == ["gamma", "beta"]
    assert stream.randint(2**32, dtype=np.uint32) == new_stream(0).randint(2**32, dtype=np.uint32)


def test_one_number_a_channel_has_variance_zero_and_stays_finite():
    arith = Arithmetic(policy=distinct("nearest"), key=Key(0))
    params = NORM.initial(SCHEMES["torch"], new_stream(0))
    y, saved = NORM.forward(arith, params, np.arange(-2, CHANNELS - 2, dtype=F32).reshape(1, -1, 1, 1))
    assert_same(y, np.zeros((1, CHANNELS, 1, 1)))
    new = NORM.observe(arith, params, saved)
    assert new["running_variance"].tolist() == [0.75] * CHANNELS


# ----------------------------------------------------------------------------------------------------
# Residual blocks
# ----------------------------------------------------------------------------------------------------


def test_a_shortcut_takes_every_other_pixel_and_adds_empty_channels(both):
    arith, _ = both
    x = numbers(20, 2, 3, 5, 4)
    layer = Shortcut(n_out=5, stride=2)
    y, saved = layer.forward(arith, {}, x)
    assert_same(y[:, :3], x[:, :, [0, 2, 4]][..., [0, 2]])
    assert_same(y[:, 3:], np.zeros((2, 2, 3, 2)))
    dy = numbers(21, *y.shape)
    dx, _ = layer.backward(arith, {}, saved, dy, needs_dx=True)
    expected = np.zeros_like(x)
    for n, c, h, w in np.ndindex(2, 3, 3, 2):
        expected[n, c, 2 * h, 2 * w] = dy[n, c, h, w]
    assert_same(dx, expected)


@pytest.mark.parametrize("shortcut", [None, Shortcut(n_out=CHANNELS)], ids=["identity", "shortcut"])
def test_a_block_rounds_the_sum_of_its_two_ways(both, shortcut):
    arith, twin = both
    block = Residual(body=(NORM, ReLU()), shortcut=shortcut)
    x, dy = numbers(22, 3, CHANNELS, 2, 4), numbers(23, 3, CHANNELS, 2, 4)
    own = norm_params(24)
    params = {f"0.{name}": w for name, w in own.items()}
    y, saved = block.forward(arith, params, x, training=True)
    inner, kept = NORM.forward(arith.at(0), own, x, training=True)
    positive = np.where(inner > 0, inner, 0)
    assert_same(y, twin.cast(ACTIVATION, twin.add(x, positive, ACTIVATION)))
    dx, grads = block.backward(arith, params, saved, dy, needs_dx=True)
    through = np.where(inner > 0, dy, 0).astype(F32)
    error, of_norm = NORM.backward(arith.at(0), own, kept, through, needs_dx=True)
    assert_same(dx, twin.add(dy, error, ERROR))
    assert list(grads) == ["0.gamma", "0.beta"]
    for name, g in of_norm.items():
        assert_same(grads[f"0.{name}"], g)
    new, seen = block.observe(arith, params, saved), NORM.observe(arith.at(0), own, kept)
    assert list(new) == list(params)
    for name, w in seen.items():
        assert_same(new[f"0.{name}"], w)


def test_a_blocks_parameters_are_those_of_its_layers_in_order():
    convolution = Conv2d(n_in=2, n_out=3, window=Window(kernel=(1, 1)))
    block = Residual(body=(BatchNorm2d(n=2), ReLU(), convolution), shortcut=Conv2d(
        n_in=2, n_out=3, window=Window(kernel=(1, 1)), bias=False))  # fmt: skip
    params = block.initial(SCHEMES["torch"], new_stream(3))
    assert list(params) == [
        *("0.gamma", "0.beta", "0.running_mean", "0.running_variance"),
        *("2.w", "2.b", "3.w"),
    ]
    assert list(trained(params)) == ["0.gamma", "0.beta", "2.w", "2.b", "3.w"]
    stream = new_stream(3)
    w, b = linear(SCHEMES["torch"], stream, 2, 3)
    around = weights(SCHEMES["torch"], stream, 2, 3)
    for name, expected in (("2.w", w), ("2.b", b), ("3.w", around)):
        assert_array_equal(params[name].reshape(expected.shape), expected)
