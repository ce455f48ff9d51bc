"""Matrix products of block formats: an exact term for each block, one rounding for each, in any order."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from oracles import assert_same, result_draw

import emunum
from emunum import BlockFormat, Blocks, dequantize_blocks, matmul_blocks, quantize_blocks
from emunum.formats import Accumulator, Cast, Format, Mode, Order, parse_accumulator
from emunum.formats.blocks import BLOCK_FORMATS
from emunum.formats.exact import round_exact, sum_exact
from emunum.kernels.random import Key

F32 = np.float32
PAIRS = [
    ("mxfp8_e4m3", "mxfp8_e4m3"),
    ("mxfp8_e5m2", "mxfp8_e5m2"),
    ("mxfp8_e5m2", "mxfp8_e4m3"),
    ("mxfp4_e2m1", "mxint8"),
    ("mxfp6_e3m2", "mxfp6_e2m3"),
    ("nvfp4", "nvfp4"),
]
ORDERS = ("sequential", "chunked:2", "pairwise", "kahan")


Terms = dict[tuple[int, int], list[Fraction]]


def terms_exact(a: Blocks, b: Blocks) -> Terms:
    """Entry of the product to its terms, one a block."""
    size, columns = a.format.block_size, b.elements.T.tolist()
    found = {}
    for (i, row), (j, column) in itertools.product(enumerate(a.elements.tolist()), enumerate(columns)):
        products = [Fraction(x) * Fraction(y) for x, y in zip(row, column, strict=True)]
        found[i, j] = [
            sum(products[t * size : (t + 1) * size], Fraction(0))
            * Fraction(float(a.scales[i, t]))
            * Fraction(float(b.scales[t, j]))
            for t in range(a.scales.shape[1])
        ]
    return found


def matmul_exact(
    a: Blocks, b: Blocks, accumulator: Accumulator, seed: int = 0, terms: Terms | None = None
) -> np.ndarray:
    """The definition: rational terms, the reference's orders, a draw for each place and rounding."""
    out = np.empty((a.elements.shape[0], b.elements.shape[1]))
    last, scale = accumulator.last, Fraction(a.tensor_scale) * Fraction(b.tensor_scale)
    for (i, j), of_entry in (terms or terms_exact(a, b)).items():

        def draw(level: int, step: int, index: int, i: int = i, j: int = j) -> int:
            cast = last if accumulator.order is Order.CHUNKED and level == 2 else accumulator.cast
            key = Key(seed).fold(level, step, index).value
            return result_draw(i, j, key, cast) if cast.stochastic else 0

        total = sum_exact(of_entry, accumulator, draw)
        if scale != 1 and total != 0 and math.isfinite(total):
            key = Key(seed).fold(0).value
            total = round_exact(
                Fraction(total) * scale, last, result_draw(i, j, key, last) if last.stochastic else 0
            )
        out[i, j] = total
    return out


def operands(
    left: str, right: str, shape: tuple[int, int, int], seed: int, spread: int = 4
) -> tuple[Blocks, Blocks]:
    m, k, n = shape
    rng = np.random.default_rng(seed)
    a = (rng.normal(size=(m, k)) * 2.0 ** rng.integers(-spread, spread, (m, k))).astype(F32)
    b = (rng.normal(size=(k, n)) * 2.0 ** rng.integers(-spread, spread, (k, n))).astype(F32)
    return quantize_blocks(a, left, 1), quantize_blocks(b, right, 0)


def of_elements(elements: Any, format: str, axis: int, scale: float = 1.0) -> Blocks:
    """One block along an axis, with elements and scale as they are."""
    held = np.atleast_2d(np.array(elements, F32))
    held = held if axis else held.T
    shape = (held.shape[0], 1) if axis else (1, held.shape[1])
    return Blocks(
        elements=np.ascontiguousarray(held),
        scales=np.full(shape, scale, F32),
        format=BLOCK_FORMATS[format],
        axis=axis,
    )


def one(a: Any, b: Any, format: str, scales: tuple[float, float] = (1.0, 1.0), **options: Any) -> float:
    """The product of a row and a column of one block each."""
    x, y = of_elements(a, format, 1, scales[0]), of_elements(b, format, 0, scales[1])
    return float(matmul_blocks(x, y, **options)[0, 0])


