"""Casts, encoding and decoding, which memory bounds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from emunum.experiments.bench.case import Call, Case
from emunum.formats import MODES, Cast, Format
from emunum.kernels import contract, cpu
from emunum.kernels.cpu.threads import share
from emunum.kernels.random import Key

COPY = "copy float32"
FORMATS = ("e4m3", "e5m2", "e6m9", "float16", "bfloat16", "int8")
_KEY, _BYTES = Key(0), 4  # of a float32


def cast_cases(elements: int) -> Iterator[Case]:
    """Yield a copy of `elements` float32 numbers, then casts in every mode, encodings and decodings.

    The cost is the bytes read and written, as the copy reads and writes them.
    """

    @cache
    def x() -> Any:
        return np.random.default_rng(0).standard_normal(elements).astype(np.float32)

    @cache
    def out() -> Any:
        return np.empty_like(x())

    def case(name: str, prepare: Any, moved_bytes: int = 2 * _BYTES) -> Case:
        return Case(
            group="cast",
            name=name,
            work=elements,
            unit="elements/s",
            prepare=prepare,
            reference=COPY,
            bound=COPY,
            cost=lambda: float(moved_bytes),
        )

    def copy() -> Call:
        source, target = x(), out()

        def part(begin: int, end: int) -> None:
            target[begin:end] = source[begin:end]

        return lambda: share(part, elements, elements)

    def cast(to: Cast) -> Call:
        source, target = x(), out()
        return lambda: cpu.cast(source, to, _KEY, out=target)

    def encode(format: Format) -> Call:
        values = cpu.cast(x(), Cast(format=format), _KEY)
        return lambda: cpu.encode(values, format)

    def decode(format: Format) -> Call:
        codes = cpu.encode(cpu.cast(x(), Cast(format=format), _KEY), format)
        return lambda: cpu.decode(codes, format)

    yield case(COPY, copy)
    for name in FORMATS:
        format = Format.from_name(name)
        for mode in MODES.values():
            to = Cast(format=format, mode=mode)
            yield case(f"cast {name} {mode}", lambda to=to: cast(to))
    for name in FORMATS:
        format = Format.from_name(name)
        moved_bytes = _BYTES + np.dtype(contract.code_dtype(format)).itemsize
        yield case(f"encode {name}", lambda format=format: encode(format), moved_bytes)
        yield case(f"decode {name}", lambda format=format: decode(format), moved_bytes)
