"""Arrays in block formats and back, against the rules in rational arithmetic, by hand, and gfloat's."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from oracles import CAST, assert_same, element_draws

import emunum
from emunum import BlockFormat, Blocks, Format, dequantize_blocks, quantize_blocks
from emunum.formats import Cast, Mode
from emunum.formats.blocks import BLOCK_FORMATS
from emunum.formats.exact import round_exact

F32 = np.float32
ALL = tuple(BLOCK_FORMATS)
MX = tuple(name for name in ALL if name != "nvfp4")
RULES = [(name, str(rule)) for name in ALL for rule in BLOCK_FORMATS[name].rules]
ROUNDINGS = ("nearest", "nearest_away", "toward_zero", "up", "down", "to_odd", "stochastic")
RESCALE = 11
OWN = BlockFormat(
    name="own", element=Format.from_name("e3m1"), scale=Format.from_name("bfloat16"), block_size=5
)
"""Scales with a significand, and no scale of the tensor."""


# ----------------------------------------------------------------------------------------------------
# The definition in rational arithmetic, from the text: nothing here looks at a bit
# ----------------------------------------------------------------------------------------------------


def power_not_above(x: Fraction) -> int:
    """floor(log2 x)."""
    k = 0
    while Fraction(2) ** k > x:
        k -= 1
    while Fraction(2) ** (k + 1) <= x:
        k += 1
    return k


def tensor_scale_exact(x: np.ndarray, fmt: BlockFormat) -> float:
    """The scale of the tensor from the blocks in which all is finite."""
    top = largest_of(x)
    if not fmt.tensor_scaled or top == 0:
        return 1.0
    scale = round_exact(top / (Fraction(fmt.largest) * Fraction(fmt.scale.max)), Cast.from_names("float32"))
    return max(min(scale, 3.4028234663852886e38), 2.0**-149)


def largest_of(x: Any) -> Fraction:
    return max(
        [Fraction(abs(value)) for value in np.ravel(x).tolist() if math.isfinite(value)], default=Fraction(0)
    )


def scale_exact(top: Fraction, tensor_scale: float, fmt: BlockFormat, rule: str) -> float:
    largest = Fraction(fmt.largest)
    if fmt.scale.name == "float8_e8m0fnu":
        if top == 0:
            return 2.0**-127
        power = power_not_above(top) - power_not_above(largest)
        if rule == "ceil":
            power = power_not_above(top) - power_not_above(largest) - 2
            while top > largest * Fraction(2) ** power:
                power += 1
        return 2.0 ** min(max(power, -127), 127)
    to = Cast.from_names(fmt.scale.name, "up" if rule == "ceil" else "nearest", "saturate")
    return round_exact(top / (largest * Fraction(tensor_scale)), to)


def quantize_exact(
    x: Any, fmt: BlockFormat, axis: int, rule: str, rounding: str = "nearest", bits: int = 16, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, float]:
    """(elements, scales, scale of the tensor)."""
    x = np.asarray(x, np.float64)
    to = Cast.from_names(fmt.element.name, rounding, "saturate", bits)
    operation = CAST if fmt.scale.name == "float8_e8m0fnu" else RESCALE
    draws = element_draws(x.size, to, seed, operation) if to.stochastic else np.zeros(x.size, int)
    rows, rows_of_draws = np.moveaxis(x, axis, -1), np.moveaxis(draws.reshape(x.shape), axis, -1)
    count = -(-rows.shape[-1] // fmt.block_size)
    elements, scales = np.zeros(rows.shape), np.zeros((*rows.shape[:-1], count))
    whole = [
        (row, t, slice(t * fmt.block_size, (t + 1) * fmt.block_size))
        for row in np.ndindex(rows.shape[:-1])
        for t in range(count)
        if np.isfinite(rows[row][t * fmt.block_size : (t + 1) * fmt.block_size]).all()
    ]
    finite = [rows[row][block] for row, _, block in whole]
    tensor_scale = tensor_scale_exact(np.concatenate(finite) if finite else np.zeros(0), fmt)
    scales[...] = np.nan
    for row, t, block in whole:
        scale = scale_exact(largest_of(rows[row][block]), tensor_scale, fmt, rule)
        scales[row][t] = scale
        for n in range(block.start, min(block.stop, rows.shape[-1])):
            value = float(rows[row][n])
            if value == 0 or scale == 0:
                rounded = math.copysign(0.0, value) if fmt.element.has_negative_zero else 0.0
            else:
                exact = Fraction(value) / (Fraction(scale) * Fraction(tensor_scale))
                rounded = round_exact(exact, to, int(rows_of_draws[row][n]))
            elements[row][n] = max(rounded, -fmt.largest)
    return np.moveaxis(elements, -1, axis), np.moveaxis(scales, -1, axis), tensor_scale


def assert_blocks(blocks: Blocks, expected: tuple[np.ndarray, np.ndarray, float]) -> None:
    elements, scales, tensor_scale = expected
    assert (blocks.elements.dtype, blocks.scales.dtype) == (F32, F32)
    assert blocks.elements.flags.c_contiguous
    assert_same(blocks.scales, scales)
    assert blocks.tensor_scale == tensor_scale
    assert_same(blocks.elements, elements)


def wide(shape: tuple[int, ...], seed: int, spread: int = 12) -> np.ndarray:
    """float32 whose exponents spread over 2 `spread` binades."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) * 2.0 ** rng.integers(-spread, spread, shape)).astype(F32)


