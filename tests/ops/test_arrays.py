"""quantize, encode, decode, matmul and the ml_dtypes views: what people pass, and what they are told."""

from __future__ import annotations

import math
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from inputs import ALL_NAMED, F32, IN_ML_DTYPES, MODES, SCALE, bit_patterns, cast, values
from numpy.testing import assert_array_equal
from oracles import assert_same, element_draws, matmul_exact, round_array

import emunum
from emunum import decode, encode, from_ml_dtypes, matmul, quantize, to_ml_dtypes
from emunum.formats import NAMED, Format
from emunum.formats.exact import round_exact

ROUNDINGS = ("nearest", "toward_zero", "stochastic")
X = [0.3, -500.0, 0.0, -0.0, 3.0e38, 1.0e-30, 464.0, 465.0]


def _e4m3(x: Any, rounding: str = "nearest") -> np.ndarray:
    x = np.asarray(x, np.float64)
    to = cast("e4m3", rounding)
    return round_array(x, to, element_draws(x.size, to, 0).reshape(x.shape) if to.stochastic else 0)


@pytest.mark.parametrize(
    ("format", "rounding", "overflow", "expected"),
    [
        ("e4m3", "nearest", "auto", [0.3125, -0.3125, 1.0, 448.0]),
        ("e4m3", "nearest_away", "auto", [0.3125, -0.3125, 1.125, 448.0]),
        ("e4m3", "up", "ieee", [0.3125, -0.28125, 1.125, math.nan]),
        ("e4m3", "down", "ieee", [0.28125, -0.3125, 1.0, 448.0]),
        ("e4m3", "to_odd", "ieee", [0.28125, -0.28125, 1.125, 448.0]),
        ("e5m2", "up", "ieee", [0.3125, -0.25, 1.25, 512.0]),
        ("binary8p4se", "nearest", "ieee", [0.3125, -0.3125, 1.0, math.inf]),
        ("binary8p4se", "nearest", "propagate", [0.3125, -0.3125, 1.0, 224.0]),
        ("binary8p4uf", "nearest", "saturate", [0.3125, 0.0, 1.0, 512.0]),
        ("q4.4", "nearest", "saturate", [0.3125, -0.3125, 1.0625, 7.9375]),
        ("q4.4", "nearest", "wrap", [0.3125, -0.3125, 1.0625, 4.0]),  # 500 = 31 * 16 + 4
        ("int8", "down", "saturate", [0.0, -1.0, 1.0, 127.0]),
        ("e2m1_ftz", "nearest", "saturate", [0.0, -0.0, 1.0, 3.0]),
    ],
)
def test_names_of_modes_rules_and_families_mean_what_the_contract_says(
    format: str, rounding: str, overflow: str, expected: list[float]
) -> None:
    assert_same(quantize([0.3, -0.3, 1.0625, 500.0], format, rounding=rounding, overflow=overflow), expected)


@pytest.mark.parametrize(
    ("format", "codes", "numbers"),
    [
        (
            "binary8p4se",
            [0x00, 0x01, 0x40, 0x7E, 0x7F, 0xC0, 0xFF],
            [0, 2**-10, 1, 224, math.inf, -1, -math.inf],
        ),
        ("binary8p4uf", [0x00, 0x01, 0x80, 0xFE], [0, 2**-18, 1, 57344]),
        ("q4.4", [0x00, 0x01, 0x7F, 0x80, 0xFF], [0, 0.0625, 7.9375, -8, -0.0625]),
        ("int8", [0x00, 0x7F, 0x80, 0xFF], [0, 127, -128, -1]),
        ("e4m3_ftz", [0x00, 0x08, 0x38, 0xB8, 0x80], [0, 2**-6, 1, -1, -0.0]),
    ],
)
def test_codes_of_the_families_are_those_computed_by_hand(
    format: str, codes: list[int], numbers: list[float]
) -> None:
    assert_same(decode(codes, format), numbers)
    assert encode(numbers, format).tolist() == codes


