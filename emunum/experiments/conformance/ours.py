"""emunum's half of each kind of comparison: the kernels, and the rational reference beside them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.conformance import inputs
from emunum.experiments.conformance.comparison import Array, Comparison, Known
from emunum.experiments.conformance.draws import cast_draws
from emunum.experiments.conformance.inputs import Sampling
from emunum.formats import Accumulator, Cast, Format, Mode
from emunum.formats.exact import (
    add_exact,
    decode_exact,
    divide_exact,
    fma_exact,
    multiply_exact,
    round_exact,
    sqrt_exact,
    sum_exact,
)
from emunum.kernels import cpu
from emunum.kernels.random import Key

Theirs = Callable[..., NDArray[Any]]
KEY = Key(20260)
REPEATED, REPEATS = 64, 256
"""So many numbers are rounded so many times by the kernel, to meet every small R."""
EXHAUSTIVE_BITS = 10
"""Formats of up to this many bits are compared on all pairs of their values."""


def every_value(format: Format) -> Array:
    """The value of each code of a format of at most 16 bits, by the rational reference."""
    return np.array([decode_exact(code, format) for code in range(format.code_count)])


def narrow(x: Array) -> NDArray[np.float32]:
    """float64 that holds float32 values, as float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(np.float32)


def decoding(format: Format, theirs: Theirs, known: tuple[Known, ...] = ()) -> Comparison:
    """The value of every code."""

    def ours(codes: Array) -> NDArray[Any]:
        return cpu.decode(codes.astype(np.uint32), format)

    return Comparison(
        operation="decode", format=format.name, rounding="-", overflow="-",
        operands=lambda sampling: (np.arange(format.code_count, dtype=np.float64),),
        ours=ours, theirs=theirs, exact=lambda code: decode_exact(int(code), format), known=known,
    )  # fmt: skip


def casting(
    to: Cast,
    theirs: Theirs,
    known: tuple[Known, ...] = (),
    *,
    source: str = "float32",
    patterns: int = 1 << 19,
    limit: int | None = None,
    numbers: Callable[[Format, Sampling], Array] | None = None,
) -> Comparison:
    """Conversion of float32 or float64 numbers, deterministic; `patterns` random ones among them."""
    wide = source == "float64"

    def operands(sampling: Sampling) -> tuple[Array, ...]:
        if numbers is not None:
            return (numbers(to.format, sampling),)
        around = inputs.numbers_64 if wide else inputs.numbers_32
        return (around(to.format, sampling, patterns, limit),)

    return Comparison(
        operation=f"cast from {source}", format=to.format.name, rounding=to.mode.name, overflow=str(to.rule),
        operands=operands,
        ours=lambda x: cpu.cast(x if wide else narrow(x), to, KEY),
        theirs=theirs, exact=lambda x: round_exact(x, to), known=known,
    )  # fmt: skip


def casting_from(
    to: Cast, values: Array, source: str, theirs: Theirs, known: tuple[Known, ...] = ()
) -> Comparison:
    """Conversion of every value of a small format."""
    return Comparison(
        operation=f"cast from {source}", format=to.format.name, rounding=to.mode.name, overflow=str(to.rule),
        operands=lambda sampling: (sampling.some(values),),
        ours=lambda x: cpu.cast(narrow(x), to, KEY),
        theirs=theirs, exact=lambda x: round_exact(x, to), known=known,
    )  # fmt: skip


def every_draw(to: Cast, theirs: Theirs, known: tuple[Known, ...] = (), *, numbers: int = 1000) -> Comparison:
    """Stochastic conversion by the rational reference, each number with each R in [0, 2^N)."""
    draws = 1 << to.random_bits

    def operands(sampling: Sampling) -> tuple[Array, ...]:
        x = sampling.some(inputs.numbers_32(to.format, sampling, 1 << 12), numbers)
        return np.repeat(x, draws), np.tile(np.arange(draws, dtype=np.float64), x.size)

    def exact(x: float, draw: float) -> float:
        return round_exact(x, to, int(draw))

    def ours(x: Array, draw: Array) -> NDArray[Any]:
        return np.array([exact(*case) for case in zip(x.tolist(), draw.tolist(), strict=True)])

    return Comparison(
        operation="cast, every R (reference)", format=to.format.name,
        rounding=f"{to.mode.name}, N = {to.random_bits}", overflow=str(to.rule),
        operands=operands, ours=ours, theirs=theirs, exact=exact, known=known,
    )  # fmt: skip


def drawn(to: Cast, theirs: Theirs, known: tuple[Known, ...] = (), *, patterns: int = 1 << 17) -> Comparison:
    """Stochastic conversion by the kernel, R read off the counter layout; theirs(x, R)."""

    def operands(sampling: Sampling) -> tuple[Array, ...]:
        x = inputs.numbers_32(to.format, sampling, patterns, patterns)
        x = np.concatenate([np.tile(inputs.inside(to.format, sampling, REPEATED), REPEATS), x])
        return x, cast_draws(x.size, to, KEY).astype(np.float64)

    return Comparison(
        operation="cast, layout's R (kernel)", format=to.format.name,
        rounding=f"{to.mode.name}, N = {to.random_bits}", overflow=str(to.rule),
        operands=operands, ours=lambda x, draw: cpu.cast(narrow(x), to, KEY),
        theirs=theirs, exact=lambda x, draw: round_exact(x, to, int(draw)), known=known,
    )  # fmt: skip


