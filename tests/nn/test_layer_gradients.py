"""Every layer's and every model's gradient, computed without rounding, against central differences.

f(t) = sum(c * y(p + t v)) along a random direction v, for x and for each parameter p. Where f is three
times differentiable, D(h) = (f(h) - f(-h)) / 2h is f'(0) + a h^2 + O(h^4), so a h^2 is (D(2h) - D(h)) / 3:
that, doubled, and what the rounding of f leaves, 2^-53 times the number of its terms times their size over
h, is the tolerance. A kink (ReLU, the largest of a window) inside the step would show in D(2h) - D(h); the
inputs are chosen so that the tolerance stays far below the gradient, and that is asserted.
"""

import numpy as np
import pytest
from twins import Unrounded

from emunum.kernels.windows import Window
from emunum.nn.convolution import Conv2d
from emunum.nn.initial import SCHEMES, new_stream
from emunum.nn.layers import Dropout, Flatten, Linear, ReLU, trained
from emunum.nn.models import build
from emunum.nn.normalisation import BatchNorm2d
from emunum.nn.pooling import AvgPool2d, MaxPool2d
from emunum.nn.residual import Residual, Shortcut
from emunum.nn.sequential import Sequential

H = 2.0**-16
OVERLAPPING = Window(kernel=(3, 3), stride=(2, 2), padding=(1, 1))
STRIDED = Window(kernel=(3, 2), stride=(2, 1), padding=(1, 0))

LAYERS = {
    "Linear": (Linear(n_in=7, n_out=3), (4, 7)),
    "ReLU": (ReLU(), (3, 2, 4, 4)),
    "Flatten": (Flatten(), (3, 2, 4, 4)),
    "Dropout": (Dropout(rate=0.3), (3, 2, 4, 4)),
    "Conv2d": (Conv2d(n_in=2, n_out=3, window=Window(kernel=(3, 3), padding=(1, 1))), (2, 2, 4, 5)),
    "Conv2d strided": (Conv2d(n_in=2, n_out=3, window=STRIDED), (2, 2, 5, 4)),
    "Conv2d without bias": (Conv2d(n_in=2, n_out=3, window=Window(kernel=(2, 2)), bias=False), (2, 2, 3, 4)),
    "MaxPool2d": (MaxPool2d(window=Window(kernel=(2, 2), stride=(2, 2))), (2, 2, 4, 5)),
    "MaxPool2d overlapping": (MaxPool2d(window=OVERLAPPING), (2, 2, 5, 6)),
    "AvgPool2d": (AvgPool2d(window=Window(kernel=(2, 2), stride=(2, 2))), (2, 2, 4, 5)),
    "AvgPool2d overlapping": (AvgPool2d(window=OVERLAPPING), (2, 2, 5, 6)),
    "AvgPool2d of the image": (AvgPool2d(), (2, 3, 4, 3)),
    "BatchNorm2d": (BatchNorm2d(n=3), (4, 3, 2, 3)),
    "Shortcut": (Shortcut(n_out=5, stride=2), (2, 3, 5, 4)),
    "Residual": (
        Residual(
            body=(BatchNorm2d(n=2), Conv2d(n_in=2, n_out=2, window=Window(kernel=(3, 3), padding=(1, 1))))
        ),
        (2, 2, 3, 3),
    ),
    "Residual with a shortcut": (
        Residual(
            body=(Conv2d(n_in=2, n_out=3, window=Window(kernel=(1, 1), stride=(2, 2))), ReLU()),
            shortcut=Shortcut(n_out=3, stride=2),
        ),
        (2, 2, 4, 4),
    ),
}

MODELS = {
    "softmax_regression": (1, 4, 4),
    "mlp": (1, 4, 4),
    "cnn": (2, 5, 4),
    "lenet5": (1, 12, 13),
    "cifar_quick": (3, 8, 9),
    "resnet20": (3, 8, 8),
}


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def differences(f, size):
    """The derivative of f at 0 and how far off it may be; `size` bounds the sum of f's terms' sizes."""
    near, far = (f(H) - f(-H)) / (2 * H), (f(2 * H) - f(-2 * H)) / (4 * H)
    return near, 2 * abs(far - near) / 3 + size * 2.0**-53 / H


def check(model, params, x, seed):
    arith = Unrounded(5)
    y, saved = model.forward(arith, params, x, training=True)
    weights = numbers(seed, *y.shape)
    backward = model.backward(arith, params, saved, weights)
    # Each output is the end of at most some thousand additions and products of numbers near 1.
    size = 4096 * np.abs(weights * y).sum()
    for index, own in enumerate(params):
        assert list(backward[index]) == list(trained(own))
        for name, dw in backward[index].items():
            assert dw.shape == own[name].shape
            direction = numbers(seed + 1, *dw.shape)
            direction /= np.linalg.norm(direction)

            def f(t, index=index, name=name, direction=direction):
                moved = [dict(own) for own in params]
                moved[index][name] = moved[index][name] + t * direction
                return (weights * model.forward(arith, moved, x, training=True)[0]).sum()

            found, tolerance = (dw * direction).sum(), differences(f, size)
            assert abs(found - tolerance[0]) <= tolerance[1], (index, name, found, tolerance)
            assert tolerance[1] < 1e-4 * np.linalg.norm(dw)


def random_params(model, seed):
    """Parameters in float64 that are nowhere 0 or 1, running statistics included."""
    drawn = model.initial(SCHEMES["he"], new_stream(seed))
    rng = np.random.default_rng(seed)
    return [
        {name: w.astype(np.float64) + 0.2 * rng.normal(size=w.shape) for name, w in own.items()}
        for own in drawn
    ]


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradients_of_a_layers_parameters_are_differences(name):
    layer, shape = LAYERS[name]
    model = Sequential(layers=(layer,))
    check(model, random_params(model, 1), numbers(2, *shape), 3)


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_of_a_layers_input_is_a_difference_in_each_element(name):
    layer, shape = LAYERS[name]
    arith, [params] = Unrounded(5), random_params(Sequential(layers=(layer,)), 1)
    x = numbers(2, *shape)
    y, saved = layer.forward(arith, params, x, training=True)
    weights = numbers(3, *y.shape)
    dx, grads = layer.backward(arith, params, saved, weights, needs_dx=True)
    assert dx.shape == x.shape
    for place in np.ndindex(*shape):

        def f(t, place=place):
            moved = x.copy()
            moved[place] += t
            return (weights * layer.forward(arith, params, moved, training=True)[0]).sum()

        expected, tolerance = differences(f, 256 * np.abs(weights * y).sum())
        assert abs(dx[place] - expected) <= tolerance < 1e-5
    skipped, same = layer.backward(arith, params, saved, weights, needs_dx=False)
    assert list(same) == list(grads)
    for key, dw in grads.items():
        np.testing.assert_array_equal(same[key], dw)
    if params:
        assert skipped is None


@pytest.mark.parametrize("name", MODELS)
def test_the_gradients_of_a_model_are_differences(name):
    shape = MODELS[name]
    options = {"hidden": (6, 5)} if name == "mlp" else {}
    model = build(name, shape, 3, **options)
    check(model, random_params(model, 2), numbers(4, 3, *shape), 6)
