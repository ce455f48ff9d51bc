"""Sums and inner products by name, products with an Accumulator or a Mode, and how far they are off."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from inputs import F32, cast
from oracles import assert_same

import emunum
from emunum.formats import Accumulator, Cast, Format, Mode, Order, parse_accumulator
from emunum.formats.exact import sum_exact, tensor_core_exact
from emunum.formats.rounding import MODES, Deterministic, When

ORDERS = ("sequential", "chunked:3", "pairwise", "kahan", "exact")
X = np.round(np.random.default_rng(1).normal(size=(4, 7, 3)) * 64) / 8  # float16 and more hold them


def _exact(x: np.ndarray, axis: int, accumulator: Accumulator) -> np.ndarray:
    return np.apply_along_axis(
        lambda line: sum_exact([Fraction(v) for v in line.tolist()], accumulator), axis, x
    )


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_a_sum_is_the_reference_along_any_axis(axis: int, order: str) -> None:
    for rounding in ("nearest", "toward_zero"):
        accumulator = parse_accumulator(order, cast("e4m3", rounding))
        ours = emunum.sum(X, axis, accumulator="e4m3", rounding=rounding, order=order)
        assert (ours.dtype, ours.shape) == (F32, np.empty(X.shape).sum(axis).shape)
        assert_same(ours, _exact(X, axis % 3, accumulator))
        assert_same(ours, emunum.sum(X, axis, accumulator=accumulator))


@pytest.mark.parametrize("order", ORDERS)
def test_without_an_axis_the_elements_are_added_in_memory_order_of_c(order: str) -> None:
    accumulator = parse_accumulator(order, cast("e5m2"))
    for x in (X, np.asfortranarray(X), X[::-1, ::2]):
        ours = emunum.sum(x, accumulator="e5m2", order=order)
        assert ours.shape == ()
        assert_same(ours, sum_exact([Fraction(v) for v in x.reshape(-1).tolist()], accumulator))


def test_sums_by_hand() -> None:
    ones = np.ones(1000)
    assert float(emunum.sum(ones)) == 1000
    assert float(emunum.sum(ones, accumulator="bfloat16")) == 256  # 256 + 1 is a tie and goes to 256
    assert float(emunum.sum(ones, accumulator="bfloat16", rounding="up")) > 1000
    # Sixteen 16s and sixteen chunks: 62 full chunks of 16 and one of 8, added in float32.
    assert float(emunum.sum(ones, accumulator="e4m3", order="chunked:16", outer="float32")) == 1000
    assert float(emunum.sum(ones[:512], accumulator="bfloat16", order="pairwise")) == 512
    assert float(emunum.sum(ones, accumulator="bfloat16", order="exact")) == 1000
    assert float(emunum.sum(ones, accumulator="bfloat16", order="kahan")) == 1000
    assert float(emunum.sum([448, 448, -448], accumulator="e4m3")) == 0  # 448 saturates
    assert np.isnan(emunum.sum([np.inf, -np.inf]))
    assert float(emunum.sum(3.5)) == 3.5
    assert float(emunum.sum([1, True, 2])) == 4
    assert_same(emunum.sum([-0.0]), 0.0)


def test_a_sum_of_a_tensor_core_is_its_own() -> None:
    x = np.r_[1.0, np.full(31, 2.0**-14)]
    assert float(emunum.sum(x, order="tensor_core:h100_fp8")) == 1
    assert float(emunum.sum(x[1:], order="tensor_core:h100_fp8")) == 31 * 2.0**-14
    accumulator = parse_accumulator("tensor_core:v100", cast("float32"))
    ours = emunum.sum(X, 1, accumulator=accumulator)
    ones = [1.0] * X.shape[1]
    assert_same(ours, np.apply_along_axis(lambda x: tensor_core_exact(ones, x.tolist(), accumulator), 1, X))


def test_random_bits_follow_the_seed_and_the_place() -> None:
    x = np.full((50, 8), 1 + 1 / 16)
    first, again, other = (
        emunum.sum(x, 0, accumulator="e4m3", rounding="stochastic", seed=seed) for seed in (1, 1, 2)
    )
    assert_same(first, again)
    assert (first != other).any()
    assert len(set(first.tolist())) > 1
    few = emunum.sum(x[:, :3], 0, accumulator="e4m3", rounding="stochastic", seed=1)
    assert_same(few, first[:3])


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((3, 0), 0),
        ((0,), None),
        ((0, 3), 0),
        ((3, 0), 1),
        ((3, 0), None),
    ],
)
def test_no_terms_add_up_to_plus_zero(shape: tuple[int, ...], axis: int | None) -> None:
    expected = np.zeros(shape).sum(axis)
    assert_same(emunum.sum(np.zeros(shape), axis), expected)


@pytest.mark.parametrize("axis", [3, -4, 100])
def test_an_axis_out_of_range_is_named(axis: int) -> None:
    with pytest.raises(ValueError, match=f"axis {axis} is out of range: x has 3 axes"):
        emunum.sum(X, axis)
    with pytest.raises(ValueError, match="axis 0 is out of range: x has 0 axes"):
        emunum.sum(1.0, 0)


# ----------------------------------------------------------------------------------------------------
# Inner products
# ----------------------------------------------------------------------------------------------------

A, B = X[:, :, 0].copy(), X[:3, :, 1].T.copy()  # (4, 7), (7, 3)


@pytest.mark.parametrize("order", ORDERS)
def test_an_inner_product_is_the_entry_of_the_matrix_product(order: str) -> None:
    options: dict[str, Any] = {"product": "e4m3", "accumulator": "bfloat16", "order": order, "out": "e5m2"}
    whole = emunum.matmul(A, B, **options)
    ours = emunum.dot(A[0], B[:, 0], **options)
    assert (ours.shape, ours.dtype) == ((), F32)
    assert_same(ours, whole[0, 0])


def test_inner_products_by_hand() -> None:
    assert float(emunum.dot([13, 7], [13, 1], product="e4m3")) == 183  # 169 is 176 in e4m3
    assert float(emunum.dot([13, 7], [13, 1])) == 176  # exact products: 169 + 7
    assert float(emunum.dot([], [])) == 0
    assert float(emunum.dot([1, 2, 3], [1, 1, 1], accumulator="e4m3")) == 6


@pytest.mark.parametrize(("a", "b"), [([1, 2], [1]), ([[1]], [[1]]), (1, 1), ([[1, 2]], [1, 2])])
def test_only_vectors_of_one_length_have_an_inner_product(a: object, b: object) -> None:
    with pytest.raises(ValueError, match="have no inner product"):
        emunum.dot(a, b)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------------
# Values in the place of names
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [*ORDERS, "tensor_core:v100", "tensor_core:h100_fp8:4"])
def test_an_accumulator_is_what_its_names_say(order: str) -> None:
    name = "float32" if order.startswith("tensor") else "bfloat16"
    product = None if order.startswith("tensor") else "e5m2"
    outer = "float16" if order.startswith("chunked") else None
    accumulator = parse_accumulator(order, cast(name), None if outer is None else cast(outer))
    named = emunum.matmul(A, B, product=product, accumulator=name, order=order, outer=outer)
    assert_same(emunum.matmul(A, B, product=product, accumulator=accumulator), named)
    assert_same(
        emunum.sum(A, 0, accumulator=accumulator),
        emunum.sum(A, 0, accumulator=name, order=order, outer=outer),
    )


def test_an_accumulator_keeps_its_own_mode() -> None:
    up = Accumulator(cast=cast("e4m3", "up"), order=Order.PAIRWISE)
    assert_same(
        emunum.sum(X, 0, accumulator=up, rounding="down"),
        emunum.sum(X, 0, accumulator="e4m3", rounding="up", order="pairwise"),
    )


@pytest.mark.parametrize("options", [{"order": "pairwise"}, {"outer": "float32"}])
@pytest.mark.parametrize("call", [lambda **o: emunum.matmul(A, B, **o), lambda **o: emunum.sum(A, **o)])
def test_an_accumulator_has_its_order_already(call: Callable[..., Any], options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="has an order and an outer sum of its own: leave them out"):
        call(accumulator=Accumulator(cast=Cast(format=Format.from_name("e4m3"))), **options)


@pytest.mark.parametrize("name", MODES)
def test_a_mode_is_what_its_name_says(name: str) -> None:
    mode = MODES[name]
    x = np.random.default_rng(3).normal(size=50).astype(F32)
    for seed in (0, 5):
        assert_same(
            emunum.quantize(x, "e4m3", rounding=mode, seed=seed),
            emunum.quantize(x, "e4m3", rounding=name, seed=seed),
        )
        common: dict[str, Any] = {"product": "e5m2", "accumulator": "e5m2", "seed": seed}
        assert_same(
            emunum.matmul(A, B, rounding=mode, **common), emunum.matmul(A, B, rounding=name, **common)
        )
    assert_same(
        emunum.sum(x, accumulator="e4m3", rounding=mode), emunum.sum(x, accumulator="e4m3", rounding=name)
    )


def test_a_mode_nobody_named_works_in_sums() -> None:
    inward = Mode(name="ties_inward", rule=Deterministic(below=When.NEVER, tie=When.NEVER, above=When.ALWAYS))
    # 16 + 1 = 17 and 18 + 1 = 19 are ties in e4m3: nearest even goes to 16 and 20, this one to 16 and 18.
    assert float(emunum.sum([18, 1], accumulator="e4m3", rounding=inward)) == 18
    assert float(emunum.sum([18, 1], accumulator="e4m3")) == 20
    assert float(emunum.dot([-18, 1], [1, -1], accumulator="e4m3", rounding=inward)) == -18


# ----------------------------------------------------------------------------------------------------
# Errors
# ----------------------------------------------------------------------------------------------------


def test_errors_of_a_product_by_hand() -> None:
    # 16 ones in e4m3 are exact; 17 make 16 where 17 is right: off by 1 of 17. u = 2^-4.
    ones = np.ones((1, 17))
    errors = emunum.matmul_error(ones, ones.T, accumulator="e4m3")
    assert (errors.n, errors.unit_roundoff) == (17, 2.0**-4)
    assert errors.forward == errors.backward == 1 / 17
    assert errors.worst_case == 17 / 16
    assert errors.probabilistic == pytest.approx(17**0.5 / 16, rel=1e-15)
    assert emunum.matmul_error(ones[:, 1:], ones.T[1:], accumulator="e4m3").forward == 0
    # 18 - 1 = 17 becomes 16; beside |a||b| = 19 the error is smaller than beside 17.
    errors = emunum.matmul_error([[18.0, 1]], [[1], [-1.0]], accumulator="e4m3")
    assert (errors.forward, errors.backward) == (1 / 17, 1 / 19)


def test_entries_whose_exact_value_is_zero_have_a_backward_error_alone() -> None:
    # 17 becomes 16 (a tie), minus 17 makes -1 where 0 is right.
    errors = emunum.matmul_error([[16.0, 1, -17]], np.ones((3, 1)), accumulator="e4m3")
    assert (errors.forward, errors.backward) == (0, 1 / 34)


def test_infinite_entries_are_left_out() -> None:
    a = np.array([[60000.0, 60000], [1, 2]])
    errors = emunum.matmul_error(a, np.ones((2, 1)), accumulator="e5m2")
    assert (errors.forward, errors.backward) == (0, 0)
    assert emunum.matmul_error(np.ones((2, 0)), np.ones((0, 3))).backward == 0


@pytest.mark.parametrize("order", [*ORDERS, "tensor_core:a100"])
@pytest.mark.parametrize("name", ["e4m3", "e5m2", "bfloat16", "float32"])
def test_nearest_sums_stay_within_the_worst_case(order: str, name: str) -> None:
    # Each term meets at most n roundings (Kahan's and a tree's fewer), each 1 + d with |d| <= u, while sums
    # stay normal: (1 + u)^n - 1 <= n u / (1 - n u). Kahan's own bound is 2 u + O(n u^2). A tensor core
    # that cuts has 2 u in the place of u, and 8 more bits here than it cuts.
    if order.startswith("tensor") and name != "float32":
        with pytest.raises(ValueError, match="not in"):
            emunum.matmul_error(A, B, accumulator=name, order=order)
        return
    rng = np.random.default_rng(2)
    a, b = (np.round(rng.uniform(1, 2, shape) * 8) / 8 for shape in ((5, 12), (12, 4)))
    errors = emunum.matmul_error(a, b, accumulator=name, order=order)
    assert errors.n == 12
    growth = errors.worst_case / (1 - min(errors.worst_case, 0.9))
    assert errors.backward <= 2 * growth
    assert errors.forward == errors.backward  # every term is positive
    assert (errors.backward > 0) == (name in ("e4m3", "e5m2", "bfloat16") and errors.backward > 0)
    if order == "exact":
        assert errors.backward <= errors.unit_roundoff


def test_the_unit_roundoff_is_that_of_the_format_the_sums_end_in() -> None:
    a, b = np.ones((2, 40)), np.ones((40, 2))
    assert emunum.matmul_error(a, b).unit_roundoff == 2.0**-24
    assert (
        emunum.matmul_error(a, b, accumulator="e4m3", order="chunked:4", outer="float16").unit_roundoff
        == 2.0**-11
    )
    chunks = Accumulator(cast=cast("e4m3"), order=Order.CHUNKED, chunk=4, outer=cast("bfloat16"))
    assert emunum.matmul_error(a, b, accumulator=chunks).unit_roundoff == 2.0**-8
    assert emunum.matmul_error(a, b, accumulator=Accumulator(cast=cast("e5m2"))).unit_roundoff == 2.0**-3
    assert emunum.matmul_error(a, b, order="tensor_core:h100_fp8:8").unit_roundoff == 2.0**-24


def test_the_unit_roundoff_of_a_tensor_core_is_that_of_its_sums() -> None:
    a, b = np.ones((2, 40)), np.ones((40, 2))
    accumulator = parse_accumulator("tensor_core:h100_fp8", cast("float32"))
    by_value = emunum.matmul_error(a, b, accumulator=accumulator)
    by_name = emunum.matmul_error(a, b, order="tensor_core:h100_fp8")
    assert by_value.unit_roundoff == 2.0**-14
    assert by_name == by_value


def test_wrong_names_say_so() -> None:
    with pytest.raises(ValueError, match=r"unknown order 'pairwse'. Did you mean 'pairwise'"):
        emunum.sum(X, order="pairwse")
    with pytest.raises(ValueError, match="no outer sum: only sums of chunks have one"):
        emunum.sum(X, outer="float32")
    with pytest.raises(ValueError, match="unknown format"):
        emunum.sum(X, accumulator="e4m33")
    with pytest.raises(ValueError, match="holds block scales"):
        emunum.sum(X, accumulator="e8m0fnu")
    with pytest.raises(ValueError, match="is no float32 value"):
        emunum.sum([0.1])
    with pytest.raises(TypeError, match="real numbers"):
        emunum.sum([1j])
    with pytest.raises(ValueError, match="do not multiply"):
        emunum.matmul_error(A, A)