# ----------------------------------------------------------------------------------------------------
# Against the definition
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "rounding", ["nearest", "toward_zero", "up", "down", "to_odd", "stochastic", "stochastic_c"]
)
@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_every_pair_rounding_and_order_is_the_rational_one(
    left: str, right: str, rounding: str, order: str
) -> None:
    a, b = operands(left, right, (3, 165, 2), seed=len(left))
    terms = terms_exact(a, b)
    for accumulator in ("float32", "bfloat16", "float16", "float8_e4m3fnuz", "q8.8"):
        result = matmul_blocks(a, b, accumulator=accumulator, rounding=rounding, order=order, seed=7)
        expected = matmul_exact(
            a, b, parse_accumulator(order, Cast.from_names(accumulator, rounding)), 7, terms
        )
        assert (result.dtype, result.flags.c_contiguous) == (F32, True)
        assert_same(result, expected)


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_sums_of_chunks_may_have_a_format_of_their_own(rounding: str) -> None:
    a, b = operands("mxfp8_e4m3", "mxfp8_e4m3", (3, 200, 3), seed=2)
    result = matmul_blocks(
        a, b, accumulator="bfloat16", outer="float32", order="chunked:3", rounding=rounding, seed=1
    )
    cast, outer = Cast.from_names("bfloat16", rounding), Cast.from_names("float32", rounding)
    assert_same(result, matmul_exact(a, b, parse_accumulator("chunked:3", cast, outer), 1))


def test_an_accumulator_may_come_as_a_value() -> None:
    a, b = operands("nvfp4", "nvfp4", (3, 100, 3), seed=8)
    chunked = parse_accumulator("chunked:2", Cast.from_names("bfloat16", "up"), Cast.from_names("float16"))
    assert_same(matmul_blocks(a, b, accumulator=chunked), matmul_exact(a, b, chunked))
    up = matmul_blocks(a, b, accumulator=Format.from_name("bfloat16"), rounding=Mode.UP)
    assert_same(up, matmul_exact(a, b, Accumulator(cast=Cast.from_names("bfloat16", "up"))))


@pytest.mark.parametrize("bits", [1, 8, 17, 27])
def test_sums_take_up_to_27_random_bits_in_float32(bits: int) -> None:
    a, b = operands("mxfp8_e5m2", "mxfp8_e5m2", (3, 70, 3), seed=bits, spread=9)
    result = matmul_blocks(a, b, rounding="stochastic", random_bits=bits, seed=3)
    cast = Cast.from_names("float32", "stochastic", "auto", bits)
    assert_same(result, matmul_exact(a, b, Accumulator(cast=cast), 3))


@pytest.mark.parametrize("left", ["own", "nvfp4"])
def test_block_formats_of_ones_own_multiply_too(left: str) -> None:
    # float16 elements take two slices, and the scales 8 bits each
    own = BlockFormat(
        name="own", element=Format.from_name("float16"), scale=Format.from_name("bfloat16"), block_size=16
    )
    rng = np.random.default_rng(5)
    a = quantize_blocks(rng.normal(size=(3, 50)), own if left == "own" else left, 1)
    b = quantize_blocks(rng.normal(size=(50, 3)) * 2.0 ** rng.integers(-20, 20, (50, 3)), own, 0)
    assert_same(matmul_blocks(a, b), matmul_exact(a, b, Accumulator(cast=Cast.from_names("float32"))))


@pytest.mark.parametrize("order", ["sequential", "chunked:3", "pairwise", "kahan"])
@pytest.mark.parametrize("accumulator", ["float32", "bfloat16"])
def test_blocks_of_one_are_the_ordinary_matrix_product(accumulator: str, order: str) -> None:
    single = replace(BLOCK_FORMATS["mxfp8_e4m3"], block_size=1)
    rng = np.random.default_rng(6)
    a = quantize_blocks(rng.normal(size=(5, 40)), single, 1)
    b = quantize_blocks(rng.normal(size=(40, 6)), single, 0)
    expected = emunum.matmul(dequantize_blocks(a), dequantize_blocks(b), accumulator=accumulator, order=order)
    assert_same(matmul_blocks(a, b, accumulator=accumulator, order=order), expected)


values = st.sampled_from([float(x) for x in emunum.decode(np.arange(256), "e5m2") if np.isfinite(x)])
exponents = st.integers(-127, 127)


