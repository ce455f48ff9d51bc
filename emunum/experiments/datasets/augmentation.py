"""Images varied for training: a pure function of seed, epoch and the number of the image.

Words w0..w3 are Philox4x32-10 of counter (number low, number high, 0, 0) under Key(seed).fold(epoch, 0,
0x41554721). Every float64 operation below is a single IEEE one, so every machine gives the same bits.

AFFINE: with u(w) = 2 (w >> 8) / 2^24 - 1 in [-1, 1), an image is turned clockwise by u(w0) pi/18, moved by
u(w1) W/10 to the right and u(w2) H/10 downwards, and scaled by 1 + u(w3) / 10, about its centre. The value
at an output pixel is that of the input at the place it came from, bilinear, with 0 outside, rounded to
float32, then normalised.

CROP_AND_FLIP: the image gets 4 rows and columns of 0 on each side, of which H x W pixels are cut from row
floor(9 w0 / 2^32) - 4 and column floor(9 w1 / 2^32) - 4 of the image, and mirrored left to right where w2
is odd.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.datasets.images import Augmentation, Bytes
from emunum.experiments.datasets.samples import Float32Array

Float64Array = NDArray[np.float64]
Words = NDArray[np.uint32]

_TAG = 0x41554721
"""Keeps these keys apart from those of rounding."""
ANGLE = 0.17453292519943295
"""pi/18, 10 degrees, in radians."""
SHIFT, STRETCH = 0.1, 0.1
PADDING = 4


def augmented(
    pixels: Bytes, numbers: NDArray[np.intp], kind: Augmentation, top: int, epoch: int, seed: int
) -> Float32Array:
    """Return pixels (m, C, H, W) varied and normalised; `numbers` (m,) are those of the images."""
    from emunum.kernels.cpu import augmentation as kernels
    from emunum.kernels.cpu.threads import share
    from emunum.kernels.random import Key

    words = np.empty((len(numbers), 4), np.uint32)
    low, high = Key(seed).fold(epoch, 0, _TAG).words
    kernels.draw(np.ascontiguousarray(numbers, np.int64), np.uint32(low), np.uint32(high), words)
    pixels, out = np.ascontiguousarray(pixels), np.empty(pixels.shape, np.float32)
    job: Any
    if kind is Augmentation.AFFINE:
        height, width = pixels.shape[2:]
        job = partial(kernels.warp, pixels, inverse_maps(words, height, width), np.float32(top), out)
    else:
        job = partial(kernels.crop, pixels, crops(words), np.float32(top), out)
    share(job, len(pixels), work=16 * pixels.size)
    return out


def inverse_maps(words: Words, height: int, width: int) -> Float64Array:
    """Return (m, 4) rows (c, s, t_x, t_y): an output pixel's place in the input, both from the centre, is

        x = c (x' - t_x) + s (y' - t_y),  y = c (y' - t_y) - s (x' - t_x),

    with c = cos / scale and s = sin / scale of the angle.
    """
    u = (words >> np.uint32(8)).astype(np.float64) * 2.0**-23 - 1.0
    angle, scale = u[:, 0] * ANGLE, 1.0 + u[:, 3] * STRETCH
    columns = (
        cosine(angle) / scale,
        sine(angle) / scale,
        u[:, 1] * (SHIFT * width),
        u[:, 2] * (SHIFT * height),
    )
    return np.stack(columns, axis=1)


def crops(words: Words) -> NDArray[np.int64]:
    """Return (m, 3) rows: the first row and column, from -4 to 4, and 1 where the image is mirrored."""
    places = (words[:, :2].astype(np.int64) * (2 * PADDING + 1) >> 32) - PADDING
    return np.column_stack((places, words[:, 2] & np.uint32(1))).astype(np.int64)


def sine(a: Float64Array) -> Float64Array:
    """Return a - a^3/3! + ... - a^11/11! by Horner's rule, |a| <= pi/18.

    What is left out is below a^13/13! < 3e-20, and the rounding of the steps below 2^-54 (0.2 + 1): for
    these angles the result is within 2^-52 relative to the sine.
    """
    square = a * a
    total = np.full_like(a, -1 / math.factorial(11))
    for n in (9, 7, 5, 3):
        total = total * square + (-1) ** (n // 2) / math.factorial(n)
    return a + a * (square * total)


def cosine(a: Float64Array) -> Float64Array:
    """Return 1 - a^2/2! + ... - a^10/10! by Horner's rule, |a| <= pi/18: within 2^-53 of the cosine.

    What is left out is below a^12/12! < 2e-18, and the last step rounds by at most 2^-54.
    """
    square = a * a
    total = np.full_like(a, -1 / math.factorial(10))
    for n in (8, 6, 4, 2):
        total = total * square + (-1) ** (n // 2) / math.factorial(n)
    return 1 + square * total
