"""Casts and products of a backend whose arrays are not NumPy's, beside what bounds them there.

A call returns when the device is done. Operands are made once, on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np

from emunum.experiments.bench.case import Call, Case
from emunum.formats import Accumulator, Cast, parse_accumulator
from emunum.kernels.random import Key

COPY, LIBRARY, ISSUE = "copy float32", "the device's own float32", "simple instructions"
FORMATS = ("e4m3", "e5m2", "e6m9", "float16", "bfloat16")
MODES = ("nearest_even", "stochastic", "toward_zero")
ORDERS = ("chunked:64", "kahan", "pairwise", "exact", "tensor_core:h100")
_KEY, _TURNS, _SMALL = Key(0), 1 << 10, 4
"""Orders that keep much of each output are timed with sizes _SMALL times smaller."""


def cases(backend: ModuleType, *, size: int, elements: int) -> list[Case]:
    """Return the cases of a backend: casts of `elements` numbers, products of `size` x `size` matrices."""
    return [*_casts(backend, elements), *_products(backend, size)]


def _casts(backend: ModuleType, elements: int) -> Iterator[Case]:
    @cache
    def x() -> Any:
        return backend.resident(np.random.default_rng(0).standard_normal(elements, np.float32))

    def case(name: str, run: Callable[[], Any]) -> Case:
        return Case(
            group="cast",
            name=name,
            work=elements,
            unit="elements/s",
            prepare=lambda: _waiting(backend, run),
            reference=COPY,
            bound=COPY,
            cost=lambda: 8.0,  # bytes read and written
        )

    yield case(COPY, lambda: x().copy())
    for name in FORMATS:
        for mode in MODES:
            to = Cast.from_names(name, mode)
            yield case(f"cast {name} {mode}", partial(lambda to: backend.cast(x(), to, _KEY), to))


def _products(backend: ModuleType, size: int) -> Iterator[Case]:
    @cache
    def operands(name: str, size: int) -> tuple[Any, Any]:
        random, to = np.random.default_rng(0), Cast.from_names(name)
        a, b = (backend.cast(random.standard_normal((size, size), np.float32), to, _KEY) for _ in range(2))
        return a, b

    def case(
        name: str, size: int, run: Callable[[], Any], cost: Callable[[], float | None] = lambda: None
    ) -> Case:
        return Case(
            group="matmul",
            name=name,
            work=size**3,
            unit="multiply-adds/s",
            prepare=lambda: _waiting(backend, run),
            reference=LIBRARY,
            bound=ISSUE,
            cost=cost,
        )

    def product(name: str, size: int, to: Cast | None, accumulator: Accumulator) -> Callable[[], Any]:
        return lambda: backend.matmul(*operands(name, size), to, accumulator, _KEY)

    def cost(name: str, to: Cast | None, accumulator: Cast) -> Callable[[], float | None]:
        def counted() -> float | None:
            extents = (backend.measure(operand) for operand in operands(name, size))
            return backend.inspection.multiply_add_cost(to, accumulator, *extents, size)  # type: ignore[no-any-return]

        return counted

    def library() -> Any:
        a, b = operands("float32", size)
        return a @ b

    yield case(LIBRARY, size, library)
    yield Case(
        group="matmul",
        name=ISSUE,
        work=backend.inspection.additions(_TURNS),
        unit="instructions/s",
        prepare=lambda: _waiting(backend, lambda: backend.inspection.calibrate(_TURNS)),
        reference=ISSUE,
        bound=ISSUE,
        cost=lambda: 1.0,
    )
    for name in FORMATS:
        for mode in MODES:
            to = Cast.from_names(name, mode)
            run = product(name, size, to, Accumulator(cast=to))
            yield case(f"matmul {name} {mode}", size, run, cost(name, to, to))
    wide = Cast.from_names("float32")
    run = product("e4m3", size, None, Accumulator(cast=wide))
    yield case("matmul e4m3 fma into float32", size, run, cost("e4m3", None, wide))
    few = max(size // _SMALL, 1)
    for order in ORDERS:
        of_core = order.startswith("tensor_core")
        narrow = None if of_core else Cast.from_names("e4m3")
        run = product("e4m3", few, narrow, parse_accumulator(order, narrow or wide))
        yield case(f"matmul e4m3 {order}", few, run)

    @cache
    def integers() -> tuple[Any, Any]:
        a, b = np.random.default_rng(0).integers(-127, 128, (2, size, size)).astype(np.int8)
        return backend.resident(a), backend.resident(b)

    yield case("matmul int8 into int32", size, lambda: backend.matmul_integers(*integers(), 32, False))


def _waiting(backend: ModuleType, run: Callable[[], Any]) -> Call:
    def call() -> None:
        run()
        backend.wait()

    return call
