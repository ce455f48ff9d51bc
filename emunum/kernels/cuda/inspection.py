"""How many instructions a multiply-add of a kernel takes, and how many a second this device issues.

The first is read off PTX, where a term's part of the loop is written out for every output of a thread; the
second is the rate of a kernel of additions that do not depend on each other. It is a bound and no forecast:
each instruction counts as one, also those that are several on the device or that only some of its units take.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from emunum.formats import Accumulator, Cast
from emunum.kernels.contract import Extent
from emunum.kernels.cuda.devices import THREADS, current
from emunum.kernels.cuda.products import kernel_of, order_struct

SPIN_ADDITIONS = 64
"""Additions of a thread in a turn of `calibrate`: SPIN_ADDITIONS of the source."""
_BLOCKS = 4096
_INSTRUCTION = re.compile(r"^\s*(?:@!?%p\d+\s+)?([a-z][\w.]*)\s[^;]*;", re.M)
_FREE = ("mov.", "ld.param", "bra", "bar.", "ret", "cvta.", "shr.u64", "cvt.u32.u64")
"""What is not of the arithmetic, or only names a register: the last two take a 64-bit product apart."""


def additions(turns: int) -> int:
    """Return how many additions `calibrate` makes."""
    return _BLOCKS * THREADS * turns * SPIN_ADDITIONS


def calibrate(turns: int) -> None:
    """Run `turns` turns of additions on as many threads as fill a device."""
    out = current().empty((_BLOCKS * THREADS,), np.float32)
    current().launch("spin", _BLOCKS, (out, np.int32(turns)))


def multiply_add_cost(product: Cast | None, accumulator: Cast, a: Extent, b: Extent, size: int) -> float:
    """Return the instructions of a multiply-add in a product of `size` x `size` matrices, in index order."""
    summation = Accumulator(cast=accumulator)
    order = order_struct(product, summation, a, b, size)
    types = ("Matrix<float>", "Matrix<float>", "Matrix<float>")
    kernel, tile, slab = kernel_of(order, types, size * size, summation)
    return instructions_between_barriers(current().ptx(kernel)) / (tile * tile * slab)


def instructions_between_barriers(ptx: str) -> int:
    """Count the instructions of the longest stretch between two barriers of a kernel."""
    stretches = ptx.split("bar.sync")
    return max(_count(stretch) for stretch in stretches[1:-1])


def _count(text: str) -> int:
    found: list[Any] = _INSTRUCTION.findall(text)
    return sum(not name.startswith(_FREE) for name in found)
