"""Initial parameters against torch itself, against stored torch bits, and against exact arithmetic."""

import itertools
import math
import random
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from emunum.nn.initial import SCHEMES, linear, new_stream, parse_scheme

TORCH, HE, ZEROS = (SCHEMES[name] for name in ("torch", "he", "zeros"))
SEEDS = [0, 1, 42, 2**31, 2**32 - 1]

# float32 bit patterns by torch 2.13.0+cpu on x86-64 with AVX-512: torch.manual_seed(42), then
# nn.Linear(2, 3), nn.Linear(3, 2), nn.Linear(2, 1). One entry a layer: shape, weights, biases.
STORED_NETWORK = [
    (
        (2, 3),
        [0x3F0A6571, 0x3F163F5B, 0xBE29A1A3, 0x3F264952, 0xBE1EA5DF, 0x3E121CB0],
        [0xBEB042A6, 0x3ED49E79, 0x3F1F9389],
    ),
    (
        (3, 2),
        [0xBED8DCE9, 0x3F0077F9, 0x3DDD4CB6, 0x3EDA64F5, 0x3DA0228A, 0x3E8E8952],
        [0xBDA6F235, 0x3EE3E05D],
    ),
    ((2, 1), [0x3DD60CD7, 0xBEA9039C], [0x3E3890EB]),
]

# The same torch, one nn.Linear after torch.manual_seed: seed, shape, first and last weights, first biases.
STORED_LAYERS = [
    (0, (1, 1), [0xBBF55400], [0xBBF55400], [0x3F09545E]),
    (1, (5, 2), [0x3E6BF68D, 0xBE4A20B2], [0x3D7EA645, 0xBD604AA6], [0x3DFE0875, 0x3CB4BB0A]),
    (2**31, (7, 1), [0x3E9FBE66, 0x3E7E3A81], [0x3CE0B405, 0x3C3349BD], [0xBE1B5F20]),
    (2**32 - 1, (784, 10), [0x3D1078BB, 0x3BA6E5CA], [0xBB81AA77, 0x3CBAF783], [0x3B047ACA, 0x3C5B8705]),
]


def bits(values):
    assert values.dtype == np.float32
    return values.view(np.uint32)


def assert_same_bits(left, right):
    assert_array_equal(bits(left), bits(right))


def mt19937_outputs(seed, count):
    """The generator by its definition: Knuth's recurrence fills the state, Python's own twister runs it."""
    state = [seed]
    for i in range(1, 624):
        state.append((1812433253 * (state[-1] ^ (state[-1] >> 30)) + i) % 2**32)
    twister = random.Random()
    twister.setstate((3, (*state, 624), None))
    return [twister.getrandbits(32) for _ in range(count)]


def exact_uniform(output, bound):
    """lo + (k / 2^24) (hi - lo) in rationals; its 48 bits fit float64, so np.float32 is the one rounding."""
    hi = Fraction(float(np.float32(bound)))
    return np.float32(float(-hi + Fraction(output % 2**24, 2**24) * (2 * hi)))


@pytest.fixture
def torch():
    module = pytest.importorskip("torch", reason="torch is not installed: only its stored bits are compared")
    if module.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("torch runs without fused multiply-add here, so it rounds each draw twice")
    state = module.random.get_rng_state()
    yield module
    module.random.set_rng_state(state)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_layer_has_the_bits_of_torch(torch, seed):
    for n_in in (*range(1, 21), 64, 100, 784):
        for n_out in (1, 2, 10, 128):
            torch.manual_seed(seed)
            layer = torch.nn.Linear(n_in, n_out)
            w, b = linear(TORCH, new_stream(seed), n_in, n_out)
            assert_same_bits(w, layer.weight.detach().numpy())
            assert_same_bits(b, layer.bias.detach().numpy())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("widths", [(1, 1, 1), (13, 64, 32, 1), (784, 100, 10)], ids=str)
def test_layers_in_turn_have_the_bits_of_torch(torch, widths, seed):
    stream = new_stream(seed)
    torch.manual_seed(seed)
    for n_in, n_out in itertools.pairwise(widths):
        layer = torch.nn.Linear(n_in, n_out)
        w, b = linear(TORCH, stream, n_in, n_out)
        assert_same_bits(w, layer.weight.detach().numpy())
        assert_same_bits(b, layer.bias.detach().numpy())


def test_a_torch_convolution_is_a_linear_layer_reshaped(torch):
    torch.manual_seed(42)
    layer = torch.nn.Conv2d(3, 8, kernel_size=(5, 2))
    w, b = linear(TORCH, new_stream(42), 3 * 5 * 2, 8)
    assert_same_bits(w.reshape(8, 3, 5, 2), layer.weight.detach().numpy())
    assert_same_bits(b, layer.bias.detach().numpy())


