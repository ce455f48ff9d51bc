"""Moving averages: difference, product and sum against rational arithmetic, each with its own random bits."""

from __future__ import annotations

import numpy as np
import pytest
from inputs import SPECIALS, cast, thinned
from oracles import SCALED_ADD_PRODUCT, SCALED_ADD_SUM, SUBTRACT, assert_same, element_draws

from emunum import set_threads
from emunum.formats.exact import add_exact, multiply_exact
from emunum.kernels import cpu
from emunum.kernels.contract import Event
from emunum.kernels.random import Key

F32 = np.float32
KEY = Key(0x123456789ABCDEF)
ROUNDINGS = ["nearest", "down", "stochastic", "stochastic_c"]
FORMATS = ["float32", "bfloat16", "e4m3", "e5m2", "e4m3fnuz", "q4.4"]


def numbers(size, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=size) * np.exp2(rng.integers(-9, 4, size))).astype(F32)


def exactly(y, alpha, x, to):
    """round(y + round(alpha round(x - y))) number by number."""

    def draws(operation):
        return element_draws(y.size, to, KEY.value, operation).tolist() if to.stochastic else [0] * y.size

    found = []
    streams = zip(*map(draws, (SUBTRACT, SCALED_ADD_PRODUCT, SCALED_ADD_SUM)), strict=True)
    for a, b, (r, s, t) in zip(y.tolist(), x.tolist(), streams, strict=True):
        part = multiply_exact(float(alpha), add_exact(b, -a, to, r), to, s)
        found.append(add_exact(a, part, to, t))
    return np.array(found)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("name", thinned(FORMATS, 3))
def test_a_moved_average_rounds_three_times(name, rounding):
    to = cast(name, rounding)
    y, x = np.append(numbers(700, 1), SPECIALS[::-1]), np.append(numbers(700, 2), SPECIALS)
    y = np.where(np.isnan(y), F32(1), y)  # one operand at a time is NaN
    alpha = F32(0.1)
    assert_same(cpu.move(y, alpha, x, to, KEY), exactly(y, alpha, x, to), y, x)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_chunks_and_threads_change_no_bit(count, rounding):
    to, size = cast("e4m3", rounding), 3 * 2**15 + 77
    y, x = numbers(size, 3), numbers(size, 4)
    difference = cpu.subtract(x, y, to, KEY)
    expected = cpu.scaled_add(y, F32(0.3), difference, to, KEY)
    set_threads(count)
    assert_same(cpu.move(y, F32(0.3), x, to, KEY), expected)


def test_counted_roundings_are_three_a_number_and_change_no_bit():
    to, counts = cast("e5m2", "stochastic"), np.zeros(len(Event), np.int64)
    y, x = numbers(500, 5), numbers(500, 6)
    assert_same(cpu.move(y, F32(0.3), x, to, KEY, counts), cpu.move(y, F32(0.3), x, to, KEY))
    assert counts[Event.ROUNDINGS] == 3 * 500


def test_shape_and_order_do_not_matter():
    to, y, x = cast("e4m3"), numbers((6, 4), 7), numbers((6, 4), 8)
    expected = cpu.move(y, F32(0.3), x, to, KEY)
    assert expected.shape == (6, 4)
    assert_same(cpu.move(np.asfortranarray(y), F32(0.3), x[:, ::-1][:, ::-1], to, KEY), expected)
    assert cpu.move(y[:0], F32(0.3), x[:0], to, KEY).shape == (0, 4)
