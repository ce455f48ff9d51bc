"""Networks of image layers: float32 beside float64, torch's layers, int8, strict mode, threads."""

import numpy as np
import pytest
from inputs import cast
from numpy.testing import assert_allclose, assert_array_equal
from oracles import assert_same
from twins import Unrounded

import emunum
from emunum.formats import Cast, Mode
from emunum.kernels.random import Key
from emunum.kernels.windows import Window
from emunum.nn.convolution import Conv2d
from emunum.nn.initial import SCHEMES, new_stream
from emunum.nn.layers import Dropout, Flatten, Linear, ReLU, trained
from emunum.nn.models import build
from emunum.nn.normalisation import BatchNorm2d
from emunum.nn.pooling import AvgPool2d, MaxPool2d
from emunum.nn.residual import Residual, Shortcut
from emunum.nn.sequential import Sequential
from emunum.ops.arithmetic import Arithmetic, IntegerArithmetic
from emunum.ops.events import EventLog
from emunum.ops.policy import POLICIES, IntegerPolicy, Role, parse_policy
from emunum.ops.scaling import INT8, IntegerAccumulator, Scale, Scaled
from emunum.ops.strict import Guarded, RawOperationError

F32 = np.float32
U = 2.0**-24
FLOAT32 = Arithmetic(policy=parse_policy("full", cast("float32")), key=Key(5))
TWIN = Unrounded(5)
"""The same key: dropout keeps the same elements."""

OVERLAPPING = Window(kernel=(3, 3), stride=(2, 2), padding=(1, 1))
MODELS = {
    "softmax_regression": (1, 4, 4),
    "mlp": (1, 4, 4),
    "cnn": (2, 5, 4),
    "lenet5": (1, 12, 13),
    "cifar_quick": (3, 8, 9),
    "resnet20": (3, 8, 8),
}


def step(model, arith, params, x, seed):
    """Output, gradients, and what the step leaves of the parameters."""
    y, saved = model.forward(arith, params, x, training=True)
    dy = np.random.default_rng(seed).integers(-2, 3, y.shape).astype(F32)
    grads = model.backward(arith, params, saved, dy)
    return y, grads, model.observe(arith, params, saved)


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(F32)


# ----------------------------------------------------------------------------------------------------
# float32 beside float64
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["softmax_regression", "mlp", "cnn", "lenet5"])
def test_in_float32_small_integers_train_as_mathematics_has_it(name):
    # Weights of -1, 0, 1, a dropout rate of one half (times 2) and no mean: every sum is an integer below
    # 2^24, which float32 holds. The gradients of the float64 twin are held against differences elsewhere.
    options = {"dropout": 0.5} if name != "softmax_regression" else {}
    model = build(name, MODELS[name], 3, (6, 5) if name == "mlp" else None, **options)
    rng = np.random.default_rng(1)
    params = [
        {key: rng.choice([-1, 0, 0, 0, 0, 1], w.shape).astype(F32) for key, w in own.items()}
        for own in model.initial(SCHEMES["zeros"], new_stream(0))
    ]
    x = rng.integers(-3, 4, (3, *MODELS[name])).astype(F32)
    y, grads, _ = step(model, FLOAT32, params, x, 2)
    expected, exact, _ = step(model, TWIN, params, x, 2)
    assert_same(y, expected)
    assert np.abs(expected).max() > 2
    for own, twin in zip(grads, exact, strict=True):
        assert list(own) == list(twin)
        for key, g in own.items():
            assert_same(g, twin[key])


# The terms of the sums on the longest way through the network and back: a first-order bound, in units of u,
# of the relative error where sums do not cancel. Errors of random sign come to its root, which leaves the
# rest for sums that do.
ROUNDINGS = {"mlp": 2 * 128, "cnn": 2 * (18 + 288 + 64 + 128), "lenet5": 2 * (25 + 150 + 120 + 84)}
ROUNDINGS |= {"cifar_quick": 2 * (75 + 800 + 800 + 256 + 64 + 27), "softmax_regression": 2 * 16}
ROUNDINGS |= {"resnet20": 2 * (27 + 6 * 144 + 6 * 288 + 6 * 576 + 19 * (64 * 3 + 12) + 64)}


