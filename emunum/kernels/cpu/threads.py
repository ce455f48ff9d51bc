"""Work shared out over threads. Kernels hold no lock, so plain Python threads run them side by side."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")

_LEAST_WORK = 1 << 17
"""Elementary operations below which starting a thread costs more than it saves."""

_PIECES = 4
"""Ranges a thread is given where there is enough to do."""

_threads = 0
_pool: ThreadPoolExecutor | None = None


def available_threads() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(count: int | None) -> None:
    """Use `count` threads from now on, or every available core for None. No result depends on it."""
    global _threads
    if count is not None and count < 1:
        raise ValueError(f"threads {count!r} is out of range: at least one is needed.")
    _threads = count or 0
    _forget_pool()


def get_threads() -> int:
    """The number of threads kernels use."""
    return _threads or available_threads()


def share(job: Callable[[int, int], Result], count: int, work: int, grain: int = 1) -> list[Result]:
    """Call job(begin, end) on ranges that cover range(count), and return the results in order.

    `work` is the number of elementary operations in all; ranges begin at multiples of `grain`. There are
    more ranges than threads, and each thread takes the next one when it is done with its own: one that is
    held up by other programs holds up no other.
    """
    global _pool
    threads = min(get_threads(), -(-count // grain)) if work >= _LEAST_WORK else 1
    if threads <= 1:
        return [job(0, count)]
    pieces = max(min(threads * _PIECES, work // _LEAST_WORK), threads)
    step = -(-count // (pieces * grain)) * grain
    ranges = [(begin, min(begin + step, count)) for begin in range(0, count, step)]
    results: list[Any] = [None] * len(ranges)
    left = iter(range(len(ranges)))  # taking the next is one step of the interpreter

    def work_off() -> None:
        for index in left:
            results[index] = job(*ranges[index])

    if _pool is None:
        _pool = ThreadPoolExecutor(get_threads(), thread_name_prefix="emunum")
    futures = [_pool.submit(work_off) for _ in range(min(threads, len(ranges)) - 1)]
    work_off()
    for future in futures:
        future.result()
    return results


def _forget_pool() -> None:
    global _pool
    if _pool is not None:
        _pool.shutdown(wait=False)
    _pool = None


def _forget_pool_of_parent() -> None:
    global _pool
    _pool = None  # its threads did not survive the fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool_of_parent)
