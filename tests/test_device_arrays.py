"""The stand-in for device arrays refuses what CuPy's arrays refuse: tests that use it prove something."""

import numpy as np
import pytest
from device_arrays import DeviceArray, backend, inner_of

from emunum.formats import Cast
from emunum.kernels import cpu
from emunum.kernels.random import Key

HOST = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], np.float32)


@pytest.fixture
def x():
    return DeviceArray(HOST.copy())


REFUSED = {
    "np.asarray": np.asarray,
    "np.array": np.array,
    "np.ascontiguousarray": np.ascontiguousarray,
    "np.float32": lambda x: np.float32(x[0, 0]),
    "iteration": list,
    "np.broadcast": lambda x: np.broadcast(x, x),
    "array + device": lambda x: HOST + x,
    "device + array": lambda x: x + HOST,
    "in place": lambda x: HOST.__iadd__(x),
    "where": lambda x: np.where(x > 0, HOST, x),
    "concatenate": lambda x: np.concatenate([x, HOST]),
    "stack": lambda x: np.stack([HOST, x]),
    "index": lambda x: x[np.array([1, 0])],
    "assignment": lambda x: x.__setitem__(0, HOST[0]),
    "assignment to an array": lambda x: HOST.copy().__setitem__(0, x[0]),
    "ufunc's reduce": np.add.reduce,
    "initial of a function": lambda x: np.max(x, initial=0.0),
    "initial of a method": lambda x: x.max(initial=0.0),
    "a function CuPy lacks": lambda x: np.select([x > 0], [x]),
    "a type that depends on the version": lambda x: x * np.asarray(2.0),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_device_array_refuses(x, what):
    with pytest.raises(TypeError):
        REFUSED[what](x)


SAME = {
    "arithmetic": lambda x: 2.0 * x - x / np.float32(4),
    "comparison": lambda x: ~(x <= 0),
    "a wide number": lambda x: x.astype(np.float64) * np.asarray(0.1),
    "finite": lambda x: np.isfinite(x).all(),
    "where": lambda x: np.where(x > 0, x, 0.0),
    "moved axes": lambda x: np.moveaxis(x, 1, 0).reshape(-1, 2),
    "transpose": lambda x: x.T.swapaxes(0, 1),
    "pad": lambda x: np.pad(x, ((1, 0), (0, 2))),
    "like": lambda x: np.zeros_like(x, order="C", shape=(3, 1)),
    "stack": lambda x: np.stack([x.min(axis=(0, 1), keepdims=True), x.max(axis=(0, 1), keepdims=True)]),
    "take": lambda x: np.take(x, x.argmax(axis=1)),
    "clip": lambda x: np.clip(x, -1, 1, out=x),
    "where it holds": lambda x: x[x > 0],
    "codes": lambda x: x.astype(np.int8) + 1,
}


@pytest.mark.parametrize("what", SAME)
def test_what_a_device_array_does_as_numpys_do(x, what):
    found, expected = SAME[what](x), np.asarray(SAME[what](HOST.copy()))
    assert type(found) is DeviceArray
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(found.get(), expected)


def test_one_number_can_be_read(x):
    assert (float(x.sum()), int(x[0, 2]), bool((x > 3).any()), len(x)) == (5.5, 3, True, 2)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x > 0)


def test_like_makes_a_device_array_of_a_numpy_array(x):
    made = np.asarray([1, 2], np.int32, like=x)
    assert (type(made), made.tolist(), made.dtype) == (DeviceArray, [1, 2], np.int32)


def test_the_backend_of_such_arrays_takes_both_kinds_and_returns_its_own(x):
    device, to = backend("other"), Cast.from_names("e4m3")
    for given in (HOST, x):
        y = device.add(given, x, to, Key(0))
        assert type(y) is DeviceArray
        np.testing.assert_array_equal(y.get(), cpu.add(HOST, HOST, to, Key(0)))
    assert (device.NAME, device.host(HOST) is HOST, inner_of((x, 1))[1]) == ("other", True, 1)
    assert [type(device.resident(each)) for each in (HOST, x)] == [DeviceArray, DeviceArray]