@given(
    a=st.lists(values, min_size=1, max_size=6),
    b=st.lists(values, min_size=1, max_size=6),
    powers=st.tuples(exponents, exponents),
    accumulator=st.sampled_from(["float32", "float16", "e4m3", "e8m20"]),
    rounding=st.sampled_from(["nearest", "up", "to_odd", "stochastic"]),
)
def test_any_block_of_e5m2_has_an_exact_term(
    a: list[float], b: list[float], powers: tuple[int, int], accumulator: str, rounding: str
) -> None:
    count = min(len(a), len(b))
    x = of_elements(a[:count], "mxfp8_e5m2", 1, 2.0 ** powers[0])
    y = of_elements(b[:count], "mxfp8_e5m2", 0, 2.0 ** powers[1])
    result = matmul_blocks(x, y, accumulator=accumulator, rounding=rounding)
    assert_same(result, matmul_exact(x, y, Accumulator(cast=Cast.from_names(accumulator, rounding))))


# ----------------------------------------------------------------------------------------------------
# By hand
# ----------------------------------------------------------------------------------------------------


def test_a_block_is_added_exactly_before_it_is_rounded() -> None:
    # In bfloat16 256 + 1 = 256 term after term; 31 ones in the block of the 256 count in full.
    assert one([256.0] + [1.0] * 31, [1.0] * 32, "mxfp8_e4m3", accumulator="bfloat16") == 288.0
    a = quantize_blocks([[256.0, *[1.0] * 63]], "mxfp8_e4m3", 1)
    ones = quantize_blocks(np.ones((64, 1)), "mxfp8_e4m3", 0)
    assert matmul_blocks(a, ones, accumulator="bfloat16").tolist() == [[320.0]]
    assert emunum.matmul(dequantize_blocks(a), dequantize_blocks(ones), accumulator="bfloat16").tolist() == [
        [256.0]
    ]


def test_the_smallest_product_survives_the_largest_two() -> None:
    least = 2.0**-16
    assert one([57344.0, least, -57344.0], [57344.0, least, 57344.0], "mxfp8_e5m2") == 2.0**-32


def test_a_sum_is_rounded_once() -> None:
    # 2^24 + 1 + 2^-32 is above a tie of float32 by less than a float64 can say: to nearest it goes up.
    a, b = [4096.0, 1.0, 2.0**-16], [4096.0, 1.0, 2.0**-16]
    assert one(a, b, "mxfp8_e5m2") == 2.0**24 + 2
    assert one([*a[:2], -(2.0**-16)], b, "mxfp8_e5m2") == 2.0**24
    assert one(a[:2], b[:2], "mxfp8_e5m2") == 2.0**24


@pytest.mark.parametrize("order", ["sequential", "chunked:1", "pairwise"])
@pytest.mark.parametrize(("tail", "above"), [(2.0**-9, True), (-(2.0**-9), False), (0.0, False)])
def test_a_tie_and_a_little_more_are_told_apart_58_bits_below(order: str, tail: float, above: bool) -> None:
    # 2^40 + (2^16 +- 2^-18): the term has 35 bits, the sum 59. Half of float32's quantum at 2^40 is 2^16.
    elements = np.zeros((1, 34), F32)
    elements[0, [0, 32, 33]] = 256.0, 256.0, tail
    x = Blocks(
        elements=elements,
        scales=np.array([[2.0**24, 1.0]], F32),
        format=BLOCK_FORMATS["mxfp8_e4m3"],
        axis=1,
    )
    y = replace(x, elements=np.abs(elements.T), scales=np.ones((2, 1), F32), axis=0)
    rounded_up = order == "sequential" and above  # elsewhere the term is first rounded alone, to the tie
    expected = 2.0**40 + (2.0**17 if rounded_up else 0.0)
    assert matmul_blocks(x, y, order=order).tolist() == [[expected]]


def test_thirty_one_of_the_largest_products_do_not_drown_a_small_one() -> None:
    # 31 x 57344^2 = 1519 x 2^26, and 2^-20 lies 57 bits below its first
    a = [57344.0] * 31 + [2.0**-10]
    assert one(a, a, "mxfp8_e5m2") == 1519 * 2.0**26
    assert one(a, a, "mxfp8_e5m2", rounding="up") == 1519 * 2.0**26 + 2.0**13