# ----------------------------------------------------------------------------------------------------
# By hand
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "x", "scale", "elements"),
    [
        # max 14, floor(log2 14) = 3, emax 2: scale 2^1; 14 / 2 = 7 saturates, 0.2 / 2 = 0.1 is below 0.25
        ("mxfp4_e2m1", [1.0, -3.0, 0.2, 14.0], 2.0, [0.5, -1.5, 0.0, 6.0]),
        # max 1000, 9 - 8 = 1; 500 saturates, 31 / 2 = 15.5 lies halfway between 15 and 16: to even
        ("mxfp8_e4m3", [1000.0, -31.0, -0.0, 30.0], 2.0, [448.0, -16.0, -0.0, 15.0]),
        # max 1, 0 - 15
        ("mxfp8_e5m2", [1.0, -0.3, 2.0**-32], 2.0**-15, [32768.0, -10240.0, 0.0]),
        # max 3, 1 - 2
        ("mxfp6_e2m3", [3.0, 0.1, -1.1], 0.5, [6.0, 0.25, -2.25]),
        # max 3, 1 - 4
        ("mxfp6_e3m2", [3.0, 0.1, -1.1], 0.125, [24.0, 0.75, -8.0]),
        # max 1.999, 0 - 0: 127.9 / 64 saturates; 0.0234375 = 1.5 / 64, to even
        ("mxint8", [1.999, -1.999, 0.0234375, -0.0], 1.0, [127 / 64, -127 / 64, 2 / 64, 0.0]),
    ],
)
def test_the_floor_rule_by_hand(name: str, x: list[float], scale: float, elements: list[float]) -> None:
    blocks = quantize_blocks(x, name)
    assert_same(blocks.scales, [scale])
    assert_same(blocks.elements, elements)
    assert (blocks.tensor_scale, blocks.axis, blocks.format) == (1.0, 0, BLOCK_FORMATS[name])


@pytest.mark.parametrize(
    ("name", "x", "scale"),
    [
        ("mxfp4_e2m1", 6.0, 1.0),
        ("mxfp4_e2m1", np.nextafter(F32(6), F32(7)), 2.0),
        ("mxfp4_e2m1", 8.0, 2.0),
        ("mxfp8_e4m3", 448.0, 1.0),
        ("mxfp8_e4m3", 449.0, 2.0),
        ("mxfp8_e5m2", 57344.0 * 2.0**-20, 2.0**-20),
        ("mxfp8_e5m2", 57345.0 * 2.0**-20, 2.0**-19),
        ("mxint8", 127 / 64, 1.0),
        ("mxint8", 1.99, 2.0),
    ],
)
def test_the_ceil_rule_takes_the_next_scale_only_where_the_largest_element_is_passed(
    name: str, x: float, scale: float
) -> None:
    blocks = quantize_blocks([x, 0.0], name, scale="ceil")
    assert_same(blocks.scales, [scale])
    assert float(blocks.elements[0]) <= blocks.format.largest