_ARITHMETIC: dict[str, tuple[Callable[..., NDArray[Any]], Callable[..., float]]] = {
    "add": (cpu.add, add_exact),
    "subtract": (cpu.subtract, lambda a, b, to: add_exact(a, -b, to)),
    "multiply": (cpu.multiply, multiply_exact),
    "divide": (cpu.divide, divide_exact),
    "square root": (cpu.square_root, sqrt_exact),
}
OPERATIONS = tuple(_ARITHMETIC)


def arithmetic(
    operation: str, to: Cast, theirs: Theirs, known: tuple[Known, ...] = (), *, count: int = 1 << 20
) -> Comparison:
    """An operation on values of the format: all pairs up to 10 bits, else `count` of them near ties."""
    kernel, reference = _ARITHMETIC[operation]
    format = to.format

    def operands(sampling: Sampling) -> tuple[Array, ...]:
        if operation == "square root":
            if format.bits <= 16:
                return (sampling.some(every_value(format)),)
            return (np.abs(inputs.some_pairs(format, sampling, count)[0]),)
        if format.bits <= EXHAUSTIVE_BITS:
            return inputs.every_pair(every_value(format), sampling)
        return inputs.some_pairs(format, sampling, count)

    return Comparison(
        operation=operation, format=format.name, rounding=to.mode.name, overflow=str(to.rule),
        operands=operands, ours=lambda *values: kernel(*map(narrow, values), to, KEY),
        theirs=theirs, exact=lambda *values: reference(*values, to), known=known,
    )  # fmt: skip


def fused(to: Cast, theirs: Theirs, known: tuple[Known, ...] = (), *, side: int = 300) -> Comparison:
    """round(a b + c): `side` values c, each with an a, and `side` values b, in all combinations."""

    def operands(sampling: Sampling) -> tuple[Array, ...]:
        n = side // 3 if sampling.quick else side
        c, a = (
            np.where(np.isfinite(x), x, 1.0) for x in inputs.some_pairs(to.format, Sampling(seed=7), 2 * n)
        )
        b = np.roll(a, 5)[-n:] / 2.0 ** np.floor(np.log2(np.maximum(np.abs(a[-n:]), 2.0**-149)))
        b = cpu.cast(narrow(b), to, KEY).astype(np.float64)
        c, a = c[-n:] + 0.0, a[-n:]
        return np.repeat(a, n), np.tile(b, n), np.repeat(c, n)

    def ours(a: Array, b: Array, c: Array) -> NDArray[Any]:
        n = round(a.size**0.5)
        left = np.stack([c[::n], a[::n]], axis=1)
        right = np.stack([np.ones(n), b[:n]])
        return cpu.matmul(narrow(left), narrow(right), None, to, KEY).reshape(-1)

    return Comparison(
        operation="fma (matrix product)", format=to.format.name, rounding=to.mode.name, overflow=str(to.rule),
        operands=operands, ours=ours, theirs=theirs, known=known,
        exact=lambda a, b, c: fma_exact(a, b, c, to),
    )  # fmt: skip


def summing(
    to: Cast, theirs: Theirs, known: tuple[Known, ...] = (), *, count: int = 64, sums: int = 4096
) -> Comparison:
    """Sums of `count` terms, rounded after every addition, in order."""
    accumulator = Accumulator(cast=to)
    return Comparison(
        operation=f"sum of {count} terms", format=to.format.name, rounding=to.mode.name,
        overflow=str(to.rule),
        operands=lambda sampling: inputs.terms(to.format, sampling, count=count, sums=sums),
        ours=lambda *values: cpu.column_sum(narrow(np.stack(values)), to, KEY),
        theirs=theirs, exact=lambda *values: sum_exact(values, accumulator), known=known,
    )  # fmt: skip


def either_neighbour(
    to: Cast,
    theirs: Theirs,
    known: tuple[Known, ...] = (),
    *,
    patterns: int = 1 << 17,
    positive: bool = False,
) -> Comparison:
    """Stochastic conversion by the peer's own random bits: a result that some R gives is right.

    The peer's result is the second operand; ours is the neighbour farther out where the peer took it, else
    the one nearer to zero.
    """
    outward = (replace(to, mode=Mode.DOWN), replace(to, mode=Mode.UP))
    inward = replace(to, mode=Mode.TOWARD_ZERO)

    def operands(sampling: Sampling) -> tuple[Array, ...]:
        x = inputs.numbers_32(to.format, sampling, patterns, patterns)
        x = x[~np.signbit(x)] if positive else x
        return x, np.asarray(theirs(x)).astype(np.float64)

    def ours(x: Array, taken: Array) -> NDArray[Any]:
        down, up, near = (cpu.cast(narrow(x), cast, KEY) for cast in (*outward, inward))
        far = np.where(np.signbit(x), down, up)
        return np.where(taken == far, far, near)

    def exact(x: float, taken: float) -> float:
        far = round_exact(x, outward[math.copysign(1.0, x) > 0])
        return far if taken == far else round_exact(x, inward)

    return Comparison(
        operation="cast, own random bits", format=to.format.name, rounding="one of the neighbours",
        overflow=str(to.rule), operands=operands, ours=ours, theirs=lambda x, taken: taken, exact=exact,
        known=known,
    )  # fmt: skip