# ----------------------------------------------------------------------------------------------------
# What goes in
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounding", [mode.name for mode in MODES])
@pytest.mark.parametrize(
    "x",
    [
        X,
        tuple(X),
        [X, X],
        np.array(X),
        np.array(X, F32),
        np.array(X, ">f8"),
        np.array(X, ">f4"),
        np.array([0.3, -500.0, 6e4, 5e-8, -0.0], np.float16),
        np.array([0.3, -500.0, 6e4], ">f2"),
        np.array(X, np.longdouble),
        np.array([-7, 0, 17, 448, 10**6], np.int64),
        np.array([-7, 0, 17, 127], np.int8),
        np.array([7, 0, 65535], ">u2"),
        [1, 2, 17, -3],
        np.array([True, False]),
        [True, False],
        0.3,
        -17,
        np.float32(0.3),
        np.array(0.3),
        np.arange(24.0).reshape(2, 3, 4),
        np.arange(24.0).reshape(4, 6).T,
        np.arange(24.0).reshape(4, 6)[::-2, 1::2],
        np.asfortranarray(np.arange(24.0, dtype=F32).reshape(4, 6)),
        np.broadcast_to(np.array([17.0, 0.3]), (3, 2)),
        [],
        np.empty((0, 3)),
        np.empty((2, 0), F32),
    ],
    ids=lambda x: f"{type(x).__name__}-{np.asarray(x).dtype.str}-{np.shape(x)}",
)
def test_anything_real_is_quantized_to_a_new_float32_array(x: Any, rounding: str) -> None:
    before = np.array(x, copy=True)
    result = quantize(x, "e4m3", rounding=rounding)
    assert isinstance(result, np.ndarray)
    assert (result.dtype, result.shape, result.flags.c_contiguous) == (F32, np.shape(x), True)
    assert_same(result, _e4m3(np.array(x, np.float64), rounding))
    assert_array_equal(np.asarray(x), before)
    assert not (isinstance(x, np.ndarray) and np.shares_memory(result, x))
    assert result.flags.writeable