@pytest.mark.parametrize("name", MODELS)
def test_in_float32_gradients_are_near_those_of_float64(name):
    model = build(name, MODELS[name], 3)
    params = model.initial(SCHEMES["he"], new_stream(3))
    x = numbers(4, 3, *MODELS[name])
    y, grads, seen = step(model, FLOAT32, params, x, 5)
    expected, exact, advanced = step(model, TWIN, params, x, 5)
    tolerance = ROUNDINGS[name] * U
    assert np.linalg.norm(y - expected) <= tolerance * np.linalg.norm(expected)
    for own, twin in zip(grads + seen, exact + advanced, strict=True):
        assert list(own) == list(twin)
        for key, g in own.items():
            assert np.linalg.norm(g - twin[key]) <= tolerance * np.linalg.norm(twin[key])


def test_in_float32_batch_normalisation_is_within_its_error_bound():
    # First order: mean and variance carry (M + 2) u; d = x - mean carries (M + 3) u (|x| + mean |x|), that
    # is kappa in units of the deviation; h, y and the two sums behind dx inherit it, and add M + 8 of
    # their own. (2 M + 32) u (1 + kappa)^2 times the sizes of the terms of dx bounds all of it.
    layer, x, dy = BatchNorm2d(n=3), numbers(6, 8, 3, 4, 4) + F32(2), numbers(7, 8, 3, 4, 4)
    params = layer.initial(SCHEMES["torch"], new_stream(0)) | {"gamma": numbers(8, 3), "beta": numbers(9, 3)}
    found = layer.forward(FLOAT32, params, x)
    exact = layer.forward(TWIN, params, x.astype(float))
    h, gamma, r, _, _ = exact[1]
    mean = lambda v: np.abs(v).mean(axis=(0, 2, 3), keepdims=True)  # noqa: E731
    kappa = (np.abs(x) + mean(x)).max() * r.max()
    relative = (2 * 8 * 16 + 32) * U * (1 + kappa) ** 2
    wide = lambda v: v.reshape(-1, 1, 1)  # noqa: E731
    size = np.abs(wide(gamma) * h) + np.abs(wide(params["beta"])) + np.abs(wide(gamma))
    assert (np.abs(found[0] - exact[0]) <= relative * size).all()
    dx, grads = layer.backward(FLOAT32, params, found[1], dy, needs_dx=True)
    truth, true_grads = layer.backward(TWIN, params, exact[1], dy.astype(float), needs_dx=True)
    size = np.abs(wide(gamma * r)) * (np.abs(dy) + mean(dy) + (1 + np.abs(h)) * mean(dy * h))
    assert (np.abs(dx - truth) <= relative * size).all()
    assert np.abs(dx - truth).max() < 1e-4 * np.abs(truth).max()
    count = 8 * 16
    assert (np.abs(grads["beta"] - true_grads["beta"]) <= relative * count * mean(dy).ravel()).all()
    bound = relative * count * mean(np.abs(dy) * (1 + np.abs(h))).ravel()
    assert (np.abs(grads["gamma"] - true_grads["gamma"]) <= bound).all()


# ----------------------------------------------------------------------------------------------------
# torch's layers, in float64: the same mathematics up to the order of float64 sums
# ----------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed: layers are not held against its own")


