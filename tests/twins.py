"""The arithmetic of a network twice more: unrounded in float64, and rounded one scalar at a time.

Both have the methods of Arithmetic, share nothing with it, and say what each means in loops over NumPy
slices. `Unrounded` is the mathematics: gradients can be held against differences, and where every number is
a small integer its results are those of float32. `Scalars` rounds each number by the rational reference,
with the random bits that the layout of counters gives it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from inputs import cast
from oracles import (
    ADD,
    CAST,
    COLUMN_SUM,
    DIVIDE,
    MATMUL,
    MULTIPLY,
    SCALED_ADD_PRODUCT,
    SCALED_ADD_SUM,
    SQUARE_ROOT,
    SUBTRACT,
    element_draws,
    matmul_draw,
)

from emunum.formats import Accumulator, Cast
from emunum.formats.exact import (
    add_exact,
    divide_exact,
    dot_exact,
    multiply_exact,
    round_exact,
    sqrt_exact,
)
from emunum.kernels.random import philox4x32
from emunum.ops.policy import Policy, Role

FOLD, KEEP, SPREAD = 8, 12, 13
Array = np.ndarray


def fold(key: int, a: int, b: int) -> int:
    """The key of a place: two words of Philox at the counter (a, b, 0, FOLD)."""
    low, high, _, _ = philox4x32((a, b, 0, FOLD), (key % 2**32, key >> 32))
    return high << 32 | low


def mask_of(shape: tuple[int, ...], rate: float, key: int) -> Array:
    """Element n is kept where its draw, 32 bits of the elementwise layout, is at least rate 2^32."""
    kept = np.empty(int(np.prod(shape)), bool)
    for n in range(kept.size):
        words = philox4x32((n // 64 * 16 + n % 16, 0, 0, KEEP), (key % 2**32, key >> 32))
        kept[n] = words[n % 64 // 16] >= rate * 2.0**32
    return kept.reshape(shape)


class Unrounded:
    """float64, nothing rounded on purpose. Convolutions and windows are sums over slices."""

    def __init__(self, key: int = 0) -> None:
        self.key = key

    def at(self, a: int, b: int = 0) -> Any:
        return type(self)(fold(self.key, a, b))

    def cast(self, role: Role, x: Array, part: int = 0) -> Array:
        return np.asarray(x, np.float64)

    def matmul(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        return a @ b

    def column_sum(self, x: Array, role: Role, part: int = 0) -> Array:
        return x.sum(axis=0)

    def add(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        return a + b

    def subtract(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        return a - b

    def multiply(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        return a * b

    def divide(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        return a / b

    def square_root(self, x: Array, role: Role, part: int = 0) -> Array:
        return np.sqrt(x)

    def scale(self, alpha: float, x: Array, role: Role, part: int = 0) -> Array:
        return alpha * x

    def scaled_add(self, y: Array, alpha: float, x: Array, part: int = 0) -> Array:
        return y + alpha * x

    def select(self, condition: Array, x: Array) -> Array:
        return np.where(condition, x, 0.0)

    def rearrange(self, move: Any, x: Array) -> Array:
        return move(x)

    def keep(self, shape: tuple[int, ...], rate: float, role: Role, part: int = 0) -> Array:
        return mask_of(shape, rate, fold(self.key, role, part))

    def channel_sum(self, x: Array, role: Role, part: int = 0) -> Array:
        return self.column_sum(np.stack([x[:, c].reshape(-1) for c in range(x.shape[1])], 1), role, part)

    def windows(self, x: Array, window: Any) -> Array:
        """(N, C, R S, OH, OW): every window's numbers, 0 for padding."""
        (rows, columns), (down, right), (top, side) = window.kernel, window.stride, window.padding
        padded = np.pad(x, ((0, 0), (0, 0), (top, top), (side, side)))
        height, width = padded.shape[2] - rows + 1, padded.shape[3] - columns + 1
        return np.stack(
            [
                padded[:, :, r : r + height : down, s : s + width : right]
                for r, s in np.ndindex(rows, columns)
            ],
            2,
        )

    def window_sum(self, x: Array, window: Any, role: Role, part: int = 0) -> Array:
        terms = np.moveaxis(self.windows(x, window), 2, 0)
        return self.column_sum(terms.reshape(len(terms), -1), role, part).reshape(terms.shape[1:])

    def max_pool(self, x: Array, window: Any) -> tuple[Array, Array]:
        """Padding is taken for -Inf that a number equal to it beats, a NaN for what nothing beats."""
        found = self.windows(x, window)
        inside = self.windows(np.ones_like(x), window) > 0
        size = np.where(np.isnan(found), np.inf, found)
        best, winners = np.full(found[:, :, 0].shape, np.nan), np.full(found[:, :, 0].shape, -1)
        for tap in range(found.shape[2]):
            number, beaten = found[:, :, tap], winners < 0
            beaten |= ~np.isnan(best) & (np.isnan(number) | (size[:, :, tap] > best))
            beaten &= inside[:, :, tap]
            best, winners = np.where(beaten, number, best), np.where(beaten, tap, winners)
        return best, winners

    def window_scatter(
        self, dy: Array, winners: Any, window: Any, shape: tuple[int, ...], role: Role, part: int = 0
    ) -> Array:
        """The terms of each pixel in a list, windows in index order; one sum where no list is longer."""
        (rows, columns), (down, right), (top, side) = window.kernel, window.stride, window.padding
        most = -(-rows // down) * -(-columns // right)
        terms = np.zeros((most, *shape))
        for n, c, h, w in np.ndindex(*shape):
            covering = [
                (i, j)
                for i, j in np.ndindex(*dy.shape[2:])
                if 0 <= h - (i * down - top) < rows and 0 <= w - (j * right - side) < columns
            ]
            # Windows that would cover the pixel but lie before the image are terms +0 as well.
            before_h = -(-rows // down) - 1 - (h + top) // down
            before_w = -(-columns // right) - 1 - (w + side) // right
            for i, j in covering:
                tap = (h - (i * down - top)) * columns + w - (j * right - side)
                if winners is None or winners[n, c, i, j] == tap:
                    slot = (i + before_h) * -(-columns // right) + j + before_w
                    terms[slot, n, c, h, w] = dy[n, c, i, j]
        if most == 1:
            return terms[0]
        return self.column_sum(terms.reshape(most, -1), role, part).reshape(shape)

    def convolve(self, x: Array, w: Array, window: Any, role: Role, part: int = 0) -> Array:
        patches = self.windows(np.asarray(x, np.float64), window)
        return np.einsum("nctij,oct->noij", patches, w.reshape(*w.shape[:2], -1))

    def convolve_weights(self, dy: Array, x: Array, window: Any, role: Role, part: int = 0) -> Array:
        patches = self.windows(np.asarray(x, np.float64), window)
        dw = np.einsum("noij,nctij->oct", dy, patches)
        return dw.reshape(*dw.shape[:2], *window.kernel)

    def convolve_input(
        self, dy: Array, w: Array, window: Any, shape: tuple[int, ...], role: Role, part: int = 0
    ) -> Array:
        (down, right), (top, side) = window.stride, window.padding
        dx = np.zeros((*shape[:2], shape[2] + 2 * top, shape[3] + 2 * side))
        for i, j in np.ndindex(*dy.shape[2:]):
            patch = np.einsum("no,ocrs->ncrs", dy[:, :, i, j], w)
            rows, columns = window.kernel
            dx[:, :, i * down : i * down + rows, j * right : j * right + columns] += patch
        return dx[:, :, top : top + shape[2], side : side + shape[3]]


class Scalars(Unrounded):
    """A policy's arithmetic at a place, each number rounded by itself."""

    def __init__(self, policy: Policy, key: int) -> None:
        super().__init__(key)
        self.policy = policy

    def at(self, a: int, b: int = 0) -> Scalars:
        return Scalars(self.policy, fold(self.key, a, b))

    def cast(self, role: Role, x: Array, part: int = 0) -> Array:
        return self._each(round_exact, self.policy.roles[role], role, part, CAST, x)

    def matmul(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        return self._products(a, b, self.policy.product, fold(self.key, role, part), MATMUL)

    def column_sum(self, x: Array, role: Role, part: int = 0) -> Array:
        return self._products(np.ones((1, len(x))), x, None, fold(self.key, role, part), COLUMN_SUM)[0]

    def add(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        return self._each(add_exact, self._between(role), role, part, ADD, a, b)

    def subtract(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        return self._each(add_exact, self._between(role), role, part, SUBTRACT, a, -np.asarray(b))

    def multiply(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        return self._each(multiply_exact, self._between(role), role, part, MULTIPLY, a, b)

    def divide(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        return self._each(divide_exact, self._between(role), role, part, DIVIDE, a, b)

    def square_root(self, x: Array, role: Role, part: int = 0) -> Array:
        return self._each(sqrt_exact, self._between(role), role, part, SQUARE_ROOT, x)

    def scale(self, alpha: float, x: Array, role: Role, part: int = 0) -> Array:
        return self.multiply(np.asarray(np.float32(alpha)), x, role, part)

    def scaled_add(self, y: Array, alpha: float, x: Array, part: int = 0) -> Array:
        to, role = self.policy.roles[Role.UPDATE], Role.UPDATE
        product = self._each(multiply_exact, to, role, part, SCALED_ADD_PRODUCT, np.float32(alpha), x)
        return self._each(add_exact, to, role, part, SCALED_ADD_SUM, y, product)

    # Convolution as in kernels/cpu/convolutions.py: rows of w are rows of the product, places (image, row,
    # column) its columns; what meets in an entry of dx is a column sum of operation SPREAD.

    def convolve(self, x: Array, w: Array, window: Any, role: Role, part: int = 0) -> Array:
        y = self.matmul(w.reshape(len(w), -1), self._patches(x, window), role, part)
        return np.moveaxis(y.reshape(len(w), len(x), *window.output(*x.shape[2:])), 1, 0)

    def convolve_weights(self, dy: Array, x: Array, window: Any, role: Role, part: int = 0) -> Array:
        errors = np.moveaxis(dy, 1, 0).reshape(dy.shape[1], -1)
        dw = self.matmul(errors, self._patches(x, window).T, role, part)
        return dw.reshape(len(dw), x.shape[1], *window.kernel)

    def convolve_input(
        self, dy: Array, w: Array, window: Any, shape: tuple[int, ...], role: Role, part: int = 0
    ) -> Array:
        errors = np.moveaxis(dy, 1, 0).reshape(dy.shape[1], -1)
        parts = self.matmul(w.reshape(len(w), -1).T, errors, role, part)
        parts = parts.reshape(shape[1], *window.kernel, len(dy), *dy.shape[2:])
        (rows, columns), (down, right), (top, side) = window.kernel, window.stride, window.padding
        terms = np.zeros((rows * columns, *shape))
        for c, r, s, n, i, j in np.ndindex(*parts.shape):
            h, at = i * down + r - top, j * right + s - side
            if 0 <= h < shape[2] and 0 <= at < shape[3]:
                terms[r * columns + s, n, c, h, at] = parts[c, r, s, n, i, j]
        key, ones = fold(self.key, role, part), np.ones((1, rows * columns))
        return self._products(ones, terms.reshape(rows * columns, -1), None, key, SPREAD).reshape(shape)

    def _patches(self, x: Array, window: Any) -> Array:
        """(C R S, places)."""
        found = self.windows(np.asarray(x, np.float64), window)
        return np.moveaxis(found, 0, 2).reshape(found.shape[1] * found.shape[2], -1)

    def _between(self, role: Role) -> Cast:
        return self.policy.roles[role] if role is Role.UPDATE else self.policy.elementwise

    def _each(self, function: Any, to: Cast, role: Role, part: int, operation: int, *operands: Any) -> Array:
        broadcast = np.broadcast_arrays(*operands)
        flat = [np.asarray(x, np.float64).reshape(-1).tolist() for x in broadcast]
        size = len(flat[0])
        draws = (
            element_draws(size, to, fold(self.key, role, part), operation) if to.stochastic else [0] * size
        )
        found = [function(*x, to, int(draw)) for *x, draw in zip(*flat, draws, strict=True)]
        return np.array(found).reshape(broadcast[0].shape)

    def _products(self, a: Array, b: Array, product: Cast | None, key: int, operation: int) -> Array:
        to = self.policy.accumulator.cast
        return np.array(
            [
                [
                    dot_exact(row, column, product, to, matmul_draw(i, j, key, product, to, operation))
                    for j, column in enumerate(np.asarray(b, np.float64).T.tolist())
                ]
                for i, row in enumerate(np.asarray(a, np.float64).tolist())
            ]
        )


def distinct(mode: str) -> Policy:
    """A policy with a format of its own for each place, so that taking another's shows."""
    formats = {
        Role.INPUT: "e5m4",
        Role.WEIGHT: "e5m3",
        Role.ACTIVATION: "e4m5",
        Role.ERROR: "e5m4",
        Role.GRADIENT: "e6m3",
        Role.UPDATE: "e6m7",
        Role.MASTER: "bfloat16",
    }
    return Policy(
        name="distinct",
        product=cast("e6m4", mode),
        accumulator=Accumulator(cast=cast("e6m6", mode)),
        elementwise=cast("e6m5", mode),
        roles={role: cast(name, mode) for role, name in formats.items()},
    )
