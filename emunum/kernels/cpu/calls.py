"""What every function of the backend needs to call a kernel: lowered random bits, shared work, counters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from emunum.formats import FLOAT32, Cast
from emunum.kernels import contract
from emunum.kernels.contract import Extent, Operation
from emunum.kernels.cpu import elementwise
from emunum.kernels.cpu.threads import share
from emunum.kernels.random import Key

Array = NDArray[np.float32]
Counts = NDArray[np.int64]
"""One counter for each contract.Event. Functions that are given one count in it, on one thread."""
Result = TypeVar("Result")
ANY = Extent.of(FLOAT32)


def counted(to: Cast, counts: Counts | None, sums: bool = False) -> Any:
    """Return the lowered cast whose events are counted, or None where none are."""
    return None if counts is None else contract.counted(to, counts, sums=sums)


def random_of(to: Cast, key: Key, operation: Operation) -> tuple[Any, ...]:
    """Return (width of a draw, bits to drop of it, operation, key low, key high)."""
    width = contract.draw_bits(to)
    return width, contract.drop_bits(to, width), np.uint32(operation), *key_words(key)


def key_words(key: Key) -> tuple[np.uint32, np.uint32]:
    """Return the low and the high word of a key."""
    low, high = key.words
    return np.uint32(low), np.uint32(high)


def share_elements(
    job: Callable[[int, int], Result], size: int, counts: Counts | None = None
) -> list[Result]:
    """Call job(begin, end) on ranges that cover range(size), on threads unless events are counted."""
    return [job(0, size)] if counts is not None else share(job, size, work=size, grain=elementwise.CHUNK)
