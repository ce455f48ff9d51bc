"""Pooling: the largest number of a window, or its mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from emunum.kernels.windows import Window
from emunum.nn.layers import Array, Layer, Params
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool2d(Layer):
    """y = the largest number of each window, exactly: x (N, C, H, W), y (N, C, OH, OW).

    Padding never is the largest. The first of equal numbers wins, in index order, and a NaN before all
    numbers. Backward: a pixel gets the dy of the windows it won. Where windows overlap, dy is cast to
    errors and the sum of them goes through the accumulator in index order; where they do not, dy is handed
    on as it is. Raises ValueError where a window could lie in the padding alone.
    """

    window: Window

    def __post_init__(self) -> None:
        """Check that every window has a number."""
        _require_numbers(self.window)

    def forward(
        self, arith: Arithmetic, params: Params, x: Array, training: bool = True
    ) -> tuple[Array, Any]:
        """Return y and (the winners, the shape of x)."""
        y, winners = arith.max_pool(x, self.window)
        return y, (winners, x.shape)

    def backward(
        self, arith: Arithmetic, params: Params, saved: Any, dy: Array, needs_dx: bool
    ) -> tuple[Array | None, Params]:
        """Return dx."""
        winners, shape = saved
        if not needs_dx:
            return None, {}
        if _overlaps(self.window):
            dy = arith.cast(Role.ERROR, dy)
        return arith.window_scatter(dy, winners, self.window, shape, Role.ERROR), {}


@dataclass(frozen=True, slots=True, kw_only=True)
class AvgPool2d(Layer):
    """y = the mean of each window: x (N, C, H, W), y (N, C, OH, OW); without a window, of the image.

    Forward: the sum of the window in index order in the accumulator, padding a term like any other, times
    the float32 constant 1/(R S) in the elementwise format, cast to activations. Backward: dy cast to
    errors, times the constant in the elementwise format, handed to every pixel of the window; where windows
    overlap, a pixel's sum of them goes through the accumulator in index order. Raises ValueError where a
    window could lie in the padding alone.
    """

    window: Window | None = None

    def __post_init__(self) -> None:
        """Check that every window has a number."""
        if self.window is not None:
            _require_numbers(self.window)

    def forward(
        self, arith: Arithmetic, params: Params, x: Array, training: bool = True
    ) -> tuple[Array, tuple[int, ...]]:
        """Return y and the shape of x."""
        window = self._of(x.shape)
        total = arith.window_sum(x, window, Role.ACTIVATION)
        y = arith.scale(1 / math.prod(window.kernel), total, Role.ACTIVATION)
        return arith.cast(Role.ACTIVATION, y), x.shape

    def backward(
        self, arith: Arithmetic, params: Params, saved: tuple[int, ...], dy: Array, needs_dx: bool
    ) -> tuple[Array | None, Params]:
        """Return dx."""
        window = self._of(saved)
        if not needs_dx:
            return None, {}
        part = arith.scale(1 / math.prod(window.kernel), arith.cast(Role.ERROR, dy), Role.ERROR)
        return arith.window_scatter(part, None, window, saved, Role.ERROR), {}

    def _of(self, shape: tuple[int, ...]) -> Window:
        return self.window or Window(kernel=(shape[2], shape[3]), stride=(shape[2], shape[3]))


def _overlaps(window: Window) -> bool:
    return any(size > step for size, step in zip(window.kernel, window.stride, strict=True))


def _require_numbers(window: Window) -> None:
    if any(pad >= size for pad, size in zip(window.padding, window.kernel, strict=True)):
        raise ValueError(
            f"padding {window.padding} beside a kernel {window.kernel}: a window would hold nothing but "
            "padding. Pad less than the kernel's size."
        )
