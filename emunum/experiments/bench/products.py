"""Matrix products, which the vector units bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from emunum.experiments.bench.case import Call, Case
from emunum.formats import MODES, Accumulator, Cast, Format, parse_accumulator
from emunum.kernels import cpu
from emunum.kernels.cpu import inspection
from emunum.kernels.random import Key

BLAS = "BLAS float32"
ISSUE = "vector instructions"
FORMATS = ("e4m3", "e5m2", "e6m9", "float16", "bfloat16")
ACCUMULATORS = {"e4m3": ("float32", "float16", "bfloat16"), "float16": ("float32", "float16")}
"""Formats of operands, and the accumulators of their exact products."""
ORDERS = ("chunked:64", "pairwise", "kahan", "exact")
_KEY, _TURNS = Key(0), 1 << 16


Operands = Callable[[], tuple[Any, Any]]
Cost = Callable[[], float | None]


def matmul_cases(size: int) -> Iterator[Case]:
    """Yield products of `size` x `size` matrices: in every mode, in every order, with other accumulators."""
    operands = {name: _operands(name, size, size, size) for name in ("float32", *FORMATS)}

    def case(name: str, prepare: Callable[[], Call], cost: Cost = lambda: None) -> Case:
        return _case("matmul", name, size**3, prepare, BLAS, cost)

    def integers(bits: int) -> Call:
        a, b = np.random.default_rng(0).integers(-127, 128, (2, size, size)).astype(np.int8)
        return lambda: cpu.matmul_integers(a, b, bits, wraps=False)

    def blas() -> Call:
        a, b = operands["float32"]()
        return lambda: a @ b

    yield Case(
        group="matmul", name=BLAS, work=size**3, unit=_UNIT, prepare=blas, reference=BLAS, lingers_s=0.2
    )
    yield _issue("matmul", ISSUE, None)
    for name in FORMATS:
        for mode in MODES.values():
            to = Cast(format=Format.from_name(name), mode=mode)
            yield case(f"matmul {name} {mode}", *_sequential(operands[name], to, to))
    for name in FORMATS:
        for rounding in ("nearest_even", "stochastic"):
            to = Cast.from_names(name, rounding)
            for order in ORDERS:
                summed = _product(operands[name], to, parse_accumulator(order, to))
                yield case(f"matmul {name} {rounding} {order}", summed)
    for name, accumulators in ACCUMULATORS.items():
        for accumulator in accumulators:
            to = Cast.from_names(accumulator)
            yield case(f"matmul {name} fma into {accumulator}", *_sequential(operands[name], None, to))
    for order in ("tensor_core:h100_fp8", "tensor_core:h100_fp8:128"):
        of_core = parse_accumulator(order, Cast.from_names("float32"))
        yield case(f"matmul e4m3 {order}", _product(operands["e4m3"], None, of_core))
    yield case("matmul int8 into int32", lambda: integers(32), inspection.integer_cost)
    yield case("matmul int8 into int16 saturating", lambda: integers(16))


def skinny_cases(size: int) -> Iterator[Case]:
    """Yield e4m3 products (M, K) x (K, N) with few columns, one row, or a long K, beside the square one.

    Their limit is that of the vector units, though memory may bound a column or a row first.
    """
    wide, narrow = 8 * size, max(size // 16, 1)
    for what, (m, k, n) in {
        "1 column": (wide, wide, 1),
        "10 columns": (wide, wide, 10),
        "1 row": (1, wide, wide),
        "long K": (narrow, 256 * size, narrow),
    }.items():
        operands = _operands("e4m3", m, k, n)
        for rounding in ("nearest_even", "stochastic"):
            to = Cast.from_names("e4m3", rounding)
            name, square = f"skinny e4m3 {rounding} {what}", f"matmul e4m3 {rounding}"
            prepare, cost = _sequential(operands, to, to)
            yield _case("skinny", name, m * k * n, prepare, square, cost)


def thread_cases(size: int) -> Iterator[Case]:
    """Yield products on one thread, and on all of them beside that."""
    yield _issue("threads", f"{ISSUE}, one thread", 1)
    for name, rounding in (("e4m3", "nearest_even"), ("e4m3", "stochastic"), ("e5m2", "stochastic")):
        to = Cast.from_names(name, rounding)
        prepare, cost = _sequential(_operands(name, size, size, size), to, to)
        one, every = (f"threads {name} {rounding}, {threads}" for threads in ("one", "all"))
        yield _case("threads", one, size**3, prepare, one, cost, 1)
        yield _case("threads", every, size**3, prepare, one, cost)


_UNIT = "multiply-adds/s"


def _case(
    group: str,
    name: str,
    work: int,
    prepare: Callable[[], Call],
    reference: str,
    cost: Cost,
    threads: int | None = None,
) -> Case:
    return Case(
        group=group,
        name=name,
        work=work,
        unit=_UNIT,
        prepare=prepare,
        reference=reference,
        bound=ISSUE if threads is None else f"{ISSUE}, one thread",
        cost=cost,
        threads=threads,
    )


def _issue(group: str, name: str, threads: int | None) -> Case:
    """What the vector units get through at most: a loop of simple instructions, counted like the kernels'."""
    return Case(
        group=group,
        name=name,
        work=_TURNS * inspection.SPIN_NUMBERS,
        unit="numbers/s",
        prepare=lambda: lambda: inspection.calibrate(_TURNS),
        reference=name,
        bound=name,
        cost=inspection.calibration_cost,
        threads=threads,
    )


def _operands(name: str, m: int, k: int, n: int) -> Operands:
    """Return what makes matrices (m, k) and (k, n) of random values of a format, once."""

    @cache
    def make() -> tuple[Any, Any]:
        random, to = np.random.default_rng(0), Cast.from_names(name)
        a, b = (cpu.cast(random.standard_normal(shape, np.float32), to, _KEY) for shape in ((m, k), (k, n)))
        return a, b

    return make


def _product(operands: Operands, to: Cast | None, accumulator: Cast | Accumulator) -> Callable[[], Call]:
    def prepare() -> Call:
        a, b = operands()
        return lambda: cpu.matmul(a, b, to, accumulator, _KEY)

    return prepare


def _sequential(operands: Operands, to: Cast | None, accumulator: Cast) -> tuple[Callable[[], Call], Cost]:
    """Return how to prepare a product in index order, and what a multiply-add of it costs."""

    def cost() -> float | None:
        a, b = operands()
        return inspection.multiply_add_cost(to, accumulator, cpu.measure(a), cpu.measure(b))

    return _product(operands, to, accumulator), cost
