"""Random masks by the layout of counters, and what an array is under a mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from oracles import assert_same
from twins import mask_of

import emunum
from emunum.kernels import cpu
from emunum.kernels.random import Key

F32 = np.float32
KEY = 0x299F31D0A4093822

FROZEN = {
    0.1: "eefcffffffcfffd7e7f7fffdfffdddfe",
    0.5: "cef44d629847f18562f67c9d26951cb8",
    0.75: "042005029000c0814012088d20151ca8",
}
"""The first 128 elements, eight a byte, the first the highest bit."""


@pytest.mark.parametrize("rate", FROZEN)
def test_masks_are_frozen(rate: float) -> None:
    for mask in (mask_of((128,), rate, KEY), cpu.keep((128,), rate, Key(KEY))):
        assert np.packbits(mask).tobytes().hex() == FROZEN[rate]


@pytest.mark.parametrize("shape", [(1,), (63,), (64,), (65,), (5, 7, 11), (0, 3), ()], ids=str)
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 1 - 2.0**-20])
def test_each_element_has_the_draw_of_the_layout(shape: tuple[int, ...], rate: float) -> None:
    mask = cpu.keep(shape, rate, Key(KEY))
    assert mask.dtype == np.bool_
    assert_array_equal(mask, mask_of(shape, rate, KEY))


def test_a_rate_of_zero_keeps_everything() -> None:
    assert cpu.keep((1000,), 0.0, Key(KEY)).all()


def test_a_draw_equal_to_the_rate_is_kept_and_the_next_lower_one_is_not() -> None:
    # Rates are compared exactly: at draw / 2^32 an element is still kept, and an ulp above no longer.
    mask = cpu.keep((64,), 0.5, Key(KEY))
    lowest = min(n for n in range(64) if mask[n])
    draw = next(
        d for d in range(2**31, 2**32, 2**16)
        if not cpu.keep((64,), d / 2.0**32, Key(KEY))[lowest]
    )  # fmt: skip
    low, high = draw - 2**16, draw
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cpu.keep((64,), middle / 2.0**32, Key(KEY))[lowest] else (low, middle)
    rate = low / 2.0**32
    assert mask_of((64,), rate, KEY)[lowest]
    assert cpu.keep((64,), rate, Key(KEY))[lowest]
    assert not cpu.keep((64,), math.nextafter(rate, 1), Key(KEY))[lowest]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_as_many_are_kept_as_the_rate_says(rate: float) -> None:
    # A binomial count: its standard deviation is sqrt(n rate (1 - rate)), and this one is fixed by its key.
    n = 1 << 18
    kept = int(cpu.keep((n,), rate, Key(1)).sum())
    assert abs(kept - n * (1 - rate)) < 4 * math.sqrt(n * rate * (1 - rate))


def test_another_key_gives_another_mask() -> None:
    masks = [cpu.keep((256,), 0.5, Key(seed)).tobytes() for seed in (0, 1, 2**32, 2**63)]
    assert len(set(masks)) == 4


def test_the_beginning_of_a_longer_mask_is_the_shorter_one() -> None:
    assert_array_equal(cpu.keep((5000,), 0.3, Key(3))[:777], cpu.keep((777,), 0.3, Key(3)))


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int32])
def test_select_keeps_numbers_as_they_are_and_puts_zero_elsewhere(dtype: type) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-100, 100, (7, 9)).astype(dtype)
    condition = rng.random((7, 9)) < 0.5
    chosen = cpu.select(condition, x)
    assert chosen.dtype == dtype
    assert_array_equal(chosen, [[v if c else 0 for v, c in zip(*row, strict=True)] for row in
                                zip(x.tolist(), condition.tolist(), strict=True)])  # fmt: skip


def test_select_lets_nothing_of_what_is_left_out_through() -> None:
    x = np.array([np.nan, np.inf, -np.inf, -0.0, -1.0, np.nan, -0.0], F32)
    condition = np.array([False, False, False, False, False, True, True])
    assert_same(cpu.select(condition, x), [0.0, 0.0, 0.0, 0.0, 0.0, np.nan, -0.0])


def test_select_broadcasts_its_condition_and_takes_any_layout() -> None:
    x = np.arange(12, dtype=F32).reshape(3, 4)
    assert_same(cpu.select(np.array([True, False, True, False]), x), x * [1, 0, 1, 0])
    assert_same(cpu.select(np.array([[True], [False], [True]]), x), x * [[1], [0], [1]])
    assert_same(cpu.select((x > 4).T, x.T), (x * (x > 4)).T)
    assert cpu.select(np.zeros((0, 2), bool), np.zeros((0, 2), F32)).shape == (0, 2)


@pytest.mark.usefixtures("threads")
def test_the_number_of_threads_decides_nothing() -> None:
    x = np.random.default_rng(1).normal(size=100_003).astype(F32)
    found = []
    for threads in (1, 2, 3, 4):
        emunum.set_threads(threads)
        mask = cpu.keep(x.shape, 0.5, Key(2))
        found.append((mask.tobytes(), cpu.select(mask, x).tobytes()))
    assert len(set(found)) == 1
