"""Images as samples: the digits, normalisation, splits and one-hot targets."""

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from emunum.experiments.datasets import Images, ImageSamples, load, split
from emunum.experiments.datasets.images import normalise

EVERY = slice(None)


def small(n=10, n_test=0, top=255, name="small"):
    rng = np.random.default_rng(1)
    return Images(
        name=name,
        pixels=rng.integers(0, top + 1, (n, 2, 3, 4), np.uint8),
        labels=(np.arange(n) % 3).astype(np.uint8),
        classes=("a", "b", "c"),
        top=top,
        n_test=n_test,
        origin="made here",
    )


def float32_of(value):
    """The float32 nearest to a fraction: float64 first is harmless here, as the next test proves."""
    return np.float32(float(value))


@pytest.mark.parametrize("top", [16, 255])
def test_a_pixel_is_divided_shifted_and_doubled_with_a_rounding_each(top):
    found = normalise(np.arange(top + 1, dtype=np.float32), top)
    for pixel, x in enumerate(found.tolist()):
        # pixel / top has at most 8 bits over 8 bits: no quotient lies within 2^-16 of a tie, relatively,
        # unless it is one, so rounding to float64 on the way changes nothing. The rest is exact.
        ratio = Fraction(float(float32_of(Fraction(pixel, top))))
        assert x == float(float32_of((ratio - Fraction(1, 2)) * 2))
    assert (found[0], found[-1]) == (-1, 1)


def test_digits_are_scikit_learns_as_bytes():
    sklearn_datasets = pytest.importorskip("sklearn.datasets", reason="the source of the data set")
    source, digits = sklearn_datasets.load_digits(), load("digits")
    assert (digits.name, digits.task, digits.note, digits.top) == ("digits", "classification", None, 16)
    assert (digits.pixels.shape, digits.pixels.dtype) == ((1797, 1, 8, 8), np.uint8)
    assert_array_equal(digits.pixels.reshape(1797, 64), source.data)
    assert_array_equal(digits.labels, source.target)
    assert digits.classes == tuple("0123456789")


def test_the_digest_covers_pixels_then_labels():
    images = small()
    expected = hashlib.sha256(images.pixels.tobytes() + images.labels.tobytes()).hexdigest()
    assert images.sha256 == expected
    turned = Images(
        name="turned",
        pixels=np.asfortranarray(images.pixels),
        labels=np.repeat(images.labels, 2)[::2],
        classes=images.classes,
        origin="made here",
    )
    assert turned.sha256 == expected


@pytest.mark.parametrize("rows", [slice(1, 9, 3), np.array([4, 0, 4]), np.array([], np.intp)])
def test_samples_are_normalised_and_one_hot(rows):
    images, index = small(), np.array([9, 3, 5, 0, 1])
    samples = ImageSamples(images=images, index=index)
    assert (len(samples), samples.shape, samples.outputs) == (5, (2, 3, 4), 3)
    chosen = index[rows]
    x, y = samples.features(rows), samples.targets(rows)
    assert_array_equal(x, normalise(images.pixels[chosen].astype(np.float32), 255))
    assert_array_equal(y, [[float(images.labels[at] == k) for k in range(3)] for at in chosen] or y)
    assert y.shape == (len(chosen), 3)
    for array in (x, y):
        assert array.dtype == np.float32
        assert array.flags.c_contiguous


def test_digits_split_by_shares_as_tables_do():
    digits = load("digits")
    order = np.random.RandomState(42).permutation(1797)
    parts = split(digits, 0.2, 42)
    assert (parts.validation, parts.task) == (None, "classification")
    for samples, rows in ((parts.test, order[:360]), (parts.train, order[360:])):
        assert_array_equal(samples.targets(EVERY).argmax(axis=1), digits.labels[rows])
        x = normalise(digits.pixels[rows].astype(np.float32), 16)
        assert_array_equal(samples.features(EVERY), x)


@pytest.mark.parametrize("test_split", [0.2, 0.9])
def test_a_published_test_set_is_the_test_as_it_stands(test_split):
    images = small(n=10, n_test=3)
    parts = split(images, test_split, 7, 0.25)
    assert_array_equal(parts.test.index, [7, 8, 9])
    order = np.random.RandomState(7).permutation(7)
    assert_array_equal(parts.validation.index, order[:2])
    assert_array_equal(parts.train.index, order[2:])
    whole = split(images, test_split, 7)
    assert (whole.validation, len(whole.train)) == (None, 7)
    assert_array_equal(whole.train.index, np.arange(7))


def test_a_tenth_of_mnists_training_images_is_6000():
    blank = Images(
        name="blank",
        pixels=np.zeros((70_000, 1, 1, 1), np.uint8),
        labels=np.zeros(70_000, np.uint8),
        classes=("a",),
        n_test=10_000,
        origin="made here",
    )
    parts = split(blank, 0.2, 42, 0.1)
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [54_000, 6_000, 10_000]


def test_a_validation_split_that_takes_every_image_is_refused():
    with pytest.raises(ValueError, match=r"validation_split 0\.9 takes all 7 samples of 'small'"):
        split(small(n=10, n_test=3), 0.2, 42, 0.9)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"labels": np.zeros(9, np.uint8)}, r"pixels \(10, 2, 3, 4\), labels \(9,\) and 0 test images"),
        ({"pixels": np.zeros((10, 4), np.uint8)}, r"pixels \(10, 4\)"),
        ({"n_test": 10}, r"10 test images\. Pass"),
        ({"labels": np.zeros(10, np.int64)}, "holds uint8 pixels and int64 labels. Pass both as uint8"),
        ({"labels": np.full(10, 3, np.uint8)}, "has a label 3: the largest is 2"),
        ({"pixels": np.full((10, 2, 3, 4), 17, np.uint8), "top": 16}, "has a pixel 17: the largest is 16"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(changes, complaint):
    images = small()
    options = {"pixels": images.pixels, "labels": images.labels} | changes
    with pytest.raises(ValueError, match=f"data set 'odd' .*{complaint}"):
        Images(name="odd", classes=images.classes, origin="made here", **options)
