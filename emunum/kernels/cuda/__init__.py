"""The CUDA backend: what the CPU's computes, on a GPU, with the same bits.

Every function takes NumPy arrays or arrays of the device, moves the former, and returns arrays of the device.
What is computed stands in source/*.cuh, C++ that is compiled for the host as well, where tests compare it
with the CPU's kernels; which thread computes what, in source/kernels.cuh.

    devices      the door to CuPy: arrays, kernels compiled at first use
    structs      lowered casts as C++ types and bytes
    calls        random bits, broadcasting, launches
    inspection   what a multiply-add costs, and what the device issues at most
    conversions, arithmetic, elementary, products, convolutions, pooling
                 the functions of the backend
"""

from __future__ import annotations

from typing import Any

from emunum.kernels.cuda import inspection
from emunum.kernels.cuda.arithmetic import (
    add,
    divide,
    move,
    multiply,
    rescale,
    scaled_add,
    square_root,
    subtract,
)
from emunum.kernels.cuda.conversions import cast, decode, encode, measure
from emunum.kernels.cuda.convolutions import (
    convolve,
    convolve_input,
    convolve_input_integers,
    convolve_integers,
    convolve_weights,
    convolve_weights_integers,
)
from emunum.kernels.cuda.devices import current
from emunum.kernels.cuda.elementary import exp, keep, log, select
from emunum.kernels.cuda.pooling import max_pool, pixel_terms, window_terms
from emunum.kernels.cuda.products import column_sum, matmul, matmul_integers

NAME = "cuda"
COUNTS_EVENTS = False


def require() -> None:
    """Raise BackendError where there is no CuPy, or no GPU that it can use."""
    current()


def device() -> str:
    """Return the GPU's name. Raises BackendError."""
    return current().name


def wait() -> None:
    """Return once everything that was begun is done."""
    current().wait()


def resident(x: Any) -> Any:
    """Return x on the device."""
    return current().asarray(x)


def host(x: Any) -> Any:
    """Return x as a NumPy array, once everything it waits for is done."""
    return current().host(x)


__all__ = [
    "COUNTS_EVENTS",
    "NAME",
    "add",
    "cast",
    "column_sum",
    "convolve",
    "convolve_input",
    "convolve_input_integers",
    "convolve_integers",
    "convolve_weights",
    "convolve_weights_integers",
    "decode",
    "device",
    "divide",
    "encode",
    "exp",
    "host",
    "inspection",
    "keep",
    "log",
    "matmul",
    "matmul_integers",
    "max_pool",
    "measure",
    "move",
    "multiply",
    "pixel_terms",
    "require",
    "rescale",
    "resident",
    "scaled_add",
    "select",
    "square_root",
    "subtract",
    "wait",
    "window_terms",
]
