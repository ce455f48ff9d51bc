"""In which order, and in which formats, the terms of a sum are added."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from emunum.formats.catalog import parse_format
from emunum.formats.names import unknown
from emunum.formats.rounding import Cast, Mode
from emunum.formats.spec import Format


class Order(StrEnum):
    """How K terms t_0, ..., t_(K-1) become one sum. round is the accumulator's rounding."""

    SEQUENTIAL = "sequential"
    """s = +0; s = round(s + t_k) for k = 0, 1, ..., K - 1."""
    CHUNKED = "chunked"
    """Chunks of n consecutive terms, the last one perhaps shorter, are summed sequentially from +0; the
    chunk sums are added in order, from +0, by the outer rounding."""
    PAIRWISE = "pairwise"
    """Terms are rounded into the accumulator, then neighbours (0, 1), (2, 3), ... are added, then their
    sums likewise; one without a neighbour goes up as it is."""
    KAHAN = "kahan"
    """s = c = +0; y = round(t_k - c), u = round(s + y), c = round(round(u - s) - y), s = u."""
    EXACT = "exact"
    """s = round(t_0 + t_1 + ... + t_(K-1)): one rounding at the end (Gupta et al. 2015)."""
    TENSOR_CORE = "tensor_core"
    """Blocks of a tensor core's K terms together with the sum so far: all are cut toward zero to F bits
    below the largest exponent among them, added exactly, and rounded by the accumulator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorCore:
    """What a matrix unit does with one block: K terms, F fraction bits kept in alignment, Fout in the sum.

    Sources: Fasi, Higham, Mikaitis and Pranesh, Numerical behavior of NVIDIA tensor cores (PeerJ Comput.
    Sci. 2021); Khattak and Mikaitis, Accurate models of NVIDIA tensor cores (2025).
    """

    name: str
    terms: int
    fraction_bits: int
    output_bits: int

    @property
    def format(self) -> Format:
        """The format of the running sum, truncated toward zero: float32's exponents, Fout bits."""
        return parse_format(f"e8m{self.output_bits}")


TENSOR_CORES: Mapping[str, TensorCore] = MappingProxyType(
    {
        name: TensorCore(name=name, terms=terms, fraction_bits=fraction_bits, output_bits=output_bits)
        for name, terms, fraction_bits, output_bits in (
            ("v100", 4, 23, 23),
            ("a100", 8, 24, 23),
            ("a100_tf32", 4, 24, 23),
            ("ada", 8, 24, 23),
            ("ada_tf32", 4, 24, 23),
            ("ada_fp8", 16, 13, 13),
            ("h100", 16, 25, 23),
            ("h100_tf32", 8, 25, 23),
            ("h100_fp8", 32, 13, 13),
        )
    }
)
"""Name to tensor core: float16 (and bfloat16 from a100 on) operands, unless the name has others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accumulator:
    """An order of summation with its roundings.

    `cast` rounds the partial sums. `chunked` sums have chunks of `chunk` terms, and a tensor core may have:
    the chunk sums are then added sequentially in `outer` (None: as `cast`). With float32 for `outer` this
    is promotion every `chunk` terms (DeepSeek-V3 2024, section 3.3.2). `core` is the tensor core.
    """

    cast: Cast
    order: Order = Order.SEQUENTIAL
    chunk: int | None = None
    outer: Cast | None = None
    core: TensorCore | None = None

    def __post_init__(self) -> None:
        chunks = self.order in (Order.CHUNKED, Order.TENSOR_CORE)
        missing = self.order is Order.CHUNKED and self.chunk is None
        if missing or (self.chunk is not None and (not chunks or self.chunk < 1)):
            raise ValueError(
                f"order {self.order} with chunk {self.chunk!r}: chunked sums have chunks of at least one "
                "term, such as 'chunked:64'; of the others only tensor cores may."
            )
        if self.outer is not None and self.chunk is None:
            raise ValueError(f"order {self.order} has no outer sum: only sums of chunks have one.")
        if (self.order is Order.TENSOR_CORE) != (self.core is not None):
            raise ValueError(f"order {self.order} with tensor core {self.core}: one needs the other.")

    @property
    def last(self) -> Cast:
        """The cast whose format holds the final sum."""
        return self.outer or self.cast

    @property
    def stochastic(self) -> bool:
        """Whether a sum depends on random bits."""
        return self.cast.stochastic or self.last.stochastic


def parse_accumulator(order: str, cast: Cast, outer: Cast | None = None) -> Accumulator:
    """Return the accumulator an order describes, its sums rounded by `cast` and chunk sums by `outer`.

    order: sequential, pairwise, kahan, exact, chunked:N, tensor_core:NAME, or tensor_core:NAME:N with
    promotion every N terms. A tensor core's sums are its own (toward zero to Fout bits) where `cast` is
    into float32, and to nearest where it is into float16; it has no others. Raises ValueError.
    """
    name, *rest = order.split(":")
    if name == Order.CHUNKED and len(rest) == 1 and (chunk := _count(rest[0])):
        return Accumulator(cast=cast, order=Order.CHUNKED, chunk=chunk, outer=outer)
    if name == Order.TENSOR_CORE and rest and (len(rest) == 1 or _count(":".join(rest[1:]))):
        core = TENSOR_CORES.get(rest[0])
        if core is None:
            raise unknown("tensor core", rest[0], TENSOR_CORES)
        chunk = _count(rest[1]) if len(rest) > 1 else None
        if outer is None and chunk is not None:
            outer = Cast(format=parse_format("float32"))
        return Accumulator(
            cast=_of_core(core, cast), order=Order.TENSOR_CORE, chunk=chunk, outer=outer, core=core
        )
    if not rest and name in (Order.SEQUENTIAL, Order.PAIRWISE, Order.KAHAN, Order.EXACT):
        return Accumulator(cast=cast, order=Order(name), outer=outer)
    known = ["sequential", "chunked:64", "pairwise", "kahan", "exact", "tensor_core:h100"]
    raise unknown("order", order, known)


def _of_core(core: TensorCore, cast: Cast) -> Cast:
    if cast.format.name == "float16":
        return Cast(format=cast.format)
    if cast.format.name not in ("float32", core.format.name):
        raise ValueError(
            f"tensor core {core.name} accumulates in float32 (as it keeps it: {core.format}) or float16, "
            f"not in {cast.format}."
        )
    return Cast(format=core.format, mode=Mode.TOWARD_ZERO)


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"0*[1-9]\d{0,8}", text) else None
