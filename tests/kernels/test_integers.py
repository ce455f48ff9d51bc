"""int8 matrix products: exact in 32 bits; narrower sums saturate or wrap after each addition, counted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from emunum.kernels import cpu


def _int8(shape: tuple[int, int], seed: int, low: int = -128) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, 128, shape).astype(np.int8)


def _by_hand(a: np.ndarray, b: np.ndarray, bits: int, wraps: bool) -> tuple[np.ndarray, int]:
    """One addition after another, in Python integers."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    out, left = np.zeros((a.shape[0], b.shape[1]), np.int64), 0
    for i, row in enumerate(a.tolist()):
        for j, column in enumerate(b.T.tolist()):
            s = 0
            for x, y in zip(row, column, strict=True):
                s += x * y
                if not low <= s <= high:
                    left += 1
                    s = (s - low) % (1 << bits) + low if wraps else min(max(s, low), high)
            out[i, j] = s
    return out, left


SHAPES = [(1, 1, 1), (3, 5, 7), (1, 64, 1), (17, 31, 2), (2, 4, 65), (5, 1, 3), (33, 130, 3)]


@pytest.mark.parametrize(("m", "terms", "n"), SHAPES)
def test_thirty_two_bits_hold_the_exact_product(m: int, terms: int, n: int) -> None:
    a, b = _int8((m, terms), 1), _int8((terms, n), 2)
    out, overflows = cpu.matmul_integers(a, b, 32, False)
    assert (out.dtype, out.shape, overflows) == (np.int32, (m, n), 0)
    assert_array_equal(out, a.astype(np.int64) @ b.astype(np.int64))


@pytest.mark.parametrize("bits", [8, 32])
@pytest.mark.parametrize(("m", "terms", "n"), [(3, 0, 4), (0, 3, 4), (4, 3, 0), (0, 0, 0)])
def test_without_terms_the_sums_are_zero(m: int, terms: int, n: int, bits: int) -> None:
    out, overflows = cpu.matmul_integers(_int8((m, terms), 1), _int8((terms, n), 2), bits, True)
    assert_array_equal(out, np.zeros((m, n), np.int32))
    assert (out.shape, overflows) == ((m, n), 0)


@pytest.mark.parametrize("wraps", [False, True])
def test_2_to_the_17_products_of_minus_128_leave_32_bits_once(wraps: bool) -> None:
    # 2^17 products of 2^14 make 2^31, one more than the largest; one less fits, and so do those of 127.
    terms = 1 << 17
    least, most = np.full((1, terms), -128, np.int8), np.full((1, terms), 127, np.int8)
    out, overflows = cpu.matmul_integers(least, least.T, 32, wraps)
    assert (out.item(), overflows) == (-(2**31) if wraps else 2**31 - 1, 1)
    out, overflows = cpu.matmul_integers(least[:, 1:], least.T[1:], 32, wraps)
    assert (out.item(), overflows) == (2**31 - 2**14, 0)
    out, overflows = cpu.matmul_integers(most, most.T, 32, wraps)
    assert (out.item(), overflows) == (terms * 127**2, 0)


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("bits", range(2, 32))
def test_narrow_sums_saturate_or_wrap_at_each_addition(bits: int, wraps: bool) -> None:
    for (m, terms, n), least in [((4, 37, 5), -128), ((2, 50, 1), 100), ((1, 3, 6), -3)]:
        a, b = _int8((m, terms), bits, least), _int8((terms, n), bits + 40, -128)
        expected, left = _by_hand(a, b, bits, wraps)
        out, overflows = cpu.matmul_integers(a, b, bits, wraps)
        assert_array_equal(out, expected)
        assert overflows == left


def test_a_saturated_sum_stays_and_comes_back() -> None:
    # int8 sums: 100, 127 (cut from 200), 27; and 100, -56 (200 - 256), 100 (-156 + 256).
    a, b = np.array([[100, 100, -100]], np.int8), np.ones((3, 1), np.int8)
    saturated, wrapped = (cpu.matmul_integers(a, b, 8, wraps) for wraps in (False, True))
    assert (saturated[0].item(), saturated[1]) == (27, 1)
    assert (wrapped[0].item(), wrapped[1]) == (100, 2)


@pytest.mark.parametrize(("bits", "wraps"), [(32, False), (12, False), (12, True)])
def test_threads_and_memory_order_decide_nothing(bits: int, wraps: bool, threads: None) -> None:
    a, b = _int8((50, 70), 5), _int8((70, 500), 6)
    cpu.set_threads(1)
    expected, left = cpu.matmul_integers(a, b, bits, wraps)
    one_row, of_one_row = cpu.matmul_integers(a[7:8], b, bits, wraps)
    wide_a, wide_b = np.zeros((100, 210), np.int8), np.zeros((140, 1000), np.int8)
    wide_a[::2, ::3], wide_b[::2, ::2] = a, b
    a.flags.writeable = b.flags.writeable = False
    layouts = [(a, b), (np.asfortranarray(a), np.asfortranarray(b)), (wide_a[::2, ::3], wide_b[::2, ::2])]
    for count in (1, 2, 3):
        cpu.set_threads(count)
        for x, y in layouts:
            out, overflows = cpu.matmul_integers(x, y, bits, wraps)
            assert_array_equal(out, expected)
            assert overflows == left
        out, overflows = cpu.matmul_integers(a[7:8], b, bits, wraps)  # threads share columns here
        assert_array_equal(out, one_row)
        assert_array_equal(out, expected[7:8])
        assert overflows == of_one_row


def test_codes_beyond_int8_are_refused_or_multiplied_as_they_are() -> None:
    try:
        out, _ = cpu.matmul_integers(np.array([[300]], np.int32), np.ones((1, 1), np.int8), 32, False)
    except (TypeError, ValueError):
        return
    assert out.item() == 300