def test_scales_with_a_significand_multiply_exactly() -> None:
    # 225 x 217 x n = 2^60 - 1, of which a float64 keeps 2^60; n is a sum of five products of float16.
    n, rest = divmod(2**60 - 1, 225 * 217)
    assert rest == 0
    fmt = replace(
        BLOCK_FORMATS["nvfp4"], element=Format.from_name("float16"), scale=Format.from_name("bfloat16")
    )
    digits = [n >> 11 * k & 2047 for k in range(5)]
    left = [digit * 2.0**power for digit, power in zip(digits, (-7, 0, 4, 4, 15), strict=True)]
    right = [2.0**power for power in (-7, -3, 4, 15, 15)]
    x = Blocks(elements=np.array([left], F32), scales=np.array([[225]], F32), format=fmt, axis=1)
    y = Blocks(elements=np.array([right], F32).T, scales=np.array([[217]], F32), format=fmt, axis=0)
    assert matmul_blocks(x, y, rounding="toward_zero").tolist() == [[2.0**46 - 2.0**22]]
    assert matmul_blocks(x, y, rounding="up").tolist() == [[2.0**46]]


def test_scales_multiply_beyond_the_range_of_float32_and_come_back() -> None:
    assert one([448.0], [448.0], "mxfp8_e4m3", (2.0**127, 2.0**-127)) == 448.0**2
    assert one([1.0], [-1.0], "mxfp8_e4m3", (2.0**127, 2.0**127)) == -math.inf
    assert (
        one([1.0], [-1.0], "mxfp8_e4m3", (2.0**127, 2.0**127), overflow="saturate") == -3.4028234663852886e38
    )
    assert one([1.0], [1.0], "mxfp8_e4m3", (2.0**-127, 2.0**-127)) == 0.0
    assert one([1.0], [1.0], "mxfp8_e4m3", (2.0**-127, 2.0**-127), rounding="up") == 2.0**-149


def test_the_scales_of_the_tensors_multiply_the_sum() -> None:
    # The sum, 2^24, is exact; 2^24 x (1 + 2^-23)^2 = 2^24 + 4 + 2^-22 is rounded once.
    x = replace(of_elements([4.0] * 16, "nvfp4", 1, 256.0), tensor_scale=1 + 2.0**-23)
    y = replace(of_elements([4.0] * 16, "nvfp4", 0, 256.0), tensor_scale=1 + 2.0**-23)
    assert matmul_blocks(x, y).tolist() == [[2.0**24 + 4]]
    assert matmul_blocks(x, y, rounding="up").tolist() == [[2.0**24 + 6]]


def test_the_last_product_is_rounded_once() -> None:
    # 2^60 - 1 = 537075 x 1047553 x 2049221: a float64 takes it for 2^60, float32 toward zero must not.
    a, b = np.zeros((2, 1, 32), F32)
    for k in range(20):
        if 537075 >> k & 1:
            a[0, k], b[0, k] = 2.0 ** (k // 2), 2.0 ** (k - k // 2)
    x = replace(of_elements(a, "mxfp8_e5m2", 1), tensor_scale=1047553.0)
    y = replace(of_elements(b, "mxfp8_e5m2", 0), tensor_scale=2049221.0)
    assert matmul_blocks(x, y, rounding="toward_zero").tolist() == [[2.0**60 - 2.0**36]]
    assert matmul_blocks(x, y, rounding="up").tolist() == [[2.0**60]]


@pytest.mark.parametrize(
    ("rounding", "accumulator", "negative"),
    [("nearest", "float32", False), ("down", "float32", True), ("down", "float8_e4m3fnuz", False)],
)
def test_an_exact_zero_sum_is_minus_0_only_toward_minus_infinity(
    rounding: str, accumulator: str, negative: bool
) -> None:
    x = quantize_blocks(np.ones((1, 64)), "mxfp8_e4m3", 1)
    y = quantize_blocks(np.r_[np.ones(32), -np.ones(32)][:, None], "mxfp8_e4m3", 0)
    result = matmul_blocks(x, y, accumulator=accumulator, rounding=rounding)
    assert_same(result, [[-0.0 if negative else 0.0]])
    zeros = one([-0.0, 1.0, -1.0], [1.0, 1.0, 1.0], "mxfp8_e4m3", accumulator=accumulator, rounding=rounding)
    assert_same(zeros, 0.0)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["mxfp8_e4m3", "mxfp8_e5m2"])
