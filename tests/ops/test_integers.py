"""int8 arrays by the names people use, and what they say when a name is wrong."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from inputs import F32
from numpy.testing import assert_array_equal

import emunum
from emunum.formats import Mode
from emunum.formats.rounding import MODE_ALIASES, MODES
from emunum.ops.scaling import Scaled

X = np.random.default_rng(1).normal(size=(5, 7))


def test_nearest_and_absmax_unless_asked_otherwise() -> None:
    q = emunum.quantize_int8(X)
    s = F32(np.abs(X).max() / 127)
    assert float(q.scale) == float(s)
    expected = [round(Fraction(x) / Fraction(float(s))) for x in X.reshape(-1).tolist()]  # ties to even
    assert_array_equal(q.codes.reshape(-1), expected)
    assert np.abs(q.codes).max() == 127


def test_float64_is_not_rounded_to_float32_on_the_way() -> None:
    x = np.array([127.0, 0.5 + 2.0**-40, 1.5 - 2.0**-40])  # beside two ties, which float32 would make of them
    assert emunum.quantize_int8(x).codes.tolist() == [127, 1, 1]
    assert emunum.quantize_int8(x.astype(F32)).codes.tolist() == [127, 0, 2]


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, ml_dtypes.bfloat16, np.int16, np.uint8, ">f4", "bool"]
)
def test_anything_real_is_taken_at_its_value(dtype: object) -> None:
    x = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)  # type: ignore[call-overload]
    q = emunum.quantize_int8(x, scale="power_of_two")
    assert float(q.scale) == 2.0**-6
    assert_array_equal(q.codes, x.astype(int) * 64)


def test_integers_that_float64_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="convert it first"):
        emunum.quantize_int8(np.array([2**53 + 1]))
    with pytest.raises(TypeError, match="real numbers"):
        emunum.quantize_int8(np.array([1j]))


@pytest.mark.parametrize("name", [*MODES, *MODE_ALIASES])
def test_every_mode_has_its_name_and_its_object(name: str) -> None:
    mode = MODE_ALIASES.get(name) or MODES[name]
    named = emunum.quantize_int8(X, rounding=name, seed=4, random_bits=9)
    object_ = emunum.quantize_int8(X, rounding=mode, seed=4, random_bits=9)
    assert_array_equal(named.codes, object_.codes)


def test_the_seed_decides_stochastic_rounding_alone() -> None:
    first, again, other = (emunum.quantize_int8(X, rounding="stochastic", seed=seed) for seed in (1, 1, 2))
    assert_array_equal(first.codes, again.codes)
    assert (first.codes != other.codes).any()
    assert_array_equal(emunum.quantize_int8(X, seed=1).codes, emunum.quantize_int8(X, seed=2).codes)


def test_stochastic_rounding_is_right_on_average() -> None:
    # 0.25 of a step: the mean of 4000 draws lies within 5 sqrt(3 / 16 / 4000) = 0.035 of it.
    x = np.full(4001, 0.25)
    x[0] = 127
    q = emunum.quantize_int8(x, rounding="stochastic", seed=3)
    assert set(q.codes[1:].tolist()) == {0, 1}
    assert abs(q.codes[1:].mean() - 0.25) < 0.035


def test_one_scale_for_each_index_of_an_axis() -> None:
    x = np.array([[127.0, 1.0], [254.0, 3.0]])
    rows, columns = emunum.quantize_int8(x, axis=0), emunum.quantize_int8(x, axis=-1)
    assert (rows.scale.tolist(), rows.codes.tolist()) == ([[1.0], [2.0]], [[127, 1], [127, 2]])
    assert columns.scale[0, 0] == 2.0
    assert columns.codes.tolist() == [[64, 42], [127, 127]]  # 63.5 is a tie; 1 of 3 / 127 is 42.3


def test_a_product_goes_back_to_int8_with_one_rounding() -> None:
    a, b = (
        emunum.quantize_int8(X, scale="power_of_two"),
        emunum.quantize_int8(X.T, scale="power_of_two", axis=1),
    )
    y, overflows = emunum.matmul_int8(a, b)
    assert overflows == 0
    assert_array_equal(y.codes, a.codes.astype(int) @ b.codes.astype(int))
    again = emunum.quantize_int8(y, scale="power_of_two")
    largest = (np.abs(y.codes) * y.scale).max()
    assert float(again.scale) * 127 >= largest > float(again.scale) / 2 * 127
    exact = np.rint(y.codes * y.scale / again.scale)  # powers of two: exact until rint, ties to even
    assert_array_equal(again.codes, np.clip(exact, -127, 127))


@pytest.mark.parametrize(("overflow", "expected"), [("saturate", 2047), ("wrap", -510)])
def test_narrow_accumulators_by_name(overflow: str, expected: int) -> None:
    # 16129 is -255 in 12 bits, and -255 + 16129 is -510: both additions leave the range.
    ones = Scaled(codes=np.full((1, 2), 127, np.int8), scale=np.asarray(1.0))
    y, overflows = emunum.matmul_int8(ones, ones.T, accumulator="int12", overflow=overflow)
    assert y.codes.item() == expected
    assert overflows == 2


def test_wrong_names_and_shapes_say_so() -> None:
    q = emunum.quantize_int8(X)
    with pytest.raises(ValueError, match=r"unknown scale 'maxabs'.*absmax, power_of_two"):
        emunum.quantize_int8(X, scale="maxabs")
    with pytest.raises(ValueError, match=r"unknown rounding 'nearst'. Did you mean 'nearest'"):
        emunum.quantize_int8(X, rounding="nearst")
    with pytest.raises(ValueError, match="random_bits 33 is out of range"):
        emunum.quantize_int8(X, random_bits=33)
    with pytest.raises(ValueError, match=r"seed -1 is out of range"):
        emunum.quantize_int8(X, seed=-1)
    for x in ([np.nan, 1.0], [[np.inf]], F32(-np.inf)):
        with pytest.raises(ValueError, match="cannot hold NaN or infinities"):
            emunum.quantize_int8(x)
    for name in ("float32", "int", "int100", "uint8", ""):
        with pytest.raises(ValueError, match=f"unknown accumulator '{name}': .*int2 to int32"):
            emunum.matmul_int8(q, q.T, accumulator=name)
    for name in ("int1", "int33"):
        with pytest.raises(ValueError, match="int2 to int32 exist"):
            emunum.matmul_int8(q, q.T, accumulator=name)
    with pytest.raises(ValueError, match="unknown overflow rule 'cut'"):
        emunum.matmul_int8(q, q.T, overflow="cut")
    with pytest.raises(ValueError, match="choose saturate or wrap"):
        emunum.matmul_int8(q, q.T, overflow="ieee")
    with pytest.raises(ValueError, match=r"shapes \(5, 7\) and \(5, 7\) do not multiply"):
        emunum.matmul_int8(q, q)
    with pytest.raises(ValueError, match="do not multiply"):
        emunum.matmul_int8(emunum.quantize_int8(X[0]), q)
    with pytest.raises(ValueError, match="cannot be taken out of the sum"):
        emunum.matmul_int8(emunum.quantize_int8(X, axis=1), q.T)


def test_the_result_is_a_new_tensor() -> None:
    x = X.copy()
    x.flags.writeable = False
    q = emunum.quantize_int8(x)
    before = q.codes.copy()
    emunum.quantize_int8(q, rounding=Mode.UP)
    assert_array_equal(q.codes, before)


def test_sums_are_not_multiplied_as_if_they_were_int8() -> None:
    q = emunum.quantize_int8(X)
    sums, _ = emunum.matmul_int8(q, q.T)
    with pytest.raises((TypeError, ValueError)):
        emunum.matmul_int8(sums, q)