def theirs(torch, layer, params):
    """torch's layer of the same name and parameters."""
    match layer:
        case Conv2d():
            window = layer.window
            other = torch.nn.Conv2d(
                layer.n_in, layer.n_out, window.kernel, window.stride, window.padding, bias=layer.bias
            )
            names = {"w": "weight", "b": "bias"}
        case MaxPool2d():
            window = layer.window
            return torch.nn.MaxPool2d(window.kernel, window.stride, window.padding)
        case AvgPool2d():
            window = layer.window
            if window is None:
                return torch.nn.AdaptiveAvgPool2d(1)
            return torch.nn.AvgPool2d(window.kernel, window.stride, window.padding)
        case BatchNorm2d():
            other = torch.nn.BatchNorm2d(layer.n, eps=layer.eps, momentum=layer.momentum)
            names = {"gamma": "weight", "beta": "bias"}
            names |= {"running_mean": "running_mean", "running_variance": "running_var"}
    other = other.double()
    other.load_state_dict({names[key]: torch.tensor(w) for key, w in params.items()}, strict=False)
    return other


FIVE = Window(kernel=(5, 5), padding=(2, 2))
TORCH_LAYERS = {
    "Conv2d": (Conv2d(n_in=2, n_out=3, window=Window(kernel=(3, 2), stride=(2, 1), padding=(1, 0))), 2),
    "Conv2d without bias": (Conv2d(n_in=2, n_out=3, window=FIVE, bias=False), 2),
    "MaxPool2d": (MaxPool2d(window=OVERLAPPING), 2),
    "AvgPool2d": (AvgPool2d(window=OVERLAPPING), 2),
    "AvgPool2d of the image": (AvgPool2d(), 2),
    "BatchNorm2d": (BatchNorm2d(n=2, eps=2.0**-10, momentum=0.3), 2),
}


@pytest.mark.parametrize("name", TORCH_LAYERS)
def test_layers_are_those_of_torch(torch, name):
    layer, channels = TORCH_LAYERS[name]
    params = {
        key: w.astype(float) + 0.25 for key, w in layer.initial(SCHEMES["torch"], new_stream(1)).items()
    }
    other = theirs(torch, layer, params)
    x = np.random.default_rng(2).normal(size=(3, channels, 7, 6))
    given = torch.tensor(x, requires_grad=True)
    y, saved = layer.forward(TWIN, params, x, training=True)
    expected = other(given)
    assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    dy = np.random.default_rng(3).normal(size=y.shape)
    expected.backward(torch.tensor(dy))
    dx, grads = layer.backward(TWIN, params, saved, dy, needs_dx=True)
    assert_allclose(dx, given.grad.numpy(), rtol=1e-12, atol=1e-13)
    for g, w in zip(grads.values(), other.parameters(), strict=True):
        assert_allclose(g, w.grad.numpy(), rtol=1e-12, atol=1e-13)
    new = layer.observe(TWIN, params, saved)
    for key, buffer in [("running_mean", "running_mean"), ("running_variance", "running_var")]:
        if key in new:
            # momentum is a float32 constant with us
            assert_allclose(new[key], getattr(other, buffer).numpy(), rtol=1e-7)
    other.eval()
    y, _ = layer.forward(TWIN, new, x, training=False)
    assert_allclose(y, other(given).detach().numpy(), rtol=1e-6, atol=1e-6)


# ----------------------------------------------------------------------------------------------------
# Strict mode, policies, threads
# ----------------------------------------------------------------------------------------------------


def trained_step(model, arith, params, x, lr=0.05):
    """One step of plain descent through the arithmetic, running statistics after it."""
    at_update = arith.at(0, 1)
    y, saved = model.forward(arith, params, arith.cast(Role.INPUT, x), training=True)
    dy = arith.scale(1 / len(x), y, Role.ERROR)
    grads = model.backward(arith, params, saved, dy)
    new = []
    for index, (own, slopes) in enumerate(zip(params, grads, strict=True)):
        place = at_update.at(index)
        stepped = {
            name: place.cast(Role.MASTER, place.scaled_add(own[name], -lr, g, part), part)
            for part, (name, g) in enumerate(slopes.items())
        }
        new.append(own | stepped)
    return model.observe(arith, new, saved)


