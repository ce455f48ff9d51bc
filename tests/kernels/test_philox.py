"""Random bits: Philox's known answers, the frozen counter layout, and keys.

The vectors below were computed by tests/oracles.py, whose layout is a second reading of the text in
kernels/contract/counters.py, with `philox4x32` after its known answers held. They must never change: every
stored result of a stochastic run depends on them.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from inputs import F32, cast
from numpy.testing import assert_array_equal
from oracles import (
    ADD,
    CAST,
    COLUMN_SUM,
    MULTIPLY,
    SCALED_ADD_PRODUCT,
    SCALED_ADD_SUM,
    SUBTRACT,
    assert_same,
    element_draws,
    matmul_draw,
    matmul_exact,
    round_array,
)

import emunum
from emunum.formats import Cast
from emunum.formats.exact import dot_exact
from emunum.kernels import cpu
from emunum.kernels.contract import LANES, RESULT_BLOCK, Operation
from emunum.kernels.cpu.philox import philox_block
from emunum.kernels.random import Key, philox4x32

KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]

KEY = 0x299F31D0A4093822


def _compiled(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    out = np.empty(4, np.uint32)
    philox_block(np.array(counter, np.uint32), np.array(key, np.uint32), out)
    return tuple(out.tolist())


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(counter, key, answer) -> None:  # type: ignore[no-untyped-def]
    assert philox4x32(counter, key) == answer


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_compiled_philox_gives_the_known_answers(counter, key, answer) -> None:  # type: ignore[no-untyped-def]
    assert _compiled(counter, key) == answer


def test_compiled_philox_is_the_readable_one() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        words = rng.integers(0, 2**32, 6).tolist()
        assert _compiled(words[:4], words[4:]) == philox4x32(tuple(words[:4]), tuple(words[4:]))


# ----------------------------------------------------------------------------------------------------
# The layout
# ----------------------------------------------------------------------------------------------------


def test_operations_have_their_frozen_numbers() -> None:
    assert {operation.name: operation.value for operation in Operation} == {
        "CAST": 0,
        "ADD": 1,
        "SUBTRACT": 2,
        "MULTIPLY": 3,
        "SCALED_ADD_PRODUCT": 4,
        "SCALED_ADD_SUM": 5,
        "COLUMN_SUM": 6,
        "MATMUL": 7,
        "FOLD": 8,
        "DIVIDE": 9,
        "SQUARE_ROOT": 10,
        "RESCALE": 11,
        "KEEP": 12,
        "SPREAD": 13,
    }
    assert (RESULT_BLOCK, LANES) == (0xFFFFFFFF, 16)


def _drawn(random_bits: int, size: int, key: int) -> np.ndarray:
    """The draws of a cast, seen through it: 1 + nu goes up to 2 when R reaches 2^N (1 - nu)."""
    to = cast("e2m0", "stochastic", random_bits=random_bits)
    bits = np.zeros(size, np.int64)
    for place in range(random_bits - 1, -1, -1):  # bisection, one bit of every draw at a time
        guess = bits + (1 << place)
        nu = 1 - np.ldexp(guess.astype(np.float64), -random_bits)  # up means R >= guess
        up = cpu.cast(1 + nu, to, Key(key)) == 2
        bits = np.where(up, guess, bits)
    return bits


@pytest.mark.parametrize("random_bits", [1, 7, 8, 15, 16, 17, 24, 31, 32])
def test_each_element_gets_exactly_the_draw_of_the_layout(random_bits: int) -> None:
    to = cast("e2m0", "stochastic", random_bits=random_bits)
    size = 2 * 4096 + 3 * 128 + 77
    assert_array_equal(_drawn(random_bits, size, KEY), element_draws(size, to, KEY, CAST))


def test_draws_of_fewer_bits_are_the_top_bits_of_the_draws_of_more() -> None:
    sixteen, thirty_two = _drawn(16, 200, KEY), _drawn(32, 200, KEY)
    for n in (1, 5, 8, 13):
        assert_array_equal(_drawn(n, 200, KEY), sixteen >> (16 - n))
    for n in (17, 24, 31):
        assert_array_equal(_drawn(n, 200, KEY), thirty_two >> (32 - n))


# Draws of elements 0..11, 124..131 and 296..299 of 300 under KEY.
FROZEN_DRAWS = {
    8: ("78 8d e4 d0 25 c9 ab 34 ff 1b 78 d5 dd 75 7d cc 41 52 9a dc ef 72 9b d1"),
    16: (
        "7852 8d27 e437 d057 258e c94c ab38 3454 "
        "ff5a 1bf1 78d6 d58d dde5 75f7 7d1e cce7 "
        "41d9 5290 9ab0 dc71 efb2 725d 9bcb d134"
    ),
    24: (
        "e8478 f9a58d 658ae4 b122d0 5f9f25 1f87c9 9152ab b39a34 "
        "8596ff e9231b 29478 8909d5 635ed9 73e5c 75b1e9 2b37f6 "
        "2a0f42 f74526 987076 db0746 63c84f ffd644 bff15e 80200e"
    ),
}


@pytest.mark.parametrize("random_bits", [8, 16, 24])
def test_the_draws_of_elements_are_frozen(random_bits: int) -> None:
    to = cast("e2m0", "stochastic", random_bits=random_bits)
    for draws in (element_draws(300, to, KEY), _drawn(random_bits, 300, KEY)):
        shown = [f"{draw:x}" for draw in (*draws[:12], *draws[124:132], *draws[-4:])]
        assert " ".join(shown) == FROZEN_DRAWS[random_bits]


def _both(n: int) -> tuple[Cast, Cast]:
    return cast("e4m3", "stochastic", random_bits=n), cast("e6m9", "stochastic", random_bits=n)


def _operands() -> tuple[np.ndarray, np.ndarray]:
    """float32 of 24 bits each, without a generator: (3, 11) and (11, 4)."""
    a, b = np.arange(33) * 37 % 101 - 50, np.arange(44) * 29 % 89 - 44
    return (a.astype(F32) / F32(7)).reshape(3, 11), (b.astype(F32) / F32(11)).reshape(11, 4)


FROZEN_PRODUCTS = {
    8: [
        [-13.875, 77.75, -49.9375, -71.875],
        [-16.5625, 76.875, -50.3125, -71.0],
        [-18.375, 75.875, -48.875, -70.25],
    ],
    16: [
        [-13.875, 77.75, -49.9375, -71.875],
        [-16.5625, 76.875, -50.3125, -71.0],
        [-18.375, 75.875, -48.875, -70.25],
    ],
    24: [
        [-13.9375, 80.0, -52.0, -72.875],
        [-20.5625, 75.875, -50.3125, -72.25],
        [-19.6875, 74.625, -48.125, -71.0],
    ],
    32: [
        [-13.9375, 80.0, -52.0, -72.875],
        [-20.5625, 75.875, -50.3125, -72.25],
        [-19.6875, 74.625, -48.125, -71.0],
    ],
}


@pytest.mark.parametrize("random_bits", [8, 16, 24, 32])
def test_stochastic_products_are_frozen(random_bits: int) -> None:
    a, b = _operands()
    product, accumulator = _both(random_bits)
    expected = matmul_exact(a, b, product, accumulator, KEY)
    ours = cpu.matmul(a, b, product, accumulator, Key(KEY))
    assert_same(ours, expected)
    assert ours.tolist() == FROZEN_PRODUCTS[random_bits]


FROZEN_QUANTIZED = {
    8: "223a4246494c4e505152535556575859595a5b5b5c5c5c5d5d",
    16: "223a4246494c4e505152535556575859595a5b5b5c5c5c5d5d",
    24: "213a4246494c4e505252535556575958595a5a5b5c5c5d5d5e",
}


@pytest.mark.parametrize("random_bits", [8, 16, 24])
def test_stochastic_quantize_is_frozen(random_bits: int) -> None:
    x = np.arange(1, 201, dtype=F32) / F32(7)
    ours = emunum.quantize(x, "e4m3", rounding="stochastic", random_bits=random_bits, seed=42)
    codes = emunum.encode(ours, "e4m3")
    to = cast("e4m3", "stochastic", random_bits=random_bits)
    assert_same(ours, round_array(x, to, element_draws(x.size, to, 42)), x)
    assert codes[::8].tobytes().hex() == FROZEN_QUANTIZED[random_bits]


def test_the_product_draws_before_the_sum() -> None:
    # 1.5 has two neighbours in e2m0 (1 and 2); the sum 0 + 1 or 0 + 2 is exact, so the first draw shows.
    product, accumulator = (cast("e2m0", "stochastic", random_bits=1) for _ in range(2))
    ones, halves = np.ones((40, 1), F32), np.full((1, 40), 1.5, F32)
    shown = cpu.matmul(ones, halves, product, accumulator, Key(KEY)) == 2
    draws = [[matmul_draw(i, j, KEY, product, accumulator)(0, 0) for j in range(40)] for i in range(40)]
    assert_array_equal(shown, np.array(draws) == 1)
    # With an exact product only the sum rounds, and takes the second.
    shown = cpu.matmul(ones, halves, None, accumulator, Key(KEY)) == 2
    draws = [[matmul_draw(i, j, KEY, None, accumulator)(0, 1) for j in range(40)] for i in range(40)]
    assert_array_equal(shown, np.array(draws) == 1)


def test_the_wider_of_two_casts_sets_the_width_of_both_draws() -> None:
    a, b = _operands()
    for n_product, n_sum in [(8, 24), (24, 8), (3, 16), (17, 1)]:
        product, accumulator = _both(n_product)[0], _both(n_sum)[1]
        expected = matmul_exact(a, b, product, accumulator, KEY)
        assert_same(cpu.matmul(a, b, product, accumulator, Key(KEY)), expected)


@pytest.mark.parametrize("random_bits", [4, 16, 20])
def test_rounding_the_result_has_its_own_draw(random_bits: int) -> None:
    a, b = _operands()
    result = cast("float4_e2m1fn", "stochastic", random_bits=random_bits)
    for product, accumulator in [(None, cast("float32")), _both(16), _both(30)]:
        expected = matmul_exact(a, b, product, accumulator, KEY, result)
        assert_same(cpu.matmul(a, b, product, accumulator, Key(KEY), result=result), expected)


# ----------------------------------------------------------------------------------------------------
# What follows from it
# ----------------------------------------------------------------------------------------------------


def test_the_same_seed_repeats_and_another_does_not() -> None:
    x = np.full(5000, 1.25, F32)
    once, again, other = (emunum.quantize(x, "e2m0", rounding="stochastic", seed=seed) for seed in (3, 3, 4))
    assert_array_equal(once, again)
    assert (once != other).mean() > 0.25  # 2 * 1/4 * 3/4 = 0.375 expected


def test_all_64_bits_of_a_seed_count() -> None:
    draws = [tuple(_drawn(16, 40, seed)) for seed in (0, 1, 2**31, 2**32, 2**63, 2**64 - 1)]
    assert len(set(draws)) == 6


@pytest.mark.parametrize("random_bits", [16, 32])
def test_different_positions_get_different_bits(random_bits: int) -> None:
    draws = _drawn(random_bits, 4096, KEY)
    if random_bits == 32:
        assert len(set(draws.tolist())) == 4096  # 0.002 repetitions expected
    for distance in (1, 16, 128):  # neighbours in a call, in a block, in memory
        assert (draws[distance:] != draws[:-distance]).mean() > 0.99


def test_different_operations_get_different_bits() -> None:
    to, x = cast("e2m0", "stochastic", random_bits=1), np.full((1, 64), 1.5, F32)
    zero, one, key = F32(0), F32(1), Key(KEY)
    results = [
        cpu.cast(x, to, key),
        cpu.add(x, zero, to, key),
        cpu.subtract(x, zero, to, key),
        cpu.multiply(x, one, to, key),
        cpu.scaled_add(np.zeros_like(x), one, x, to, key),
        cpu.matmul(np.ones((1, 1), F32), x, to, to, key),
        cpu.column_sum(x, to, key),
    ]
    assert all((result == 1).any() and (result == 2).any() for result in results)
    assert len({result.tobytes() for result in results}) == len(results)


def test_rows_columns_terms_and_roundings_get_different_bits() -> None:
    product = accumulator = cast("e2m0", "stochastic", random_bits=32)
    seen = {
        matmul_draw(i, j, KEY, product, accumulator)(k, which)
        for i in range(6)
        for j in range(6)
        for k in range(6)
        for which in (0, 1)
    }
    assert len(seen) == 6 * 6 * 6 * 2


@pytest.mark.parametrize(
    ("function", "operation"),
    [(cpu.add, ADD), (cpu.subtract, SUBTRACT), (cpu.multiply, MULTIPLY)],
    ids=["add", "subtract", "multiply"],
)
@pytest.mark.parametrize("random_bits", [16, 24])
def test_elementwise_operations_draw_under_their_own_number(function, operation, random_bits) -> None:  # type: ignore[no-untyped-def]
    to = cast("e4m3", "stochastic", random_bits=random_bits)
    rng = np.random.default_rng(13)
    a, b = (rng.integers(-99, 100, 500).astype(F32) / F32(16) for _ in range(2))
    exact = {ADD: a + b, SUBTRACT: a - b, MULTIPLY: a * b}[operation]  # all of them float32 values
    expected = round_array(exact, to, element_draws(500, to, KEY, operation))
    assert_same(function(a, b, to, Key(KEY)), expected, a, b)


def test_scaled_add_draws_for_the_product_and_for_the_sum() -> None:
    to = cast("e4m3", "stochastic")
    rng = np.random.default_rng(14)
    y, x = (rng.integers(-99, 100, 500).astype(F32) / F32(16) for _ in range(2))
    product = round_array(0.4375 * x.astype(np.float64), to, element_draws(500, to, KEY, SCALED_ADD_PRODUCT))
    expected = round_array(y + product, to, element_draws(500, to, KEY, SCALED_ADD_SUM))
    assert_same(cpu.scaled_add(y, F32(0.4375), x, to, Key(KEY)), expected, y, x)


@pytest.mark.parametrize("random_bits", [16, 24])
def test_a_column_sum_draws_as_row_zero_of_a_product(random_bits: int) -> None:
    to = cast("e4m3", "stochastic", random_bits=random_bits)
    x = np.random.default_rng(15).integers(-99, 100, (13, 5)).astype(F32) / F32(16)
    expected = [
        dot_exact([1.0] * 13, column, None, to, matmul_draw(0, j, KEY, None, to, COLUMN_SUM))
        for j, column in enumerate(x.T.tolist())
    ]
    assert_same(cpu.column_sum(x, to, Key(KEY)), expected)


# ----------------------------------------------------------------------------------------------------
# Keys
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "place", "value"),
    [
        (0x0, (0,), 0xC498E74DD73F05CA),
        (0x0, (1, 2, 3), 0x8B83EDC90695022B),
        (0x2A, (7,), 0xFEB6D852C06A0045),
        (0x299F31D0A4093822, (4294967295, 0, 9), 0x88DAA673C7F2BCD8),
        (0xFFFFFFFFFFFFFFFF, (1, 1, 1), 0x08A1B5ED61ED4A3F),
    ],
)
def test_folding_a_key_is_frozen(seed: int, place: tuple[int, ...], value: int) -> None:
    assert Key(seed).fold(*place) == Key(value)


def test_folding_is_philox_at_the_place_under_the_key() -> None:
    for place in [(0, 0, 0), (1, 2, 3), (2**32 - 1, 5, 7)]:
        low, high, _, _ = philox4x32((*place, 8), (KEY % 2**32, KEY >> 32))
        assert Key(KEY).fold(*place).value == low + (high << 32)


def test_folding_with_fewer_numbers_is_folding_with_zeros() -> None:
    assert Key(5).fold(1) == Key(5).fold(1, 0) == Key(5).fold(1, 0, 0)
    places = [Key(5).fold(a, b, c).value for a in range(4) for b in range(4) for c in range(4)]
    assert len(set(places)) == 64


def test_a_key_has_its_low_and_high_words() -> None:
    assert Key(KEY).words == (0xA4093822, 0x299F31D0)
    assert Key(2**64 - 1).words == (2**32 - 1, 2**32 - 1)


@pytest.mark.parametrize("seed", [-1, 2**64, 2**70])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=r"seed .* is out of range: .* 0 to 2\*\*64 - 1"):
        Key(seed)


_ODD_SEEDS = """
import sys, numpy as np
from emunum.kernels.random import Key
assert Key(np.int64(2**62)).words == (0, 2**30)
assert Key(np.uint64(2**64 - 1)) == Key(2**64 - 1)
try:
    Key(1.5)
except (TypeError, ValueError):
    sys.exit(0)
sys.exit("a seed of 1.5 was taken")
"""


def test_a_numpy_integer_is_a_seed_and_a_fraction_is_none_and_both_are_told_at_once() -> None:
    # In a process of its own: `x in range(2**64)` counts up from 0 for whatever is not exactly an int.
    subprocess.run([sys.executable, "-c", _ODD_SEEDS], check=True, timeout=20)
