"""Codes to values and back, and what `measure` says of an array."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from inputs import (
    ALL_NAMED,
    AT_MOST_16,
    F32,
    FIXED,
    IN_ML_DTYPES,
    NEW_FAMILIES,
    ODD_WIDTHS,
    P3109,
    SCALE,
    bit_patterns,
    formats,
    seeds,
    values,
)
from numpy.testing import assert_array_equal
from oracles import assert_same, gfloat_info

from emunum.formats import NAMED, Format
from emunum.formats.exact import decode_exact
from emunum.kernels import cpu
from emunum.kernels.contract import Extent, code_dtype

WIDE = ("tfloat32", "float32", *ODD_WIDTHS)


def _codes(format: Format) -> np.ndarray:
    """Every code of a format of at most 16 bits, else the edges and 20,000 random ones."""
    if format.bits <= 16:
        return np.arange(format.code_count).astype(code_dtype(format))
    edges = np.array(
        [0, 1, format.max_code, format.max_code + 1, format.max_code + 2, format.code_count // 2]
    )
    mirrored = np.concatenate([edges, edges + format.code_count // 2])
    chosen = np.random.default_rng(1).integers(0, format.code_count, 20_000)
    return np.concatenate([mirrored % format.code_count, chosen]).astype(np.uint32)


@pytest.mark.parametrize("name", IN_ML_DTYPES)
def test_every_code_decodes_as_ml_dtypes_has_it(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is one of the oracles")
    codes = _codes(NAMED[name])
    assert_same(cpu.decode(codes, NAMED[name]), codes.view(getattr(ml_dtypes, name)).astype(F32))


@pytest.mark.parametrize(("name", "dtype"), [("float16", np.float16), ("float32", np.float32)])
def test_codes_decode_as_numpy_has_them(name: str, dtype: type) -> None:
    codes = _codes(NAMED[name])
    assert_same(cpu.decode(codes, NAMED[name]), codes.view(dtype).astype(F32))


@pytest.mark.parametrize("name", [*ALL_NAMED, *ODD_WIDTHS, *NEW_FAMILIES])
def test_codes_decode_as_the_reference_has_them(name: str) -> None:
    format = Format.from_name(name)
    codes = _codes(format)
    codes = codes if codes.size <= 1 << 16 else codes[:5000]
    assert_same(cpu.decode(codes, format), [decode_exact(code, format) for code in codes.tolist()])


@pytest.mark.parametrize("name", P3109)
def test_every_code_of_p3109_decodes_as_gfloat_has_it(name: str) -> None:
    gfloat = pytest.importorskip("gfloat", reason="gfloat is one of the oracles")
    format = Format.from_name(name)
    codes = _codes(format)[:: 1 if format.bits <= 12 else 17]
    theirs = [gfloat.decode_float(gfloat_info(name), code).fval for code in codes.tolist()]
    assert_same(cpu.decode(codes, format), theirs)


@pytest.mark.parametrize(
    ("name", "dtype", "quantum"),
    [
        ("int8", "i1", 1),
        ("q4.4", "i1", 2**-4),
        ("q1.7", "i1", 2**-7),
        ("int16", "i2", 1),
        ("q2.14", "i2", 2**-14),
    ],
)
def test_every_code_of_fixed_point_is_an_integer_of_numpys(name: str, dtype: str, quantum: float) -> None:
    format = Format.from_name(name)
    codes = _codes(format)
    numbers = codes.view(dtype) * quantum
    assert_same(cpu.decode(codes, format), numbers)
    assert_array_equal(cpu.encode(numbers.astype(F32), format), codes)


@pytest.mark.parametrize("name", [*ALL_NAMED, *ODD_WIDTHS, *P3109, *FIXED])
def test_every_code_round_trips(name: str) -> None:
    format = Format.from_name(name)
    codes = _codes(format)
    decoded = cpu.decode(codes, format)
    number = ~np.isnan(decoded)
    back = cpu.encode(decoded[number], format)
    assert back.dtype == code_dtype(format)
    assert_array_equal(back, codes[number])


@pytest.mark.parametrize("name", [name for name in NEW_FAMILIES if name.endswith("_ftz")])
def test_every_code_round_trips_but_those_of_flushed_subnormals_which_become_zeros(name: str) -> None:
    format, whole = Format.from_name(name), Format.from_name(name.removesuffix("_ftz"))
    codes = _codes(format)
    decoded, whole_value = cpu.decode(codes, format), cpu.decode(codes, whole)
    flushed = np.abs(whole_value) < whole.smallest_normal
    minus_zero = 1 << (format.bits - 1) if whole.has_negative_zero else 0
    expected = np.where(flushed, np.where(np.signbit(whole_value), minus_zero, 0), codes)
    assert_same(decoded[~flushed], whole_value[~flushed])
    number = ~np.isnan(decoded)
    assert_array_equal(cpu.encode(decoded[number], format), expected[number])


# The code of a NaN by hand: sign 0, then the quiet one where there are several.
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("float8_e4m3fn", 0x7F),
        ("float8_e5m2", 0x7E),
        ("float8_e4m3fnuz", 0x80),
        ("float8_e5m2fnuz", 0x80),
        ("float8_e4m3b11fnuz", 0x80),
        ("float8_e4m3", 0x7C),
        ("float8_e3m4", 0x78),
        (SCALE, 0xFF),
        ("bfloat16", 0x7FC0),
        ("float16", 0x7E00),
        ("tfloat32", 0x3FE00),
        ("float32", 0x7FC00000),
        ("e2m1", 0b00111),
        ("binary8p4se", 0x80),
        ("binary8p4sf", 0x80),
        ("binary8p4ue", 0xFF),
        ("binary5p2uf", 0b11111),
        ("e5m2_ftz", 0x7E),
    ],
)
def test_every_nan_has_the_one_canonical_code(name: str, code: int) -> None:
    nans = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF], np.uint32).view(F32)
    assert cpu.encode(nans, Format.from_name(name)).tolist() == [code] * 4


@pytest.mark.parametrize("name", IN_ML_DTYPES)
def test_values_encode_as_ml_dtypes_has_them(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is one of the oracles")
    numbers = values(NAMED[name])
    numbers = numbers[~np.isnan(numbers)]  # the sign of a NaN is theirs to choose
    if name == SCALE:
        numbers = numbers[numbers >= 2.0**-126]  # ml_dtypes rounds float32 subnormals wrongly
    theirs = numbers.astype(getattr(ml_dtypes, name)).view(code_dtype(NAMED[name]))
    assert_array_equal(cpu.encode(numbers, NAMED[name]), theirs)


NO_MORE_THAN_16 = [*AT_MOST_16, *(name for name in NEW_FAMILIES if Format.from_name(name).bits <= 16)]


@pytest.mark.parametrize("name", NO_MORE_THAN_16)
def test_what_is_no_value_of_the_format_is_named_with_its_index(name: str) -> None:
    format = Format.from_name(name)
    name = format.name
    held = values(format)
    held = held[np.isfinite(held)]
    strangers = [
        float(np.nextafter(F32(1), F32(2))),
        float(np.nextafter(F32(format.max), F32(np.inf))),
        float(F32(format.max * 1.5)) if format.emax < 127 else float(np.nextafter(F32(2.5), F32(3))),
        format.smallest / 2 if format.smallest > 2.0**-148 else 1.0 + 2.0**-23,
        1.5 * format.smallest if format.mantissa_bits or not format.p3109 else 1.25 * format.smallest,
    ]
    strangers += [-stranger for stranger in strangers if -stranger != format.min]
    if format.fixed_point:
        strangers += [float(np.nextafter(F32(format.min), F32(-np.inf))), 2 * format.min, 2.0**40, 1e30]
    if not format.subnormals:
        quantum = 2.0 ** (format.emin - format.mantissa_bits)
        strangers += [quantum, -3 * quantum, format.smallest - quantum]
    if not format.signed:
        strangers += [-format.max, -format.smallest, -np.inf]
    strangers += [] if format.has_infinity else [np.inf, -np.inf]
    strangers += [] if format.has_nan else [np.nan]
    strangers += [] if format.has_negative_zero else [-0.0]
    strangers += [] if format.has_zero else [0.0, -1.0]
    strangers = [x for x in strangers if F32(x) not in held or (x == 0 and np.signbit(x))]
    for stranger in strangers:
        x = np.resize(held, 100)
        x[37] = stranger
        with pytest.raises(ValueError, match=r"is not a value of") as raised:
            pytest.fail(f"{stranger} was given the code {cpu.encode(x, format)[37]}")
        message = str(raised.value)
        assert repr(float(F32(stranger))) in message
        assert "element 37" in message
        assert f"not a value of {name}" in message
        assert f"emunum.quantize(x, {name!r})" in message


def test_the_first_of_several_strangers_is_named_whatever_the_threads(threads: None) -> None:
    x = np.ones(100_003, F32)
    x[[99_000, 40_001, 70_000]] = 1.0625, 1.03125, 1.1
    for count in (1, 2, 3):
        cpu.set_threads(count)
        with pytest.raises(ValueError, match=r"^1\.03125 \(element 40001\)"):
            cpu.encode(x, NAMED["float8_e4m3fn"])


@pytest.mark.parametrize(("name", "dtype"), [("float4_e2m1fn", "u1"), ("float8_e5m2", "u1"), ("e5m3", "u2")])
def test_codes_are_as_wide_as_they_need_to_be(name: str, dtype: str) -> None:
    assert cpu.encode(np.ones((2, 3), F32), Format.from_name(name)).dtype == np.dtype(dtype)
    assert cpu.encode(np.ones((2, 3), F32), Format.from_name("e8m8")).dtype == np.dtype("u4")
    assert cpu.encode(np.ones((2, 3), F32), Format.from_name(name)).shape == (2, 3)


@given(formats, seeds)
def test_encoding_what_decoding_gave_gives_the_code(format: Format, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, format.code_count, 200).astype(code_dtype(format))
    decoded = cpu.decode(codes, format)
    assert_same(decoded, [decode_exact(code, format) for code in codes.tolist()])
    number = ~np.isnan(decoded)
    assert_array_equal(cpu.encode(decoded[number], format), codes[number])


# ----------------------------------------------------------------------------------------------------
# Extents of arrays
# ----------------------------------------------------------------------------------------------------


def holds(extent: Extent, value: float) -> bool:
    """Whether a number is a multiple of 2^low below 2^high of at most `precision` bits."""
    if value == 0:
        return True
    quanta = abs(Fraction(value)) / Fraction(2) ** extent.low
    if quanta.denominator != 1 or abs(Fraction(value)) >= Fraction(2) ** extent.high:
        return False
    odd = quanta.numerator // (quanta.numerator & -quanta.numerator)
    return odd.bit_length() <= extent.precision


@given(formats, seeds)
def test_a_measured_extent_holds_every_finite_value(format: Format, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, format.code_count, 30)
    x = cpu.decode(codes.astype(code_dtype(format)), format)
    extent = cpu.measure(x)
    assert all(holds(extent, value) for value in x[np.isfinite(x)].tolist())
    assert extent.precision <= format.precision or format.has_subnormals


def test_a_measured_extent_of_any_float32_holds_it() -> None:
    x = bit_patterns(3000, 2)
    extent = cpu.measure(x)
    assert all(holds(extent, value) for value in x[np.isfinite(x)].tolist())
    assert extent == Extent(24, -149, 128)


@pytest.mark.parametrize(
    ("x", "extent"),
    [
        ([1.0], Extent(1, 0, 1)),
        ([-6.0, 0.0, np.inf, np.nan], Extent(2, 1, 3)),
        ([1.75, 0.0625], Extent(3, -6, 1)),  # bits of significands and exponents are bounded apart
        ([2.0**-149], Extent(24, -149, -125)),
        ([2.0**-126], Extent(1, -126, -125)),
        ([float(np.finfo(F32).max)], Extent(24, 104, 128)),
    ],
)
def test_extents_are_those_computed_by_hand(x: list[float], extent: Extent) -> None:
    measured = cpu.measure(np.array(x, F32))
    assert all(holds(measured, value) for value in x if np.isfinite(value))
    assert (measured.precision, measured.high) == (extent.precision, extent.high)
    assert measured.low == extent.low


@pytest.mark.parametrize("x", [[], [0.0, -0.0], [np.inf, np.nan]])
def test_nothing_finite_and_nonzero_has_the_smallest_extent(x: list[float]) -> None:
    assert cpu.measure(np.array(x, F32)).precision == 1