def test_nvfp4_by_hand() -> None:
    # 2688 = 6 x 448: the tensor's scale is 1, the first block's 448. The second block has 7 / 6 = 1.1666...,
    # in e4m3 1.125; 7 / 1.125 = 6.2 is cut to 6, 1 / 1.125 = 0.89 goes to 1, 0.3 / 1.125 = 0.27 to 0.5.
    x = np.zeros(32, F32)
    x[0], x[16:20] = 2688.0, (7.0, -1.0, 0.3, -0.0)
    blocks = quantize_blocks(x, "nvfp4")
    assert blocks.tensor_scale == 1.0
    assert_same(blocks.scales, [448.0, 1.125])
    assert_same(blocks.elements[16:20], [6.0, -1.0, 0.5, -0.0])
    assert_same(quantize_blocks(x, "nvfp4", scale="ceil").scales, [448.0, 1.25])


def test_nvfp4_blocks_far_below_the_largest_have_scale_0_and_signed_zeros() -> None:
    # 6 x 2^-10 / 6 is half the smallest e4m3 number: a tie, to even, to 0
    x = np.zeros(32, F32)
    x[0], x[16:18] = 2688.0, (6 * 2.0**-10, -(2.0**-20))
    blocks = quantize_blocks(x, "nvfp4")
    assert_same(blocks.scales, [448.0, 0.0])
    assert_same(blocks.elements[16:19], [0.0, -0.0, 0.0])
    assert_same(quantize_blocks(x, "nvfp4", scale="ceil").scales, [448.0, 2.0**-9])


@pytest.mark.parametrize("element", ["float8_e4m3fnuz", "q2.6"])
def test_elements_without_minus_0_have_one_zero_where_the_scale_is_0(element: str) -> None:
    fmt = replace(BLOCK_FORMATS["nvfp4"], element=Format.from_name(element))
    x = np.zeros(32, F32)
    x[0], x[16:19] = 1e10, (-1.0, 1.0, -0.0)
    blocks = quantize_blocks(x, fmt)
    assert blocks.scales[1] == 0
    assert_same(blocks.elements[16:19], [0.0, 0.0, 0.0])


# ----------------------------------------------------------------------------------------------------
# Against the rules in rational arithmetic
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("name", "rule"), RULES)
def test_every_rule_and_rounding_is_the_rational_one(name: str, rule: str, rounding: str) -> None:
    fmt = BLOCK_FORMATS[name]
    x = wide((3, 70), seed=len(name))
    x[1, :40] = 0.0
    x[1, 3] = -0.0
    blocks = quantize_blocks(x, name, scale=rule, rounding=rounding, seed=5)
    assert_blocks(blocks, quantize_exact(x, fmt, 1, rule, rounding, seed=5))


def test_a_format_and_a_mode_may_come_as_values() -> None:
    x = wide((2, 40), seed=3)
    fmt = BLOCK_FORMATS["mxfp4_e2m1"]
    assert_blocks(quantize_blocks(x, fmt, rounding=Mode.UP), quantize_exact(x, fmt, 1, "floor", "up"))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("name", ["mxfp6_e3m2", "nvfp4"])
