"""No result depends on the number of threads, and NumPy's own random numbers stay untouched."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from inputs import F32, bit_patterns, cast
from oracles import assert_same

import emunum
from emunum.formats import NAMED
from emunum.kernels import cpu
from emunum.kernels.cpu.threads import available_threads, share
from emunum.kernels.random import Key

pytestmark = pytest.mark.usefixtures("threads")

SIZE = 300_007  # enough work for threads, and no multiple of any block
STOCHASTIC = [cast("e4m3", "stochastic"), cast("float16", "stochastic", random_bits=24)]
DETERMINISTIC = [cast("e4m3"), cast("bfloat16", "toward_zero")]

X, Y = bit_patterns(SIZE, 1), bit_patterns(SIZE, 2)
A, B = bit_patterns(67 * 61, 3).reshape(67, 61), bit_patterns(61 * 53, 4).reshape(61, 53)


def _matmul(a: np.ndarray, b: np.ndarray, to, result=None) -> np.ndarray:  # type: ignore[no-untyped-def]
    return cpu.matmul(a, b, to, to, Key(5), result=result)


COMPUTATIONS: dict[str, Callable[[], np.ndarray]] = {}
for _to in DETERMINISTIC + STOCHASTIC:
    _name = f"{_to.format} {_to.mode}"
    COMPUTATIONS |= {
        f"cast {_name}": lambda to=_to: cpu.cast(X, to, Key(5)),  # type: ignore[misc]
        f"cast float64 {_name}": lambda to=_to: cpu.cast(X.astype(np.float64), to, Key(5)),  # type: ignore[misc]
        f"add {_name}": lambda to=_to: cpu.add(X, Y, to, Key(5)),  # type: ignore[misc]
        f"multiply {_name}": lambda to=_to: cpu.multiply(X, Y, to, Key(5)),  # type: ignore[misc]
        f"matmul {_name}": lambda to=_to: _matmul(A, B, to, STOCHASTIC[0]),  # type: ignore[misc]
        f"few rows {_name}": lambda to=_to: _matmul(A[:2], np.tile(B, 40), to),  # type: ignore[misc]
        f"few columns {_name}": lambda to=_to: _matmul(np.tile(A, (20, 1)), B[:, :2], to),  # type: ignore[misc]
    }
COMPUTATIONS |= {
    "scaled add": lambda: cpu.scaled_add(X, F32(0.3), Y, STOCHASTIC[0], Key(5)),
    "column sum": lambda: cpu.column_sum(X[:198_000].reshape(660, 300), STOCHASTIC[0], Key(5)),
    "codes": lambda: cpu.encode(cpu.cast(X, DETERMINISTIC[0], Key(5)), DETERMINISTIC[0].format).astype(F32),
    "scales": lambda: cpu.cast(X, cast("e8m0fnu", "stochastic"), Key(5)),
}


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_the_number_of_threads_decides_nothing(name: str) -> None:
    emunum.set_threads(1)
    alone = COMPUTATIONS[name]()
    for count in (2, 3, 4):
        emunum.set_threads(count)
        assert_same(COMPUTATIONS[name](), alone)


def test_threads_are_used_and_share_the_work_without_gap_or_overlap() -> None:
    emunum.set_threads(3)
    for count, grain in [(100_000, 1), (100_003, 128), (99, 1), (128, 128), (129, 128), (1, 64)]:
        ranges = share(lambda begin, end: (begin, end), count, work=10**6, grain=grain)
        covered = [n for begin, end in ranges for n in range(begin, end)]
        assert covered == list(range(count))
        assert all(begin % grain == 0 for begin, _ in ranges)


def test_every_thread_takes_part() -> None:
    emunum.set_threads(3)
    together, seen = threading.Barrier(3, timeout=30), set()

    def job(begin: int, end: int) -> None:
        if threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            together.wait()  # for three threads, each in its first range

    share(job, 100_000, work=10**7)
    assert len(seen) == 3


def test_little_work_is_done_by_one_thread() -> None:
    emunum.set_threads(4)
    assert share(lambda begin, end: (begin, end), 1000, work=1000) == [(0, 1000)]


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    emunum.set_threads(4)
    x = np.ones(SIZE, F32)
    x[-1] = 1.03125
    with pytest.raises(ValueError, match=rf"element {SIZE - 1}"):
        cpu.encode(x, NAMED["float8_e4m3fn"])


def test_threads_default_to_the_cores_of_the_process() -> None:
    assert emunum.get_threads() == available_threads() >= 1
    emunum.set_threads(3)
    assert emunum.get_threads() == 3
    emunum.set_threads(None)
    assert emunum.get_threads() == available_threads()


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_thread_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"threads {count} is out of range"):
        emunum.set_threads(count)


def test_numpys_global_random_numbers_are_untouched() -> None:
    np.random.seed(1)
    expected = np.random.random(5)
    np.random.seed(1)
    for compute in COMPUTATIONS.values():
        compute()
    np.testing.assert_array_equal(np.random.random(5), expected)
    np.random.seed(2)  # and does not matter
    assert_same(COMPUTATIONS["cast float8_e4m3fn stochastic"](), cpu.cast(X, STOCHASTIC[0], Key(5)))
