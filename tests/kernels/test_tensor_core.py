"""Tensor cores: vectors by hand for every row of the table, then rational sums of random blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from oracles import assert_same

import emunum
from emunum.formats import Accumulator, Cast, Format, Order, parse_accumulator
from emunum.formats.accumulator import TENSOR_CORES
from emunum.formats.exact import add_exact, tensor_core_exact
from emunum.kernels import cpu
from emunum.kernels.random import Key, philox4x32

F32 = np.float32
FLOAT32, FLOAT16 = Cast.from_names("float32"), Cast.from_names("float16")

TABLE = {
    # name: (K, F, Fout, operands), from paper/numerics.md, section 5
    "v100": (4, 23, 23, "float16"),
    "a100": (8, 24, 23, "bfloat16"),
    "a100_tf32": (4, 24, 23, "tfloat32"),
    "ada": (8, 24, 23, "float16"),
    "ada_tf32": (4, 24, 23, "tfloat32"),
    "ada_fp8": (16, 13, 13, "float8_e5m2"),
    "h100": (16, 25, 23, "bfloat16"),
    "h100_tf32": (8, 25, 23, "tfloat32"),
    "h100_fp8": (32, 13, 13, "float8_e5m2"),
}
# K, F and Fout are `terms`, `kept` and `out` below.
rows = pytest.mark.parametrize(("name", "terms", "kept", "out"), [(n, *row[:3]) for n, row in TABLE.items()])


def dot(name: str, products: list[float], to: Cast = FLOAT32, chunk: int | None = None) -> float:
    """The tensor core's sum of these products, each split into two operands that its format holds."""
    operands = Format.from_name(TABLE[name][3])
    a, b = np.ones((1, len(products)), F32), np.array(products, F32)
    for k, x in enumerate(products):
        if math.isfinite(x) and x != 0:  # half the exponent goes to the left operand
            a[0, k] = 2.0 ** (math.frexp(x)[1] // 2)
            b[k] = F32(x) / a[0, k]
    assert_same(a, emunum.quantize(a, operands))
    assert_same(b, emunum.quantize(b, operands))
    order = f"tensor_core:{name}" + (f":{chunk}" if chunk else "")
    return float(cpu.matmul(a, b[:, None], None, parse_accumulator(order, to), Key(0))[0, 0])


# ----------------------------------------------------------------------------------------------------
# By hand
# ----------------------------------------------------------------------------------------------------


def test_the_table_is_the_papers() -> None:
    assert {
        name: (core.terms, core.fraction_bits, core.output_bits) for name, core in TENSOR_CORES.items()
    } == {name: row[:3] for name, row in TABLE.items()}


def test_the_vectors_of_the_contract() -> None:
    # v100: beside c = 1, 2^-24 lies below 23 bits. Beside c = 1 - 2^-24 it does not: eta is -1.
    small = [2.0**-24] * 4
    assert dot("v100", [1, 0, 0, 0, *small]) == 1
    assert dot("v100", [0.5, 0.5 - 2.0**-12, 2.0**-12 - 2.0**-23, 2.0**-24]) == 1 - 2.0**-24
    assert dot("v100", [0.5, 0.5 - 2.0**-12, 2.0**-12 - 2.0**-23, 2.0**-24, *small]) == 1 + 2.0**-23
    # h100 fp8: 2^-14 lies below 13 bits of 1; alone, 32 of them are 2^-9.
    assert dot("h100_fp8", [1] + [0] * 31 + [2.0**-14] * 32) == 1
    assert dot("h100_fp8", [2.0**-14] * 32) == 2.0**-9


@rows
def test_blocks_have_so_many_terms_and_the_sum_so_far(name: str, terms: int, kept: int, out: int) -> None:
    # After 1 - 1 a term far below is left only if it begins the next block: K - 1 and K + 1 terms both fail.
    tiny = 2.0 ** -(kept + 1)
    assert dot(name, [1] + [0] * (terms - 2) + [-1, tiny]) == tiny
    assert dot(name, [1] + [0] * (terms - 3) + [-1, tiny]) == 0
    # c is among them, wherever it comes from.
    assert dot(name, [1] + [0] * (terms - 1) + [-1] + [0] * (terms - 2) + [tiny]) == 0
    assert dot(name, [1] + [0] * (terms - 1) + [-1] + [0] * (terms - 1) + [tiny]) == tiny


@rows
def test_so_many_fraction_bits_are_kept_in_alignment(name: str, terms: int, kept: int, out: int) -> None:
    # c = 1, then as many terms of 2^-F as make one bit of the result, and twice as many of half the size.
    count = 2 ** (kept - out)
    assert dot(name, [1] + [0] * (terms - 1) + [2.0**-kept] * count) == 1 + 2.0**-out
    assert dot(name, [1] + [0] * (terms - 1) + [2.0 ** -(kept + 1)] * min(2 * count, terms)) == 1
    # What lies below is cut off toward zero, of either sign: 1.5 of the last bit count as 1.
    assert dot(name, [1] + [0] * (terms - 1) + [1.5 * 2.0**-kept] * count) == 1 + 2.0**-out
    assert dot(name, [-1] + [0] * (terms - 1) + [-1.5 * 2.0**-kept] * count) == -1 - 2.0**-out
    assert dot(name, [1] + [0] * (terms - 1) + [-1.5 * 2.0**-kept] * count) == 1 - 2.0**-out
    assert dot(name, [1] + [0] * (terms - 1) + [-(2.0 ** -(kept + 1))] * min(2 * count, terms)) == 1


@rows
def test_so_many_fraction_bits_are_kept_in_the_result(name: str, terms: int, kept: int, out: int) -> None:
    # 2 and the last bit of 1, which is the first one below the last of 2.
    last = 2.0**-out
    assert dot(name, [1, 1, last]) == 2
    assert dot(name, [1, 1, last, last]) == 2 + 2 * last
    assert dot(name, [-1, -1, -last]) == -2
    assert dot(name, [1, 1] + [0] * (terms - 2) + [last]) == 2
    if out < kept:
        assert dot(name, [1, last / 2]) == 1
        assert dot(name, [-1, -last / 2]) == -1


@rows
def test_the_sum_is_exact_and_has_no_order_within_a_block(name: str, terms: int, kept: int, out: int) -> None:
    # 1 + last - 1 is last, whatever comes first: nothing is rounded between them.
    last = 2.0**-out
    assert dot(name, [last, 1, -1]) == dot(name, [1, -1, last]) == dot(name, [1, last, -1]) == last
    # Carries of more than one bit: K terms of 1.75.
    assert dot(name, [1.75] * terms) == 1.75 * terms


def test_products_are_not_renormalised() -> None:
    # 1.5 * 1.5 = 2.25 has the exponent of 1 * 1: 2^-23 beside it is kept on a v100, and two of them make a
    # bit of the result. As 2.25 = 1.125 * 2 it has the exponent 1, and both are lost.
    def v100(a: list[float], b: list[float]) -> float:
        accumulator = parse_accumulator("tensor_core:v100", FLOAT32)
        return float(cpu.matmul(np.array([a], F32), np.array([b], F32).T, None, accumulator, Key(0))[0, 0])

    tiny = 2.0**-12
    assert v100([1.5, tiny, tiny], [1.5, 2 * tiny, 2 * tiny]) == 2.25 + 2.0**-22
    assert v100([1.125, tiny, tiny], [2.0, 2 * tiny, 2 * tiny]) == 2.25
    # The sum so far is normalised: 2.25 as c has the exponent 1.
    assert v100([1.5, 0, 0, 0, tiny, tiny], [1.5, 0, 0, 0, 2 * tiny, 2 * tiny]) == 2.25


def test_zeros_have_no_exponent() -> None:
    # 0 * 2^15 does not raise eta, and zeros alone are +0.
    def h100(a: list[float], b: list[float]) -> float:
        accumulator = parse_accumulator("tensor_core:h100", FLOAT32)
        return float(cpu.matmul(np.array([a], F32), np.array([b], F32).T, None, accumulator, Key(0))[0, 0])

    assert h100([0.0, 2.0**-20, 2.0**15], [2.0**15, 2.0**-20, -0.0]) == 2.0**-40
    for zeros in ([0.0] * 40, [-0.0] * 40, [0.0, -0.0] * 20):
        assert_same(h100(zeros, [1.0] * 40), 0.0)
        assert_same(h100(zeros, [-1.0] * 40), 0.0)
    assert_same(h100([1.0, -1.0], [1.0, 1.0]), 0.0)
    assert_same(h100([1.0] + [0.0] * 15 + [-1.0], [1.0] * 17), 0.0)
    # A block of zeros leaves the sum as it is.
    assert h100([3.0] + [0.0] * 15 + [0.0] * 20, [1.0] * 36) == 3


@pytest.mark.parametrize("name", ["v100", "a100", "h100", "h100_fp8"])
def test_a_float16_sum_is_rounded_to_nearest_even(name: str) -> None:
    half = 2.0**-11
    assert dot(name, [1, half], FLOAT16) == 1
    assert dot(name, [1, 2 * half, half], FLOAT16) == 1 + 4 * half
    assert dot(name, [1, half, half / 2], FLOAT16) == 1 + 2 * half
    assert dot(name, [-1, -half, -half / 2], FLOAT16) == -1 - 2 * half
    assert dot(name, [1, half / 2, half / 4], FLOAT16) == 1
    # The second block adds to what the first one left.
    K = TENSOR_CORES[name].terms
    assert dot(name, [1, half] + [0] * (K - 2) + [half], FLOAT16) == 1
    # Everything down to the last bit of the largest float16, then half of that bit, or a quarter.
    largest = [2.0**e for e in range(15, 4, -1)]
    assert dot(name, [*largest, 2.0**4], FLOAT16) == math.inf
    assert dot(name, [*largest, 2.0**3], FLOAT16) == 65504
    assert dot(name, [-(2.0**15)] * 4, FLOAT16) == -math.inf


@rows
def test_the_last_block_may_be_short(name: str, terms: int, kept: int, out: int) -> None:
    for count in (1, terms - 1, terms + 1, 2 * terms - 1, 2 * terms + 1):
        assert dot(name, [1.5] * count) == 1.5 * count
        assert dot(name, [1] + [0] * (count - 1)) == 1
    assert_same(dot(name, []), 0.0)


def test_promotion_adds_the_chunks_in_float32() -> None:
    # 1 and 2^-14 never meet in one block. In the tensor core's 13 bits the sum stays 1; promoted every 32
    # terms, they are added in float32.
    products = [1.0] + [0.0] * 31 + [2.0**-14] + [0.0] * 31
    assert dot("h100_fp8", products) == 1
    assert dot("h100_fp8", products, chunk=32) == 1 + 2.0**-14
    assert dot("h100_fp8", products, chunk=64) == 1
    # Chunks begin blocks: with 33 of them the second block has one term, and starts from c.
    assert dot("h100_fp8", [1.0] + [0.0] * 31 + [2.0**-14] * 2, chunk=33) == 1 + 2.0**-14
    assert dot("h100_fp8", [1.0, 2.0**-14] * 3, chunk=1) == 3 + 3 * 2.0**-14


def test_infinities_and_nan() -> None:
    inf, nan = math.inf, math.nan

    def a100(a: list[float], b: list[float], to: Cast = FLOAT32, chunk: str = "") -> float:
        accumulator = parse_accumulator(f"tensor_core:a100{chunk}", to)
        return float(cpu.matmul(np.array([a], F32), np.array([b], F32).T, None, accumulator, Key(0))[0, 0])

    for to, chunk in [(FLOAT32, ""), (FLOAT16, ""), (FLOAT32, ":8"), (FLOAT32, ":3")]:
        assert a100([inf, 1], [1, 1], to, chunk) == inf
        assert a100([1, 2], [-inf, 1], to, chunk) == -inf
        assert a100([inf, -1], [-1, inf], to, chunk) == -inf
        assert math.isnan(a100([inf, 1], [0, 1], to, chunk))
        assert math.isnan(a100([inf, inf], [1, -1], to, chunk))
        assert math.isnan(a100([nan, 1], [0, 1], to, chunk))
        assert math.isnan(a100([1] * 20 + [nan], [1] * 21, to, chunk))
        assert a100([inf] + [1] * 20, [1] * 21, to, chunk) == inf
        assert math.isnan(a100([inf] + [1] * 20 + [-inf], [1] * 22, to, chunk))
    # A sum too large, cut toward zero, stays the largest float32; and does so in the next block.
    top = float(np.finfo(F32).max)
    assert a100([2.0**64] * 4, [2.0**63] * 4) == top
    assert a100([2.0**64] * 12, [-(2.0**63)] * 12) == -top


# ----------------------------------------------------------------------------------------------------
# Rational sums
# ----------------------------------------------------------------------------------------------------


def operands(format: Format, shape: tuple[int, int], kind: int, rng: np.random.Generator) -> np.ndarray:
    """Values of a format: 0 near 1, 1 of any exponent, 2 as 0 with zeros, 3 with infinities and NaN too."""
    m = format.mantissa_bits
    low, high = (format.emin, format.emax) if kind == 1 else (max(format.emin, -9), min(format.emax, 2))
    x = np.ldexp(rng.integers(1 << m, 2 << m, shape).astype(np.float64), rng.integers(low, high, shape) - m)
    x *= rng.choice([-1.0, 1.0, 1.0], shape)
    if kind == 1:
        x = np.where(rng.random(shape) < 0.2, rng.choice([-1, 1], shape) * 2.0 ** (format.emin - m), x)
    if kind >= 2:
        x = np.where(rng.random(shape) < 0.4, rng.choice([0.0, -0.0], shape), x)
    if kind == 3:
        x = np.where(rng.random(shape) < 0.03, rng.choice([np.inf, -np.inf, np.nan], shape), x)
    return x.astype(F32)


def matmul_exact(a: np.ndarray, b: np.ndarray, accumulator: Accumulator, key: int = 0) -> np.ndarray:
    """The rational tensor core on every entry; chunks added as the layout of the counters has it."""
    chunk, outer = accumulator.chunk or max(a.shape[1], 1), accumulator.last
    inner = Accumulator(cast=accumulator.cast, order=Order.TENSOR_CORE, core=accumulator.core)
    width = 16 if outer.random_bits <= 16 else 32
    out = np.zeros((a.shape[0], b.shape[1]))
    for i, row in enumerate(a.tolist()):
        for j, column in enumerate(b.T.tolist()):
            parts = [
                tensor_core_exact(row[at : at + chunk], column[at : at + chunk], inner)
                for at in range(0, len(row), chunk)
            ]
            if accumulator.chunk is None:
                out[i, j] = parts[0] if parts else 0.0
                continue
            for number, part in enumerate(parts):
                word = philox4x32((j, i, number, 7 + 256), (key, 0))[0]
                draw = word % 2**width >> width - outer.random_bits
                out[i, j] = add_exact(float(out[i, j]), part, outer, draw if outer.stochastic else 0)
    return out


@pytest.mark.parametrize("to", [FLOAT32, FLOAT16], ids=str)
@pytest.mark.parametrize("name", TABLE)
def test_random_matrices_are_the_rational_sum(name: str, to: Cast) -> None:
    format = Format.from_name(TABLE[name][3])
    accumulator = parse_accumulator(f"tensor_core:{name}", to)
    for kind in range(4):
        rng = np.random.default_rng(kind)
        for shape in [(2, 39, 3), (3, TABLE[name][0], 1), (1, 5, 33)]:
            m, terms, n = shape
            a, b = operands(format, (m, terms), kind, rng), operands(format, (terms, n), kind, rng)
            assert_same(cpu.matmul(a, b, None, accumulator, Key(0)), matmul_exact(a, b, accumulator))


@pytest.mark.parametrize(
    "outer",
    ["float32 nearest 16", "float32 down 16", "bfloat16 stochastic 12", "e4m3fnuz stochastic_b 20"],
)
@pytest.mark.parametrize("chunk", [1, 7, 8, 24, 100])
def test_promoted_sums_are_the_chunks_added_by_the_outer_rounding(chunk: int, outer: str) -> None:
    name, mode, bits = outer.split()
    to = Cast.from_names(name, mode, random_bits=int(bits))
    accumulator = parse_accumulator(f"tensor_core:a100:{chunk}", FLOAT32, to)
    rng = np.random.default_rng(chunk)
    format = Format.from_name("float16")
    for kind in (0, 2, 3):
        a, b = operands(format, (3, 41), kind, rng), operands(format, (41, 3), kind, rng)
        assert_same(cpu.matmul(a, b, None, accumulator, Key(11)), matmul_exact(a, b, accumulator, 11))


def test_promoted_sums_are_float32_sums_of_the_chunks_results() -> None:
    format = Format.from_name("e4m3")
    rng = np.random.default_rng(0)
    a, b = operands(format, (4, 200), 0, rng), operands(format, (200, 4), 0, rng)
    plain = parse_accumulator("tensor_core:h100_fp8", FLOAT32)
    expected = np.zeros((4, 4), F32)
    for at in range(0, 200, 64):
        expected += cpu.matmul(a[:, at : at + 64], b[at : at + 64], None, plain, Key(0))
    promoted = parse_accumulator("tensor_core:h100_fp8:64", FLOAT32)
    assert_same(cpu.matmul(a, b, None, promoted, Key(0)), expected)
    assert (cpu.matmul(a, b, None, plain, Key(0)) != expected).any()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("order", ["tensor_core:h100_fp8", "tensor_core:h100_fp8:48"])
def test_threads_tiles_and_the_transposed_path_decide_nothing(order: str) -> None:
    format = Format.from_name("e4m3")
    rng = np.random.default_rng(1)
    a, b = operands(format, (70, 70), 2, rng), operands(format, (70, 80), 2, rng)
    outer = Cast.from_names("float16", "stochastic") if order.endswith("48") else None
    accumulator = parse_accumulator(order, FLOAT32, outer)
    whole = []
    for threads in (1, 2):
        cpu.set_threads(threads)
        whole.append(cpu.matmul(a, b, None, accumulator, Key(1)))
    assert_same(whole[1], whole[0])
    for rows, columns in [((0, 70), (0, 1)), ((0, 70), (3, 13)), ((69, 70), (5, 80)), ((7, 40), (30, 71))]:
        left, right = a[slice(*rows)], b[:, slice(*columns)]
        part = cpu.matmul(left, right, None, accumulator, Key(1), origin=(rows[0], columns[0]))
        assert_same(part, whole[0][slice(*rows), slice(*columns)])


@pytest.mark.parametrize("shape", [(0, 3, 4), (4, 3, 0), (3, 0, 5), (50, 0, 3)])
def test_the_shape_is_m_by_n_and_no_terms_give_plus_zero(shape: tuple[int, int, int]) -> None:
    m, terms, n = shape
    for order in ("tensor_core:v100", "tensor_core:v100:8"):
        accumulator = parse_accumulator(order, FLOAT32)
        ours = cpu.matmul(np.ones((m, terms), F32), np.ones((terms, n), F32), None, accumulator, Key(0))
        assert_same(ours, np.zeros((m, n)))


# ----------------------------------------------------------------------------------------------------
# By name
# ----------------------------------------------------------------------------------------------------


def test_tensor_cores_are_chosen_by_name() -> None:
    a = np.array([[1.0] + [0.0] * 31 + [2.0**-14]])
    ones = np.ones((33, 1))
    assert emunum.matmul(a, ones, order="tensor_core:h100_fp8")[0, 0] == 1
    assert emunum.matmul(a, ones, order="tensor_core:h100_fp8:32")[0, 0] == 1 + 2.0**-14
    half = np.array([[1.0, 2.0**-11, 2.0**-12]])
    ours = emunum.matmul(half, ones[:3], accumulator="float16", order="tensor_core:v100")
    assert ours[0, 0] == 1 + 2.0**-10


def test_a_product_format_is_refused() -> None:
    one = np.ones((1, 1))
    with pytest.raises(ValueError, match=r"v100 keeps products exact: float8_e4m3fn cannot round them"):
        emunum.matmul(one, one, product="e4m3", order="tensor_core:v100")


@pytest.mark.parametrize("name", ["bfloat16", "e4m3", "tfloat32", "q8.8"])
def test_a_tensor_core_has_float32_and_float16_sums_only(name: str) -> None:
    with pytest.raises(ValueError, match=r"v100 accumulates in float32 .* or float16, not in"):
        parse_accumulator("tensor_core:v100", Cast.from_names(name))


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("tensor_core:h10", r"unknown tensor core 'h10'. Did you mean .*h100"),
        ("tensor_core", "order"),
        ("tensor_core:", "tensor core"),
        ("tensor_core:h100:0", "order"),
        ("tensor_core:h100:x", "order"),
        ("tensor_core:h100:4:4", "order"),
    ],
)
def test_a_tensor_core_that_does_not_exist_is_refused(order: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_accumulator(order, FLOAT32)


def test_sums_that_are_not_promoted_have_no_outer_rounding() -> None:
    with pytest.raises(ValueError, match="only sums of chunks have one"):
        parse_accumulator("tensor_core:h100", FLOAT32, FLOAT32)


def test_an_accumulator_that_contradicts_itself_is_refused() -> None:
    wrong: list[dict[str, Any]] = [
        {"order": Order.TENSOR_CORE},
        {"order": Order.SEQUENTIAL, "core": TENSOR_CORES["v100"]},
        {"order": Order.CHUNKED},
        {"order": Order.CHUNKED, "chunk": 0},
        {"order": Order.KAHAN, "chunk": 4},
        {"order": Order.PAIRWISE, "outer": FLOAT32},
    ]
    for options in wrong:
        with pytest.raises(ValueError, match="order"):
            Accumulator(cast=FLOAT32, **options)
