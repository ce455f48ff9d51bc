"""The claim of kernels/contract/: whatever algorithm and width it selects, all pairs are rounded once."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import (
    ARITHMETIC,
    F32,
    MODES,
    NEW_FAMILIES,
    ODD_WIDTHS,
    SMALL,
    any_cast,
    cast,
    formats,
    label,
    near_half_ulps,
    seeds,
    small_formats,
    some_values,
    values,
)
from oracles import ADD, MULTIPLY, assert_same, element_draws, exact_sum, round_array, sum_to_odd

from emunum.formats import NAMED, Cast, Format, Mode
from emunum.kernels import contract
from emunum.kernels.contract import (
    BitsNearest,
    Extent,
    Flushed,
    MagicNearest,
    OffsetDeterministic,
    OffsetLots,
    OffsetStochastic,
    Ranged,
    TwoSum,
    Unrounded,
    WordDeterministic,
    WordStochastic,
    Wrapped,
    code_dtype,
    draw_bits,
    lower_conversion,
    lower_product,
    lower_sum,
)
from emunum.kernels.cpu import elementwise

KEY = 0xFEDCBA9876543210
MOST_PAIRS = 12_000


@functools.cache
def _draws(operation: int, random_bits: int) -> np.ndarray:
    return element_draws(MOST_PAIRS, cast("e4m3", "stochastic", random_bits=random_bits), KEY, operation)


def core(lowered: Any) -> Any:
    """The rounder inside all layers."""
    while isinstance(lowered, contract.LAYERS):
        lowered = lowered.rounder
    return lowered


def _random(to: Cast, operation: int) -> tuple[Any, ...]:
    width = 16 if to.random_bits <= 16 else 32
    drop = width - to.random_bits
    return width, np.uint32(drop), np.uint32(operation), np.uint32(KEY % 2**32), np.uint32(KEY >> 32)


def _pairs(a: np.ndarray, b: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """All pairs, or MOST_PAIRS of them."""
    size = a.size * b.size
    chosen = np.arange(size)
    if size > MOST_PAIRS:
        chosen = np.random.default_rng(seed).choice(size, MOST_PAIRS, replace=False)
    return a[chosen // b.size], b[chosen % b.size]


def _check_product(a: np.ndarray, b: np.ndarray, to: Cast, lowered: Any) -> None:
    out = np.empty(a.size, F32)
    elementwise.multiply(a, b, out, lowered, _random(to, MULTIPLY), 0, a.size)
    with np.errstate(invalid="ignore"):
        exact = a.astype(np.float64) * b.astype(np.float64)
    _compare(out, exact, to, MULTIPLY, a, b)


def _check_sum(a: np.ndarray, b: np.ndarray, to: Cast, lowered: Any) -> None:
    out = np.empty(a.size, F32)
    elementwise.add(a, b, F32(1), out, lowered, _random(to, ADD), 0, a.size)
    _compare(out, exact_sum(a, b, to), to, ADD, a, b)


def _compare(out: np.ndarray, exact: np.ndarray, to: Cast, operation: int, *operands: np.ndarray) -> None:
    draws = _draws(operation, to.random_bits)[: out.size] if to.stochastic else 0
    zeros = F32(0.0 if not to.format.has_negative_zero else -0.0)  # one zero: when an array is done
    assert_same(out + zeros, round_array(exact, to, draws), *operands, draws)


# N + p <= 52 keeps sum_to_odd an oracle; test_elementwise has the longest draws.
casts_to_anything = any_cast().filter(lambda to: to.random_bits + to.format.precision <= 51)
casts_to_small = any_cast(small_formats)


@settings(max_examples=80)
@given(small_formats, small_formats, st.one_of(casts_to_small, casts_to_anything), seeds)
def test_products_of_two_small_formats_are_rounded_once(a: Format, b: Format, to: Cast, seed: int) -> None:
    x, y = _pairs(values(a), values(b), seed)
    _check_product(x, y, to, lower_product(to, Extent.of(a), Extent.of(b)))


@settings(max_examples=80)
@given(small_formats, small_formats, st.one_of(casts_to_small, casts_to_anything), seeds)
def test_sums_of_two_small_formats_are_rounded_once(a: Format, b: Format, to: Cast, seed: int) -> None:
    x, y = _pairs(values(a), values(b), seed)
    _check_sum(x, y, to, lower_sum(to, Extent.of(a), Extent.of(b)))


@settings(max_examples=80)
@given(small_formats, any_cast(small_formats), seeds)
def test_sums_of_an_accumulator_and_a_product_are_rounded_once(b: Format, to: Cast, seed: int) -> None:
    x, y = _pairs(values(to.format), values(b), seed)
    _check_sum(x, y, to, lower_sum(to, Extent.of(to.format), Extent.of(b)))


@settings(max_examples=80)
@given(formats, formats, casts_to_anything, seeds)
def test_operands_of_any_two_formats_are_rounded_once(a: Format, b: Format, to: Cast, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = some_values(a, 300, rng), some_values(b, 300, rng)
    x, y = rng.choice(x, 600), rng.choice(y, 600)
    _check_product(x, y, to, lower_product(to, Extent.of(a), Extent.of(b)))
    _check_sum(x, y, to, lower_sum(to, Extent.of(a), Extent.of(b)))


@settings(max_examples=80)
@given(formats, casts_to_anything, seeds)
def test_near_ties_of_any_format_in_any_format_are_rounded_once(a: Format, to: Cast, seed: int) -> None:
    x, y = near_half_ulps(a, 400, seed)
    _check_sum(x, y, to, lower_sum(to, Extent.of(a), Extent.of(a)))
    _check_product(x, y, to, lower_product(to, Extent.of(a), Extent.of(a)))


@pytest.mark.parametrize("p", range(8, 16))
@pytest.mark.parametrize("exponent_bits", [5, 7, 8])
def test_rounding_twice_is_used_only_where_it_is_innocuous(p: int, exponent_bits: int) -> None:
    # Figueroa: 24 >= 2p + 1, so p <= 11. At p = 12 a tie plus the least that two values can be off it
    # already rounds to a tie in float32.
    format = Format.from_name(f"e{exponent_bits}m{p - 1}")
    a, b = near_half_ulps(format, MOST_PAIRS, p)
    to, extent = cast(format), Extent.of(format)
    lowered = lower_sum(to, extent, extent)
    _check_sum(a, b, to, lowered)
    if p > 11:
        with np.errstate(over="ignore"):
            twice = round_array(a + b, to)
        assert (twice != round_array(sum_to_odd(a, b), to)).any()  # the inputs are hard enough to tell
        assert isinstance(lowered, TwoSum)


def test_rounding_twice_is_not_innocuous_for_operands_finer_than_the_target() -> None:
    # 2.5 quanta of e4m3's subnormals are a tie of its own making; 2^-40 more is not, but float32 drops it.
    a, b = np.array([2.5 * 2.0**-9, 2.5 * 2.0**-9], F32), np.array([2.0**-40, -(2.0**-40)], F32)
    to = cast("e4m3")
    assert_same(round_array(sum_to_odd(a, b), to), [3 * 2.0**-9, 2 * 2.0**-9])
    _check_sum(a, b, to, lower_sum(to, Extent(3, -10, -7), Extent(1, -40, -39)))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sorted({format.name for format in SMALL} | {*ARITHMETIC, *ODD_WIDTHS}))
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_every_pair_of_any_two_small_formats_is_rounded_once(name: str, mode: Mode) -> None:
    for a, b in itertools.combinations_with_replacement(SMALL, 2):
        for to in [cast(name, mode, overflow, n) for overflow in ("ieee", "saturate") for n in (3, 16)]:
            x, y = (np.repeat(values(a), values(b).size), np.tile(values(b), values(a).size))
            for begin in range(0, x.size, MOST_PAIRS):
                part = slice(begin, begin + MOST_PAIRS)
                _check_product(x[part], y[part], to, lower_product(to, Extent.of(a), Extent.of(b)))
                _check_sum(x[part], y[part], to, lower_sum(to, Extent.of(a), Extent.of(b)))


@given(formats, formats, seeds)
def test_an_unrounded_product_is_exact_in_the_word_it_is_given(a: Format, b: Format, seed: int) -> None:
    lowered = lower_product(None, Extent.of(a), Extent.of(b))
    assert isinstance(lowered, Unrounded)
    rng = np.random.default_rng(seed)
    x, y = (some_values(f, 200, rng) for f in (a, b))
    x, y = (rng.choice(v[np.isfinite(v)], 300) for v in (x, y))
    word = lowered.max.dtype
    with np.errstate(over="ignore"):
        assert_same(x.astype(word) * y.astype(word), x.astype(np.float64) * y.astype(np.float64), x, y)


# ----------------------------------------------------------------------------------------------------
# Extents
# ----------------------------------------------------------------------------------------------------


def _holds(extent: Extent, x: np.ndarray) -> np.ndarray:
    """Whether float64 numbers are multiples of 2^low below 2^high of at most `precision` bits."""
    significand, exponent = np.frexp(x)
    integer = np.ldexp(significand, extent.precision)
    return (
        (np.ldexp(x, -extent.low) % 1 == 0)
        & ((exponent <= extent.high) | (x == 0))
        & (integer == np.rint(integer))
    )


@given(formats, formats, seeds)
def test_extents_hold_the_values_their_products_and_their_sums(a: Format, b: Format, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (some_values(f, 200, rng).astype(np.float64) for f in (a, b))
    x, y = (rng.choice(np.append(v[np.isfinite(v)], f.max), 300) for v, f in ((x, a), (y, b)))
    of_a, of_b = Extent.of(a), Extent.of(b)
    assert _holds(of_a, x).all()
    assert _holds(of_a.times(of_b), x * y).all()
    total = of_a.plus(of_b)
    exact = (x + y) - x == y  # the others need more than float64 to say it
    assert _holds(total, (x + y)[exact]).all()
    assert of_b.plus(of_a) == total


@pytest.mark.parametrize(
    ("name", "extent"),
    [
        ("float8_e4m3fn", Extent(4, -9, 9)),
        ("float8_e5m2", Extent(3, -16, 16)),
        ("float16", Extent(11, -24, 16)),
        ("bfloat16", Extent(8, -133, 128)),
        ("float32", Extent(24, -149, 128)),
        ("float4_e2m1fn", Extent(2, -1, 3)),
    ],
)
def test_extents_of_formats_are_those_computed_by_hand(name: str, extent: Extent) -> None:
    assert Extent.of(NAMED[name]) == extent


@pytest.mark.parametrize(
    ("extent", "exact"),
    [
        (Extent(24, -149, 128), True),
        (Extent(25, -149, 128), False),
        (Extent(24, -150, 128), False),
        (Extent(24, -149, 129), False),
        (Extent(1, 0, 1), True),
    ],
)
def test_float32_is_exact_up_to_its_own_extent(extent: Extent, exact: bool) -> None:
    assert extent.exact_in_float32 is exact


def test_the_sums_the_contract_names_have_the_widths_it_names() -> None:
    # Section 4: e4m3 products + float16 accumulator 43 bits, e5m2 products + float16 accumulator 65 bits.
    float16 = Extent.of(NAMED["float16"])
    e4m3, e5m2 = Extent.of(NAMED["float8_e4m3fn"]), Extent.of(NAMED["float8_e5m2"])
    assert float16.plus(e4m3.times(e4m3)).precision == 43
    assert float16.plus(e5m2.times(e5m2)).precision == 65


# ----------------------------------------------------------------------------------------------------
# Which algorithm: the fast ones where they are promised
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "source", "algorithm"),
    [
        (cast("e4m3"), Extent.of(NAMED["float32"]), MagicNearest),
        (cast("float16"), Extent.of(NAMED["float32"]), MagicNearest),
        (cast("e4m3", "stochastic"), Extent.of(NAMED["float16"]), OffsetStochastic),
        (cast("bfloat16", "stochastic"), Extent.of(NAMED["float32"]), OffsetStochastic),
        (cast("bfloat16"), Extent.of(NAMED["float32"]), BitsNearest),
        (cast("e4m3", "toward_zero"), Extent.of(NAMED["float32"]), OffsetDeterministic),
        (cast("e4m3", "up"), Extent.of(NAMED["float32"]), OffsetDeterministic),
        (cast("float16", "nearest_away"), Extent.of(NAMED["float32"]), OffsetDeterministic),
        (cast("e5m0", "toward_zero"), Extent.of(NAMED["float32"]), WordDeterministic),
        (cast("e4m3", "stochastic_c"), Extent.of(NAMED["float32"]), OffsetLots),
        (cast("float32", "stochastic"), Extent.of(NAMED["float32"]), WordStochastic),
    ],
    ids=lambda value: label(value) or getattr(value, "__name__", "extent"),
)
def test_conversions_take_the_fast_algorithm_where_it_is_right(
    to: Cast, source: Extent, algorithm: type
) -> None:
    assert isinstance(core(lower_conversion(to, source)), algorithm)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float6_e2m3fn", "float4_e2m1fn"])
def test_small_formats_are_multiplied_and_added_in_float32(name: str) -> None:
    to, extent = cast(name), Extent.of(NAMED[name])
    for lowered in (lower_product(to, extent, extent), lower_sum(to, extent, extent)):
        assert core(lowered)[0].dtype == np.float32


@pytest.mark.parametrize(
    ("to", "layers"),
    [
        (cast("e4m3"), ()),
        (cast("float16", "nearest_away", "saturate"), ()),
        (cast("e5m2", "stochastic", "ieee"), ()),
        (cast("e5m2", overflow="propagate"), (Ranged,)),
        (cast("e5m2", "up"), (Ranged,)),
        (cast("binary8p3ue"), (Ranged,)),
        (cast("q4.4"), (Ranged,)),
        (cast("q4.4", overflow="wrap"), (Wrapped,)),
        (cast("e4m3_ftz"), (Flushed,)),
        (cast("binary8p3uf_ftz"), (Ranged, Flushed)),
    ],
    ids=lambda value: label(value) or "+".join(layer.__name__ for layer in value) or "plain",
)
def test_only_what_a_cast_asks_for_is_paid_for(to: Cast, layers: tuple[type, ...]) -> None:
    lowered, found = lower_conversion(to, Extent.of(NAMED["float32"])), []
    while isinstance(lowered, contract.LAYERS):
        found.append(type(lowered))
        lowered = lowered.rounder
    assert [layer for layer in found if layer is not contract.OneZero] == list(layers)


def test_float32_to_nearest_is_left_to_the_hardware_unless_it_saturates() -> None:
    extent = Extent.of(NAMED["float32"])
    for lower in (lower_product, lower_sum):
        assert lower(cast("float32"), extent, extent) == Unrounded(max=np.finfo(F32).max)
        assert not isinstance(lower(cast("float32", overflow="saturate"), extent, extent), Unrounded)
        assert not isinstance(lower(cast("float32", "toward_zero"), extent, extent), Unrounded)


@pytest.mark.parametrize("name", ["e4m3", "e4m3fnuz", "binary8p1se", "q4.4"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_every_field_of_a_rounder_has_the_width_of_its_word(name: str, mode: Mode) -> None:
    words = {np.dtype(np.float32): np.dtype(np.uint32), np.dtype(np.float64): np.dtype(np.uint64)}
    for source in (None, Extent.of(NAMED["float32"]), Extent.of(NAMED["float8_e5m2"])):
        for overflow in ("ieee", "saturate"):
            rounder = core(lower_conversion(cast(name, mode, overflow, 20), source))
            float_type = rounder[0].dtype
            assert {field.dtype for field in rounder if field is not None} <= {float_type, words[float_type]}


@pytest.mark.parametrize(
    ("random_bits", "width"),
    [((16,), 16), ((1, 16), 16), ((17,), 32), ((16, 17), 32), ((32, 1), 32), ((None, 20), 32), ((), 16)],
)
def test_a_draw_is_16_bits_wide_unless_some_rounding_needs_more(random_bits, width: int) -> None:  # type: ignore[no-untyped-def]
    casts = [n and cast("e4m3", "stochastic", random_bits=n) for n in random_bits]
    assert draw_bits(*casts) == width
    assert draw_bits(*casts, cast("e4m3", "nearest", random_bits=32)) == width


@pytest.mark.parametrize(("name", "dtype"), [("e2m1", np.uint8), ("e4m3", np.uint8), ("e4m4", np.uint16)])
def test_codes_take_the_narrowest_word(name: str, dtype: type) -> None:
    assert code_dtype(Format.from_name(name)) is dtype
    assert code_dtype(NAMED["float16"]) is np.uint16
    assert code_dtype(NAMED["tfloat32"]) is code_dtype(NAMED["float32"]) is np.uint32


def test_only_scales_are_kept_out_of_arithmetic() -> None:
    for name in (*ARITHMETIC, *ODD_WIDTHS, *NEW_FAMILIES):
        contract.require_arithmetic(None, cast(name))
    with pytest.raises(ValueError, match=r"float8_e8m0fnu holds block scales"):
        contract.require_arithmetic(cast("e4m3"), cast("e8m0fnu"))
