"""Every order of summation, entry by entry, with every draw: rational sums, NumPy's float16, math.fsum."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import assert_same

import emunum
from emunum.formats import MODES, Accumulator, Cast, Format, Order, parse_accumulator
from emunum.formats.exact import multiply_exact, round_exact, sum_exact
from emunum.kernels import cpu
from emunum.kernels.cpu.orders import _collapse
from emunum.kernels.random import Key, philox4x32

F32, F16 = np.float32, np.float16
KERNELS = {"sequential": 0, "chunked:1": 1, "chunked:5": 1, "pairwise": 2, "kahan": 3, "exact": 4}
ORDERS = tuple(KERNELS)
COLUMN_SUM, MATMUL = 6, 7


def to(text: str) -> Cast:
    """'e4m3', 'e4m3 up', 'e4m3 stochastic 8' or 'e4m3 nearest 16 saturate'."""
    words = text.split()
    name, mode, bits, overflow = words + ["nearest", "16", "auto"][len(words) - 1 :]
    return Cast.from_names(name, mode, overflow, int(bits))


def summation(order: str, inner: Cast, outer: Cast | None = None) -> Accumulator:
    """The order; `outer` goes where there are chunks."""
    return parse_accumulator(order, inner, outer if order.startswith("chunked") else None)


def numbers(format: Format, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Values of a format, most of them in a few binades around 1, some anywhere, a few zeros."""
    m = format.mantissa_bits
    if format.fixed_point:
        return np.ldexp(rng.integers(-(1 << m), 1 << m, shape), format.emin - m).astype(F32)
    high = min(format.emax, 3)
    exponents = rng.integers(max(format.emin, high - 7), high + 1, shape)
    anywhere = rng.integers(max(format.emin, -60), min(format.emax, 60) + 1, shape)
    exponents = np.where(rng.random(shape) < 0.15, anywhere, exponents)
    x = np.ldexp(rng.integers(1 << m, 2 << m, shape).astype(np.float64), exponents - m)
    x = np.clip(np.where(rng.random(shape) < 0.05, 0.0, x), 0.0, format.max)
    return (x * rng.choice([-1.0, 1.0], shape)).astype(F32)


# ----------------------------------------------------------------------------------------------------
# Rational sums, with the layout of the counters read off kernels/contract/counters.py and written down again
# ----------------------------------------------------------------------------------------------------


