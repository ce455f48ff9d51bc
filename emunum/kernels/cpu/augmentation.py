"""Random words for images, and images turned, moved, cut and mirrored.

Every kernel but `draw` fills out[begin:end] (float32) from pixels (m, C, H, W) of bytes; images do not
depend on each other. The formulas stand in emunum/experiments/datasets/augmentation.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from emunum.kernels.cpu.compile import compiled, inlined
from emunum.kernels.cpu.philox import philox

_HALF = np.float32(0.5)


@compiled
def draw(numbers: Any, k0: Any, k1: Any, out: Any) -> None:
    """out[n] = the four words of image numbers[n], under key (k0, k1)."""
    for n in range(numbers.size):
        number = np.uint64(numbers[n])
        words = philox(
            np.uint32(number), np.uint32(number >> np.uint64(32)), np.uint32(0), np.uint32(0), k0, k1
        )
        out[n, 0], out[n, 1], out[n, 2], out[n, 3] = words


@inlined
def _normalised(v: Any, top: Any) -> Any:
    return (v / top - _HALF) / _HALF


@inlined
def _pixel(image: Any, row: Any, column: Any) -> Any:
    inside = (row >= 0) & (row < image.shape[0]) & (column >= 0) & (column < image.shape[1])
    return np.float64(image[row, column]) if inside else 0.0


@compiled
def warp(pixels: Any, maps: Any, top: Any, out: Any, begin: Any, end: Any) -> None:
    """Take each output pixel from its place in the input, bilinear; maps (m, 4) are (c, s, t_x, t_y)."""
    channels, height, width = pixels.shape[1:]
    middle_y, middle_x = (height - 1) / 2.0, (width - 1) / 2.0
    for n in range(begin, end):
        c, s, t_x, t_y = maps[n, 0], maps[n, 1], maps[n, 2], maps[n, 3]
        for i in range(height):
            for j in range(width):
                # 1. Where the pixel came from. Products and sums are rounded one by one: nothing here may
                #    be contracted, or another machine would take another weight.
                x, y = j - middle_x - t_x, i - middle_y - t_y
                x, y = c * x + s * y + middle_x, c * y - s * x + middle_y
                # 2. The pixel above and to the left, and how far beyond it the place lies (exact).
                column, row = math.floor(x), math.floor(y)
                right, down = x - column, y - row
                for channel in range(channels):
                    image = pixels[n, channel]
                    # 3. Along the two rows, then between them, in float64; one rounding to float32.
                    above = (1 - right) * _pixel(image, row, column) + right * _pixel(image, row, column + 1)
                    below = (1 - right) * _pixel(image, row + 1, column) + right * _pixel(
                        image, row + 1, column + 1
                    )
                    value = np.float32((1 - down) * above + down * below)
                    out[n, channel, i, j] = _normalised(value, top)


@compiled
def crop(pixels: Any, places: Any, top: Any, out: Any, begin: Any, end: Any) -> None:
    """Cut each image, or the 0 beside it; places (m, 3) are (first row, first column, mirrored)."""
    channels, height, width = pixels.shape[1:]
    for n in range(begin, end):
        first_row, first_column, mirrored = places[n, 0], places[n, 1], places[n, 2]
        for channel in range(channels):
            image = pixels[n, channel]
            for i in range(height):
                for j in range(width):
                    column = first_column + (width - 1 - j if mirrored else j)
                    value = np.float32(_pixel(image, first_row + i, column))
                    out[n, channel, i, j] = _normalised(value, top)
