"""Arrays that NumPy did not make: what is read, through which door, and what is said of the rest."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from inputs import IN_ML_DTYPES, values
from oracles import assert_same, matmul_exact

import emunum
from emunum.formats import FLOAT32, NAMED, Cast

NUMBERS = [9.5, -500.0, 2.5]
IN_E4M3 = [10.0, -448.0, 2.5]


BUFFER = array.array("d", NUMBERS)


class HasArray:
    """Offers __array__."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(NUMBERS)


class HasInterface:
    """Offers __array_interface__."""

    held = np.array(NUMBERS)
    __array_interface__ = held.__array_interface__


class HasDLPack:
    """Offers __dlpack__ and nothing else, as arrays of other libraries may."""

    held = np.array(NUMBERS, np.float32)

    def __dlpack__(self, **options: Any) -> Any:
        return self.held.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.held.__dlpack_device__()


class NeedsGradient:
    """Refuses to be read, in the manner of a tensor."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise RuntimeError("this needs a gradient. Detach it first.")


CALLS: dict[str, Callable[[Any], Any]] = {
    "quantize": lambda x: emunum.quantize(x, "e4m3"),
    "encode": lambda x: emunum.encode(x, "e4m3"),
    "decode": lambda x: emunum.decode(x, "e4m3"),
    "sum": emunum.sum,
    "dot": lambda x: emunum.dot(x, x),
    "matmul": lambda x: emunum.matmul(x, [[1.0]]),
    "matmul_error": lambda x: emunum.matmul_error([[1.0]], x),
    "quantize_int8": emunum.quantize_int8,
    "quantize_blocks": lambda x: emunum.quantize_blocks(x, "mxfp8_e4m3"),
}


@pytest.mark.parametrize(
    "x",
    [
        HasArray(),
        HasInterface(),
        HasDLPack(),
        array.array("d", NUMBERS),
        memoryview(array.array("d", NUMBERS)),
    ],
    ids=["__array__", "__array_interface__", "__dlpack__", "array.array", "memoryview"],
)
def test_whatever_offers_its_numbers_is_read(x: Any) -> None:
    assert_same(emunum.quantize(x, "e4m3"), IN_E4M3)
    assert_same(emunum.sum(x), -488.0)
    assert_same(emunum.dot(x, x), 9.5**2 + 500.0**2 + 2.5**2)
    assert_same(emunum.quantize_int8(x, scale="power_of_two").codes, [2, -125, 1])
    # The scale is 2^8 / 2^8 = 1, since 500 < 2^9.
    assert_same(emunum.quantize_blocks(x, "mxfp8_e4m3").elements, IN_E4M3)


@pytest.mark.parametrize("name", ["int2", "int4", "uint2", "uint4"])
def test_narrow_integers_of_ml_dtypes_are_numbers_and_codes(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is one of the inputs")
    bits, signed = int(name[-1]), not name.startswith("u")
    numbers = np.arange(-(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed))
    x = numbers.astype(getattr(ml_dtypes, name))
    assert_same(emunum.quantize(x, "float32"), numbers)
    assert_same(emunum.matmul(x[None], x[:, None]), [[float((numbers**2).sum())]])
    assert_same(emunum.quantize_int8(x).codes, emunum.quantize_int8(numbers).codes)
    codes = numbers[numbers >= 0]
    assert_same(emunum.decode(codes.astype(x.dtype), "e4m3"), values(NAMED["float8_e4m3fn"])[codes])


@pytest.mark.parametrize("name", IN_ML_DTYPES)
def test_a_product_of_ml_dtypes_arrays_is_that_of_their_values(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is one of the inputs")
    format = NAMED[name]
    held = values(format)
    held = held[np.isfinite(held)][:: max(1, format.code_count // 24)][:12].reshape(3, 4)
    x = held.astype(getattr(ml_dtypes, name))
    to = Cast(format=FLOAT32)
    assert_same(emunum.matmul(x, x.T), matmul_exact(held, held.T, None, to, 0, None))


def test_tensors_of_torch_are_read_without_their_gradient() -> None:
    torch = pytest.importorskip("torch", reason="torch is no dependency: its tensors are one of the inputs")
    x = torch.tensor(NUMBERS)
    assert_same(emunum.quantize(x, "e4m3"), IN_E4M3)
    assert_same(emunum.quantize(x.half(), "e4m3"), IN_E4M3)
    assert_same(emunum.matmul(x[None].double(), torch.ones(3, 1)), [[-488.0]])
    with pytest.raises(TypeError, match=r"x, a Tensor, cannot be read as an array: .*grad.*detach\(\)"):
        emunum.quantize(torch.tensor(NUMBERS, requires_grad=True), "e4m3")
    with pytest.raises(TypeError, match=r"x, a Tensor, .*BFloat16\. Hand over a NumPy array"):
        emunum.quantize(x.bfloat16(), "e4m3")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            NeedsGradient(),
            "a NeedsGradient, cannot be read as an array: this needs a gradient. Detach it first.",
        ),
        ([[1.0], [1.0, 2.0]], "cannot be read as an array: setting"),
        (np.ma.masked_array([[1, 2]], [[0, 1]]), "has masked elements: give them values, for example "),
        (np.array([[1j]]), "complex128"),
        (np.array([["a"]]), "<U1"),
        (np.array([[None]]), "object"),
    ],
    ids=["gradient", "ragged", "masked", "complex", "words", "objects"],
)
def test_what_holds_no_plain_numbers_gets_one_line(call: Any, x: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        call(x)
    said = str(caught.value)
    if call is not CALLS["dot"] or " " in message:  # which looks at the shape first
        assert message in said
    assert said.split(",")[0].split()[0] in ("x", "a", "b", "codes", "shapes")
    assert "\n" not in said


@pytest.mark.parametrize("call", ["quantize", "sum", "matmul", "quantize_int8", "quantize_blocks"])
@pytest.mark.parametrize("x", [np.array([[1j]]), np.array([["a"]]), np.array([[None]])], ids=str)
def test_data_of_another_kind_is_a_type_error(call: str, x: Any) -> None:
    with pytest.raises(TypeError, match="emunum computes with real numbers"):
        CALLS[call](x)


def test_masked_arrays_without_a_masked_element_are_arrays() -> None:
    assert_same(emunum.quantize(np.ma.masked_array(NUMBERS, False), "e4m3"), IN_E4M3)


def test_float64_is_rounded_once_or_refused() -> None:
    near = 1.0625 + 2.0**-40  # above the tie of 1 and 1.125 in e4m3, which it is as a float32
    assert_same(emunum.quantize([near], "e4m3"), [1.125])
    for call in ("sum", "encode", "matmul"):
        with pytest.raises(ValueError, match="is no float32 value: rounding it here would round twice"):
            CALLS[call]([[near]])
