"""Augmented images: bits from a scalar reference, and what is true of turned and moved pictures."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from emunum.experiments.datasets import Augmentation, Images, ImageSamples, split
from emunum.experiments.datasets.augmentation import ANGLE, cosine, crops, inverse_maps, sine
from emunum.experiments.datasets.images import normalise
from emunum.kernels import cpu
from emunum.kernels.cpu import augmentation as kernels
from emunum.kernels.random import Key, philox4x32

EVERY = slice(None)
F32 = np.float32


def images(kind=Augmentation.AFFINE, n=6, shape=(1, 9, 7), top=255):
    rng = np.random.default_rng(2)
    return Images(
        name="small",
        pixels=rng.integers(0, top + 1, (n, *shape), np.uint8),
        labels=np.zeros(n, np.uint8),
        classes=("a",),
        top=top,
        augmentation=kind,
        origin="made here",
    )


def samples(data, index=None):
    return ImageSamples(images=data, index=np.arange(len(data.labels)) if index is None else index)


def words_of(seed, epoch, number):
    """The four words of an image, from the scalar Philox."""
    key = Key(seed).fold(epoch, 0, 0x41554721)
    return philox4x32((number & 0xFFFFFFFF, number >> 32, 0, 0), key.words)


def normalised(value, top):
    """The float32 steps, of a float64 value."""
    return (F32(value) / F32(top) - F32(0.5)) / F32(0.5)


def polynomial(a, first):
    """The series of sine (first = 1) or cosine (first = 0), from the last term inwards."""
    square = a * a
    total = {1: -1 / 39916800, 0: -1 / 3628800}[first]
    for divisor in {1: (362880, -5040, 120, -6), 0: (40320, -720, 24, -2)}[first]:
        total = total * square + 1 / divisor
    return a + a * (square * total) if first else 1 + square * total


def warped(image, word, top):
    """One image under the affine variation, in Python floats, a rounding an operation."""
    _, height, width = image.shape
    u = [(w >> 8) / 2**23 - 1 for w in word]
    scale = 1 + u[3] * 0.1
    angle = u[0] * (math.pi / 18)
    c, s = polynomial(angle, 0) / scale, polynomial(angle, 1) / scale
    t_x, t_y = u[1] * (0.1 * width), u[2] * (0.1 * height)

    def pixel(channel, i, j):
        return float(image[channel, i, j]) if 0 <= i < height and 0 <= j < width else 0.0

    out = np.empty(image.shape, F32)
    for channel, i, j in np.ndindex(image.shape):
        x, y = j - (width - 1) / 2 - t_x, i - (height - 1) / 2 - t_y
        x, y = c * x + s * y + (width - 1) / 2, c * y - s * x + (height - 1) / 2
        column, row = math.floor(x), math.floor(y)
        right, down = x - column, y - row
        above, below = (
            (1 - right) * pixel(channel, i, column) + right * pixel(channel, i, column + 1)
            for i in (row, row + 1)
        )
        out[channel, i, j] = normalised((1 - down) * above + down * below, top)
    return out


def cropped(image, word, top):
    """One image padded with 4 zeros, cut and mirrored."""
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (4, 4), (4, 4)))
    row, column = 9 * word[0] // 2**32, 9 * word[1] // 2**32
    cut = padded[:, row : row + height, column : column + width]
    return normalise((cut[:, :, ::-1] if word[2] % 2 else cut).astype(F32), top)


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1])
@pytest.mark.parametrize("shape", [(1, 9, 7), (3, 4, 5), (1, 1, 1)])
@pytest.mark.parametrize(
    ("kind", "reference"), [(Augmentation.AFFINE, warped), (Augmentation.CROP_AND_FLIP, cropped)]
)
def test_augmented_images_have_the_bits_of_the_scalar_reference(kind, reference, shape, seed):
    data = images(kind, shape=shape, top=16 if seed == 42 else 255)
    found = samples(data).augmented(EVERY, epoch=3, seed=seed)
    assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)
    expected = [reference(data.pixels[n], words_of(seed, 3, n), data.top) for n in range(6)]
    assert_array_equal(found.view(np.uint32), np.array(expected).view(np.uint32))


@pytest.mark.parametrize("kind", Augmentation)
def test_what_happens_to_an_image_depends_on_seed_epoch_and_its_number_alone(kind, threads):
    data = images(kind, n=300, shape=(3, 12, 12))
    whole = samples(data).augmented(EVERY, 1, 7)
    assert_array_equal(samples(data).augmented(np.array([299, 5, 5]), 1, 7), whole[[299, 5, 5]])
    chosen = np.array([200, 3, 9])
    assert_array_equal(samples(data, chosen).augmented(slice(1, 3), 1, 7), whole[[3, 9]])
    for count in (1, 2, 3):
        cpu.set_threads(count)
        assert_array_equal(samples(data).augmented(EVERY, 1, 7), whole)
    for other in (samples(data).augmented(EVERY, 2, 7), samples(data).augmented(EVERY, 1, 8)):
        assert np.any(other != whole, axis=(1, 2, 3)).mean() > 0.9
    assert samples(data).augmented(np.array([], np.intp), 1, 7).shape == (0, 3, 12, 12)


def test_a_split_changes_nothing_about_an_image():
    data = images(n=20)
    whole = samples(data).augmented(EVERY, 1, 7)
    for share in (0.0, 0.25):
        train = split(data, 0.2, 3, share).train
        assert_array_equal(train.augmented(EVERY, 1, 7), whole[train.index])


# ----------------------------------------------------------------------------------------------------
# Sine and cosine
# ----------------------------------------------------------------------------------------------------


def test_sine_and_cosine_are_as_near_as_they_say():
    gmpy2 = pytest.importorskip("gmpy2", reason="gmpy2 is not installed")
    angles = np.concatenate([np.linspace(-ANGLE, ANGLE, 4001), [0.0, 2.0**-24 * ANGLE, 1e-300]])
    with gmpy2.context(precision=200):
        for a, s, c in zip(angles.tolist(), sine(angles).tolist(), cosine(angles).tolist(), strict=True):
            exact = gmpy2.sin(gmpy2.mpfr(a))
            assert abs(gmpy2.mpfr(s) - exact) <= 2.0**-52 * abs(exact)
            assert abs(gmpy2.mpfr(c) - gmpy2.cos(gmpy2.mpfr(a))) <= 2.0**-53


def test_the_largest_angle_is_the_float64_nearest_to_ten_degrees():
    gmpy2 = pytest.importorskip("gmpy2", reason="gmpy2 is not installed")
    with gmpy2.context(precision=200):
        assert float(gmpy2.const_pi() / 18) == ANGLE == math.pi / 18


# ----------------------------------------------------------------------------------------------------
# Pictures
# ----------------------------------------------------------------------------------------------------


def warp(pixels, c=1.0, s=0.0, t_x=0.0, t_y=0.0):
    """One image through a map, with its pixels as the result, undone from [-1, 1]."""
    out = np.empty((1, *pixels.shape), F32)
    kernels.warp(pixels[None], np.array([[c, s, t_x, t_y]]), F32(255), out, 0, 1)
    return out[0]


@pytest.fixture
def picture():
    return np.random.default_rng(5).integers(0, 256, (1, 5, 5), np.uint8)


def plain(pixels):
    return normalise(np.asarray(pixels, F32), 255)


def test_the_map_that_moves_nothing_gives_the_features(picture):
    assert_array_equal(warp(picture), plain(picture))


def test_a_shift_by_whole_pixels_moves_them_and_leaves_zeros(picture):
    moved = np.zeros_like(picture)
    moved[:, 1:, 2:] = picture[:, :-1, :-2]
    assert_array_equal(warp(picture, t_x=2.0, t_y=1.0), plain(moved))
    assert_array_equal(warp(picture, t_x=-9.0), plain(np.zeros_like(picture)))


def test_half_a_pixel_is_the_mean_of_two(picture):
    wide = np.pad(picture.astype(float), ((0, 0), (0, 0), (1, 0)))
    assert_array_equal(warp(picture, t_x=0.5), plain((wide[:, :, :-1] + wide[:, :, 1:]) / 2))


def test_a_quarter_turn_is_clockwise(picture):
    assert_array_equal(warp(picture, c=0.0, s=1.0), plain(np.rot90(picture, -1, axes=(1, 2))))


def test_a_scale_of_two_spreads_the_middle(picture):
    found = warp(picture, c=0.5)
    assert_array_equal(found[:, ::2, ::2], plain(picture[:, 1:4, 1:4]))


# ----------------------------------------------------------------------------------------------------
# What is drawn
# ----------------------------------------------------------------------------------------------------


def drawn(n):
    low, high = Key(9).fold(1, 0, 0x41554721).words
    words = np.empty((n, 4), np.uint32)
    kernels.draw(np.arange(n), np.uint32(low), np.uint32(high), words)
    return words


def test_words_are_those_of_philox_for_large_numbers_too():
    words = np.empty((2, 4), np.uint32)
    low, high = Key(9).fold(4, 0, 0x41554721).words
    kernels.draw(np.array([5, 2**32 + 5]), np.uint32(low), np.uint32(high), words)
    assert [tuple(row) for row in words.tolist()] == [words_of(9, 4, 5), words_of(9, 4, 2**32 + 5)]


def test_variations_fill_their_ranges():
    n = 20_000
    maps = inverse_maps(drawn(n), 20, 10)
    scale = 1 / np.hypot(maps[:, 0], maps[:, 1])
    angle = np.arctan2(maps[:, 1], maps[:, 0]) * 180 / math.pi
    for values, most, middle in (
        (angle, 10, 0),
        (maps[:, 2], 1, 0),
        (maps[:, 3], 2, 0),
        (scale, 0.1, 1),
    ):
        u = (values - middle) / most
        # Uniform on [-1, 1): mean 0 with a standard deviation of 1/sqrt(3n), five of which are allowed;
        # of n values, none is beyond 0.999 with a probability of 0.999^n < 1e-8.
        assert abs(u.mean()) < 5 / math.sqrt(3 * n)
        assert 0.999 < np.abs(u).max() <= 1 + 1e-9


def test_crops_are_uniform_and_every_second_one_is_mirrored():
    n = 81_000
    row, column, mirrored = crops(drawn(n)).T
    counts = np.zeros((9, 9), int)
    np.add.at(counts, (row + 4, column + 4), 1)
    # Each of 81 places 1000 times, give or take five standard deviations of sqrt(1000).
    assert np.abs(counts - 1000).max() < 5 * math.sqrt(1000)
    assert set(mirrored.tolist()) == {0, 1}
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / math.sqrt(n)


def test_the_largest_words_stay_in_range():
    words = np.array([[0xFFFFFFFF] * 4, [0] * 4], np.uint32)
    assert crops(words).tolist() == [[4, 4, 1], [-4, -4, 0]]
    t_x = inverse_maps(words, 20, 10)[:, 2]
    assert t_x.tolist() == [1 - 2.0**-23, -1]


def test_a_data_set_names_its_augmentation():
    data = images(Augmentation.CROP_AND_FLIP)
    other = samples(replace(data, augmentation=Augmentation.AFFINE)).augmented(EVERY, 1, 7)
    assert np.any(other != samples(data).augmented(EVERY, 1, 7))