def test_blocks_lie_along_any_axis(name: str, axis: int) -> None:
    x = wide((33, 2, 35), seed=1)
    blocks = quantize_blocks(x, name, axis, rounding="stochastic", seed=3)
    assert blocks.axis == axis % 3
    assert_blocks(
        blocks, quantize_exact(x, blocks.format, axis, str(blocks.format.rules[0]), "stochastic", seed=3)
    )


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 31, 32, 33, 64, 65])
@pytest.mark.parametrize("name", ["mxfp4_e2m1", "nvfp4"])
def test_the_last_block_may_be_short(name: str, count: int) -> None:
    x = wide((2, count), seed=count)
    blocks = quantize_blocks(x, name)
    assert blocks.scales.shape == (2, -(-count // blocks.format.block_size))
    assert_blocks(blocks, quantize_exact(x, blocks.format, 1, str(blocks.format.rules[0])))


@pytest.mark.parametrize("rule", ["nearest", "ceil"])
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_scales_with_a_significand_and_no_scale_of_the_tensor(rule: str, rounding: str) -> None:
    x = wide((3, 23), seed=9)
    blocks = quantize_blocks(x, OWN, scale=rule, rounding=rounding)
    assert_blocks(blocks, quantize_exact(x, OWN, 1, rule, rounding))


@pytest.mark.parametrize("name", ALL)
def test_float64_is_rounded_from_float64(name: str) -> None:
    fmt = BLOCK_FORMATS[name]
    rng = np.random.default_rng(4)
    x = rng.normal(size=(4, 64)) * 2.0 ** rng.integers(-9, 9, (4, 64))
    x[0, 0] = 1 - 2.0**-40  # its exponent, its quotient and the tie below differ from those of float32(x)
    x[0, 1:64] = 0.25 + 2.0**-5 + 2.0**-45
    assert_blocks(quantize_blocks(x, name), quantize_exact(x, fmt, 1, str(fmt.rules[0])))


@pytest.mark.parametrize("bits", [1, 8, 16, 24, 32])
@pytest.mark.parametrize("name", ["mxfp8_e5m2", "mxint8", "nvfp4"])
def test_stochastic_elements_take_any_number_of_random_bits(name: str, bits: int) -> None:
    fmt, x = BLOCK_FORMATS[name], wide((2, 40), seed=bits, spread=2)
    blocks = quantize_blocks(x, name, rounding="stochastic", random_bits=bits, seed=2**40 + 1)
    expected = quantize_exact(x, fmt, 1, str(fmt.rules[0]), "stochastic", bits, 2**40 + 1)
    assert_blocks(blocks, expected)


@pytest.mark.parametrize("seed", range(4))
def test_quotients_beside_the_point_where_a_draw_carries(seed: int) -> None:
    # |x| / (s t) is put beside (S + 1 - R / 2^32) q, R the draw of the place, as near as a float64 can be:
    # the product of the point (35 bits) and the divisor (28 bits) is rounded to 53, so that the distance is
    # about 2^-54 of it and the float64 quotient is the point itself on either side.
    fmt = BLOCK_FORMATS["nvfp4"]
    rng = np.random.default_rng(seed)
    x = np.zeros((16, 16))
    x[:, 0] = rng.uniform(1, 900, 16)
    _, scales, tensor_scale = quantize_exact(x, fmt, 1, "nearest")
    to = Cast.from_names(fmt.element.name, "stochastic", "saturate", 32)
    draws = element_draws(x.size, to, seed, RESCALE).reshape(x.shape)
    for i in range(16):
        for j in range(1, 16):
            low, quantum = [(0.5, 0.5), (1.0, 0.5), (2.0, 1.0), (1.5, 0.5)][j % 4]
            point = Fraction(low) + (1 - Fraction(int(draws[i, j]), 2**32)) * Fraction(quantum)
            near = float(point * Fraction(scales[i, 0]) * Fraction(tensor_scale))
            x[i, j] = [near, np.nextafter(near, 0), np.nextafter(near, np.inf)][rng.integers(3)]
    expected = quantize_exact(x, fmt, 1, "nearest", "stochastic", 32, seed)
    assert_array_equal(expected[1], scales)
    assert_blocks(quantize_blocks(x, "nvfp4", rounding="stochastic", random_bits=32, seed=seed), expected)


# ----------------------------------------------------------------------------------------------------
# gfloat
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MX)
def test_the_floor_rule_is_gfloats(name: str) -> None:
    block = pytest.importorskip("gfloat.block", reason="gfloat is one of the oracles")
    formats = pytest.importorskip("gfloat.formats", reason="gfloat is one of the oracles")
    info = getattr(formats, f"format_info_{name}")
    x = wide((40, 32), seed=7).astype(np.float64)
    x[0] = 0.0
    expected = [block.quantize_block(info, row, block.compute_scale_amax) for row in x]
    if name == "mxint8":  # gfloat uses the value -2 of two's complement
        expected = np.maximum(expected, -127 / 64 * quantize_blocks(x, name).scales)
    assert_array_equal(dequantize_blocks(quantize_blocks(x, name)), expected)


def test_gfloat_uses_the_minus_2_of_int8_that_is_not_used_here() -> None:
    block = pytest.importorskip("gfloat.block", reason="gfloat is one of the oracles")
    formats = pytest.importorskip("gfloat.formats", reason="gfloat is one of the oracles")
    x = np.array([-1.999, 1.0])
    theirs = block.quantize_block(formats.format_info_mxint8, x, block.compute_scale_amax)
    assert theirs.tolist() == [-2.0, 1.0]
    assert dequantize_blocks(quantize_blocks(x, "mxint8")).tolist() == [-127 / 64, 1.0]


# ----------------------------------------------------------------------------------------------------
# The ends of the range
# ----------------------------------------------------------------------------------------------------

ENDS = [
    np.finfo(F32).max,
    2.0**127,
    np.nextafter(F32(2.0**127), F32(0)),
    2.0**-125,
    2.0**-126,
    2.0**-127,
    2.0**-140,
    2.0**-149,
]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("name", "rule"), RULES)
def test_the_largest_and_smallest_float32_values(name: str, rule: str, end: float) -> None:
    fmt = BLOCK_FORMATS[name]
    x = np.array([end, -end, 0.75 * end, end / 3, -0.0, end * 2.0**-8, -(2.0**-149)], F32)
    for rounding in ("nearest", "up"):
        blocks = quantize_blocks(x, name, scale=rule, rounding=rounding)
        assert_blocks(blocks, quantize_exact(x, fmt, 0, rule, rounding))


