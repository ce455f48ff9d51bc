"""How fast the kernels are, beside what bounds them and beside other libraries.

`cases` lists what can be timed, `chosen` picks by name, `measure` times. Two resources bound a kernel, and
reference cases measure both in the same run: memory bandwidth by a copy, the vector units by a loop of
simple instructions. A case says what a unit of its work takes of one of them.
"""

from __future__ import annotations

from types import ModuleType

from emunum.experiments.bench import elsewhere
from emunum.experiments.bench.case import Case, MissingPeerError, measure
from emunum.experiments.bench.casts import cast_cases
from emunum.experiments.bench.peers import cast_peers, matmul_peers
from emunum.experiments.bench.products import matmul_cases, skinny_cases, thread_cases
from emunum.kernels import cpu

__all__ = ["QUICK", "Case", "MissingPeerError", "cases", "chosen", "measure"]

QUICK = (
    "copy float32",
    "cast e4m3 nearest_even",
    "cast e4m3 stochastic",
    "encode e4m3",
    "decode e4m3",
    "ml_dtypes float8_e4m3fn",
    "BLAS float32",
    "vector instructions",
    "matmul e4m3 nearest_even",
    "matmul e4m3 stochastic",
    "matmul e4m3 nearest_even chunked:64",
    "matmul int8 into int32",
    "skinny e4m3 nearest_even 1 row",
    "vector instructions, one thread",
    "threads e4m3 nearest_even, one",
    "threads e4m3 nearest_even, all",
)
"""The names of a few cases of every kind, for a smoke test."""


def cases(backend: ModuleType = cpu, *, size: int | None = None, elements: int | None = None) -> list[Case]:
    """Return the cases: casts of `elements` numbers, products of `size` x `size` matrices and their like.

    Nothing is computed yet: a case makes its operands when it is prepared. Sizes are those that occupy the
    CPU, or a larger device, for some tenths of a second at most.
    """
    if backend is not cpu:
        return elsewhere.cases(backend, size=size or 4096, elements=elements or 1 << 26)
    size, elements = size or 512, elements or 1 << 24
    return [
        *cast_cases(elements),
        *cast_peers(elements),
        *matmul_cases(size),
        *matmul_peers(size),
        *skinny_cases(size),
        *thread_cases(size),
    ]


def chosen(among: list[Case], text: str) -> list[Case]:
    """Return the cases whose name contains `text`, with the references and bounds they are set beside."""
    names = {case.name for case in among if text in case.name}
    by_name = {case.name: case for case in among}
    waiting = list(names)
    while waiting:
        case = by_name[waiting.pop()]
        beside = {name for name in (case.reference, case.bound) if name is not None} - names
        names |= beside
        waiting += beside
    return [case for case in among if case.name in names]