@pytest.mark.parametrize("name", IN_ML_DTYPES)
def test_ml_dtypes_arrays_are_quantized_from_their_values(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is one of the inputs")
    held = values(NAMED[name])
    x = held.astype(getattr(ml_dtypes, name))
    with np.errstate(invalid="ignore"):
        assert_same(quantize(x, "e5m2"), round_array(x.astype(np.float64), cast("e5m2")))


def test_read_only_input_is_read() -> None:
    x = np.array(X, F32)
    x.flags.writeable = False
    assert_same(quantize(x, "e4m3"), _e4m3(x))
    assert_same(quantize(x, "float32"), x)
    codes = np.arange(256, dtype=np.uint8)
    codes.flags.writeable = False
    assert_same(decode(codes, "e4m3"), values(NAMED["float8_e4m3fn"]))


def test_quantizing_to_float32_is_a_copy() -> None:
    x = np.array(X, F32)
    result = quantize(x, "float32")
    assert_same(result, x)
    assert not np.shares_memory(result, x)


def test_float64_is_rounded_once() -> None:
    x = np.array([1 + 2.0**-4 + 2.0**-40, 1 + 2.0**-4])
    assert_same(quantize(x, "e4m3"), [1.125, 1.0])
    assert_same(quantize(x.astype(F32), "e4m3"), [1.0, 1.0])


def test_a_longdouble_that_float64_holds_is_taken_and_another_is_not() -> None:
    if np.finfo(np.longdouble).nmant <= 52:
        pytest.skip("longdouble is float64 here")
    assert_same(quantize(np.array([0.3, np.inf, np.nan], np.longdouble), "e4m3"), [0.3125, 448.0, np.nan])
    with pytest.raises(ValueError, match=r"x is (longdouble|float128) and holds values that float64 cannot"):
        quantize(np.array([np.longdouble(1) + np.longdouble(2) ** -60]), "e4m3")


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_are_taken_up_to_where_float64_holds_them_all(dtype: type) -> None:
    held = np.array([2**53, 2**53 - 1], dtype)
    assert_same(quantize(held, "float32"), [2.0**53, 2.0**53])
    assert_same(quantize(held, "float32", rounding="toward_zero"), [2.0**53, 2.0**53 - 2.0**29])
    for wrong in (2**53 + 1, 2**62 + 1):  # 2^53 + 1 becomes 2^53 on its way to float64
        with pytest.raises(ValueError, match=rf"x is {np.dtype(dtype)} and holds values that float64 cannot"):
            quantize(np.array([1, wrong], dtype), "float32")


@pytest.mark.parametrize(
    "x",
    [
        1j,
        np.array([1 + 2j]),
        "1.5",
        ["a"],
        [b"1"],
        np.array([1.0, None], object),
        np.array([10**400], object),
        np.array(["2020-01-01"], "M8[D]"),
        None,
    ],
    ids=str,
)
def test_data_that_is_not_real_is_refused(x: Any) -> None:
    for call in (lambda: quantize(x, "e4m3"), lambda: encode(x, "e4m3"), lambda: matmul(x, [[1.0]])):
        with pytest.raises(TypeError, match=r"emunum computes with real numbers"):
            call()


def test_ragged_lists_are_refused() -> None:
    with pytest.raises((TypeError, ValueError)):
        quantize([[1.0], [1.0, 2.0]], "e4m3")


# ----------------------------------------------------------------------------------------------------
# Names
# ----------------------------------------------------------------------------------------------------


def test_a_format_may_be_a_name_or_a_format() -> None:
    for fmt in ("e4m3", "float8_e4m3fn", Format.from_name("e4m3")):
        assert_same(quantize(X, fmt), _e4m3(X))
        assert encode([1.0], fmt).tolist() == [0x38]
        assert decode([0x38], fmt).tolist() == [1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "e4m33"}, r"unknown format 'e4m33'.* Did you mean 'e4m3'\?"),
        ({"rounding": "stochastik"}, r"unknown rounding 'stochastik'\. Did you mean 'stochastic'\?"),
        ({"overflow": "wrapped"}, r"unknown overflow rule 'wrapped'.*Did you mean 'wrap'"),
        ({"overflow": "wrap"}, r"overflow rule 'wrap' needs a fixed-point format"),
        ({"random_bits": 0}, r"random_bits 0 is out of range"),
        ({"random_bits": 33}, r"random_bits 33 is out of range"),
        ({"seed": -1}, r"seed -1 is out of range"),
        ({"seed": 2**64}, r"seed 18446744073709551616 is out of range"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantize([1.0], **({"format": "e4m3"} | arguments))
    if "format" not in arguments:
        with pytest.raises(ValueError, match=message):
            matmul([[1.0]], [[1.0]], **arguments)


def test_overflow_and_rounding_are_as_named() -> None:
    x = [500.0, math.inf, -500.0]
    assert_same(quantize(x, "e4m3"), [448, 448, -448])
    assert_same(quantize(x, "e4m3", overflow="ieee"), [np.nan, np.nan, np.nan])
    assert_same(quantize([6e4, math.inf], "e5m2"), [57344, np.inf])
    assert_same(quantize([7e4, math.inf], "e5m2"), [np.inf, np.inf])
    assert_same(quantize([7e4, math.inf], "e5m2", overflow="saturate"), [57344, 57344])
    assert_same(quantize([7e4, math.inf], "e5m2", rounding="toward_zero"), [57344, np.inf])
    assert_same(quantize([1.99, -1.99], "e2m1fn", rounding="toward_zero"), [1.5, -1.5])
    assert_same(quantize([1.99, -1.99], "e2m1fn", rounding="nearest_even"), [2.0, -2.0])


@pytest.mark.parametrize("random_bits", [1, 8, 16, 17, 32])
@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_the_seed_and_the_number_of_random_bits_are_as_named(seed: int, random_bits: int) -> None:
    x = np.linspace(-3, 3, 500)
    to = cast("e4m3", "stochastic", random_bits=random_bits)
    ours = quantize(x, "e4m3", rounding="stochastic", random_bits=random_bits, seed=seed)
    assert_same(ours, round_array(x, to, element_draws(500, to, seed)))


# ----------------------------------------------------------------------------------------------------
# Codes
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ALL_NAMED if NAMED[name].bits <= 16])
def test_every_code_decodes_to_its_value_and_back(name: str) -> None:
    codes = np.arange(NAMED[name].code_count)
    decoded = decode(codes, name)
    assert_same(decoded, values(NAMED[name]))
    number = ~np.isnan(decoded)
    assert_array_equal(encode(decoded[number], name), codes[number])