@pytest.mark.parametrize("rounding", ["up", "down", "to_odd", "toward_zero", "stochastic"])
@pytest.mark.parametrize(
    ("top", "least"), [(F32(2.0**127), F32(2.0**-149)), (2.0**120, 5e-324), (1.7e308, 1e-300)]
)
@pytest.mark.parametrize("name", ALL)
def test_no_number_is_too_small_beside_the_largest_to_be_rounded_away_from_zero(
    name: str, top: Any, least: Any, rounding: str
) -> None:
    fmt, x = BLOCK_FORMATS[name], np.array([top, least, -least, 0.0], np.result_type(top))
    blocks = quantize_blocks(x, name, rounding=rounding)
    assert_blocks(blocks, quantize_exact(x, fmt, 0, str(fmt.rules[0]), rounding))
    away = {"up": 1, "down": 2, "to_odd": 3}.get(rounding, 0)
    assert (blocks.elements[1] != 0, blocks.elements[2] != 0) == (bool(away & 1), bool(away & 2))


def test_elements_as_wide_as_float32_lose_no_bit_to_their_scale() -> None:
    # The scale is 2. (2^-133 + 2^-149) / 2 is above the tie 2^-134 by what no float32 holds there.
    fmt = replace(BLOCK_FORMATS["mxfp8_e4m3"], element=Format.from_name("bfloat16"))
    x = np.array([np.finfo(F32).max, 2.0**-133 + 2.0**-149], F32)
    blocks = quantize_blocks(x, fmt, scale="ceil")
    assert_same(blocks.scales, [2.0])
    assert blocks.elements[1] == 2.0**-133
    assert_blocks(blocks, quantize_exact(x, fmt, 0, "ceil"))


@pytest.mark.parametrize("end", [2.0**128, 1e60, 1.7e308, 2.0**-150, 1e-60, 5e-324])
@pytest.mark.parametrize("name", ALL)
def test_float64_beyond_float32(name: str, end: float) -> None:
    fmt = BLOCK_FORMATS[name]
    x = np.array([end, -end / 4, 0.0, end / 3])
    for rounding in ("nearest", "up", "stochastic"):
        blocks = quantize_blocks(x, name, rounding=rounding)
        assert_blocks(blocks, quantize_exact(x, fmt, 0, str(fmt.rules[0]), rounding))


def test_a_scale_below_the_range_is_the_smallest_and_above_it_the_largest() -> None:
    blocks = quantize_blocks([2.0**-130, 2.0**-133], "mxfp8_e4m3")
    assert_same(blocks.scales, [2.0**-127])
    assert_same(blocks.elements, [0.125, 2.0**-6])
    blocks = quantize_blocks([2.0**140], "mxfp8_e4m3")
    assert_same(blocks.scales, [2.0**127])
    assert_same(blocks.elements, [448.0])