def test_layers_in_turn_have_the_stored_bits_of_torch():
    stream = new_stream(42)
    for (n_in, n_out), weights, biases in STORED_NETWORK:
        w, b = linear(TORCH, stream, n_in, n_out)
        assert_array_equal(bits(w), np.array(weights, np.uint32).reshape(n_out, n_in))
        assert_array_equal(bits(b), np.array(biases, np.uint32))


@pytest.mark.parametrize(("seed", "shape", "first", "last", "biases"), STORED_LAYERS)
def test_a_layer_has_the_stored_bits_of_torch(seed, shape, first, last, biases):
    w, b = linear(TORCH, new_stream(seed), *shape)
    flat = bits(w).ravel()
    assert_array_equal(flat[: len(first)], np.array(first, np.uint32))
    assert_array_equal(flat[-len(last) :], np.array(last, np.uint32))
    assert_array_equal(bits(b)[: len(biases)], np.array(biases, np.uint32))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scheme", [TORCH, HE], ids=lambda scheme: scheme.name)
def test_every_value_is_one_output_rounded_once(scheme, seed):
    bound = {"torch": 1 / math.sqrt(11), "he": math.sqrt(6 / 11)}[scheme.name]
    w, b = linear(scheme, new_stream(seed), 11, 67)
    expected = np.array([exact_uniform(output, bound) for output in mt19937_outputs(seed, 11 * 67 + 67)])
    assert_same_bits(w, expected[: 11 * 67].reshape(67, 11))
    assert_same_bits(b, expected[11 * 67 :] if scheme is TORCH else np.zeros(67, np.float32))


def test_the_two_bounds_of_torch_are_one_float32():
    n_in = np.arange(1, 2**20, dtype=np.float64)
    weight_bound = np.sqrt(3.0) * (np.sqrt(2.0 / (1 + np.sqrt(5.0) ** 2)) / np.sqrt(n_in))
    bias_bound = 1 / np.sqrt(n_in)
    assert_same_bits(weight_bound.astype(np.float32), bias_bound.astype(np.float32))


def test_he_weights_have_the_variance_2_over_n_in():
    w, _ = linear(HE, new_stream(42), 50, 4000)
    # The sample variance of n uniform draws has the relative standard deviation sqrt(0.8 / n); six of them.
    assert abs(np.var(w, dtype=np.float64) / (2 / 50) - 1) < 6 * math.sqrt(0.8 / w.size)


def test_he_biases_draw_nothing():
    stream = new_stream(7)
    linear(HE, stream, 3, 2)
    assert stream.randint(0, 2**32, dtype=np.uint32) == mt19937_outputs(7, 7)[6]


def test_zeros_are_zero_and_draw_nothing():
    stream = new_stream(7)
    w, b = linear(ZEROS, stream, 3, 2)
    assert_same_bits(w, np.zeros((2, 3), np.float32))
    assert_same_bits(b, np.zeros(2, np.float32))
    assert stream.randint(0, 2**32, dtype=np.uint32) == mt19937_outputs(7, 1)[0]


def test_the_global_generator_of_numpy_is_untouched():
    before = np.random.get_state(legacy=False)
    linear(TORCH, new_stream(0), 3, 2)
    after = np.random.get_state(legacy=False)
    assert_array_equal(before["state"]["key"], after["state"]["key"])
    assert before["state"]["pos"] == after["state"]["pos"]


def test_every_scheme_is_found_by_its_name():
    assert list(SCHEMES) == ["torch", "he", "zeros"]
    assert all(parse_scheme(name) is scheme for name, scheme in SCHEMES.items())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zero", "unknown initialisation 'zero'. Did you mean 'zeros'? Known: torch, he, zeros."),
        ("xavier", "unknown initialisation 'xavier'. Known: torch, he, zeros."),
    ],
)
def test_an_unknown_scheme_is_refused(name, message):
    with pytest.raises(ValueError) as error:
        parse_scheme(name)
    assert str(error.value) == message


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_beyond_32_bits_is_refused(seed):
    with pytest.raises(ValueError, match=rf"seed {seed} is outside 0\.\.2\^32 - 1"):
        new_stream(seed)


@pytest.mark.parametrize(("n_in", "n_out"), [(0, 1), (1, 0), (-3, 1)])
def test_an_empty_layer_is_refused(n_in, n_out):
    with pytest.raises(ValueError, match=f"a layer of {n_in} inputs and {n_out} outputs is empty"):
        linear(ZEROS, new_stream(0), n_in, n_out)


def test_importing_the_module_imports_no_torch():
    code = "import sys, emunum.nn.initial; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