def flat(params):
    return {(index, name): np.asarray(w) for index, own in enumerate(params) for name, w in own.items()}


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["cnn", "cifar_quick", "resnet20"])
def test_a_training_step_passes_in_strict_mode_with_the_same_bits(name, policy, rounding):
    model, x = build(name, (2, 8, 8), 3), numbers(10, 3, 2, 8, 8)
    params = model.initial(SCHEMES["he"], new_stream(0))
    chosen = parse_policy(policy, cast("e5m2", rounding))
    loose = Arithmetic(policy=chosen, key=Key(7)).at(1)
    strict = Arithmetic(policy=chosen, key=Key(7), strict=True).at(1)
    expected, found = trained_step(model, loose, params, x), trained_step(model, strict, params, x)
    changed = 0
    for (place, w), (same, other) in zip(flat(expected).items(), flat(found).items(), strict=True):
        assert place == same
        assert_same(other, w)
        changed += int((w != params[place[0]][place[1]]).sum())
    assert changed > 1000
    running = [w for own in found for key, w in own.items() if key not in trained(own)]
    assert all(type(w) is Guarded for w in running)
    y, _ = model.forward(strict, found, strict.cast(Role.INPUT, x), training=False)
    assert y.shape == (3, 3)


def test_strict_mode_refuses_a_sum_over_pixels_by_hand():
    class Careless(AvgPool2d):
        def forward(self, arith, params, x, training=True):
            return x.mean(axis=(2, 3)), None

    arith = Arithmetic(policy=parse_policy("full", cast("e4m3")), key=Key(0), strict=True)
    with pytest.raises(RawOperationError, match="mean"):
        Careless().forward(arith, {}, arith.cast(Role.INPUT, numbers(1, 1, 1, 2, 2)))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", ["cnn", "resnet20"])
def test_the_number_of_threads_decides_nothing_about_a_step(name):
    model, x = build(name, (1, 12, 12), 4), numbers(11, 16, 1, 12, 12)
    params = model.initial(SCHEMES["torch"], new_stream(0))
    arith = Arithmetic(policy=parse_policy("full", cast("e4m3", "stochastic")), key=Key(9)).at(4)
    digests = set()
    for threads in (1, 2, 4):
        emunum.set_threads(threads)
        new = flat(trained_step(model, arith, params, x))
        digests.add(b"".join(w.tobytes() for w in new.values()))
    assert len(digests) == 1


def one_of_each():
    """Every layer once, windows overlapping. Takes (1, 8, 8)."""
    return Sequential(
        layers=(
            Conv2d(n_in=1, n_out=4, window=Window(kernel=(3, 3), padding=(1, 1))),
            Residual(
                body=(BatchNorm2d(n=4), ReLU(), Conv2d(n_in=4, n_out=4, window=OVERLAPPING)),
                shortcut=Shortcut(n_out=4, stride=2),
            ),
            MaxPool2d(window=OVERLAPPING),
            AvgPool2d(window=OVERLAPPING),
            Dropout(rate=0.5),
            Flatten(),
            Linear(n_in=4, n_out=2),
        )
    )


