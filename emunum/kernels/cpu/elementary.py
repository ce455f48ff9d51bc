"""exp and log of float64 arrays: the scalar functions of kernels/elementary.py, compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from emunum.kernels import elementary
from emunum.kernels.cpu.bits import bits_of, float_of
from emunum.kernels.cpu.calls import share_elements
from emunum.kernels.cpu.compile import chosen_by_type, compiled, inlined, widest_vectors

Wide = NDArray[np.float64]


def exp(x: NDArray[np.floating[Any]]) -> Wide:
    """e^x of float32 or float64 numbers, as float64 within 1 ulp; elementary.exp says how."""
    return _each(_exp_of, x)


def log(x: NDArray[np.floating[Any]]) -> Wide:
    """Natural logarithm of float32 or float64 numbers, as float64 within 1 ulp; elementary.log says how."""
    return _each(_log_of, x)


def _each(kernel: Callable[..., None], x: NDArray[np.floating[Any]]) -> Wide:
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        source = np.ascontiguousarray(x, np.float64).reshape(-1)
    out = np.empty(source.size, np.float64)
    share_elements(partial(kernel, source, out), out.size)
    return out.reshape(x.shape)


# ----------------------------------------------------------------------------------------------------
# The two steps that are one instruction or two on bits: 1.5 2^52 + n holds the integer n in its last bits
# ----------------------------------------------------------------------------------------------------

_HOLDS_INTEGER = 1.5 * 2.0**52
_52, _54 = np.uint64(52), np.float64(54)
_FRACTION = np.uint64(2**52 - 1)
_ROOT_HALF = np.uint64(np.float64(elementary.ROOT_HALF).view(np.uint64))


register_jitable(forceinline=True)(elementary._half_square)


@chosen_by_type(elementary._two_to)
def _(k: Any) -> Any:
    return _two_to_by_bits


def _two_to_by_bits(k: Any) -> Any:
    """The biased exponent, moved from the last bits of a sum to where exponents stand."""
    return float_of(bits_of(k + (_HOLDS_INTEGER + 1023.0)) << _52)


@chosen_by_type(elementary._split)
def _(x: Any) -> Any:
    return _split_by_bits


def _split_by_bits(x: Any) -> Any:
    """The bits of x less those of ROOT_HALF: k (here plus 1023) from bit 52 on, m - ROOT_HALF below it."""
    small = x < 2.0**-1022
    bits = bits_of(x * 2.0**54 if small else x)
    steps = bits - _ROOT_HALF + (np.uint64(1023) << _52)
    m = float_of((steps & _FRACTION) + _ROOT_HALF)
    k = float_of(bits_of(_HOLDS_INTEGER) + (steps >> _52)) - (_HOLDS_INTEGER + 1023.0)
    return k - _54 if small else k, m


_exp, _log = inlined(elementary.exp), inlined(elementary.log)


@compiled
def _exp_of(x: Any, out: Any, begin: Any, end: Any) -> None:
    widest_vectors()
    for n in range(begin, end):
        out[n] = _exp(x[n])


@compiled
def _log_of(x: Any, out: Any, begin: Any, end: Any) -> None:
    widest_vectors()
    for n in range(begin, end):
        out[n] = _log(x[n])
