"""Sums whose float64 is a power of two that the exact sum lies just below: the binade is the lower one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from inputs import MODES

from emunum.formats import Cast, Format, Mode
from emunum.formats.exact import add_exact, fma_exact
from emunum.kernels import cpu
from emunum.kernels.random import Key


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "tfloat32", "e8m22", "float8_e5m2"])
@pytest.mark.parametrize("mode", [mode for mode in MODES if not mode.stochastic], ids=str)
def test_a_sum_just_below_a_power_of_two_has_the_quantum_below(name: str, mode: Mode) -> None:
    to = Cast(format=Format.from_name(name), mode=mode)
    pairs = [
        (sign * 2.0**e, -sign * 2.0 ** (e - below))
        for e, below, sign in itertools.product((-10, 0, 7), (52, 53, 54, 60, 90), (1, -1))
    ]
    a, b = np.array(pairs, np.float32).T
    expected = [add_exact(float(x), float(y), to) for x, y in zip(a, b, strict=True)]
    np.testing.assert_array_equal(cpu.add(a, b, to, Key(0)), np.array(expected, np.float32))


def test_toward_zero_of_one_minus_a_tiny_number_is_the_float32_before_one() -> None:
    to = Cast.from_names("float32", "toward_zero")
    one, tiny = np.array([1.0], np.float32), np.array([2.0**-60], np.float32)
    assert cpu.subtract(one, tiny, to, Key(0))[0] == np.nextafter(np.float32(1), np.float32(0))


@pytest.mark.parametrize("random_bits", [1, 4, 16, 24, 32])
def test_a_draw_of_zero_takes_one_minus_a_tiny_number_to_the_value_before_one(random_bits: int) -> None:
    # floor(nu 2^N) = 2^N - 1: only R = 0 does not carry. Find such a draw by its position.
    to = Cast.from_names("float32", "stochastic", random_bits=random_bits)
    n = 4096
    a, b = np.ones(n, np.float32), np.full(n, -(2.0**-70), np.float32)
    got = set(cpu.add(a, b, to, Key(5)).tolist())
    before, one = add_exact(1.0, -(2.0**-70), to, 0), add_exact(1.0, -(2.0**-70), to, 1)
    assert (before, one) == (float(np.nextafter(np.float32(1), np.float32(0))), 1.0)
    assert got <= {before, one}
    assert one in got
    if random_bits <= 4:
        assert before in got


def test_an_fma_just_below_a_power_of_two_has_the_quantum_below() -> None:
    to = Cast.from_names("float32", "toward_zero")
    a = np.array([[1.0, 2.0**-31]], np.float32)
    b = np.array([[1.0], [-(2.0**-31)]], np.float32)
    expected = fma_exact(2.0**-31, -(2.0**-31), fma_exact(1.0, 1.0, 0.0, to), to)
    assert cpu.matmul(a, b, None, to, Key(0))[0, 0] == np.float32(expected)
