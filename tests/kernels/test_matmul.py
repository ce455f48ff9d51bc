"""Matrix products: every product and every partial sum rounded, in order, whatever the shape or tiling."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from inputs import F32, MODES, SCALE, bit_patterns, cast, label, some_values, thinned
from numpy.testing import assert_array_equal
from oracles import assert_same, matmul_array, matmul_exact

from emunum.formats import NAMED, Cast, Format, Mode
from emunum.formats.exact import dot_exact
from emunum.kernels import cpu
from emunum.kernels.contract import Extent, Operation
from emunum.kernels.random import Key


def _to(text: str | None) -> Cast | None:
    """A cast from "format mode[N] [overflow]", for a readable table."""
    if text is None:
        return None
    name, mode, overflow = [*text.split(), "auto"][:3]
    letters = mode.rstrip("0123456789")
    modes = {"near": "nearest", "zero": "toward_zero", "sr": "stochastic"}
    return cast(name, modes.get(letters, letters), overflow, int(mode[len(letters) :] or 16))


# left, right, product (None: exact), accumulator, result. Each row is a pair of algorithms to compile; a
# comment says what the row is for.
CASES = [
    ("e4m3", "e4m3", "e4m3 near", "e4m3 near", None),
    ("e4m3", "e5m2", "e4m3 near ieee", "float16 near", "e4m3 near ieee"),  # NaN for overflow
    ("e4m3", "e4m3", None, "float16 near", None),  # 43 bits: float64 is exact
    ("e5m2", "e5m2", None, "float16 near", "e5m2 sr12"),  # 65 bits: the residual decides
    ("float16", "float16", None, "float32 near", "float16 near"),
    ("float32", "float32", None, "float32 near", "bfloat16 near"),  # a float32 fma
    ("float32", "float32", "float32 near", "float32 near", None),  # the hardware's own
    ("float32", "float32", "float32 near saturate", "float32 near saturate", "tfloat32 zero"),
    ("float32", "float32", None, "float32 zero", None),
    ("float32", "float32", None, "float32 sr32", "float32 sr32"),
    ("bfloat16", "bfloat16", "bfloat16 near", "bfloat16 near", None),  # products below 2^-126
    ("bfloat16", "bfloat16", None, "bfloat16 near", "e4m3fnuz sr8 ieee"),
    ("bfloat16", "bfloat16", "bfloat16 sr24", "bfloat16 sr24", None),
    ("tfloat32", "tfloat32", "tfloat32 near", "tfloat32 near", None),
    ("tfloat32", "e8m22", None, "e8m22 sr17", None),
    ("e6m9", "e4m3", "e4m3 zero", "e6m9 zero", "e5m2 zero"),
    ("e4m3", "e4m3", "e4m3 sr16", "e4m3 sr16", None),
    ("e5m2", "e4m3", "e5m2 sr8", "e6m9 sr8", "e4m3 near"),
    ("e4m3fnuz", "e5m2fnuz", "e4m3fnuz near ieee", "e5m2fnuz near", None),
    ("e4m3b11fnuz", "e4m3fnuz", "e4m3b11fnuz sr3 saturate", "e4m3fnuz sr5 ieee", None),
    ("e2m3fn", "e3m2fn", "e2m1fn near", "e3m2fn near", "e2m3fn sr1"),
    ("e3m2fn", "e2m1fn", None, "e2m3fn sr4", None),
    ("e2m0", "e5m0", "e2m0 near", "e5m0 near", None),
    ("e8m0", "e5m0", "e8m0 zero", "e8m0 near", "e2m0 near"),
    ("e3m20", "e8m22", "e8m22 near", "e3m20 near saturate", None),
    ("e2m23", "e2m23", "e2m23 zero", "e2m23 near", "e8m20 near"),
    ("e3m20", "e2m23", "e3m20 sr2", "e2m23 sr9", None),
    ("e5m2", "e5m2", "e5m2 near", "e4m3 sr16", None),  # modes mixed
    ("e5m2", "e4m3", "e5m2 sr20", "e4m3 near ieee", "e5m2 near"),
    ("e4m3", "e4m3", "e5m2 zero", "float16 near", None),
    ("e4m3", "e5m2", "e4m3 nearest_away", "float16 up", "e5m2 down"),
    ("float32", "float32", None, "float32 down", None),  # +0 + -0 is -0 there
    ("e4m3", "e5m2", "e5m2 down", "e4m3 down", "e4m3fnuz up"),
    ("e4m3fnuz", "e5m2", "e4m3fnuz down", "float16 down", None),  # products without -0 in such a sum
    ("bfloat16", "bfloat16", None, "bfloat16 to_odd", "e4m3 near"),
    ("e5m2", "e4m3", "e5m2 stochastic_b8", "e6m9 stochastic_c8", None),
    ("float16", "float16", None, "float32 stochastic_c24", "e5m2 stochastic_b12"),
    ("binary8p3se", "binary8p4se", "binary8p3se near", "binary16p11se near", "binary8p3se near propagate"),
    ("binary8p4ue", "binary8p4uf", "binary8p4uf sr5", "binary8p3ue near", None),
    ("binary8p1se", "binary8p1uf", None, "binary8p1se near", None),  # ties to the even code
    ("q4.4", "q1.7", "q4.4 near wrap", "q4.4 near wrap", None),
    ("int8", "int8", None, "int16 zero wrap", "int8 near saturate"),
    ("q2.14", "q2.14", "q2.14 sr11", "q4.4 sr6 saturate", None),
    ("e4m3_ftz", "e4m3_ftz", "e4m3_ftz near", "e4m3_ftz near", None),
    ("float16_ftz", "float16", "float16_ftz sr9", "float32_ftz near", "bfloat16_ftz up"),
]


def _label(case: tuple[str | None, ...]) -> str:
    return "-".join(str(part).replace(" ", "_") for part in case)


def _matrix(format: Format, shape: tuple[int, int], kind: int, rng: np.random.Generator) -> np.ndarray:
    """Values of a format: of any size, or near each other so that sums cancel and tie, or the extremes."""
    held = some_values(format, 400, rng)
    finite = held[np.isfinite(held)]
    if kind == 1:
        middle = finite[(np.abs(finite) >= 2.0**-3) & (np.abs(finite) <= 8)]
        finite = middle if middle.size else finite
    if kind == 2:
        small, large = format.smallest, format.max
        finite = np.array([small, -small, 3 * small, large, -large, large / 2, 1, -1, 0.0, -0.0], F32)
    x = rng.choice(finite, shape)
    specials = held[~np.isfinite(held)]
    if kind == 3 and specials.size:
        x = np.where(rng.random(shape) < 0.08, rng.choice(specials, shape), x)
    return np.where(rng.random(shape) < 0.05, F32(-0.0), x).astype(F32)


@pytest.mark.parametrize("case", thinned(CASES), ids=_label)
def test_every_entry_is_the_rational_reference(case: tuple[str, str, str | None, str, str | None]) -> None:
    left, right = (Format.from_name(name) for name in case[:2])
    product, accumulator, result = (_to(text) for text in case[2:])
    assert accumulator is not None
    rng = np.random.default_rng(1)
    shapes = [(3, 9, 4), (5, 6, 2), (1, 13, 3), (4, 8, 1), (2, 23, 2), (2, 0, 3), (4, 1, 4)]
    for kind, (m, terms, n) in itertools.product(range(4), shapes):
        a, b = _matrix(left, (m, terms), kind, rng), _matrix(right, (terms, n), kind, rng)
        key = int(rng.integers(0, 2**62))
        expected = matmul_exact(a, b, product, accumulator, key, result)
        ours = cpu.matmul(a, b, product, accumulator, Key(key), result=result)
        assert_same(ours, expected)
        extents = Extent.of(left), Extent.of(right)
        wider = cpu.matmul(a, b, product, accumulator, Key(key), result=result, extents=extents)
        assert_same(wider, expected)


LARGE = [
    ("e4m3", "e4m3", "e4m3 near", "e4m3 near", None),
    ("e4m3", "e4m3", "e4m3 sr16", "e4m3 sr16", None),
    ("bfloat16", "bfloat16", "bfloat16 sr24", "bfloat16 sr24", None),
    ("float32", "float32", None, "float32 zero", None),
    ("e5m2", "e5m2", None, "float16 near", None),
]


@pytest.mark.parametrize("case", LARGE, ids=_label)
@pytest.mark.parametrize("shape", [(40, 21, 37), (70, 18, 5), (2, 19, 90), (2, 135, 33)])
def test_larger_products_are_rounded_at_every_step(case, shape: tuple[int, int, int]) -> None:  # type: ignore[no-untyped-def]
    left, right = (Format.from_name(name) for name in case[:2])
    product, accumulator = _to(case[2]), _to(case[3])
    assert accumulator is not None
    m, terms, n = shape
    for kind in (1, 3):
        rng = np.random.default_rng(kind)
        a, b = _matrix(left, (m, terms), kind, rng), _matrix(right, (terms, n), kind, rng)
        assert_same(
            cpu.matmul(a, b, product, accumulator, Key(5)), matmul_array(a, b, product, accumulator, 5)
        )


@pytest.mark.parametrize("case", LARGE, ids=_label)
def test_the_two_oracles_agree(case) -> None:  # type: ignore[no-untyped-def]
    left, right = (Format.from_name(name) for name in case[:2])
    product, accumulator = _to(case[2]), _to(case[3])
    assert accumulator is not None
    for kind in range(4):
        rng = np.random.default_rng(kind)
        a, b = _matrix(left, (4, 9), kind, rng), _matrix(right, (9, 3), kind, rng)
        assert_same(matmul_array(a, b, product, accumulator, 3), matmul_exact(a, b, product, accumulator, 3))


# ----------------------------------------------------------------------------------------------------
# By hand
# ----------------------------------------------------------------------------------------------------


def _dot(a: list[float], b: list[float], product: Cast | None, accumulator: Cast) -> float:
    return float(
        cpu.matmul(np.array([a], F32), np.array(b, F32)[:, None], product, accumulator, Key(0))[0, 0]
    )


def test_each_product_and_each_sum_is_rounded() -> None:
    # e4m3: 13 * 13 = 169 -> 176; 176 + 7 = 183 -> 176, the even one of 176 and 192 being nearer.
    e4m3, float32 = cast("e4m3"), cast("float32")
    assert _dot([13], [13], e4m3, float32) == 176
    assert _dot([13], [13], None, float32) == 169
    assert _dot([13, 7], [13, 1], e4m3, e4m3) == 176
    assert _dot([7, 13], [1, 13], e4m3, e4m3) == 176
    assert _dot([13, 7], [13, 1], e4m3, float32) == 183


def test_sums_stagnate_as_the_order_over_k_makes_them() -> None:
    # Ones in e4m3: 16 + 1 = 17 is a tie and goes to 16. Large numbers last do not stagnate.
    e4m3 = cast("e4m3")
    assert _dot([1] * 300, [1] * 300, e4m3, e4m3) == 16
    assert _dot([1] * 16 + [16], [1] * 17, e4m3, e4m3) == 32
    assert _dot([16] + [1] * 16, [1] * 17, e4m3, e4m3) == 16


def test_an_exact_product_is_rounded_only_with_the_sum() -> None:
    # Two roundings of 1 + 3 * 2^-5 * ... : 1.125 * 1.125 = 1.265625 -> 1.25 in e4m3; minus 1.25 is 0.015625.
    e4m3 = cast("e4m3")
    assert _dot([-1.25, 1.125], [1, 1.125], e4m3, e4m3) == 0.0
    assert _dot([-1.25, 1.125], [1, 1.125], None, e4m3) == 0.015625


def test_overflow_inside_a_sum_saturates_or_stays_what_it_became() -> None:
    a, b = [448.0, 448.0, -448.0], [1.0, 1.0, 1.0]
    assert _dot(a, b, cast("e4m3"), cast("e4m3")) == 0.0
    assert np.isnan(_dot(a, b, cast("e4m3"), cast("e4m3", overflow="ieee")))
    assert _dot([60000.0, 60000.0, -60000.0], b, None, cast("float16")) == np.inf
    assert _dot([60000.0, 60000.0, -60000.0], b, None, cast("float16", overflow="saturate")) == 5504.0
    assert _dot([60000.0, 60000.0, -60000.0], b, None, cast("float16", "toward_zero")) == 5504.0


def test_nan_and_infinity_pass_through() -> None:
    e5m2 = cast("e5m2")
    assert np.isnan(_dot([np.inf, 1], [0, 1], e5m2, e5m2))
    assert np.isnan(_dot([np.inf, -np.inf], [1, 1], e5m2, e5m2))
    assert _dot([np.inf, 1], [1, 1], e5m2, e5m2) == np.inf
    assert np.isnan(_dot([np.nan, 1], [0, 1], e5m2, e5m2))
    assert _dot([np.inf], [1], cast("e4m3"), cast("e4m3")) == 448


def test_the_first_sum_starts_from_plus_zero() -> None:
    for product in (cast("float32"), None):
        assert_same(_dot([-0.0], [1.0], product, cast("float32")), 0.0)
        assert_same(_dot([-1.0, 0.0], [0.0, -1.0], product, cast("float32")), 0.0)


def test_toward_minus_infinity_plus_zero_and_minus_zero_are_minus_zero() -> None:
    # IEEE 754-2019 6.3; the first sum is +0 + -0, and none at all is still +0.
    down = cast("float32", "down")
    for product in (cast("float32", "down"), None):
        assert_same(_dot([-0.0], [1.0], product, down), -0.0)
        assert_same(_dot([1.0, -1.0], [1.0, 1.0], product, down), -0.0)
        assert_same(_dot([0.0], [1.0], product, down), 0.0)
        assert_same(_dot([], [], product, down), 0.0)


def test_int8_products_in_sums_that_wrap_are_numpys() -> None:
    rng = np.random.default_rng(10)
    a, b = (rng.integers(-128, 128, shape) for shape in ((7, 30), (30, 5)))
    wide = a @ b
    for name, dtype in [("int16", np.int16), ("int8", np.int8)]:
        ours = cpu.matmul(a.astype(F32), b.astype(F32), None, cast(name, overflow="wrap"), Key(0))
        assert_same(ours, wide.astype(dtype))


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_product_that_underflows_without_minus_zero_is_plus_zero_in_the_sum(mode: Mode) -> None:
    # -2^-13 is far too small for e4m3 and leaves -0. The next product underflows to a zero, which in a
    # format without -0 is +0; and -0 + +0 is +0.
    product, accumulator = cast("e4m3b11fnuz", mode, random_bits=1), cast("e4m3", mode, random_bits=1)
    a, b = [2.0**-13, 2.0**-13], [-1.0, -(2.0**-10)]
    expected = dot_exact(a, b, product, accumulator)
    if mode not in (Mode.DOWN, Mode.TO_ODD):  # which take small numbers to others than zero
        assert_same(expected, 0.0)
    assert_same(_dot(a, b, product, accumulator), expected)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_sum_that_underflows_without_minus_zero_is_plus_zero_in_the_result(mode: Mode) -> None:
    accumulator, result = cast("e4m3fnuz", mode, random_bits=1), cast("e4m3", mode, random_bits=1)
    small, minus_one = np.array([[2.0**-13]], F32), np.array([[-1.0]], F32)
    expected = matmul_exact(small, minus_one, None, accumulator, 0, result)
    if mode not in (Mode.DOWN, Mode.TO_ODD):
        assert_same(expected, [[0.0]])
    assert_same(cpu.matmul(small, minus_one, None, accumulator, Key(0), result=result), expected)


# ----------------------------------------------------------------------------------------------------
# Parts and the whole
# ----------------------------------------------------------------------------------------------------

NEAREST = (cast("e4m3"), cast("e4m3"), None)
STOCHASTIC_16 = (cast("e4m3", "stochastic"), cast("e4m3", "stochastic"), None)
STOCHASTIC_32 = (
    cast("bfloat16", "stochastic", random_bits=24),
    cast("bfloat16", "stochastic", random_bits=24),
    None,
)
ROUNDED = (None, cast("float16"), cast("e5m2", "stochastic", random_bits=12))
ARITHMETICS = {"nearest": NEAREST, "sr16": STOCHASTIC_16, "sr24": STOCHASTIC_32, "result": ROUNDED}


def _whole(m: int, terms: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(6)
    e4m3 = NAMED["float8_e4m3fn"]
    return _matrix(e4m3, (m, terms), 1, rng), _matrix(e4m3, (terms, n), 1, rng)


@pytest.mark.parametrize("name", ARITHMETICS)
def test_a_leading_block_is_the_product_of_the_leading_parts(name: str) -> None:
    product, accumulator, result = ARITHMETICS[name]
    a, b = _whole(50, 11, 60)
    whole = cpu.matmul(a, b, product, accumulator, Key(1), result=result)
    for m, n in [(1, 1), (7, 60), (50, 3), (33, 31), (49, 59), (40, 8)]:
        part = cpu.matmul(a[:m], b[:, :n], product, accumulator, Key(1), result=result)
        assert_same(part, whole[:m, :n])


@pytest.mark.parametrize("name", ARITHMETICS)
def test_an_inner_block_at_its_origin_is_that_part_of_the_whole(name: str) -> None:
    product, accumulator, result = ARITHMETICS[name]
    a, b = _whole(50, 11, 60)
    whole = cpu.matmul(a, b, product, accumulator, Key(1), result=result)
    for rows, columns in [((3, 9), (4, 50)), ((10, 50), (7, 12)), ((49, 50), (59, 60)), ((0, 50), (30, 60))]:
        part = cpu.matmul(
            a[slice(*rows)],
            b[:, slice(*columns)],
            product,
            accumulator,
            Key(1),
            result=result,
            origin=(rows[0], columns[0]),
        )
        assert_same(part, whole[slice(*rows), slice(*columns)])
    if name != "nearest":  # without its origin a block has other draws
        elsewhere = cpu.matmul(a[3:9], b[:, 4:50], product, accumulator, Key(1), result=result)
        assert (elsewhere != whole[3:9, 4:50]).any()


@pytest.mark.parametrize("name", ARITHMETICS)
@pytest.mark.parametrize(("m", "n"), [(64, 5), (33, 31), (200, 1)])
def test_a_narrow_product_is_the_wide_one_without_its_padding(name: str, m: int, n: int) -> None:
    product, accumulator, result = ARITHMETICS[name]
    a, b = _whole(m, 13, n)
    padded = np.concatenate([b, np.ones((13, 64 - n), F32)], axis=1)
    wide = cpu.matmul(a, padded, product, accumulator, Key(2), result=result)
    assert_same(cpu.matmul(a, b, product, accumulator, Key(2), result=result), wide[:, :n])


@pytest.mark.parametrize("name", ["sr16", "sr24"])
def test_a_wide_product_of_several_tiles_is_its_parts(name: str) -> None:
    product, accumulator, result = ARITHMETICS[name]
    a, b = _whole(3, 140, 1050)  # 512 columns a tile, 128 terms a block
    wide = cpu.matmul(a, b, product, accumulator, Key(2), result=result)
    for first, last in [(0, 512), (500, 530), (511, 513), (1000, 1050), (1049, 1050)]:
        part = cpu.matmul(a, b[:, first:last], product, accumulator, Key(2), origin=(0, first))
        assert_same(part, wide[:, first:last])


@pytest.mark.parametrize("name", ["sr16", "sr24"])
def test_rows_and_columns_are_counted_in_32_bits(name: str) -> None:
    product, accumulator, _ = ARITHMETICS[name]
    a, b = _whole(40, 9, 40)
    before = 2**32 - 20
    across = cpu.matmul(a, b, product, accumulator, Key(2), origin=(before, before))
    assert_same(across[20:, 20:], cpu.matmul(a[20:], b[:, 20:], product, accumulator, Key(2)))
    narrow = cpu.matmul(a, b[:, 18:23], product, accumulator, Key(2), origin=(before, before + 18))
    assert_same(narrow, across[:, 18:23])


@pytest.mark.parametrize("name", ["nearest", "sr16"])
def test_a_tall_product_of_several_panels_is_the_wide_one(name: str) -> None:
    product, accumulator, result = ARITHMETICS[name]
    a, b = _whole(600, 1100, 2)  # 256 rows a panel
    wide = cpu.matmul(a, np.tile(b, 20), product, accumulator, Key(2), result=result)
    assert_same(cpu.matmul(a, b, product, accumulator, Key(2), result=result), wide[:, :2])


def test_operations_have_different_draws_and_nothing_else() -> None:
    a, b = _whole(6, 11, 40)
    product, accumulator, _ = STOCHASTIC_16
    key = Key(1)
    assert (
        cpu.matmul(a, b, product, accumulator, key)
        != cpu.matmul(a, b, product, accumulator, key, operation=Operation.COLUMN_SUM)
    ).any()
    nearest = cast("e4m3")
    assert_same(
        cpu.matmul(a, b, nearest, nearest, key),
        cpu.matmul(a, b, nearest, nearest, Key(9), operation=Operation.COLUMN_SUM),
    )


# ----------------------------------------------------------------------------------------------------
# Shapes
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARITHMETICS)
@pytest.mark.parametrize(
    ("m", "terms", "n"),
    [(0, 3, 4), (4, 3, 0), (0, 0, 0), (3, 0, 5), (50, 0, 3), (3, 0, 50), (1, 1, 1), (1, 7, 1), (5, 1, 1)],
)
def test_the_shape_is_m_by_n_and_no_terms_give_plus_zero(name: str, m: int, terms: int, n: int) -> None:
    product, accumulator, result = ARITHMETICS[name]
    a, b = _whole(m, terms, n)
    ours = cpu.matmul(a, b, product, accumulator, Key(0), result=result)
    assert (ours.shape, ours.dtype, ours.flags.c_contiguous) == ((m, n), np.float32, True)
    assert_same(ours, matmul_exact(a, b, product, accumulator, 0, result))
    if terms == 0:
        assert_same(ours, np.zeros((m, n)))


@pytest.mark.parametrize("name", ARITHMETICS)
def test_memory_order_decides_nothing_and_operands_stay_as_they_are(name: str) -> None:
    product, accumulator, result = ARITHMETICS[name]
    a, b = _whole(40, 9, 35)
    expected = cpu.matmul(a, b, product, accumulator, Key(3), result=result)
    before = a.tobytes(), b.tobytes()
    wide_a, wide_b = np.zeros((80, 27), F32), np.zeros((18, 70), F32)
    wide_a[::2, ::3], wide_b[::2, ::2] = a, b
    a.flags.writeable = b.flags.writeable = False
    for x, y in [(np.asfortranarray(a), np.asfortranarray(b)), (wide_a[::2, ::3], wide_b[::2, ::2]), (a, b)]:
        assert_array_equal(cpu.matmul(x, y, product, accumulator, Key(3), result=result), expected)
        narrow = cpu.matmul(x, y[:, :4], product, accumulator, Key(3), result=result)
        assert_array_equal(narrow, expected[:, :4])
    assert (a.tobytes(), b.tobytes()) == before


@pytest.mark.parametrize(
    "to",
    [cast("e4m3"), cast("float16", "toward_zero"), cast("float32"), cast("e4m3", "stochastic")],
    ids=label,
)
def test_a_column_sum_adds_the_rows_in_order(to: Cast) -> None:
    x = _matrix(NAMED["float16"], (30, 7), 1, np.random.default_rng(7))
    ones = np.ones((1, 30), F32)
    expected = cpu.matmul(ones, x, None, to, Key(4), operation=Operation.COLUMN_SUM)[0]
    assert_same(cpu.column_sum(x, to, Key(4)), expected)
    if not to.stochastic:
        assert_same(expected, [dot_exact([1.0] * 30, column, None, to) for column in x.T.tolist()])
    assert cpu.column_sum(np.empty((4, 0), F32), to, Key(0)).shape == (0,)
    assert_same(cpu.column_sum(np.empty((0, 4), F32), to, Key(0)), np.zeros(4))


def test_scales_take_no_part_in_a_product() -> None:
    one, scale, float32 = np.ones((2, 2), F32), cast(SCALE), cast("float32")
    for product, accumulator, result in [(scale, float32, None), (None, scale, None), (None, float32, scale)]:
        with pytest.raises(ValueError, match=r"float8_e8m0fnu holds block scales"):
            cpu.matmul(one, one, product, accumulator, Key(0), result=result)


def test_any_float32_may_be_multiplied() -> None:
    a, b = bit_patterns(60 * 7, 8).reshape(60, 7), bit_patterns(7 * 40, 9).reshape(7, 40)
    for product, accumulator in [(None, cast("float32", "toward_zero")), (cast("e4m3"), cast("e4m3"))]:
        ours = cpu.matmul(a, b, product, accumulator, Key(0))
        assert_same(ours, matmul_array(a, b, product, accumulator))
