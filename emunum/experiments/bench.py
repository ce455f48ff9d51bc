"""How fast the kernels are, beside what bounds them: a plain copy, float32 BLAS, and peers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from emunum.formats import Cast, Format
from emunum.kernels import cpu
from emunum.kernels.cpu.threads import share
from emunum.kernels.random import Key

CAST_REFERENCE, MATMUL_REFERENCE = "copy float32", "BLAS float32"
_FORMATS = ("e4m3", "e5m2", "e6m9", "float16", "bfloat16")
_ROUNDINGS = ("nearest", "toward_zero", "stochastic")
_KEY = Key(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Something to time: `work` units a call."""

    group: str
    name: str
    work: int
    unit: str
    reference: str
    call: Callable[[], object]
    lingers_s: float = 0.0
    """How long threads of the call's own go on spinning after it, in the way of the next case."""


def cases(*, size: int = 512, elements: int = 1 << 24) -> list[Case]:
    """Return the cases: casts of `elements` numbers, products of `size` x `size` matrices."""
    return [*_cast_cases(elements), *_matmul_cases(size)]


def measure(
    selected: list[Case], *, repeats: int = 7, on_call: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """Time every case `repeats` times, taking turns, and return a row each.

    Turns share out what else the machine does. The first turn compiles and is not counted. A row has the
    median rate in units a second, the fastest and slowest, and the ratio of the median to that of its
    reference.
    """
    times: dict[str, list[float]] = {case.name: [] for case in selected}
    for turn in range(repeats + 1):
        for case in selected:
            start = time.perf_counter()
            case.call()
            if turn:
                times[case.name].append(time.perf_counter() - start)
            time.sleep(case.lingers_s)
            on_call()
    rates = {case.name: case.work / median(times[case.name]) for case in selected}
    return [
        {
            "group": case.group,
            "name": case.name,
            "unit": case.unit,
            "median_per_s": rates[case.name],
            "slowest_per_s": case.work / max(times[case.name]),
            "fastest_per_s": case.work / min(times[case.name]),
            "reference": case.reference,
            "ratio_to_reference": rates[case.name] / rates[case.reference]
            if case.reference in rates
            else None,
        }
        for case in selected
    ]


def _cast_cases(elements: int) -> Iterator[Case]:
    x = np.random.default_rng(0).standard_normal(elements).astype(np.float32)
    out = np.empty_like(x)

    def case(name: str, call: Callable[[], object]) -> Case:
        return Case(
            group="cast", name=name, work=elements, unit="elements/s", reference=CAST_REFERENCE, call=call
        )

    def copy(begin: int, end: int) -> None:
        out[begin:end] = x[begin:end]

    yield case(CAST_REFERENCE, lambda: share(copy, elements, elements))
    for name in _FORMATS:
        for rounding in _ROUNDINGS:
            to = Cast.from_names(name, rounding)
            yield case(f"cast {name} {rounding}", lambda to=to: cpu.cast(x, to, _KEY, out=out))  # type: ignore[misc]
    yield from (case(f"ml_dtypes {name}", call) for name, call in _peer_casts(x))


def _peer_casts(x: Any) -> Iterator[tuple[str, Callable[[], object]]]:
    try:
        import ml_dtypes
    except ImportError:
        return
    for name in ("float8_e4m3fn", "float8_e5m2", "bfloat16"):
        dtype = np.dtype(getattr(ml_dtypes, name))
        yield name, lambda dtype=dtype: x.astype(dtype)  # type: ignore[misc]


def _matmul_cases(size: int) -> Iterator[Case]:
    random = np.random.default_rng(0)
    raw = random.standard_normal((2, size, size)).astype(np.float32)

    def case(name: str, call: Callable[[], object], lingers_s: float = 0.0) -> Case:
        return Case(
            group="matmul",
            name=name,
            work=size**3,
            unit="multiply-adds/s",
            reference=MATMUL_REFERENCE,
            call=call,
            lingers_s=lingers_s,
        )

    yield case(MATMUL_REFERENCE, lambda: raw[0] @ raw[1], lingers_s=0.2)
    for name in _FORMATS:
        a, b = (cpu.cast(x, Cast(format=Format.from_name(name)), _KEY) for x in raw)
        for rounding in _ROUNDINGS:
            to = Cast.from_names(name, rounding)
            yield case(
                f"matmul {name} {rounding}",
                lambda a=a, b=b, to=to: cpu.matmul(a, b, to, to, _KEY),  # type: ignore[misc]
            )
    a, b = (cpu.cast(x, Cast.from_names("e4m3"), _KEY) for x in raw)
    for accumulator in ("float32", "float16"):
        to = Cast.from_names(accumulator)
        yield case(
            f"matmul e4m3 fma into {accumulator} nearest",
            lambda a=a, b=b, to=to: cpu.matmul(a, b, None, to, _KEY),  # type: ignore[misc]
        )