@pytest.mark.parametrize(
    "codes", [[0x38, 0xB8], np.array([0x38, 0xB8], np.int64), np.array([0x38, 0xB8], ">u4")]
)
def test_codes_may_be_integers_of_any_width(codes: Any) -> None:
    assert decode(codes, "e4m3").tolist() == [1.0, -1.0]


def test_codes_keep_their_shape() -> None:
    x = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    codes = encode(x, "e4m3")
    assert (codes.shape, codes.dtype, codes.flags.c_contiguous) == ((3, 4), np.uint8, True)
    assert_same(decode(codes, "e4m3"), x)
    assert_same(decode(codes.T[::2], "e4m3"), x.T[::2])
    assert encode(1.0, "e4m3").shape == decode(0x38, "e4m3").shape == ()
    assert encode([], "e4m3").shape == decode([], "e4m3").shape == (0,)
    assert (encode([], "float16").dtype, decode([], "e4m3").dtype) == (np.uint16, np.float32)


@pytest.mark.parametrize(("code", "wrong"), [([0, 256], 256), ([-1, 3], -1), ([2**40], 2**40), ([16], 16)])
def test_a_code_out_of_range_is_named(code: list[int], wrong: int) -> None:
    fmt, last = ("e2m1fn", 15) if code == [16] else ("e4m3", 255)
    with pytest.raises(ValueError, match=rf"code {wrong} is out of range: .* has codes 0 to {last}\."):
        decode(code, fmt)


@pytest.mark.parametrize("codes", [[1.0], np.array([True]), ["a"], np.array([1, None], object)])
def test_codes_that_are_not_integers_are_refused(codes: Any) -> None:
    with pytest.raises(TypeError, match=r"codes are integers"):
        decode(codes, "e4m3")


def test_a_stranger_is_named_with_its_index_and_the_remedy() -> None:
    with pytest.raises(
        ValueError, match=r"0\.30000001192092896 \(element 2\) is not a value of float8_e4m3fn"
    ):
        encode(np.array([1.0, 2.0, 0.3], F32), "e4m3")
    with pytest.raises(ValueError, match=r"emunum\.quantize\(x, 'float8_e4m3fn'\)"):
        encode(np.array([500.0], F32), "e4m3")
    with pytest.raises(ValueError, match=r"nan \(element 0\) is not a value of float4_e2m1fn"):
        encode([math.nan], "e2m1fn")
    with pytest.raises(ValueError, match=r"-0\.0 \(element 1\) is not a value of float8_e4m3fnuz"):
        encode([0.0, -0.0], "e4m3fnuz")


@pytest.mark.parametrize("name", ["encode", "matmul"])
def test_float64_that_float32_does_not_hold_is_refused_and_not_rounded(name: str) -> None:
    wrong = np.array([[1.0, 0.1]])
    call = {"encode": lambda: encode(wrong, "float32"), "matmul": lambda: matmul(wrong, [[1.0], [1.0]])}[name]
    with pytest.raises(ValueError, match=r"holds 0\.1, which is no float32 value.*emunum\.quantize"):
        call()
    assert encode(np.array([0.5, math.inf, -0.0]), "float32").tolist() == [0x3F000000, 0x7F800000, 0x80000000]
    for huge in (1e300, 5e-324):
        with pytest.raises(ValueError, match=r"no float32 value"):
            encode([huge], "float32")


