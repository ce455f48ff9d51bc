"""Windows against a twin that slices: the largest, the terms, the way back, at every stride and padding."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from oracles import assert_same
from twins import Unrounded

import emunum
from emunum.kernels import cpu
from emunum.kernels.windows import Window
from emunum.ops.policy import Role

F32 = np.float32
TWIN = Unrounded()
HALVES = Window(kernel=(2, 2), stride=(2, 2))
OVERLAPPING = Window(kernel=(3, 3), stride=(2, 2), padding=(1, 1))

CASES = {
    "2x2 side by side": (Window(kernel=(2, 2), stride=(2, 2)), (6, 8)),
    "2x2, a row and a column left over": (Window(kernel=(2, 2), stride=(2, 2)), (7, 9)),
    "2x2 with gaps": (Window(kernel=(2, 2), stride=(3, 3)), (9, 8)),
    "3x3 by 2, padded": (Window(kernel=(3, 3), stride=(2, 2), padding=(1, 1)), (7, 8)),
    "3x3 by 2, padded, one pixel": (Window(kernel=(3, 3), stride=(2, 2), padding=(1, 1)), (1, 1)),
    "3x2 by 1 and 2, padded above": (Window(kernel=(3, 2), stride=(1, 2), padding=(1, 0)), (5, 6)),
    "2x3 by 3 and 1, padded aside": (Window(kernel=(2, 3), stride=(3, 1), padding=(0, 1)), (8, 5)),
    "4x4 in place, padded by 2": (Window(kernel=(4, 4), stride=(4, 4), padding=(2, 2)), (9, 9)),
    "5x5 by 1": (Window(kernel=(5, 5)), (6, 7)),
    "the whole image": (Window(kernel=(4, 3), stride=(4, 3)), (4, 3)),
}


def awkward(seed: int, *shape: int) -> np.ndarray:
    """Few different numbers, so that many are equal; NaN, infinities and zeros of both signs among them."""
    choice = [-2, -1, -0.0, 0.0, 1, 1, 2, np.inf, -np.inf, np.nan]
    return np.random.default_rng(seed).choice(np.array(choice, F32), shape)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Window, tuple[int, int]]:
    return CASES[request.param]


def test_the_largest_wins_the_first_of_equals_and_nan_before_all(case) -> None:  # type: ignore[no-untyped-def]
    window, plane = case
    for seed in range(20):
        x = awkward(seed, 2, 3, *plane)
        y, winners = cpu.max_pool(x, window)
        expected, places = TWIN.max_pool(x, window)
        assert_same(y, expected)
        assert_array_equal(winners, places)
        assert winners.dtype == np.uint8


def test_a_window_of_minus_infinities_has_its_first_number() -> None:
    y, winners = cpu.max_pool(np.full((1, 1, 3, 3), -np.inf, F32), OVERLAPPING)
    assert_same(y, np.full((1, 1, 2, 2), -np.inf))
    assert winners.tolist() == [[[[4, 3], [1, 0]]]]


def test_the_terms_of_a_window_are_its_numbers_and_zeros_for_padding(case) -> None:  # type: ignore[no-untyped-def]
    window, plane = case
    x = awkward(1, 4, 2, *plane)
    assert_same(cpu.window_terms(x, window), np.moveaxis(TWIN.windows(x, window), 2, 0))


class Terms(Unrounded):
    """The twin, which remembers what it adds up."""

    def column_sum(self, x, role, part=0):  # type: ignore[no-untyped-def]
        self.seen = x
        return x.sum(axis=0)


@pytest.mark.parametrize("winners_only", [True, False])
def test_a_pixel_gets_what_its_windows_hand_back_in_index_order(case, winners_only) -> None:  # type: ignore[no-untyped-def]
    window, plane = case
    x = np.random.default_rng(2).normal(size=(2, 1, *plane)).astype(F32)
    _, winners = cpu.max_pool(x, window)
    dy = np.arange(1, winners.size + 1, dtype=F32).reshape(winners.shape)
    taken, twin = winners if winners_only else None, Terms()
    terms = cpu.pixel_terms(dy, taken, window, x.shape)
    total = twin.window_scatter(dy, taken, window, x.shape, Role.ERROR)
    assert_same(terms.sum(axis=0), total)
    if len(terms) > 1:
        assert_same(terms.reshape(len(terms), -1), twin.seen)
    for pixel in terms.reshape(len(terms), -1).T:  # dy grows with the window's index
        assert (np.diff(pixel[pixel != 0]) > 0).all()


@pytest.mark.parametrize("dtype", [np.int8, np.int32])
def test_integers_are_pooled_as_numbers_are(case, dtype) -> None:  # type: ignore[no-untyped-def]
    window, plane = case
    x = np.random.default_rng(3).integers(-127, 128, (3, 2, *plane)).astype(dtype)
    y, winners = cpu.max_pool(x, window)
    floats, places = cpu.max_pool(x.astype(F32), window)
    assert_array_equal(y, floats)
    assert_array_equal(winners, places)
    terms, back = cpu.window_terms(x, window), cpu.pixel_terms(y, winners, window, x.shape)
    assert y.dtype == terms.dtype == back.dtype == dtype
    assert_array_equal(terms, cpu.window_terms(x.astype(F32), window))
    assert_array_equal(back, cpu.pixel_terms(floats, winners, window, x.shape))


def test_windows_of_more_than_255_numbers_name_their_winner() -> None:
    x = np.zeros((1, 1, 20, 20), F32)
    x[0, 0, 19, 18] = 1
    y, winners = cpu.max_pool(x, Window(kernel=(20, 20)))
    assert (y.item(), winners.item()) == (1, 19 * 20 + 18)


def test_images_need_not_lie_in_one_piece() -> None:
    x = awkward(4, 8, 6, 5, 2).transpose(2, 3, 1, 0)
    for window in (HALVES, OVERLAPPING):
        y, winners = cpu.max_pool(x, window)
        same, places = cpu.max_pool(x.copy(), window)
        assert_same(y, same)
        assert_array_equal(winners, places)
        flipped, who = y[:, ::-1], winners[:, ::-1]
        expected = cpu.pixel_terms(flipped.copy(), who.copy(), window, x.shape)
        assert_same(cpu.pixel_terms(flipped, who, window, x.shape), expected)


def test_no_images_have_no_windows() -> None:
    x = np.zeros((0, 2, 4, 4), F32)
    y, winners = cpu.max_pool(x, HALVES)
    assert y.shape == winners.shape == (0, 2, 2, 2)
    assert cpu.window_terms(x, HALVES).shape == (4, 0, 2, 2, 2)
    assert cpu.pixel_terms(y, winners, OVERLAPPING, x.shape).shape == (4, 0, 2, 4, 4)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("window", [HALVES, OVERLAPPING], ids=["halves", "overlapping"])
def test_the_number_of_threads_decides_nothing(window: Window) -> None:
    x = awkward(5, 43, 7, 14, 14)
    found = []
    for threads in (1, 2, 3, 4):
        emunum.set_threads(threads)
        y, winners = cpu.max_pool(x, window)
        back = [cpu.pixel_terms(np.nan_to_num(y), who, window, x.shape) for who in (winners, None)]
        found.append([y, winners, cpu.window_terms(x, window), *back])
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            assert_same(one, same)