def test_every_rounding_of_a_step_has_random_bits_of_its_own():
    keys = []

    class Spy(type(emunum)):
        def __getattr__(self, name):
            function = getattr(emunum.kernels.cpu, name)

            def spied(*args, **options):
                found = [v for v in (*args, *options.values()) if isinstance(v, Key)]
                keys.extend((name, key.value) for key in found)
                return function(*args, **options)

            return spied

    model = one_of_each()
    params = model.initial(SCHEMES["torch"], new_stream(0))
    policy = parse_policy("full", cast("e4m3", "stochastic"))
    arith = Arithmetic(policy=policy, key=Key(1), backend=Spy("spy")).at(2)
    trained_step(model, arith, params, numbers(12, 2, 1, 8, 8))
    assert len(keys) > 60
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_counting_events_changes_no_bit_and_counts_every_layer_that_rounds(rounding):
    model, log = one_of_each(), EventLog()
    params = model.initial(SCHEMES["torch"], new_stream(0))
    arith = Arithmetic(policy=parse_policy("full", cast("e4m3", rounding)), key=Key(1))
    counted = Arithmetic(policy=arith.policy, key=Key(1), events=log)
    x = numbers(12, 2, 1, 8, 8)
    expected, found = (flat(trained_step(model, which.at(2), params, x)) for which in (arith, counted))
    for place, w in expected.items():
        assert_same(found[place], w)
    rounding_layers = {place[1][0] for place, _, entry in log.drain() if len(place) > 1 and entry.counts[0]}
    assert rounding_layers == {0, 1, 2, 3, 4, 6}  # all but Flatten: max-pooling adds where windows overlap


# ----------------------------------------------------------------------------------------------------
# int8
# ----------------------------------------------------------------------------------------------------


