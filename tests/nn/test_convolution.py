"""Conv2d, bit for bit: patches, products and sums one scalar at a time; its initial weights are torch's."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from oracles import assert_same

from emunum.kernels.windows import Window
from emunum.nn.convolution import Conv2d
from emunum.nn.initial import SCHEMES, linear, new_stream
from emunum.ops.policy import Role

F32 = np.float32
ACTIVATION, ERROR, GRADIENT, WEIGHT = Role.ACTIVATION, Role.ERROR, Role.GRADIENT, Role.WEIGHT

CASES = {
    "3x3 padded": (Window(kernel=(3, 3), padding=(1, 1)), (2, 2, 3, 4)),
    "strided": (Window(kernel=(2, 3), stride=(2, 1), padding=(1, 0)), (2, 3, 4, 5)),
    "1x1": (Window(kernel=(1, 1)), (3, 2, 2, 3)),
}


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(F32)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("case", CASES)
def test_forward_and_backward_round_as_the_docstring_says(both, case, bias):
    arith, twin = both
    window, shape = CASES[case]
    layer = Conv2d(n_in=shape[1], n_out=6, window=window, bias=bias)
    params = {"w": numbers(1, 6, shape[1], *window.kernel)} | ({"b": numbers(2, 6)} if bias else {})
    x = numbers(3, *shape)
    y, saved = layer.forward(arith, params, x)
    w = twin.cast(WEIGHT, params["w"], 0)
    expected = twin.convolve(x, w, window, ACTIVATION)
    if bias:
        b = twin.cast(WEIGHT, params["b"], 1)
        expected = twin.add(expected, b.reshape(-1, 1, 1), ACTIVATION)
    assert_same(y, twin.cast(ACTIVATION, expected))

    dy = numbers(4, *y.shape)
    dx, grads = layer.backward(arith, params, saved, dy, needs_dx=True)
    error = twin.cast(ERROR, dy)
    dw = twin.convolve_weights(error, x, window, GRADIENT)
    assert_same(grads["w"], twin.cast(GRADIENT, dw, 0))
    assert_same(dx, twin.convolve_input(error, w, window, x.shape, ERROR))
    assert list(grads) == list(params)
    if bias:
        assert_same(grads["b"], twin.cast(GRADIENT, twin.channel_sum(error, GRADIENT), 1))
    skipped, same = layer.backward(arith, params, saved, dy, needs_dx=False)
    assert skipped is None
    assert_same(same["w"], grads["w"])


def test_its_parameters_are_those_of_a_linear_layer_of_all_inputs_under_the_kernel():
    layer = Conv2d(n_in=3, n_out=4, window=Window(kernel=(5, 2)))
    params = layer.initial(SCHEMES["torch"], new_stream(7))
    w, b = linear(SCHEMES["torch"], new_stream(7), 30, 4)
    assert_array_equal(params["w"], w.reshape(4, 3, 5, 2))
    assert_array_equal(params["b"], b)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_layers_in_turn_have_the_bits_of_torch(bias):
    torch = pytest.importorskip("torch", reason="torch is not installed: its bits cannot be compared")
    if torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("torch runs without fused multiply-add here, so it rounds each draw twice")
    with torch.random.fork_rng():
        torch.manual_seed(11)
        theirs = [torch.nn.Conv2d(a, b, 3, bias=bias) for a, b in ((2, 5), (5, 4))]
    stream = new_stream(11)
    for layer, n_in, n_out in zip(theirs, (2, 5), (5, 4), strict=True):
        ours = Conv2d(n_in=n_in, n_out=n_out, window=Window(kernel=(3, 3)), bias=bias)
        params = ours.initial(SCHEMES["torch"], stream)
        assert_array_equal(params["w"], layer.weight.detach().numpy())
        if bias:
            assert_array_equal(params["b"], layer.bias.detach().numpy())


def test_a_layer_without_inputs_is_refused():
    with pytest.raises(ValueError, match="0 inputs and 4 outputs is empty"):
        Conv2d(n_in=0, n_out=4, window=Window(kernel=(3, 3)), bias=False).initial(
            SCHEMES["torch"], new_stream(0)
        )