# ----------------------------------------------------------------------------------------------------
# ml_dtypes
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IN_ML_DTYPES)
def test_codes_are_viewed_as_ml_dtypes_and_back_without_a_copy(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is what is viewed")
    codes = np.arange(NAMED[name].code_count).astype(np.uint8 if NAMED[name].bits <= 8 else np.uint16)
    theirs = to_ml_dtypes(codes, name)
    assert theirs.dtype == np.dtype(getattr(ml_dtypes, name))
    assert np.shares_memory(theirs, codes)
    assert_same(theirs.astype(F32), values(NAMED[name]))
    back, fmt = from_ml_dtypes(theirs)
    assert fmt is NAMED[name]
    assert np.shares_memory(back, codes)
    assert_array_equal(back, codes)
    assert back.dtype == codes.dtype


@pytest.mark.parametrize("name", ["float16", "float32"])
def test_numpys_own_types_are_viewed_without_ml_dtypes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    x = bit_patterns(100, 1).astype(name) if name == "float32" else np.arange(100, dtype=np.uint16).view(name)
    codes, fmt = from_ml_dtypes(x)
    assert fmt is NAMED[name]
    assert np.shares_memory(codes, x)
    theirs = to_ml_dtypes(codes, name)
    assert theirs.dtype == np.dtype(name)
    assert np.shares_memory(theirs, x)


def test_without_ml_dtypes_its_types_are_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match=r"pip install ml_dtypes"):
        to_ml_dtypes(np.zeros(2, np.uint8), "e4m3")


@pytest.mark.parametrize("name", ["tfloat32", "e6m9"])
def test_a_format_that_ml_dtypes_does_not_have_is_named(name: str) -> None:
    pytest.importorskip("ml_dtypes", reason="ml_dtypes says what it has")
    dtype = np.uint32 if name == "tfloat32" else np.uint16
    with pytest.raises(ValueError, match=rf"ml_dtypes has no type for {name}"):
        to_ml_dtypes(np.zeros(2, dtype), name)


def test_codes_of_another_width_are_not_viewed() -> None:
    with pytest.raises(TypeError, match=r"codes are uint16: float8_e4m3fn has uint8 codes"):
        to_ml_dtypes(np.zeros(2, np.uint16), "e4m3")
    with pytest.raises(TypeError, match=r"float16 has uint16 codes"):
        to_ml_dtypes(np.zeros(2, np.uint8), "float16")


@pytest.mark.parametrize("dtype", ["float64", "int8", "complex64"])
def test_an_array_of_no_format_is_refused(dtype: str) -> None:
    with pytest.raises(ValueError, match=rf"dtype {dtype} is no format of emunum"):
        from_ml_dtypes(np.zeros(2, dtype))


def test_the_other_byte_order_is_not_viewed() -> None:
    with pytest.raises(ValueError, match=r"byte order '>' is not this machine's"):
        from_ml_dtypes(np.zeros(2, ">f2"))


# ----------------------------------------------------------------------------------------------------
# matmul
# ----------------------------------------------------------------------------------------------------


def _operands() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    every = values(NAMED["float8_e4m3fn"])
    every = every[np.abs(every) <= 16]
    return rng.choice(every, (4, 7)), rng.choice(every, (7, 3))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(
    ("product", "accumulator", "fma", "out"),
    [
        (None, None, False, None),
        ("e4m3", "e4m3", False, None),
        ("e4m3", "e4m3", True, None),
        (None, "float16", False, "e5m2"),
        ("e5m2", "e6m9", False, "e4m3"),
    ],
)
def test_matmul_rounds_as_its_arguments_say(product, accumulator, fma, out, rounding) -> None:  # type: ignore[no-untyped-def]
    a, b = _operands()
    names = {"product": product, "accumulator": accumulator, "out": out}
    ours = matmul(
        a, b, **{k: v for k, v in names.items() if v}, fma=fma, rounding=rounding, random_bits=9, seed=11
    )
    casts = [
        None if name is None else cast(name, rounding, "auto", 9) for name in (product, accumulator, out)
    ]
    expected = matmul_exact(
        a, b, None if fma else casts[0], casts[1] or cast("float32", rounding, "auto", 9), 11, casts[2]
    )
    assert (ours.dtype, ours.shape) == (F32, (4, 3))
    assert_same(ours, expected)


def test_matmul_takes_lists_integers_and_ml_dtypes() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is one of the inputs")
    expected = [[19.0, 22.0], [43.0, 50.0]]
    a, b = [[1, 2], [3, 4]], [[5, 6], [7, 8]]
    assert_same(matmul(a, b), expected)
    assert_same(matmul(np.array(a, ">i4"), np.array(b, np.float16)), expected)
    assert_same(matmul(np.array(a, ml_dtypes.bfloat16), np.array(b, ml_dtypes.float8_e4m3fn)), expected)
    assert_same(matmul(np.array(a, np.float64).T.copy().T, b), expected)


