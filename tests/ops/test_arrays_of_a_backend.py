"""Integer tensors on a device: codes there, scales here, bits those of the CPU, whose tests have oracles."""

import numpy as np
import pytest
from device_arrays import DeviceArray, backend

from emunum.formats import Cast, Overflow
from emunum.kernels import cpu
from emunum.kernels.random import Key
from emunum.nn.loss_scaling import all_finite
from emunum.ops.arithmetic import bind
from emunum.ops.policy import IntegerPolicy, Role, parse_policy
from emunum.ops.scaling import INT8, IntegerAccumulator, Scale, Scaled, matmul_int8, quantize_int8

DEVICE = backend()
TO = Cast.from_names("int8", "stochastic")
RNG = np.random.default_rng(5)
X = RNG.normal(size=(4, 3, 2)).astype(np.float32)
CODES = RNG.integers(-30_000, 30_000, (4, 3, 2)).astype(np.int32)
SCALES = {
    "one": np.asarray(0.125),
    "first axis": np.array([0.1, 3.0, 0.7, 1.0]).reshape(4, 1, 1),
    "middle axis": np.array([0.1, 0.3, 0.7]).reshape(1, 3, 1),
    "two axes": np.arange(1.0, 9.0).reshape(4, 1, 2) / 3,
    "last axis": np.array([0.1, 3.0]),
}


def both(x):
    """x for the CPU and for the device."""
    moved = DeviceArray(x.codes) if isinstance(x, Scaled) else DeviceArray(x)
    return x, Scaled(codes=moved, scale=x.scale) if isinstance(x, Scaled) else moved


def same(found, expected):
    assert type(found.codes) is DeviceArray
    assert type(found.scale) is np.ndarray
    np.testing.assert_array_equal(found.codes.get(), expected.codes)
    np.testing.assert_array_equal(found.scale, expected.scale)


def largest(x, axis):
    """max|x| of all, or for each index along an axis."""
    return abs(x).max() if axis is None else abs(x).max(axis=tuple({0, 1, 2} - {axis}), keepdims=True)


@pytest.mark.parametrize("scale", list(Scale))
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_numbers_are_quantised_on_a_device_as_on_the_cpu(axis, scale):
    here, there = both(X)
    options = {"scale": scale, "axis": axis}
    same(
        quantize_int8(there, TO, Key(3), **options, backend=DEVICE),
        quantize_int8(here, TO, Key(3), **options),
    )


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("own", SCALES)
def test_integers_with_any_scales_are_quantised_again(own, axis):
    here, there = both(Scaled(codes=CODES, scale=SCALES[own]))
    expected = quantize_int8(here, TO, Key(3), axis=axis)
    same(quantize_int8(there, TO, Key(3), axis=axis, backend=DEVICE), expected)
    top = largest(CODES * SCALES[own], axis if axis is None else axis % 3)
    np.testing.assert_allclose(expected.scale, top / 127, rtol=2.0**-23)  # rounded to float32, to nearest


@pytest.mark.parametrize("own", SCALES)
def test_what_integers_stand_for_is_on_the_device_too(own):
    values = Scaled(codes=DeviceArray(CODES), scale=SCALES[own]).values()
    assert (type(values), values.dtype) == (DeviceArray, np.float32)
    np.testing.assert_array_equal(values.get(), (CODES * SCALES[own]).astype(np.float32))


def test_an_empty_tensor_and_a_single_number_have_scales():
    empty = quantize_int8(DeviceArray(X[:0]), TO, Key(0), axis=1, backend=DEVICE)
    assert (empty.codes.shape, empty.scale.tolist()) == ((0, 3, 2), [[[1.0], [1.0], [1.0]]])
    one = quantize_int8(DeviceArray(np.asarray(-2.0, np.float32)), TO, Key(0), backend=DEVICE)
    assert (one.codes.tolist(), float(one.values())) == (-127, pytest.approx(-2.0, rel=2.0**-23))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_on_a_device(value):
    x = DeviceArray(np.array([1.0, value, -1.0], np.float32))
    with pytest.raises(ValueError, match="cannot hold NaN or infinities"):
        quantize_int8(x, TO, Key(0), backend=DEVICE)


def test_products_stay_on_the_device():
    a, b = (quantize_int8(DeviceArray(x), TO, Key(0), backend=DEVICE) for x in (X[0], X[0].T.copy()))
    y, overflows = matmul_int8(a, b, IntegerAccumulator(bits=16), backend=DEVICE)
    wide = [operand.codes.get().astype(np.int64) for operand in (a, b)]
    np.testing.assert_array_equal(y.codes.get(), np.clip(wide[0] @ wide[1], -(2**15), 2**15 - 1))
    assert overflows == int((abs(wide[0] @ wide[1]) >= 2**15).sum())


@pytest.mark.parametrize("overflow", [Overflow.SATURATE, Overflow.WRAP])
def test_a_bias_that_leaves_the_accumulator_saturates_or_wraps(overflow):
    policy = IntegerPolicy(
        name="int8",
        cast=Cast.from_names("int8"),
        accumulator=IntegerAccumulator(bits=8, overflow=overflow),
        scale=Scale.ABSMAX,
        per_channel=False,
        integer_master=False,
    )
    arith = bind(policy, Key(0), backend=DEVICE)
    a = Scaled(codes=DeviceArray(np.array([[100, -100], [3, 127]], np.int32)), scale=np.asarray(0.5))
    y = arith.add(a, np.array([20.0, -30.0], np.float32), Role.ACTIVATION)  # 40 and -60 of that scale
    expected = {Overflow.SATURATE: [[127, -128], [43, 67]], Overflow.WRAP: [[-116, 96], [43, 67]]}
    assert y.codes.tolist() == expected[overflow]
    assert arith.overflows.total() == 2
    np.testing.assert_array_equal(arith.host(y), np.array(expected[overflow], np.float32) / 2)


def test_a_sum_over_samples_is_one_of_integers_with_one_scale():
    arith = bind(
        IntegerPolicy(
            name="int8",
            cast=Cast(format=INT8),
            accumulator=IntegerAccumulator(),
            scale=Scale.ABSMAX,
            per_channel=False,
            integer_master=False,
        ),
        Key(0),
        backend=DEVICE,
    )
    x = Scaled(codes=DeviceArray(np.array([[1, -2], [100, 3]], np.int8)), scale=np.asarray(0.25))
    total = arith.column_sum(x, Role.GRADIENT)
    assert (total.codes.tolist(), total.scale.tolist()) == ([101, 1], [0.25])


@pytest.mark.parametrize("where", [cpu, DEVICE], ids=["cpu", "device"])
def test_one_gradient_that_is_not_finite_is_enough(where):
    arith = bind(parse_policy("full", Cast.from_names("e4m3")), Key(0), backend=where)
    good = {"w": where.resident(np.ones(3, np.float32))}
    bad = {"b": where.resident(np.array([0.0, np.inf], np.float32))}
    assert [all_finite(arith, grads) for grads in ([], [{}], [good, good], [good, bad], [bad, good])] == [
        True, True, True, False, False,
    ]  # fmt: skip