def integers(mode=Mode.NEAREST_EVEN, **options):
    chosen = {
        "name": "int8",
        "cast": Cast(format=INT8, mode=mode),
        "accumulator": IntegerAccumulator(),
        "scale": Scale.ABSMAX,
        "per_channel": False,
        "integer_master": False,
    }
    return IntegerArithmetic(policy=IntegerPolicy(**chosen | options), key=Key(3))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("mode", [Mode.NEAREST_EVEN, Mode.STOCHASTIC], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_int8_gradients_point_where_those_of_float32_do(name, mode, per_channel):
    # Tensors of 127 steps a side: the cosine of the angle between the gradients is near 1 in the last layer,
    # where one product lies between, and far above 0 even where twenty layers of rounding add up. Exact
    # bits are held below, layer by layer.
    dropout = 0.0 if name in ("mlp", "cnn") else None
    model = build(name, MODELS[name], 3, dropout=dropout)
    params = model.initial(SCHEMES["he"], new_stream(3))
    x = numbers(4, 16, *MODELS[name])
    arith = integers(mode, per_channel=per_channel)
    y, saved = model.forward(arith, params, arith.cast(Role.INPUT, x), training=True)
    dy = numbers(5, *y.shape)
    grads = model.backward(arith, params, saved, dy)
    expected, kept = model.forward(TWIN, params, x.astype(float), training=True)
    exact = model.backward(TWIN, params, kept, dy.astype(float))
    assert isinstance(y, Scaled)
    assert cosine(y.values(), expected) > 0.95
    last = max(index for index, own in enumerate(exact) if own)
    values = [{key: arith.values(g) for key, g in own.items()} for own in grads]
    assert [list(own) for own in values] == [list(own) for own in exact]
    assert cosine(values[last]["w"], exact[last]["w"]) > 0.95
    whole = [np.concatenate([g.ravel() for own in every for g in own.values()]) for every in (values, exact)]
    assert cosine(*whole) > 0.7


def cosine(a, b):
    a, b = a.astype(float).ravel(), np.asarray(b, float).ravel()
    return (a @ b) / np.sqrt((a @ a) * (b @ b))


def test_int8_convolution_adds_codes_and_rounds_its_bias_to_their_scale():
    arith, layer = integers(), Conv2d(n_in=2, n_out=3, window=OVERLAPPING)
    params = {"w": numbers(6, 3, 2, 3, 3), "b": numbers(7, 3)}
    x, dy = arith.cast(Role.INPUT, numbers(8, 2, 2, 5, 6)), numbers(9, 2, 3, 3, 3)
    y, saved = layer.forward(arith, params, x)
    w8 = arith.cast(Role.WEIGHT, params["w"])
    sums = TWIN.convolve(x.codes.astype(int), w8.codes.astype(int), OVERLAPPING, Role.ACTIVATION)
    scale = float(x.scale) * float(w8.scale)
    bias = np.rint(params["b"].astype(float) / scale)
    total = Scaled(codes=(sums + bias.reshape(-1, 1, 1)).astype(np.int32), scale=np.asarray(scale))
    expected = arith.cast(Role.ACTIVATION, total)
    assert_array_equal(y.codes, expected.codes)
    assert float(y.scale.reshape(())) == float(expected.scale)
    dx, grads = layer.backward(arith, params, saved, dy, needs_dx=True)
    error = arith.cast(Role.ERROR, dy)
    codes = error.codes.astype(int)
    assert_array_equal(dx.codes, TWIN.convolve_input(codes, w8.codes, OVERLAPPING, x.shape, Role.ERROR))
    for key, value in {
        "w": TWIN.convolve_weights(codes, x.codes.astype(int), OVERLAPPING, Role.GRADIENT),
        "b": codes.sum(axis=(0, 2, 3)),
    }.items():
        own = float(error.scale) * (float(x.scale) if key == "w" else 1.0)
        integer = Scaled(codes=value.astype(np.int32), scale=np.asarray(own))
        assert_array_equal(grads[key].codes, arith.cast(Role.GRADIENT, integer).codes)


def test_int8_images_are_moved_and_compared_as_integers():
    arith = integers()
    x = arith.cast(Role.INPUT, numbers(10, 2, 3, 4, 4))
    y, saved = MaxPool2d(window=Window(kernel=(2, 2), stride=(2, 2))).forward(arith, {}, x)
    assert_array_equal(y.codes, x.codes.reshape(2, 3, 2, 2, 2, 2).max(axis=(3, 5)))
    y, saved = Flatten().forward(arith, {}, x)
    assert_array_equal(y.codes, x.codes.reshape(2, -1))
    back, _ = Flatten().backward(arith, {}, saved, y, needs_dx=True)
    assert_array_equal(back.codes, x.codes)
    y, _ = ReLU().forward(arith, {}, x)
    assert_array_equal(y.codes, np.maximum(x.codes, 0))
    y, _ = Shortcut(n_out=4, stride=2).forward(arith, {}, x)
    assert_array_equal(y.codes[:, :3], x.codes[:, :, ::2, ::2])
    assert not y.codes[:, 3:].any()
    assert y.codes.dtype == np.int8
    assert float(y.scale) == float(x.scale)


def test_int8_dropout_scales_what_it_keeps_and_rounds_it_to_int8():
    arith = integers()
    x = arith.cast(Role.INPUT, numbers(11, 4, 50))
    y, kept = Dropout(rate=0.25).forward(arith, {}, x)
    values = np.where(kept, x.values() * F32(1 / 0.75), F32(0))
    expected = arith.cast(Role.ACTIVATION, values)
    assert_array_equal(y.codes, expected.codes)
    assert float(y.scale) == float(expected.scale)
    assert (~kept).any()
    assert (y.codes[~kept] == 0).all()


def test_int8_batch_normalisation_is_float32_between_integer_tensors():
    arith, layer = integers(), BatchNorm2d(n=2)
    params = layer.initial(SCHEMES["torch"], new_stream(0)) | {"gamma": numbers(1, 2), "beta": numbers(2, 2)}
    x = arith.cast(Role.INPUT, numbers(12, 4, 2, 3, 3))
    y, saved = layer.forward(arith, params, x)
    assert y.codes.dtype == np.int8
    total = x.codes.astype(int).sum(axis=(0, 2, 3)) * float(x.scale)
    mean = total.astype(F32) * F32(1 / 36)  # integer sums, then float32
    assert_array_equal(saved[3], mean)
    d = x.values() - mean.reshape(-1, 1, 1)
    assert_array_equal(saved[0], d * saved[2].reshape(-1, 1, 1))
    new = layer.observe(arith, params, saved)
    tenth = F32(0.1) * (mean - params["running_mean"])
    assert_array_equal(new["running_mean"], params["running_mean"] + tenth)