def test_matmul_saturates_or_overflows_as_asked() -> None:
    a, b = [[448.0, 448.0]], [[1.0], [1.0]]
    assert_same(matmul(a, b, accumulator="e4m3"), [[448.0]])
    assert_same(matmul(a, b, accumulator="e4m3", overflow="ieee"), [[np.nan]])
    large = [[2.0**127, 2.0**127]]
    assert_same(matmul(large, b), [[np.inf]])
    assert_same(matmul(large, b, overflow="saturate"), [[np.finfo(F32).max]])
    assert_same(matmul(large, b, rounding="toward_zero"), [[np.finfo(F32).max]])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 3), (2, 3)),
        ((3,), (3, 2)),
        ((2, 3), (3,)),
        ((), (1, 1)),
        ((2, 2, 2), (2, 2)),
    ],
)
def test_shapes_that_do_not_multiply_are_told_so(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"do not multiply: \(M, K\) and \(K, N\) are needed") as raised:
        matmul(np.ones(a), np.ones(b))
    assert str(a) in str(raised.value)
    assert str(b) in str(raised.value)


def test_an_unknown_order_is_told_the_known_ones() -> None:
    for order in ("pairwize", "chunked", "chunked:0", "chunked:-4", "exact:3", "", "tensor_core"):
        with pytest.raises(ValueError, match=rf"unknown order '{order}'.*sequential.*chunked:64.*pairwise"):
            matmul([[1.0]], [[1.0]], order=order)
    with pytest.raises(ValueError, match=r"unknown tensor core 'h10'\. Did you mean 'h100'"):
        matmul([[1.0]], [[1.0]], order="tensor_core:h10")


@pytest.mark.parametrize("shape", [(0, 3, 4), (4, 3, 0), (3, 0, 5), (0, 0, 0)])
def test_matmul_of_nothing_is_zeros(shape: tuple[int, int, int]) -> None:
    m, terms, n = shape
    for rounding in ROUNDINGS:
        ours = matmul(np.empty((m, terms)), np.empty((terms, n)), accumulator="e4m3", rounding=rounding)
        assert_same(ours, np.zeros((m, n)))


@pytest.mark.parametrize("argument", ["product", "accumulator", "out"])
def test_scales_take_no_part_in_a_product(argument: str) -> None:
    with pytest.raises(ValueError, match=r"float8_e8m0fnu holds block scales"):
        matmul([[1.0]], [[-3.0]], **{argument: SCALE})


# ----------------------------------------------------------------------------------------------------
# The package
# ----------------------------------------------------------------------------------------------------


def test_the_public_names_are_there() -> None:
    for name in emunum.__all__:
        assert getattr(emunum, name) is not None
    assert set(emunum.__all__) <= set(dir(emunum))
    with pytest.raises(AttributeError, match=r"has no attribute 'quantise'"):
        emunum.quantise  # noqa: B018


def test_nothing_here_warns() -> None:
    x = np.array([*X, math.inf, -math.inf, math.nan])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in (*ALL_NAMED, "e5m0"):
            for rounding in ROUNDINGS:
                quantize(x, name, rounding=rounding)
                quantize(x.astype(np.longdouble), name, rounding=rounding)
        matmul([[math.inf, math.nan]], [[0.0], [1.0]], accumulator="e4m3fnuz")


def test_scales_are_quantized_encoded_and_decoded() -> None:
    x = [0.3, 3.0, 6.0, 1e-45, 0.0, -1.0, math.inf, math.nan]
    expected = [round_exact(v, cast(SCALE)) for v in x]
    assert_same(quantize(x, "e8m0fnu"), expected)
    assert_same(expected, [0.25, 4.0, 8.0, 2.0**-127, math.nan, math.nan, 2.0**127, math.nan])
    assert encode(quantize(x, "e8m0fnu"), "e8m0fnu").tolist() == [125, 129, 130, 0, 255, 255, 254, 255]