def test_zeros_have_the_signs_of_the_reference(name: str, order: str) -> None:
    # Rows: zeros; a sum that cancels; -0; tiny terms that cancel, that come first, that come last.
    rows = np.zeros((6, 4, 32))
    rows[1, 1, 0], rows[1, 2, 0] = 1.0, -1.0
    rows[2] = -0.0
    rows[3, 0, :2], rows[4, 0, 0] = (-(2.0**-20), 2.0**-20), -(2.0**-20)
    rows[5, 3, 0] = -(2.0**-20)
    a = quantize_blocks(rows.reshape(6, 128), name, 1)
    b = quantize_blocks(np.ones((128, 1)), name, 0)
    for accumulator in ("float32", "e4m3", "float8_e4m3fnuz"):
        for rounding in ("nearest", "down", "up", "stochastic"):
            result = matmul_blocks(a, b, accumulator=accumulator, rounding=rounding, order=order)
            cast = Cast.from_names(accumulator, rounding)
            assert_same(result, matmul_exact(a, b, parse_accumulator(order, cast)))


def test_parts_of_an_exact_zero_leave_no_sign() -> None:
    # 1 x 2^-10 and 2^-8 x 2^-2, one of them with an element that lies in a lower slice
    assert_same(one([1.0, -(2.0**-8)], [2.0**-10, 2.0**-2], "mxfp8_e5m2", rounding="down"), 0.0)
    assert_same(one([-1.0, 2.0**-8], [2.0**-10, 2.0**-2], "mxfp8_e5m2", rounding="down"), 0.0)
    assert_same(one([-0.0], [1.0], "mxfp8_e4m3", rounding="down"), 0.0)
    assert_same(one([-0.0], [1.0], "mxfp8_e5m2", rounding="down"), 0.0)


# ----------------------------------------------------------------------------------------------------
# NaN and infinities
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_a_block_that_is_nan_makes_its_row_or_column_nan(left: str, right: str, order: str) -> None:
    a, b = operands(left, right, (3, 70, 4), seed=1)
    clean = matmul_blocks(a, b, order=order)
    a.scales[1, 1] = np.nan
    expected = clean.copy()
    expected[1] = np.nan
    assert_same(matmul_blocks(a, b, order=order), expected)
    b.scales[0, 2] = np.nan
    expected[:, 2] = np.nan
    assert_same(matmul_blocks(a, b, order=order), expected)


def test_special_elements_follow_ieee() -> None:
    inf, nan = math.inf, math.nan
    assert one([inf, 1.0], [2.0, 57344.0], "mxfp8_e5m2") == inf
    assert one([inf, 1.0], [-(2.0**-16), 57344.0], "mxfp8_e5m2") == -inf
    assert math.isnan(one([inf, 1.0], [0.0, 1.0], "mxfp8_e5m2"))
    assert math.isnan(one([inf, -inf], [1.0, 1.0], "mxfp8_e5m2"))
    assert math.isnan(one([nan, 1.0], [1.0, 1.0], "mxfp8_e4m3"))
    assert one([inf], [1.0], "mxfp8_e5m2", overflow="saturate") == 3.4028234663852886e38


# ----------------------------------------------------------------------------------------------------
# Places
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["mxfp8_e4m3", "nvfp4"])
def test_a_leading_block_is_the_product_of_leading_rows_and_columns(name: str, order: str) -> None:
    a, b = operands(name, name, (7, 100, 9), seed=3)
    options: dict[str, Any] = {"accumulator": "bfloat16", "rounding": "stochastic", "order": order, "seed": 9}
    whole = matmul_blocks(a, b, **options)
    rows = replace(a, elements=a.elements[:4], scales=a.scales[:4])
    columns = replace(b, elements=b.elements[:, :5], scales=b.scales[:, :5])
    assert_array_equal(matmul_blocks(rows, columns, **options), whole[:4, :5])
    assert_array_equal(matmul_blocks(a, b, **options), whole)
    assert (matmul_blocks(a, b, **{**options, "seed": 10}) != whole).any()


