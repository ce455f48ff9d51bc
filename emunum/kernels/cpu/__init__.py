"""The CPU backend: casts, codes, elementwise arithmetic and matrix products on NumPy arrays.

Values are float32 arrays (casts also take float64). Every function takes Casts, lowers them, shares the
work over threads and returns a new C-contiguous float32 array; the bits depend on the values, casts and
keys alone. Nothing here parses a name.
"""

from emunum.kernels.cpu.arithmetic import (
    add,
    divide,
    multiply,
    rescale,
    scaled_add,
    square_root,
    subtract,
)
from emunum.kernels.cpu.averages import move
from emunum.kernels.cpu.conversions import cast, decode, encode, measure
from emunum.kernels.cpu.convolutions import (
    convolve,
    convolve_input,
    convolve_input_integers,
    convolve_integers,
    convolve_weights,
    convolve_weights_integers,
)
from emunum.kernels.cpu.elementary import exp, log
from emunum.kernels.cpu.masks import keep, select
from emunum.kernels.cpu.pooling import max_pool, pixel_terms, window_terms
from emunum.kernels.cpu.products import column_sum, matmul, matmul_integers
from emunum.kernels.cpu.residence import COUNTS_EVENTS, NAME, device, host, resident, wait
from emunum.kernels.cpu.threads import get_threads, set_threads

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
    "get_threads",
    "host",
    "keep",
    "log",
    "matmul",
    "matmul_integers",
    "max_pool",
    "measure",
    "move",
    "multiply",
    "pixel_terms",
    "rescale",
    "resident",
    "scaled_add",
    "select",
    "set_threads",
    "square_root",
    "subtract",
    "wait",
    "window_terms",
]