@pytest.mark.parametrize("name", MX)
def test_a_block_of_zeros_has_the_smallest_scale_and_keeps_its_signs(name: str) -> None:
    for rule in ("floor", "ceil"):
        blocks = quantize_blocks([0.0, -0.0], name, scale=rule)
        assert_same(blocks.scales, [2.0**-127])
        assert_same(blocks.elements, [0.0, 0.0 if name == "mxint8" else -0.0])


def test_an_nvfp4_array_of_zeros_has_tensor_scale_1() -> None:
    blocks = quantize_blocks([0.0, -0.0], "nvfp4")
    assert blocks.tensor_scale == 1.0
    assert_same(blocks.scales, [0.0])
    assert_same(blocks.elements, [0.0, -0.0])


# ----------------------------------------------------------------------------------------------------
# NaN and infinities
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("name", "rule"), RULES)
def test_a_block_with_nan_or_infinity_is_nan_and_leaves_the_others_alone(
    name: str, rule: str, special: float
) -> None:
    fmt = BLOCK_FORMATS[name]
    size = fmt.block_size
    x = wide((3, 2 * size + 1), seed=8)
    clean = x.copy()
    clean[1, size : 2 * size] = 0.0
    x[1, size + 2] = special
    blocks, others = quantize_blocks(x, name, scale=rule), quantize_blocks(clean, name, scale=rule)
    assert np.argwhere(np.isnan(blocks.scales)).tolist() == [[1, 1]]
    assert_same(np.where(np.isnan(blocks.scales), others.scales, blocks.scales), others.scales)
    assert_same(blocks.elements, others.elements)
    assert not blocks.elements[1, size : 2 * size].any()
    values = dequantize_blocks(blocks)
    assert np.isnan(values[1, size : 2 * size]).all()
    assert np.isnan(values).sum() == size
    nan_code = 0x7F if name == "nvfp4" else 0xFF
    assert emunum.encode(blocks.scales, fmt.scale)[1, 1] == nan_code


def test_an_array_of_nothing_but_nan() -> None:
    blocks = quantize_blocks(np.full((2, 3), np.nan), "nvfp4")
    assert blocks.tensor_scale == 1.0
    assert np.isnan(blocks.scales).all()