def draw_of(
    cast: Cast, counter: tuple[int, int, int, int], key: int, index: int, beside: Cast | None = None
) -> int:
    """R of draw `index` of a call. Draws have 16 bits, or 32 where a rounding `beside` needs them too."""
    if not cast.stochastic:
        return 0
    needed = [x.random_bits for x in (cast, beside) if x is not None and x.stochastic]
    width = 16 if max(needed) <= 16 else 32
    word = philox4x32(counter, (key % 2**32, key >> 32))[index * width // 32]
    return (word >> index * width % 32) % 2**width >> width - cast.random_bits


def entry_exact(
    a: list[float],
    b: list[float],
    product: Cast | None,
    accumulator: Accumulator,
    key: int,
    i: int,
    j: int,
    operation: int = MATMUL,
) -> float:
    """Entry (i, j), from its row of a and its column of b."""
    inner, outer = accumulator.cast, accumulator.last
    D = 8 if all(not x.stochastic or x.random_bits <= 16 for x in (inner, product or inner)) else 4

    def of_term(cast: Cast, k: int, which: int, beside: Cast | None) -> int:
        return draw_of(cast, (j, i, k // (D // 2), operation), key, 2 * (k % (D // 2)) + which, beside)

    def of_sum(level: int, step: int, index: int) -> int:
        match accumulator.order:
            case Order.KAHAN:
                counter = (j, i, step // (D // 4), operation + 256)
                return draw_of(inner, counter, key, 4 * (step % (D // 4)) + index, product)
            case Order.CHUNKED if level == 2:
                return draw_of(outer, (j, i, step, operation + 256), key, 0)
            case Order.PAIRWISE if level >= 2:
                height = level - 2
                counter = (j, i, step, operation + 256 * (1 + height // D))
                return draw_of(inner, counter, key, height % D, product)
            case Order.EXACT:
                return draw_of(inner, (j, i, 0, operation + 256), key, 0, product)
        return of_term(inner, step, 1, product)

    terms: list[float | Fraction] = []
    for k, (x, y) in enumerate(zip(a, b, strict=True)):
        if product is not None:
            terms.append(multiply_exact(x, y, product, of_term(product, k, 0, inner)))
        elif math.isfinite(x) and math.isfinite(y) and x != 0 and y != 0:
            terms.append(Fraction(x) * Fraction(y))
        else:
            terms.append(x * y)
    return sum_exact(terms, accumulator, of_sum)


def matmul_exact(
    a: np.ndarray, b: np.ndarray, product: Cast | None, accumulator: Accumulator, key: int = 0
) -> np.ndarray:
    rows, columns = a.tolist(), b.T.tolist()
    out = np.empty((len(rows), len(columns)))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            out[i, j] = entry_exact(row, column, product, accumulator, key, i, j)
    return out


CASES = [
    # operands, product, inner, outer
    ("e4m3", "e4m3", "e4m3", None),
    ("e4m3", "e4m3", "e4m3", "float32"),
    ("e5m2", None, "float16", "float32"),
    ("bfloat16", "bfloat16", "float32", "bfloat16 nearest_away"),
    ("float32", "float32 toward_zero", "float32 to_odd", "float16 up"),
    ("float16", None, "bfloat16 down", "float32 up"),
    ("e4m3fnuz", "e4m3fnuz down", "e4m3fnuz to_odd", "e4m3 down"),
    ("q4.4", "q4.4 nearest 16 wrap", "q4.4 nearest 16 wrap", "q6.4"),
    ("e4m3", "e4m3 stochastic 16", "e4m3 stochastic 16", None),
    ("e4m3", "e5m2 stochastic 4", "float16 stochastic 24", "bfloat16 stochastic_c 9"),
    ("e5m2", None, "float32 stochastic_b 32", "float32 stochastic 3"),
    ("binary8p3se", "binary8p3se stochastic_b 7", "binary8p3se stochastic_c 5", "float16 stochastic 32"),
    ("e4m3", "e4m3 stochastic 11", "bfloat16_ftz", "e4m3fnuz stochastic 1"),
]


LONG = (
    pytest.mark.exhaustive
)  # a pair of rounding and order has kernels of its own, which take long to compile

# Every case has an order and every order four cases, and in the exhaustive tests two and six.
PAIRS = [
    pytest.param(case, order, marks=() if n in (0, 9) or n % 5 == KERNELS[order] else LONG)
    for n, case in enumerate(CASES)
    for order in ORDERS
    if n in (0, 9) or n % 5 in (KERNELS[order], (KERNELS[order] + 2) % 5)
]


def _label(x: object) -> str:
    return "-".join(map(str, x)).replace(" ", "_") if isinstance(x, tuple) else str(x)


@pytest.mark.parametrize(("case", "order"), PAIRS, ids=_label)
def test_every_entry_is_the_rational_sum(case: tuple[str, ...], order: str) -> None:
    operands, product, inner, outer = case
    accumulator = summation(order, to(inner), to(outer) if outer else None)
    rng = np.random.default_rng(len(order))
    for shape in [(2, 13, 3), (1, 5, 1), (40, 6, 2), (1, 1, 34)]:
        m, terms, n = shape
        a = numbers(Format.from_name(operands), (m, terms), rng)
        b = numbers(Format.from_name(operands), (terms, n), rng)
        product_cast = to(product) if product else None
        ours = cpu.matmul(a, b, product_cast, accumulator, Key(2**40 + 9))
        assert_same(ours, matmul_exact(a, b, product_cast, accumulator, 2**40 + 9))


@pytest.mark.parametrize("terms", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 15, 16, 17, 31, 33])
@pytest.mark.parametrize("order", ["chunked:4", "pairwise", "kahan", "exact"])
def test_any_number_of_terms(order: str, terms: int) -> None:
    cast = to("e4m3 stochastic 16")
    accumulator = summation(order, cast, to("bfloat16 stochastic 20"))
    rng = np.random.default_rng(terms)
    a = numbers(cast.format, (3, terms), rng)
    b = numbers(cast.format, (terms, 2), rng)
    ours = cpu.matmul(a, b, cast, accumulator, Key(5))
    assert_same(ours, matmul_exact(a, b, cast, accumulator, 5))
    if terms == 0:
        assert_same(ours, np.zeros((3, 2)))


@pytest.mark.parametrize("order", ["chunked:5", "pairwise", "kahan", "exact"])
def test_columns_are_added_in_any_order_with_draws_of_their_own(order: str) -> None:
    cast = to("e4m3 stochastic 16")
    accumulator = summation(order, cast, to("bfloat16 stochastic 20"))
    x = numbers(Format.from_name("e4m3"), (13, 5), np.random.default_rng(3))
    sums = [
        entry_exact([1.0] * 13, x.T[j].tolist(), None, accumulator, 5, 0, j, COLUMN_SUM) for j in range(5)
    ]
    assert_same(cpu.column_sum(x, accumulator, Key(5)), sums)
    assert_same(
        cpu.column_sum(x, summation(order, to("e4m3")), Key(5)),
        matmul_exact(np.ones((1, 13), F32), x, None, summation(order, to("e4m3")))[0],
    )


@pytest.mark.parametrize("random_bits", [16, 24])
def test_a_tree_may_be_higher_than_a_call_has_draws(random_bits: int) -> None:
    # Sums of 256 terms and of 16 are those of height 8 and 4, the first of the second call.
    cast = to(f"bfloat16 stochastic {random_bits}")
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 1, (1, 700)).astype(F16), rng.uniform(1, 2, (700, 2)).astype(F16)
    accumulator = summation("pairwise", cast)
    ours = cpu.matmul(a.astype(F32), b.astype(F32), None, accumulator, Key(8))
    assert_same(ours, matmul_exact(a.astype(F32), b.astype(F32), None, accumulator, 8))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(0, 3, 4), (4, 3, 0), (0, 0, 0), (3, 0, 5), (50, 0, 3)])
def test_the_shape_is_m_by_n_and_no_terms_give_plus_zero(order: str, shape: tuple[int, int, int]) -> None:
    m, terms, n = shape
    for mode in ("nearest", "down"):
        accumulator = summation(order, to(f"e4m3 {mode}"), to(f"float32 {mode}"))
        ours = cpu.matmul(np.ones((m, terms), F32), np.ones((terms, n), F32), None, accumulator, Key(0))
        assert_same(ours, np.zeros((m, n)))


any_format = st.sampled_from(
    ["e4m3", "e5m2", "e4m3fnuz", "float16", "bfloat16", "float32", "e6m9", "binary8p4se", "q8.8", "e5m2_ftz"]
).map(Format.from_name)
any_cast = st.builds(
    lambda format, mode, n: Cast(format=format, mode=mode, random_bits=n),
    any_format,
    st.sampled_from(sorted(MODES.values(), key=str)),
    st.sampled_from([1, 2, 8, 16, 17, 32]),
)


@settings(max_examples=6)
@given(
    order=st.sampled_from(ORDERS),
    product=st.none() | any_cast,
    inner=any_cast,
    outer=st.none() | any_cast,
    operands=any_format,
    seed=st.integers(0, 2**64 - 1),
)
def test_any_accumulator(
    order: str, product: Cast | None, inner: Cast, outer: Cast | None, operands: Format, seed: int
) -> None:
    accumulator = summation(order, inner, outer)
    rng = np.random.default_rng(seed)
    m, terms, n = (int(rng.integers(1, high)) for high in (4, 20, 4))
    a, b = numbers(operands, (m, terms), rng), numbers(operands, (terms, n), rng)
    ours = cpu.matmul(a, b, product, accumulator, Key(seed))
    assert_same(ours, matmul_exact(a, b, product, accumulator, seed))


# ----------------------------------------------------------------------------------------------------
# NaN, infinities and zeros
# ----------------------------------------------------------------------------------------------------

INF, NAN = math.inf, math.nan
SPECIAL_SUMS = [
    (1.0, -1.0, 0.0),
    (0.0, -0.0, -0.0),
    (-0.0, -0.0, -0.0),
    (-0.0, 0.0, 0.0),
    (-1.0, 1.0, -0.0),
    (-1.0, 0.0, 1.0),
    (INF, 1.0, -1.0),
    (1.0, -INF, 1.0),
    (INF, -INF, 1.0),
    (NAN, 1.0, INF),
    (1.0, 1.0, NAN),
    (2.0**-140, -(2.0**-141), -(2.0**-141)),
    (-(2.0**-140), 0.0, 0.0),
    (3.0e38, 3.0e38, -3.0e38),
    (-3.0e38, -3.0e38, 3.0e38),
]


QUICK = [("down", "e5m2-e4m3fnuz"), ("down", "float32-float16"), ("stochastic", "e5m2-e4m3fnuz")]
EVERY = [(mode, "e5m2-e4m3fnuz") for mode in MODES] + [
    (mode, formats)
    for mode in ("nearest_even", "down", "up")
    for formats in ("e4m3fnuz-e5m2", "float32-float16")
]


@pytest.mark.parametrize("order", ["sequential", "chunked:2", "pairwise", "kahan", "exact"])
@pytest.mark.parametrize(
    ("mode", "formats"), [pytest.param(*case, marks=() if case in QUICK else LONG) for case in EVERY]
)
def test_nan_infinities_and_zeros_through_every_mode(mode: str, formats: str, order: str) -> None:
    b = np.array(SPECIAL_SUMS, F32).T
    a = np.ones((1, 3), F32)
    inner, outer = formats.split("-")
    accumulator = summation(order, to(f"{inner} {mode} 4"), to(f"{outer} {mode} 4"))
    ours = cpu.matmul(a, b, None, accumulator, Key(3))
    assert_same(ours, matmul_exact(a, b, None, accumulator, 3), b[0], b[1], b[2])


@pytest.mark.parametrize("order", ["sequential", "chunked:2", "chunked:1", "pairwise", "kahan", "exact"])
@pytest.mark.parametrize("mode", MODES)
def test_opposite_numbers_add_up_to_minus_zero_toward_minus_infinity_only(mode: str, order: str) -> None:
    accumulator = summation(order, to(f"float16 {mode}"))
    zero = -0.0 if mode == "down" else 0.0
    ours = cpu.matmul(np.ones((1, 2), F32), np.array([[1, -3], [-1, 3]], F32), None, accumulator, Key(0))
    assert_same(ours, [[zero, zero]])


@pytest.mark.parametrize("order", [order for order in ORDERS if order != "kahan"])
def test_a_zero_without_a_sign_brings_none_into_the_sum(order: str) -> None:
    # -2^-23 is far too small for either format with one zero. Toward -Inf +0 + -0 is -0, but +0 + +0 is +0.
    # (Kahan's first step there, +0 - +0, is -0 anyway.)
    a, b = np.full((1, 2), 2.0**-13, F32), np.full((2, 1), -(2.0**-10), F32)
    down = to("e4m3 down")
    of_products = summation(order, down)
    assert_same(cpu.matmul(a, b, to("e4m3b11fnuz"), of_products, Key(0)), [[0.0]])
    # The same numbers where -0 exists: +0 + -0, and then -0 + -0.
    assert_same(cpu.matmul(a, b, to("e4m3"), of_products, Key(0)), [[-0.0]])
    if order.startswith("chunked"):
        of_chunks = summation(order, to("e4m3fnuz"), down)
        assert_same(cpu.matmul(a, b, None, of_chunks, Key(0)), [[0.0]])


def test_an_exact_sum_does_not_overflow_on_the_way() -> None:
    a = np.ones((1, 4), F32)
    b = np.array([[2.0**127], [2.0**127], [-(2.0**127)], [-(2.0**127) * (1 - 2.0**-24)]], F32)
    accumulator = summation("exact", to("float32"))
    assert_same(cpu.matmul(a, b, None, accumulator, Key(0)), [[2.0**103]])
    assert_same(cpu.matmul(a[:, :2], b[:2], None, accumulator, Key(0)), [[INF]])


# ----------------------------------------------------------------------------------------------------
# The definitions in NumPy's float16 and float32, whose additions IEEE 754 rounds once to nearest even
# ----------------------------------------------------------------------------------------------------


def sequential(terms: np.ndarray) -> np.ndarray:
    s = np.zeros(terms.shape[1:], terms.dtype)
    for term in terms:
        s = s + term
    return s


def chunked(terms: np.ndarray, n: int, outer: Any) -> np.ndarray:
    parts = [sequential(terms[at : at + n]) for at in range(0, len(terms), n)]
    return sequential(np.array(parts).astype(outer))


def tree(terms: np.ndarray) -> np.ndarray:
    """Neighbours two by two; one without a neighbour waits for the next round."""
    while len(terms) > 1:
        whole = len(terms) // 2 * 2
        terms = np.concatenate([terms[0:whole:2] + terms[1:whole:2], terms[whole:]])
    return terms[0]


def kahan(terms: list[Any]) -> tuple[Any, Any]:
    """One output, scalar after scalar: (sum, compensation)."""
    s = c = type(terms[0])(0)
    for term in terms:
        y = term - c
        u = s + y
        c = (u - s) - y
        s = u
    return s, c


def _terms(count: int, columns: int, dtype: Any, seed: int = 0) -> np.ndarray:
    """Numbers of both signs around 1, so that most additions round; whole numbers of columns differ."""
    rng = np.random.default_rng(seed)
    return (rng.uniform(-0.5, 2.0, (count, columns)) * np.exp2(rng.integers(-6, 2, columns))).astype(dtype)


@pytest.mark.parametrize(("name", "dtype"), [("float16", F16), ("float32", F32)])
@pytest.mark.parametrize("count", [1, 3, 64, 100, 5000])
def test_the_orders_in_numpy(name: str, dtype: Any, count: int) -> None:
    terms = _terms(count, 40, dtype)
    ones = np.ones((1, count), F32)

    def ours(order: str, outer: str | None = None) -> np.ndarray:
        accumulator = summation(order, to(name), to(outer) if outer else None)
        return cpu.matmul(ones, terms.astype(F32), None, accumulator, Key(0))[0]

    assert_same(ours("sequential"), sequential(terms))
    assert_same(ours("pairwise"), tree(terms))
    assert_same(ours("chunked:64"), chunked(terms, 64, dtype))
    assert_same(ours("chunked:64", "float32"), chunked(terms, 64, F32))
    assert_same(ours("chunked:7", "float32"), chunked(terms, 7, F32))
    assert_same(ours("kahan")[:4], [kahan(list(column))[0] for column in terms[:, :4].T])


def test_every_output_has_its_own_compensation() -> None:
    # In float16, 2048 + 1 loses the 1 in one column while nothing is lost in the other.
    terms = np.array([[2048, 1], [1, 1], [1, 1], [1, 1], [1, 1]], F16)
    (left, lost_left), (right, lost_right) = (kahan(list(column)) for column in terms.T)
    assert (left, lost_left) == (2052, 0)
    assert (right, lost_right) == (5, 0)
    assert [kahan(list(terms[:2, n]))[1] for n in (0, 1)] == [-1, 0]
    ones = np.ones((1, 5), F32)
    for columns in ([0, 1], [1, 0], [0, 1] * 20, [1, 0] * 20):
        ours = cpu.matmul(
            ones, terms[:, columns].astype(F32), None, summation("kahan", to("float16")), Key(0)
        )
        assert_same(ours, [[(2052.0, 5.0)[n] for n in columns]])
    rows = terms.T.astype(F32)[[0, 1] * 20]  # the same as rows of a, and as rows of a transposed problem
    ours = cpu.matmul(rows, np.ones((5, 1), F32), None, summation("kahan", to("float16")), Key(0))
    assert_same(ours[:, 0], [2052.0, 5.0] * 20)


def test_what_each_order_makes_of_three_hundred_ones_in_e4m3() -> None:
    # 16 + 1 is a tie and stays 16. Chunks of 8 make 8, 16, 24, 32, 40, ... of 37 chunks, the last one of 4:
    # from 128 on 8 is half a quantum, and goes to the even neighbour: 128 again. Chunk sums in float32 are
    # not rounded. Two halves of a tree are equal, so that each sum doubles: 256; 32 + 8 + 4 are the rest,
    # added smallest first: 4 + 8 = 12, 12 + 32 = 44, 44 + 256 = 300, which lies between 288 and 320.
    ones = np.ones((1, 300), F32)
    expected = {
        ("sequential", None): 16.0,
        ("chunked:8", None): 128.0,
        ("chunked:8", "float32"): 300.0,
        ("chunked:64", "float32"): 4 * 16 + 16.0,
        ("pairwise", None): 288.0,
        ("exact", None): 288.0,
    }
    for (order, outer), value in expected.items():
        accumulator = summation(order, to("e4m3"), to(outer) if outer else None)
        assert_same(cpu.matmul(ones, ones.T, None, accumulator, Key(0)), [[value]])


# ----------------------------------------------------------------------------------------------------
# Exact sums
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16 up", "e4m3 to_odd", "float32 down"])
def test_an_exact_sum_is_math_fsum_rounded_where_a_float64_holds_it(name: str) -> None:
    # Multiples of 2^-20 below 2^9: their products, multiples of 2^-40 below 2^18, add up to less than 2^31
    # times; of 4000 of them 53 bits hold the sum where its last bits are zero, as for b of 12 bits.
    rng = np.random.default_rng(4)
    a = (rng.integers(-(2**20), 2**20, (3, 4000)) * 2.0**-20).astype(F32)
    b = (rng.integers(-(2**11), 2**11, (4000, 5)) * 2.0**-8).astype(F32)
    ours = cpu.matmul(a, b, None, summation("exact", to(name)), Key(0))
    sums = [[math.fsum(np.multiply(x, y, dtype=np.float64)) for y in b.T] for x in a]
    assert_same(ours, [[round_exact(s, to(name)) for s in row] for row in sums])


@pytest.mark.parametrize(
    "name", ["float32", "float16 up", "bfloat16 down", "float32 stochastic 32", "e4m3 nearest_away"]
)
@pytest.mark.parametrize("terms", [7, 300, 3000])
def test_exact_sums_of_wild_exponents_with_cancellations(name: str, terms: int) -> None:
    rng = np.random.default_rng(terms)
    columns = 4
    x = np.ldexp(rng.integers(2**23, 2**24, (terms, columns)), rng.integers(-140, 100, (terms, columns)) - 23)
    x = (x * rng.choice([-1.0, 1.0], x.shape)).astype(F32)
    # Everything large comes back with the other sign, at another place: what is left is small.
    large = np.abs(x) > np.array([2.0**-120, 2.0**-20, 1.0, 2.0**60])
    x = rng.permuted(np.concatenate([x, np.where(large, -x, F32(2.0**-149))]), axis=0)
    scale = np.exp2(rng.integers(-9, 9, (1, len(x)))).astype(F32)
    accumulator = summation("exact", to(name))
    assert_same(
        cpu.matmul(scale * 0 + 1, x, None, accumulator, Key(7)),
        matmul_exact(scale * 0 + 1, x, None, accumulator, 7),
    )
    assert_same(cpu.matmul(scale, x, None, accumulator, Key(7)), matmul_exact(scale, x, None, accumulator, 7))


@pytest.mark.parametrize("mode", [name for name, mode in MODES.items() if not mode.stochastic])
@pytest.mark.parametrize("name", ["float32", "float16", "e4m3fnuz", "e8m20"])
def test_an_exact_sum_sees_the_last_bit_of_the_smallest_term(name: str, mode: str) -> None:
    # One, half a quantum of it or a quarter, and something 2^-280 of it: no float64 holds the sum.
    cast = to(f"{name} {mode}")
    half = cast.format.eps / 2
    tiny = 2.0**-140
    columns = [
        (sign, side * x * sign, least * tiny, 0.0)
        for sign in (1.0, -1.0)
        for side in (1.0, -1.0)
        for x in (half, half / 2, 2 * half)
        for least in (tiny, -tiny, 0.0)
    ]
    b = np.array([(x, y, z / tiny, w) for x, y, z, w in columns], F32).T
    a = np.array([[1.0, 1.0, tiny, 1.0]], F32)
    assert_same(
        cpu.matmul(a, b, None, summation("exact", cast), Key(0)),
        matmul_exact(a, b, None, summation("exact", cast)),
        *b,
    )


def test_an_exact_sum_of_a_tie_goes_where_the_smallest_term_says() -> None:
    a = np.array([[1.0, 1.0, 2.0**-140]], F32)
    b = np.array([[1.0] * 3, [2.0**-24] * 3, [0.0, 2.0**-140, -(2.0**-140)]], F32)
    ours = cpu.matmul(a, b, None, summation("exact", to("float32")), Key(0))
    assert_same(ours, [[1.0, 1 + 2.0**-23, 1.0]])


@numba.njit
def _collapsed(parts: Any, x: Any, rest: Any) -> None:
    for n in range(len(parts)):
        x[n], rest[n] = _collapse(parts[n])


def to_odd(exact: Fraction) -> float:
    """The float64 nearest to a fraction, or its neighbour beyond it where that one is odd."""
    near = float(exact)
    if near == exact or near.hex().split("p")[0][-1] in "13579bdf":
        return near
    return math.nextafter(near, math.inf if exact > near else -math.inf)


@pytest.mark.parametrize("width", [38, 44, 49])
def test_slices_become_a_float64_and_the_rest_of_it_to_odd(width: int) -> None:
    # Sums of slices: multiples of grids 2^width apart, of up to 52 bits, so that neighbours overlap, and
    # made to cancel the next one up to its last bit, or to lie beside a half of what is above.
    rng = np.random.default_rng(width)
    count, cases = 6, 4000
    grids = np.exp2(-width * np.arange(count))
    parts = rng.integers(-(2**51), 2**51, (cases, count)) // 2 ** rng.integers(0, 52, (cases, count))
    parts = np.where(rng.random((cases, count)) < 0.3, rng.choice([-1, 0, 0, 1], (cases, count)), parts)
    for n in range(count - 1):
        carried = np.rint(parts[:, n + 1] * 2.0**-width).astype(np.int64)
        parts[:, n] = np.where(rng.random(cases) < 0.4, -carried + rng.integers(-1, 2, cases), parts[:, n])
    slices = parts * grids
    x, rest = np.empty(cases), np.empty(cases)
    _collapsed(slices.copy(), x, rest)
    exact = [sum(map(Fraction, row), Fraction(0)) for row in slices.tolist()]
    # The nearest float64, or the even neighbour of a middle that the sum lies beside.
    off = [
        float(abs(s - Fraction(v)) / Fraction(math.ulp(v))) for s, v in zip(exact, x.tolist(), strict=True)
    ]
    assert max(off) <= 0.5
    assert_same(rest + 0.0, [to_odd(s - Fraction(v)) for s, v in zip(exact, x.tolist(), strict=True)])


def test_products_of_an_exact_sum_may_be_rounded_first() -> None:
    # 13 * 13 = 169 -> 176 in e4m3; 176 - 169 + 2^-20 = 7 + 2^-20 is a float32.
    a, b = np.array([[13.0, -13.0, 1.0]], F32), np.array([[13.0], [1.0], [2.0**-9]], F32)
    accumulator = summation("exact", to("float32"))
    assert_same(cpu.matmul(a, b, to("e4m3"), accumulator, Key(0)), [[176 - 13 + 2.0**-9]])
    assert_same(cpu.matmul(a, b, None, accumulator, Key(0)), [[169 - 13 + 2.0**-9]])


# ----------------------------------------------------------------------------------------------------
# Parts and the whole
# ----------------------------------------------------------------------------------------------------

ARITHMETICS = {
    "nearest": ("e4m3", "e4m3", None),
    "sr16": ("e4m3 stochastic 16", "e4m3 stochastic 16", None),
    "mixed": (None, "float16 stochastic 20", "float32 stochastic 5"),
}


def _whole(name: str, m: int, terms: int, n: int) -> tuple[np.ndarray, np.ndarray, Cast | None, Cast, Any]:
    rng = np.random.default_rng(6)
    product, inner, outer = ARITHMETICS[name]
    e4m3 = Format.from_name("e4m3")
    a, b = numbers(e4m3, (m, terms), rng), numbers(e4m3, (terms, n), rng)
    return a, b, to(product) if product else None, to(inner), to(outer) if outer else None


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("order", ["chunked:5", "pairwise", "kahan", "exact"])
@pytest.mark.parametrize("name", ARITHMETICS)
def test_threads_tiles_and_the_transposed_path_decide_nothing(name: str, order: str) -> None:
    a, b, product, inner, outer = _whole(name, 70, 13, 80)
    accumulator = summation(order, inner, outer)
    whole = []
    for threads in (1, 2, 3):
        cpu.set_threads(threads)
        whole.append(cpu.matmul(a, b, product, accumulator, Key(1)))
    assert_same(whole[1], whole[0])
    assert_same(whole[2], whole[0])
    cpu.set_threads(2)
    few_rows = cpu.matmul(a[:1], np.tile(b, 40), product, accumulator, Key(1))  # columns are shared out
    assert_same(few_rows[:, :80], whole[0][:1])
    for rows, columns in [((0, 70), (0, 1)), ((0, 70), (3, 13)), ((69, 70), (5, 80)), ((7, 40), (30, 71))]:
        part = cpu.matmul(
            a[slice(*rows)],
            b[:, slice(*columns)],
            product,
            accumulator,
            Key(1),
            origin=(rows[0], columns[0]),
        )
        assert_same(part, whole[0][slice(*rows), slice(*columns)])


@pytest.mark.parametrize("order", ["chunked:5", "pairwise", "kahan", "exact"])
def test_other_seeds_and_places_have_other_draws(order: str) -> None:
    a, b, product, inner, outer = _whole("sr16", 20, 13, 40)
    accumulator = summation(order, inner, outer)
    first = cpu.matmul(a, b, product, accumulator, Key(1))
    assert_same(cpu.matmul(a, b, product, accumulator, Key(1)), first)
    assert (cpu.matmul(a, b, product, accumulator, Key(2)) != first).any()
    assert (cpu.matmul(a, b, product, accumulator, Key(1), origin=(3, 0)) != first).any()
    same_rows = cpu.matmul(np.repeat(a[:1], 20, axis=0), b, product, accumulator, Key(1))
    assert (same_rows != same_rows[:1]).any()


@pytest.mark.parametrize("order", ["chunked:4", "pairwise", "kahan", "exact"])
def test_a_tall_product_of_several_panels_is_the_wide_one(order: str) -> None:
    a, b, product, inner, outer = _whole("sr16", 300, 1100, 1)  # 256 rows a panel
    accumulator = summation(order, inner, outer)
    wide = cpu.matmul(a, np.tile(b, 40), product, accumulator, Key(2))
    assert_same(cpu.matmul(a, b, product, accumulator, Key(2)), wide[:, :1])


# ----------------------------------------------------------------------------------------------------
# By name
# ----------------------------------------------------------------------------------------------------


def test_orders_are_chosen_by_name() -> None:
    ones = np.ones((1, 300))
    options: dict[str, Any] = {"accumulator": "e4m3"}
    assert emunum.matmul(ones, ones.T, **options)[0, 0] == 16
    assert emunum.matmul(ones, ones.T, order="chunked:8", **options)[0, 0] == 128
    assert emunum.matmul(ones, ones.T, order="chunked:8", outer="float32", **options)[0, 0] == 300
    assert emunum.matmul(ones, ones.T, order="exact", **options)[0, 0] == 288


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("pairwize", "pairwise"),
        ("chunked", "order"),
        ("chunked:0", "order"),
        ("chunked:-4", "order"),
        ("chunked:4:4", "order"),
        ("kahan:2", "order"),
        ("", "order"),
    ],
)
def test_an_order_that_does_not_exist_is_refused(order: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_accumulator(order, to("float32"))


@pytest.mark.parametrize("order", ["sequential", "pairwise", "kahan", "exact"])
def test_only_chunks_have_an_outer_sum(order: str) -> None:
    with pytest.raises(ValueError, match="only sums of chunks have one"):
        parse_accumulator(order, to("float16"), to("float32"))