def test_places_draw_different_bits() -> None:
    ones = np.ones((8, 64))
    ones[:, 32:] = 2.0**-9
    a, b = quantize_blocks(ones, "mxfp8_e4m3", 1), quantize_blocks(np.ones((64, 8)), "mxfp8_e4m3", 0)
    result = matmul_blocks(a, b, accumulator="e4m3", rounding="stochastic")
    # 32 + 1/16 lies 1/64 of the way from 32 to 36
    assert set(matmul_blocks(a, b, accumulator="e4m3").ravel().tolist()) == {32.0}
    assert set(result.ravel().tolist()) <= {32.0, 36.0}
    halves = replace(a, scales=a.scales * np.array([1, 32], F32))
    found = matmul_blocks(halves, b, accumulator="e4m3", rounding="stochastic")
    assert set(found.ravel().tolist()) == {32.0, 36.0}
    assert len({tuple(row) for row in found.tolist()}) > 4
    assert len({tuple(column) for column in found.T.tolist()}) > 4


@pytest.mark.usefixtures("threads")
def test_thread_counts_change_nothing() -> None:
    a, b = operands("nvfp4", "nvfp4", (200, 48, 180), seed=4)
    found = []
    for count in (1, 2, 7):
        emunum.set_threads(count)
        found.append(matmul_blocks(a, b, accumulator="bfloat16", rounding="stochastic"))
    assert_array_equal(found[0], found[1])
    assert_array_equal(found[0], found[2])


def test_memory_order_does_not_matter() -> None:
    a, b = operands("mxfp8_e5m2", "mxfp8_e5m2", (5, 70, 6), seed=5)
    expected = matmul_blocks(a, b, rounding="stochastic")
    turned = [
        replace(x, elements=np.asfortranarray(x.elements), scales=np.asfortranarray(x.scales)) for x in (a, b)
    ]
    assert_array_equal(matmul_blocks(*turned, rounding="stochastic"), expected)


# ----------------------------------------------------------------------------------------------------
# What goes in
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3), (2, 5, 0), (0, 0, 0), (1, 1, 1)])
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_empty_products_are_zeros(shape: tuple[int, int, int], rounding: str, order: str) -> None:
    m, k, n = shape
    for name in ("mxfp8_e5m2", "nvfp4"):
        a, b = quantize_blocks(np.zeros((m, k)), name, 1), quantize_blocks(np.zeros((k, n)), name, 0)
        assert_same(matmul_blocks(a, b, rounding=rounding, order=order), np.zeros((m, n)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "exact"}, r"order exact is not defined over blocks"),
        ({"order": "tensor_core:h100"}, r"order tensor_core is not defined over blocks"),
        ({"order": "chunked"}, r"unknown order 'chunked'"),
        ({"accumulator": "e8m0fnu"}, r"float8_e8m0fnu holds block scales"),
        ({"accumulator": "q8.8", "overflow": "wrap"}, r"sums of blocks do not wrap into q8.8"),
        (
            {"rounding": "stochastic", "random_bits": 28},
            r"random_bits 28 is out of range: .* float32 take at most 27",
        ),
        ({"accumulator": "float33"}, r"unknown format 'float33'"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, Any], message: str) -> None:
    a, b = operands("mxint8", "mxint8", (2, 33, 2), seed=0)
    with pytest.raises(ValueError, match=message):
        matmul_blocks(a, b, **options)


def test_operands_that_do_not_fit_are_refused() -> None:
    a, b = operands("mxint8", "mxint8", (2, 32, 32), seed=0)
    with pytest.raises(ValueError, match=r"shapes \(2, 32\) and \(2, 32\) do not multiply"):
        matmul_blocks(a, a)
    with pytest.raises(ValueError, match=r"blocks lie along axes 1 and 1"):
        matmul_blocks(a, quantize_blocks(np.ones((32, 32)), "mxint8", 1))
    with pytest.raises(ValueError, match=r"blocks of 32 \(mxint8\) and 16 \(nvfp4\) do not multiply"):
        matmul_blocks(a, quantize_blocks(np.ones((32, 32)), "nvfp4", 0))
    with pytest.raises(ValueError, match=r"shapes \(32,\) and \(32, 32\) do not multiply"):
        matmul_blocks(quantize_blocks(np.ones(32), "mxint8"), b)
