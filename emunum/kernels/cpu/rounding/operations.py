"""Products and sums, each rounded once, and what a value needs before it is rounded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from emunum.kernels.contract import (
    LAYERS,
    Counted,
    Event,
    MagicNearest,
    OneZero,
    TwoSum,
    Watched,
    ZeroDown,
)
from emunum.kernels.cpu.compile import chosen_by_type
from emunum.kernels.cpu.rounding.choice import is_narrow, round_value
from emunum.kernels.cpu.rounding.counting import note, note_nan
from emunum.kernels.cpu.rounding.error_free import two_sum

_ABSORBED = int(Event.ABSORBED)


def product(a: Any, b: Any, to: Any, draw: Any) -> Any:
    """round(a b); exact in the word of `to`."""


@chosen_by_type(product)
def _(a: Any, b: Any, to: Any, draw: Any) -> Any:
    if to.instance_class is Counted:
        return _product_counted
    if to.instance_class is Watched:
        return _product_watched
    return _product32 if is_narrow(to) else _product64


def _product32(a: Any, b: Any, to: Any, draw: Any) -> Any:
    return round_value(a * b, np.float32(0.0), to, draw)


def _product64(a: Any, b: Any, to: Any, draw: Any) -> Any:
    return round_value(np.float64(a) * np.float64(b), 0.0, to, draw)


def _product_counted(a: Any, b: Any, to: Any, draw: Any) -> Any:
    x = np.float64(a) * np.float64(b)
    rounded = np.float32(round_value(x, 0.0, to.rounder, draw))
    note(x, 0.0, rounded, not (np.isnan(a) | np.isnan(b)), to, draw)
    return rounded


def _product_watched(a: Any, b: Any, to: Any, draw: Any) -> Any:
    x = product(a, b, to.rounder, draw)
    note_nan(np.isnan(x) & ~(np.isnan(a) | np.isnan(b)), to)
    return x


def total(a: Any, b: Any, to: Any, draw: Any) -> Any:
    """round(a + b)."""


@chosen_by_type(total)
def _(a: Any, b: Any, to: Any, draw: Any) -> Any:
    if to.instance_class is Counted:
        return _total_counted
    if to.instance_class is ZeroDown:
        return _total_down
    if to.instance_class is OneZero:
        return _total_one_zero
    if to.instance_class is TwoSum:
        return _total32_with_residual if is_narrow(to) else _total64_with_residual
    return _total32


def _total32(a: Any, b: Any, to: Any, draw: Any) -> Any:
    return round_value(a + b, np.float32(0.0), to, draw)


def _total32_with_residual(a: Any, b: Any, to: Any, draw: Any) -> Any:
    x, residual = two_sum(a, b)
    return round_value(x, residual, to.rounder, draw)


def _total64_with_residual(a: Any, b: Any, to: Any, draw: Any) -> Any:
    x, residual = two_sum(np.float64(a), np.float64(b))
    return round_value(x, residual, to.rounder, draw)


def _total_counted(a: Any, b: Any, to: Any, draw: Any) -> Any:
    rounded = np.float32(total(a, b, to.rounder, draw))
    x, residual = two_sum(np.float64(a), np.float64(b))
    note(x, residual, rounded, not (np.isnan(a) | np.isnan(b)), to, draw)
    to.counts[_ABSORBED] += np.int64((b != 0.0) & (rounded == a) & (abs(a) < np.inf))
    return rounded


def _total_one_zero(a: Any, b: Any, to: Any, draw: Any) -> Any:
    return np.float32(total(a, b, to.rounder, draw)) + np.float32(0.0)


def _total_down(a: Any, b: Any, to: Any, draw: Any) -> Any:
    # Toward -Inf an exact zero sum is -0 unless both terms are +0 (IEEE 754-2019, 6.3).
    rounded = np.float32(total(a, b, to.rounder, draw))
    either = np.float32(-0.0) if np.signbit(a) | np.signbit(b) else np.float32(0.0)
    return either if (a == -b) & (abs(a) < np.float32(np.inf)) else rounded


def limited(x: Any, to: Any) -> Any:
    """Cut a float32 of any size to where a magic number exists; what is cut overflows all the same."""


@chosen_by_type(limited)
def _(x: Any, to: Any) -> Any:
    if to.instance_class in LAYERS:
        return _limited_inside
    if to.instance_class is MagicNearest:
        return _limited_for_magic
    return _as_is if is_narrow(to) else _widened


def _as_is(x: Any, to: Any) -> Any:
    return x


def _widened(x: Any, to: Any) -> Any:
    return np.float64(x)


def zero_like(x: Any) -> Any:
    """Zero of x's dtype: the residual of a value that is exact."""


@chosen_by_type(zero_like)
def _(x: Any) -> Any:
    return _zero32 if x == types.float32 else _zero64


def _zero32(x: Any) -> Any:
    return np.float32(0.0)


def _zero64(x: Any) -> Any:
    return np.float64(0.0)


def _limited_inside(x: Any, to: Any) -> Any:
    return limited(x, to.rounder)


def _limited_for_magic(x: Any, to: Any) -> Any:
    upper = to.input_limit if to.input_limit < x else x
    return -to.input_limit if -to.input_limit > upper else upper
