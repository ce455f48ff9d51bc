"""What the inner loops of compiled kernels are made of, and how fast this machine gets through such loops.

Numba hands out the assembly of a kernel. On x86 (AT&T syntax, AVX or later) its vector loops can be read:
where they cannot, every function here returns None.

A limit for a kernel is the rate of `calibrate`, a loop of nothing but simple independent vector
instructions on numbers in the first-level cache, counted in the same way. It is a bound and no forecast:
each instruction counts as one, also those that only one port takes or that are two inside the processor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np

from emunum.formats import Accumulator, Cast
from emunum.kernels.contract import Extent
from emunum.kernels.cpu import integers
from emunum.kernels.cpu.compile import _EXACT, compiled, inlined, widest_vectors
from emunum.kernels.cpu.products import order_kernel
from emunum.kernels.cpu.threads import share

_TERMS = 4
"""Terms that the main loops of matmul_plain and matmul_wide take in at a time."""
_NUMBER_BYTES, _CALL_BYTES = 4, 16
"""What is stored of a sum, a float32 or int32, and of a Philox call, four words."""

_BRANCH = re.compile(r"j[a-z]+$")
_LABEL = re.compile(r"(\.?L[\w.$]+):")
_INSTRUCTION = re.compile(r"\s+([a-z][a-z0-9]*)\s*(.*)$")
_STORE = re.compile(r"%(?P<register>[xyz]mm)\d+, ?[-\w]*\((?!%rsp\))[^()]*\)( ?\{%k\d\})?$")
_REGISTER_BYTES = {"xmm": 16, "ymm": 32, "zmm": 64}
_ONE_NUMBER = {"vmovss": 4, "vmovd": 4, "vmovsd": 8, "vmovq": 8}
_HALF, _QUARTER = re.compile(r"vpmovu?s?(qd|dw|wb)$"), re.compile(r"vpmovu?s?(qw|db)$")


class Loop(NamedTuple):
    """An innermost loop that stores vectors."""

    instructions: int
    """Vector instructions an iteration: arithmetic, comparisons, shuffles, masks. Moves and broadcasts
    from memory are left out, for they do not go through the units that compute."""
    stored_bytes: int
    """What an iteration writes to arrays, not what it puts aside: the elements it makes, however unrolled."""
    width: int
    """Bytes of the widest register it stores from."""
    philox: bool
    """Whether it multiplies 32 by 32 into 64 bits, as only Philox does here."""


def vector_loops(assembly: str) -> list[Loop]:
    """Return the innermost loops of one basic block that store vectors, in the order they stand in.

    Such a loop is a label, instructions without another label or jump, and a conditional jump back.
    """
    return [loop for body in _bodies(assembly) if (loop := _loop(body)).width > 0]


def _bodies(assembly: str) -> Iterator[list[tuple[str, str]]]:
    label, body = "", list[tuple[str, str]]()
    for line in assembly.splitlines():
        line = line.split("#")[0].rstrip()
        if found := _LABEL.match(line):
            label, body = found[1], []
        elif found := _INSTRUCTION.match(line):
            name, operands = found[1], found[2]
            if _BRANCH.match(name):
                if operands == label and name != "jmp":
                    yield body
                label, body = "", []
            else:
                body.append((name, operands))


def _loop(body: list[tuple[str, str]]) -> Loop:
    stores = [store for name, operands in body if (store := _stored(name, operands))]
    return Loop(
        instructions=sum(_computes(name, operands) for name, operands in body),
        stored_bytes=sum(size for size, _ in stores),
        width=max((width for _, width in stores), default=0),
        philox=any(name == "vpmuludq" for name, _ in body),
    )


def _computes(name: str, operands: str) -> bool:
    if name.startswith("vmov") or ("broadcast" in name and "(" in operands):
        return False
    return name.startswith(("v", "k"))


def _stored(name: str, operands: str) -> tuple[int, int] | None:
    """Return (bytes written, bytes of the register), or None for what is no vector store."""
    found = _STORE.search(operands)
    if not found or not name.startswith("v") or name in _ONE_NUMBER:
        return None
    width = _REGISTER_BYTES[found["register"]]
    if name.startswith("vextract"):
        return (32 if "64x4" in name or "32x8" in name else 16), width
    return (width // 2 if _HALF.match(name) else width // 4 if _QUARTER.match(name) else width), width


# ----------------------------------------------------------------------------------------------------
# Kernels
# ----------------------------------------------------------------------------------------------------


def multiply_add_cost(product: Cast | None, accumulator: Cast, a: Extent, b: Extent) -> float | None:
    """Vector instructions that a multiply-add of cpu.matmul takes, in index order.

    Without random bits: the main loop takes in four terms for each sum that it stores. With them: the loop
    of Philox calls, each of which serves 64 // width terms, and the loop that rounds one term.
    """
    kernel, how = order_kernel(product, Accumulator(cast=accumulator), a, b, 1, None)
    matrix, word = np.empty((1, 1), np.float32), np.uint32(0)
    place, tile = (0, 0, 1, 0, 1, 0, word, word, word), (0, 1, 0, 1)
    loops = _full_loops(_assembly_for(kernel, matrix, matrix, matrix, how, place, tile))
    if len(how) == 2:
        return _cost(_four_term_loop(loops), _NUMBER_BYTES / _TERMS)
    rounding = _densest([loop for loop in loops if not loop.philox])
    calls = _densest([loop for loop in loops if loop.philox])
    width, _, _ = how[2]
    of_call, of_rounding = _cost(calls, _CALL_BYTES / (64 // width)), _cost(rounding, _NUMBER_BYTES)
    return None if of_call is None or of_rounding is None else of_call + of_rounding


def integer_cost() -> float | None:
    """Vector instructions that a multiply-add of int8 into int32 takes."""
    matrix, out = np.empty((1, 1), np.int8), np.empty((1, 1), np.int32)
    loops = _full_loops(_assembly_for(integers.matmul_wide, matrix, matrix, out, (0, 1, 0, 1)))
    return _cost(_four_term_loop(loops), _NUMBER_BYTES / _TERMS)


def _full_loops(assembly: str) -> list[Loop]:
    """Return the loops that use vectors as wide as those `calibrate` uses: narrower ones take the rest."""
    width = max((loop.width for loop in vector_loops(_spin_assembly())), default=0)
    return [loop for loop in vector_loops(assembly) if loop.width == width]


def _densest(loops: list[Loop]) -> Loop | None:
    """Return the loop that computes most for each byte it stores."""
    return max(loops, key=lambda loop: loop.instructions / loop.stored_bytes, default=None)


def _four_term_loop(loops: list[Loop]) -> Loop | None:
    """Return the loop that takes in four terms, or None unless one for single terms stands beside it.

    The two are told apart by how much they compute for each sum they store.
    """
    main = _densest(loops)
    if main is None or main.instructions < 2 * min(_cost(loop, main.stored_bytes) or 0 for loop in loops):
        return None
    return main


def _cost(loop: Loop | None, stored_bytes: float) -> float | None:
    """Return the instructions that go with so many stored bytes."""
    return loop and loop.instructions * stored_bytes / loop.stored_bytes


def _assembly_for(kernel: Any, *arguments: Any) -> str:
    return _assembly(kernel.py_func, tuple(numba.typeof(argument) for argument in arguments))


@cache
def _assembly(function: Any, signature: tuple[Any, ...]) -> str:
    # Numba shows no code of what its disk cache holds, so the kernel is compiled again, in the same way.
    fresh = numba.njit(nogil=True, **_EXACT)(function)
    fresh.compile(signature)
    return str(fresh.inspect_asm(signature))


# ----------------------------------------------------------------------------------------------------
# Calibration
# ----------------------------------------------------------------------------------------------------

SPIN_NUMBERS = 1024
"""Numbers of a turn of `calibrate`: 4 KiB."""


@inlined
def _twice(x: Any, step: Any) -> Any:
    x = np.uint32(np.uint32(x ^ step) + step)
    return np.uint32(np.uint32(x ^ step) + step)


@inlined
def _eight_times(x: Any, step: Any) -> Any:
    return _twice(_twice(_twice(_twice(x, step), step), step), step)


@compiled
def _spin(x: Any, step: Any, turns: Any) -> None:
    widest_vectors()
    for _ in range(turns):
        for j in range(x.size):
            x[j] = _eight_times(x[j], step)


def _spin_arguments(turns: int) -> tuple[Any, ...]:
    return np.zeros(SPIN_NUMBERS, np.uint32), np.uint32(0x9E3779B9), turns


def calibrate(turns: int) -> None:
    """Step SPIN_NUMBERS numbers `turns` times, shared over threads, each with an array of its own."""
    share(lambda begin, end: _spin(*_spin_arguments(end - begin)), turns, turns * SPIN_NUMBERS)


def calibration_cost() -> float | None:
    """Vector instructions that a number takes in a turn of `calibrate`."""
    return _cost(_densest(_full_loops(_spin_assembly())), _NUMBER_BYTES)


def _spin_assembly() -> str:
    return _assembly_for(_spin, *_spin_arguments(1))