# ----------------------------------------------------------------------------------------------------
# Back
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_dequantizing_is_the_exact_product(name: str, rule: str) -> None:
    x = wide((5, 70), seed=2)
    blocks = quantize_blocks(x, name, scale=rule)
    size = blocks.format.block_size
    expected = [
        [
            float(e)
            and Fraction(float(e))
            * Fraction(float(blocks.scales[i, n // size]))
            * Fraction(blocks.tensor_scale)
            for n, e in enumerate(row)
        ]
        for i, row in enumerate(blocks.elements)
    ]
    values = dequantize_blocks(blocks)
    assert values.dtype == np.float64
    assert [[Fraction(v) for v in row] for row in values.tolist()] == expected


@pytest.mark.parametrize("name", MX)
def test_mx_values_of_float32_are_float32_values_under_the_floor_rule(name: str) -> None:
    x = np.random.default_rng(3).integers(0, 2**32, (64, 64), np.uint32).view(F32)
    x = np.where(np.isfinite(x), x, F32(1))
    values = dequantize_blocks(quantize_blocks(x, name))
    assert np.isfinite(values).all()
    assert_same(values.astype(F32), values)


@pytest.mark.parametrize("name", ALL)
def test_values_of_a_format_come_back(name: str) -> None:
    fmt = BLOCK_FORMATS[name]
    held = np.linspace(-fmt.largest, fmt.largest, fmt.block_size)
    held = emunum.quantize(held, fmt.element)
    held[0] = fmt.largest
    scale = 2.0**-3
    if fmt.tensor_scaled:
        held = np.concatenate([held, held / 2])
        scale = 448.0
    blocks = quantize_blocks(held * F32(scale), name)
    assert_array_equal(dequantize_blocks(blocks), held * scale)


@pytest.mark.parametrize("name", ALL)
def test_codes_go_through_encode_and_decode(name: str) -> None:
    x = wide((4, 50), seed=6)
    blocks = quantize_blocks(x, name)
    fmt = blocks.format
    elements, scales = emunum.encode(blocks.elements, fmt.element), emunum.encode(blocks.scales, fmt.scale)
    assert (elements.dtype, scales.dtype) == (np.uint8, np.uint8)
    back = replace(
        blocks, elements=emunum.decode(elements, fmt.element), scales=emunum.decode(scales, fmt.scale)
    )
    assert_same(dequantize_blocks(back), dequantize_blocks(blocks))


numbers = st.floats(-(2.0**100), 2.0**100, width=32).map(lambda x: 0.0 if abs(x) < 2.0**-100 else x)


@given(
    name=st.sampled_from(MX),
    rule=st.sampled_from(["floor", "ceil"]),
    x=st.lists(numbers, min_size=1, max_size=40),
)
def test_the_error_is_half_a_quantum_or_what_saturation_cuts(name: str, rule: str, x: list[float]) -> None:
    # With v = x / s, to nearest: |v - element| <= u max(|v|, 2^emin), where v does not exceed L; above it,
    # |v| - L more, and the ceil rule lets none exceed it. Fixed point has quantum 2^(emin - m) throughout.
    blocks = quantize_blocks(x, name, scale=rule)
    element, largest = blocks.format.element, Fraction(blocks.format.largest)
    for n, value in enumerate(x):
        scale = Fraction(float(blocks.scales[n // 32]))
        v = abs(Fraction(value)) / scale
        error = abs(v - abs(Fraction(float(blocks.elements[n]))))
        if element.fixed_point:
            bound = Fraction(1, 128)
        else:
            bound = Fraction(element.unit_roundoff) * max(v, Fraction(element.smallest_normal))
        assert v <= largest or rule == "floor"
        assert error <= max(bound, v - largest)


# ----------------------------------------------------------------------------------------------------
# Random bits
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mxfp4_e2m1", "nvfp4"])
def test_random_bits_belong_to_places(name: str) -> None:
    x = np.tile(wide((1, 16), seed=1, spread=1), (6, 2))
    first = quantize_blocks(x, name, rounding="stochastic", seed=1)
    again = quantize_blocks(x, name, rounding="stochastic", seed=1)
    other = quantize_blocks(x, name, rounding="stochastic", seed=2)
    assert_array_equal(first.elements, again.elements)
    assert (first.elements != other.elements).any()
    assert any((row != first.elements[0]).any() for row in first.elements)
    leading = quantize_blocks(x[:2], name, rounding="stochastic", seed=1)
    assert_array_equal(leading.elements, first.elements[:2])
    assert_array_equal(leading.scales, first.scales[:2])


def test_the_bits_of_a_place_do_not_depend_on_the_axis() -> None:
    x = np.full((32, 32), 1.3)
    x[::2, ::2] = 4.0
    x[1::2, 1::2] = 4.0
    down = quantize_blocks(x, "mxfp4_e2m1", 0, rounding="stochastic", seed=4)
    across = quantize_blocks(x, "mxfp4_e2m1", 1, rounding="stochastic", seed=4)
    assert len(set(down.elements[x == 1.3].tolist())) == 2
    assert_array_equal(down.elements, across.elements)


def test_the_global_random_state_is_left_alone() -> None:
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    quantize_blocks(wide((2, 32), seed=0), "nvfp4", rounding="stochastic")
    assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.usefixtures("threads")
def test_thread_counts_change_nothing() -> None:
    x = wide((256, 160), seed=12)
    found = []
    for count in (1, 2, 5):
        emunum.set_threads(count)
        found.append(quantize_blocks(x, "nvfp4", rounding="stochastic").elements)
    assert_array_equal(found[0], found[1])
    assert_array_equal(found[0], found[2])


# ----------------------------------------------------------------------------------------------------
# What goes in
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "nvfp4"])
@pytest.mark.parametrize("axis", [0, 1])
def test_memory_order_byte_order_and_type_do_not_matter(name: str, axis: int) -> None:
    x = wide((40, 50), seed=13)
    expected = quantize_blocks(x, name, axis)
    padded = np.zeros((80, 100), F32)
    padded[::2, ::2] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    for given_x in (
        np.asfortranarray(x),
        padded[::2, ::2],
        frozen,
        x.astype(">f4"),
        x.astype(np.float64),
        x.tolist(),
    ):
        blocks = quantize_blocks(given_x, name, axis)
        assert_same(blocks.elements, expected.elements)
        assert_same(blocks.scales, expected.scales)
        assert blocks.tensor_scale == expected.tensor_scale
        assert blocks.elements.flags.c_contiguous


@pytest.mark.parametrize("name", ALL)
def test_input_is_not_written(name: str) -> None:
    for dtype in (np.float32, np.float64):
        x = np.array([[1.0, np.nan], [2.0, -3.0]], dtype)
        before = x.copy()
        blocks = quantize_blocks(x, name, 0)
        assert_array_equal(x, before)
        assert not np.shares_memory(blocks.elements, x)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (2, 0, 3), (0, 64)])
@pytest.mark.parametrize("name", ["mxfp8_e4m3", "nvfp4"])
def test_empty_arrays(name: str, shape: tuple[int, ...]) -> None:
    for axis in range(len(shape)):
        blocks = quantize_blocks(np.zeros(shape), name, axis)
        assert blocks.elements.shape == shape
        assert blocks.scales.shape[axis] == -(-shape[axis] // blocks.format.block_size)
        assert blocks.tensor_scale == 1.0
        assert dequantize_blocks(blocks).shape == shape


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0], "mxfp5"), {}, r"unknown block format 'mxfp5'\. Did you mean 'mxfp"),
        (([1.0], "mxfp8_e4m3", 1), {}, r"axis 1 is out of range: x has 1 axes"),
        (([1.0], "mxfp8_e4m3", -2), {}, r"axis -2 is out of range"),
        ((1.0, "mxfp8_e4m3"), {}, r"axis -1 is out of range: x has 0 axes"),
        (([1.0], "mxint8"), {"scale": "nearest"}, r"unknown scale rule of mxint8 'nearest'"),
        (([1.0], "nvfp4"), {"scale": "floor"}, r"unknown scale rule of nvfp4 'floor'"),
        (([1.0], "nvfp4"), {"rounding": "neerest"}, r"unknown rounding 'neerest'"),
        (([1.0], "nvfp4"), {"random_bits": 33}, r"random_bits 33 is out of range"),
        (([1.0], "nvfp4"), {"seed": -1}, r"seed -1 is out of range"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantize_blocks(*arguments, **options)


def test_data_that_is_not_real_is_refused() -> None:
    with pytest.raises(TypeError, match="x is complex128"):
        quantize_blocks([1j], "mxint8")
    with pytest.raises(TypeError):
        quantize_blocks([1.0], "mxint8", 0.0)  # type: ignore[arg-type]


def test_blocks_whose_shapes_do_not_fit_are_refused() -> None:
    blocks = quantize_blocks(np.ones((2, 40)), "mxint8")
    with pytest.raises(ValueError, match=r"scales of shape \(2, 2\) do not fit elements of shape \(2, 40\)"):
        replace(blocks, axis=0)
    with pytest.raises(ValueError, match=r"axis 2 is out of range: the elements have 2 axes"):
        replace(blocks, axis=2)


@pytest.mark.parametrize("scale", [0.0, -1.0, 0.1, 2.0**-150, 2.0**128, math.inf, math.nan])
def test_the_scale_of_a_tensor_is_a_positive_float32_value(scale: float) -> None:
    blocks = quantize_blocks([1.0], "nvfp4")
    with pytest.raises(ValueError, match=r"tensor_scale .* is no positive float32 value"):
        replace(blocks, tensor_scale=scale)


def test_the_docstring_tells_the_truth() -> None:
    blocks = quantize_blocks([1.0, -3.0, 0.2, 14.0], "mxfp4_e2m1")
    assert (blocks.elements.tolist(), blocks.scales.tolist()) == ([0.5, -1.5, 0.0, 6.0], [2.0])
