"""The facts of every format: written down by hand, and as ml_dtypes and gfloat state them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from inputs import ALL_NAMED, ARITHMETIC, IN_ML_DTYPES, NEW_FAMILIES, ODD_WIDTHS, SCALE
from oracles import gfloat_info

from emunum import quantize
from emunum.formats import NAMED, Format, Special
from emunum.formats.exact import decode_exact

BF16_MAX, TF32_MAX, F32_MAX = (2.0**128 - 2.0 ** (128 - p) for p in (8, 11, 24))

# The table of the numerics contract: p, bias, max, min normal, min subnormal, Inf, codes of NaN (all of
# them up to 8 bits), then emin, emax and bits, which follow.
TABLE = {
    "float8_e4m3fn": (4, 7, 448, 2**-6, 2**-9, False, {0x7F, 0xFF}, -6, 8, 8),
    "float8_e5m2": (
        3,
        15,
        57344,
        2**-14,
        2**-16,
        True,
        {*range(0x7D, 0x80), *range(0xFD, 0x100)},
        -14,
        15,
        8,
    ),
    "float8_e4m3fnuz": (4, 8, 240, 2**-7, 2**-10, False, {0x80}, -7, 7, 8),
    "float8_e5m2fnuz": (3, 16, 57344, 2**-15, 2**-17, False, {0x80}, -15, 15, 8),
    "float8_e4m3b11fnuz": (4, 11, 30, 2**-10, 2**-13, False, {0x80}, -10, 4, 8),
    "float8_e4m3": (4, 7, 240, 2**-6, 2**-9, True, {*range(0x79, 0x80), *range(0xF9, 0x100)}, -6, 7, 8),
    "float8_e3m4": (5, 3, 15.5, 2**-2, 2**-6, True, {*range(0x71, 0x80), *range(0xF1, 0x100)}, -2, 3, 8),
    "float6_e2m3fn": (4, 1, 7.5, 1, 2**-3, False, set(), 0, 2, 6),
    "float6_e3m2fn": (3, 3, 28, 2**-2, 2**-4, False, set(), -2, 4, 6),
    "float4_e2m1fn": (2, 1, 6, 1, 0.5, False, set(), 0, 2, 4),
    "float8_e8m0fnu": (1, 127, 2.0**127, 2.0**-127, None, False, {0xFF}, -127, 127, 8),
    "bfloat16": (8, 127, BF16_MAX, 2.0**-126, 2.0**-133, True, {0x7FC0}, -126, 127, 16),
    "float16": (11, 15, 65504, 2.0**-14, 2.0**-24, True, {0x7E00}, -14, 15, 16),
    "tfloat32": (11, 127, TF32_MAX, 2.0**-126, 2.0**-136, True, {0x3FE00}, -126, 127, 19),
    "float32": (24, 127, F32_MAX, 2.0**-126, 2.0**-149, True, {0x7FC00000}, -126, 127, 32),
}

# Input on the midpoint above the largest value, and what it becomes to nearest even under `ieee`; then the
# float32 above it, except where the format is too wide for one.
TIES_AT_THE_TOP = {
    "float8_e4m3fn": (464.0, 448.0, math.nan),
    "float8_e5m2": (61440.0, math.inf, math.inf),
    "float8_e4m3fnuz": (248.0, math.nan, math.nan),
    "float8_e5m2fnuz": (61440.0, math.nan, math.nan),
    "float8_e4m3b11fnuz": (31.0, math.nan, math.nan),
    "float8_e4m3": (248.0, math.inf, math.inf),
    "float8_e3m4": (15.75, math.inf, math.inf),
    "float6_e2m3fn": (7.75, 7.5, 7.5),
    "float6_e3m2fn": (30.0, 28.0, 28.0),
    "float4_e2m1fn": (7.0, 6.0, 6.0),
    "float8_e8m0fnu": (1.5 * 2.0**127, math.nan, math.nan),
    "bfloat16": (2.0**128 - 2.0**119, math.inf, math.inf),
    "float16": (65520.0, math.inf, math.inf),
    "tfloat32": (2.0**128 - 2.0**116, math.inf, math.inf),
    "float32": (2.0**128 - 2.0**103, math.inf, math.inf),
}


def test_the_table_has_every_named_format() -> None:
    assert TABLE.keys() == TIES_AT_THE_TOP.keys() == NAMED.keys()


@pytest.mark.parametrize("name", TABLE)
def test_facts_are_those_of_the_table(name: str) -> None:
    format = Format.from_name(name)
    p, bias, largest, normal, subnormal, infinity, nan_codes, emin, emax, bits = TABLE[name]
    assert (format.precision, format.bias, format.max) == (p, bias, largest)
    assert (format.smallest_normal, format.smallest_subnormal) == (normal, subnormal)
    assert (format.has_infinity, format.has_nan) == (infinity, bool(nan_codes))
    assert (format.emin, format.emax, format.bits, format.code_count) == (emin, emax, bits, 2**bits)
    assert (format.unit_roundoff, format.eps, format.mantissa_bits) == (2.0**-p, 2.0 ** (1 - p), p - 1)
    assert (format.nan_code in nan_codes) if nan_codes else format.nan_code is None
    assert str(format) == format.name == name


@pytest.mark.parametrize("name", [name for name in TABLE if TABLE[name][-1] <= 8])
def test_the_nan_codes_are_exactly_those_of_the_table(name: str) -> None:
    format = Format.from_name(name)
    nan_codes = {code for code in range(format.code_count) if math.isnan(decode_exact(code, format))}
    assert nan_codes == TABLE[name][6]


@pytest.mark.parametrize("name", TIES_AT_THE_TOP)
def test_the_tie_above_the_largest_value_goes_where_the_table_says(name: str) -> None:
    tie, of_tie, of_above = TIES_AT_THE_TOP[name]
    above, below = np.nextafter(tie, math.inf), np.nextafter(tie, 0)
    rounded = quantize(np.array([below, tie, above]), name, overflow="ieee")
    np.testing.assert_array_equal(rounded, [TABLE[name][2], of_tie, of_above])
    if name != SCALE:
        np.testing.assert_array_equal(
            quantize(np.array([-below, -tie, -above]), name, overflow="ieee"), -rounded
        )


@pytest.mark.parametrize("name", TABLE)
def test_the_codes_at_the_edges_have_the_values_of_the_table(name: str) -> None:
    format = Format.from_name(name)
    _, _, largest, normal, subnormal, infinity, *_ = TABLE[name]
    assert decode_exact(format.max_code, format) == largest
    if subnormal is not None:
        assert decode_exact(1, format) == format.smallest == subnormal
        assert decode_exact(1 << format.mantissa_bits, format) == normal
    else:
        assert decode_exact(0, format) == format.smallest == normal
    if infinity:
        assert format.infinity_code is not None
        assert decode_exact(format.infinity_code, format) == math.inf
    else:
        assert format.infinity_code is None


@pytest.mark.parametrize("name", IN_ML_DTYPES)
def test_facts_are_those_of_ml_dtypes(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is one of the oracles")
    format, info = Format.from_name(name), ml_dtypes.finfo(name)
    assert (format.bits, format.exponent_bits, format.mantissa_bits) == (info.bits, info.nexp, info.nmant)
    assert (format.max, format.smallest_normal) == (float(info.max), float(info.smallest_normal))
    assert (format.emin, format.emax, format.eps) == (info.minexp, info.maxexp - 1, float(info.eps))
    assert format.smallest == float(info.smallest_subnormal)


@pytest.mark.parametrize("name", ["float16", "float32"])
def test_facts_are_those_of_numpy(name: str) -> None:
    format, info = Format.from_name(name), np.finfo(name)
    assert (format.bits, format.exponent_bits, format.mantissa_bits) == (info.bits, info.iexp, info.nmant)
    assert (format.max, format.smallest_normal) == (float(info.max), float(info.smallest_normal))
    assert (format.smallest, format.eps) == (float(info.smallest_subnormal), float(info.eps))


GFLOAT_NAMES = {
    "float8_e4m3fn": "ocp_e4m3",
    "float8_e5m2": "ocp_e5m2",
    "float6_e2m3fn": "ocp_e2m3",
    "float6_e3m2fn": "ocp_e3m2",
    "float4_e2m1fn": "ocp_e2m1",
    "float8_e8m0fnu": "ocp_e8m0",
    "bfloat16": "bfloat16",
    "float16": "binary16",
    "float32": "binary32",
}


@pytest.mark.parametrize("name", GFLOAT_NAMES)
def test_facts_are_those_of_gfloat(name: str) -> None:
    theirs = pytest.importorskip("gfloat.formats", reason="gfloat is one of the oracles")
    format, info = Format.from_name(name), getattr(theirs, f"format_info_{GFLOAT_NAMES[name]}")
    assert (format.bits, format.precision, format.bias) == (info.k, info.precision, info.bias)
    assert (format.max, format.emax, format.eps) == (info.max, info.emax, info.eps)
    assert (format.smallest, format.smallest_normal) == (info.smallest, info.smallest_normal)
    assert (format.signed, format.has_zero, format.has_subnormals) == (
        info.is_signed,
        info.has_zero,
        info.has_subnormals,
    )
    assert (format.has_infinity, format.has_negative_zero) == (info.num_infs > 0, info.has_nz)
    assert format.has_nan == (info.num_nans > 0)


@pytest.mark.parametrize("name", GFLOAT_NAMES)
def test_the_table_of_the_oracle_is_gfloats_own(name: str) -> None:
    theirs = pytest.importorskip("gfloat.formats", reason="gfloat is one of the oracles")
    info = getattr(theirs, f"format_info_{GFLOAT_NAMES[name]}")
    assert {**vars(gfloat_info(name)), "name": ""} == {**vars(info), "name": ""}


@pytest.mark.parametrize("x", range(2, 9))
@pytest.mark.parametrize("y", [0, 1, 5, 11, 22, 23])
def test_exmy_is_ieee_like(x: int, y: int) -> None:
    format = Format.from_name(f"e{x}m{y}")
    bias = 2 ** (x - 1) - 1
    assert format.special is Special.IEEE
    assert (format.bits, format.precision, format.bias) == (1 + x + y, y + 1, bias)
    assert (format.emin, format.emax) == (1 - bias, bias)
    assert format.max == (2.0 - 2.0**-y) * 2.0**bias
    assert format.smallest == 2.0 ** (1 - bias - y)
    assert format.has_infinity
    assert format.has_negative_zero
    assert format.has_subnormals == format.has_nan == (y > 0)


# P3109, by hand: p, bias, max, min, least normal, least, code of the largest, code of Inf, codes of NaN.
# Signed: bias 2^(K-P-1), NaN on the code of -0. Unsigned: bias 2^(K-P), NaN on all ones. Inf just below.
P3109_TABLE = {
    "binary8p1se": (1, 64, 2.0**62, -(2.0**62), 2.0**-63, 2.0**-63, 0x7E, 0x7F, 0x80),
    "binary8p3se": (3, 16, 49152, -49152, 2**-15, 2**-17, 0x7E, 0x7F, 0x80),
    "binary8p3sf": (3, 16, 57344, -57344, 2**-15, 2**-17, 0x7F, None, 0x80),
    "binary8p4se": (4, 8, 224, -224, 2**-7, 2**-10, 0x7E, 0x7F, 0x80),
    "binary8p7sf": (7, 1, 1.984375, -1.984375, 1.0, 2**-6, 0x7F, None, 0x80),
    "binary8p1uf": (1, 128, 2.0**126, 0.0, 2.0**-127, 2.0**-127, 0xFE, None, 0xFF),
    "binary8p3ue": (3, 32, 5 * 2.0**29, 0.0, 2.0**-31, 2.0**-33, 0xFD, 0xFE, 0xFF),
    "binary8p4uf": (4, 16, 57344, 0.0, 2.0**-15, 2.0**-18, 0xFE, None, 0xFF),
    "binary8p8ue": (8, 1, 1.9765625, 0.0, 1.0, 2**-7, 0xFD, 0xFE, 0xFF),
    "binary8p8uf": (8, 1, 1.984375, 0.0, 1.0, 2**-7, 0xFE, None, 0xFF),
    "binary3p1se": (1, 2, 1.0, -1.0, 0.5, 0.5, 0b010, 0b011, 0b100),
    "binary3p2sf": (2, 1, 1.5, -1.5, 1.0, 0.5, 0b011, None, 0b100),
    "binary16p11sf": (11, 16, 65504, -65504, 2.0**-15, 2.0**-25, 0x7FFF, None, 0x8000),
}


@pytest.mark.parametrize("name", P3109_TABLE)
def test_facts_of_p3109_formats_are_those_computed_by_hand(name: str) -> None:
    format = Format.from_name(name)
    p, bias, largest, least, normal, smallest, max_code, infinity_code, nan_code = P3109_TABLE[name]
    assert (format.precision, format.bias, format.max, format.min) == (p, bias, largest, least)
    assert (format.smallest_normal, format.smallest) == (normal, smallest)
    assert (format.limit(False), format.limit(True)) == (largest, least)
    assert (format.max_code, format.infinity_code, format.nan_code) == (max_code, infinity_code, nan_code)
    assert not format.has_negative_zero
    nan_codes = [code for code in range(format.code_count) if math.isnan(decode_exact(code, format))]
    assert nan_codes == [nan_code]
    assert (decode_exact(max_code, format), decode_exact(0, format)) == (largest, 0.0)
    if infinity_code is not None:
        assert decode_exact(infinity_code, format) == math.inf


P3109_FAMILY = [
    f"binary{k}p{p}{signedness}{domain}"
    for k in (3, 4, 6, 8, 11)
    for signedness in "su"
    for p in range(1, k + (signedness == "u"))
    for domain in "ef"
    if k - p + (signedness == "u") <= 8
]


@pytest.mark.parametrize("name", P3109_FAMILY)
def test_p3109_formats_are_gfloats(name: str) -> None:
    gfloat = pytest.importorskip("gfloat", reason="gfloat is one of the oracles")
    format, info = Format.from_name(name), gfloat_info(name)
    assert (format.bits, format.precision, format.bias, format.signed) == (
        info.k,
        info.precision,
        info.bias,
        info.is_signed,
    )
    assert (format.has_infinity, format.max_code) == (info.num_infs > 0, info.code_of_max)
    theirs = [gfloat.decode_float(info, code).fval for code in range(format.code_count)]
    np.testing.assert_array_equal([decode_exact(code, format) for code in range(format.code_count)], theirs)
    assert format.max == max(value for value in theirs if math.isfinite(value))
    assert format.min == min(value for value in theirs if math.isfinite(value))
    assert format.smallest == min(value for value in theirs if value > 0)


# Fixed point, by hand: bits, precision, quantum, max, min.
FIXED_TABLE = {
    "q4.4": (8, 7, 2**-4, 7.9375, -8),
    "q1.7": (8, 7, 2**-7, 0.9921875, -1),
    "q8.0": (8, 7, 1, 127, -128),
    "q2.14": (16, 15, 2**-14, 2 - 2**-14, -2),
    "q1.23": (24, 23, 2**-23, 1 - 2**-23, -1),
    "q24.0": (24, 23, 1, 2**23 - 1, -(2**23)),
    "int2": (2, 1, 1, 1, -2),
    "int4": (4, 3, 1, 7, -8),
    "int8": (8, 7, 1, 127, -128),
    "int16": (16, 15, 1, 32767, -32768),
}


@pytest.mark.parametrize("name", FIXED_TABLE)
def test_facts_of_fixed_point_are_those_computed_by_hand(name: str) -> None:
    format = Format.from_name(name)
    bits, precision, quantum, largest, least = FIXED_TABLE[name]
    assert (format.bits, format.precision, format.code_count) == (bits, precision, 2**bits)
    assert (format.max, format.min, format.smallest) == (largest, least, quantum)
    assert (format.limit(False), format.limit(True)) == (largest, least)
    assert (format.has_infinity, format.has_nan, format.has_negative_zero) == (False, False, False)
    assert (format.infinity_code, format.nan_code) == (None, None)
    assert format.fixed_point


@pytest.mark.parametrize("name", ["q4.4", "q1.7", "q8.0", "int2", "int4", "int8", "int16"])
def test_codes_of_fixed_point_are_twos_complement(name: str) -> None:
    format, (bits, _, quantum, *_) = Format.from_name(name), FIXED_TABLE[name]
    codes = np.arange(2**bits)
    expected = np.where(codes < 2 ** (bits - 1), codes, codes - 2**bits) * quantum
    np.testing.assert_array_equal([decode_exact(code, format) for code in codes.tolist()], expected)


@pytest.mark.parametrize(
    "name", ["e4m3", "e5m2", "e4m3fnuz", "e3m2fn", "e2m1fn", "binary8p3se", "binary6p3uf"]
)
def test_flushed_codes_are_those_of_the_format_but_for_the_subnormals_which_are_zero(name: str) -> None:
    whole, flushed = Format.from_name(name), Format.from_name(name + "_ftz")
    assert flushed.smallest == flushed.smallest_normal == whole.smallest_normal
    assert flushed.smallest_subnormal is None
    assert (flushed.max, flushed.min) == (whole.max, whole.min)
    for code in range(whole.code_count):
        value = decode_exact(code, whole)
        zero = math.copysign(0.0, value) if whole.has_negative_zero else 0.0
        expected = zero if abs(value) < whole.smallest_normal else value
        np.testing.assert_equal(decode_exact(code, flushed), expected)


def test_without_significand_bits_there_is_infinity_but_no_nan() -> None:
    format = Format.from_name("e5m0")
    assert (format.max_code, format.infinity_code, format.nan_code) == (30, 31, None)
    assert format.smallest_subnormal is None
    assert [decode_exact(code, format) for code in (0, 1, 30, 31, 63)] == [
        0.0,
        2.0**-14,
        2.0**15,
        math.inf,
        -math.inf,
    ]


def _contained(name: str) -> set[float]:
    format = Format.from_name(name)
    return {
        value
        for value in (decode_exact(code, format) for code in range(format.code_count))
        if math.isfinite(value)
    }


NESTED = [
    *(name for name in ALL_NAMED if TABLE[name][-1] <= 8),
    *("e2m0", "e5m0", "e2m3fn_ftz", "e4m3_ftz", "binary8p3se", "binary8p4ue", "binary6p1uf", "q4.4"),
    *("q1.7", "int4", "int8", "int2"),
]


@pytest.mark.parametrize("inner", NESTED)
@pytest.mark.parametrize("outer", NESTED)
def test_contains_says_whether_every_finite_value_is_one_of_the_other(inner: str, outer: str) -> None:
    fact = _contained(inner) <= _contained(outer)
    assert Format.from_name(outer).contains(Format.from_name(inner)) == fact


@pytest.mark.parametrize("name", [*ALL_NAMED, *ODD_WIDTHS, *NEW_FAMILIES])
def test_float32_contains_every_format(name: str) -> None:
    assert NAMED["float32"].contains(Format.from_name(name))


@pytest.mark.parametrize("name", ARITHMETIC)
def test_a_format_is_a_frozen_hashable_value(name: str) -> None:
    format = Format.from_name(name)
    twin = dataclasses.replace(format)
    assert twin == format
    assert len({format, twin}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        format.bias = 0  # type: ignore[misc]
