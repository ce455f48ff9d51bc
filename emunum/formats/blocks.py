"""Block formats: many small elements that share one scale, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from emunum.formats.catalog import parse_format
from emunum.formats.names import unknown
from emunum.formats.spec import Format, Special

BLOCK_SIZES = range(1, (1 << 16) + 1)
ELEMENT_BITS = 16
SCALE_PRECISION = 8
"""Bounds that keep element x scale x tensor scale, the quotients and the sums of a block exact in float64."""


class ScaleRule(StrEnum):
    """How the scale s of a block follows from A, the largest magnitude in it.

    L is the largest element, t the scale of the tensor (1 where there is none). The result is held to the
    range of the scales, so that a block of zeros has the smallest scale there is.
    """

    FLOOR = "floor"
    """s = 2^(floor(log2 A) - emax), emax the exponent of L: OCP MX 1.0, section 6.3. Elements between L and
    2^(emax + 1) saturate. For scales that are powers of two."""
    CEIL = "ceil"
    """The least scale with A <= s L t: no element saturates unless the scale does. (Elsewhere "rceil", and
    "ceil" there is 2^(ceil(log2 A) - emax), which may be twice as large.)"""
    NEAREST = "nearest"
    """s = A / (L t), rounded once to nearest even. For scales with a significand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFormat:
    """Blocks of `block_size` elements; a value is element x scale of its block (x scale of the tensor).

    With `tensor_scaled` there is one float32 scale for the whole tensor besides. Raises ValueError for a
    size outside 1..2^16, and for elements and scales that are none: an element has at most 16 bits, a sign
    and a zero; a scale is a float of at most 8 significand bits that has a NaN.

    Sources: OCP Microscaling Formats (MX) 1.0; for nvfp4 NVIDIA, Pretraining large language models with
    NVFP4 (2025).
    """

    name: str
    element: Format
    scale: Format
    block_size: int
    tensor_scaled: bool = False

    def __post_init__(self) -> None:
        if self.block_size not in BLOCK_SIZES:
            raise ValueError(
                f"block size {self.block_size!r} is out of range: blocks have {BLOCK_SIZES[0]} to "
                f"{BLOCK_SIZES[-1]} elements."
            )
        if not (self.element.has_zero and self.element.signed and self.element.bits <= ELEMENT_BITS):
            raise ValueError(
                f"{self.element} cannot be the element of a block: elements have a zero, a sign and at most "
                f"{ELEMENT_BITS} bits."
            )
        if self.scale.fixed_point or not self.scale.has_nan or self.scale.precision > SCALE_PRECISION:
            raise ValueError(
                f"{self.scale} cannot be the scale of a block: scales are floats with a NaN and at most "
                f"{SCALE_PRECISION} significand bits, such as float8_e8m0fnu."
            )

    @classmethod
    def from_name(cls, name: str) -> BlockFormat:
        """Return the block format called `name`, or raise ValueError."""
        return parse_block_format(name)

    @property
    def power_of_two(self) -> bool:
        """Whether every scale is a power of two, and so dividing by it exact."""
        return self.scale.special is Special.SCALE

    @property
    def largest(self) -> float:
        """L, the largest magnitude of an element; fixed point leaves its one value below -L unused."""
        return self.element.max

    @property
    def rules(self) -> tuple[ScaleRule, ...]:
        """The rules by which a scale can be chosen, the default first."""
        return (ScaleRule.FLOOR if self.power_of_two else ScaleRule.NEAREST), ScaleRule.CEIL

    @property
    def bits_per_value(self) -> float:
        """Bits a value takes in a full block, its share of the scale included, the tensor's left out."""
        return self.element.bits + self.scale.bits / self.block_size

    def __str__(self) -> str:
        return self.name


def _blocks(name: str, element: str, scale: str, block_size: int, tensor_scaled: bool = False) -> BlockFormat:
    return BlockFormat(
        name=name,
        element=parse_format(element),
        scale=parse_format(scale),
        block_size=block_size,
        tensor_scaled=tensor_scaled,
    )


BLOCK_FORMATS: Mapping[str, BlockFormat] = MappingProxyType(
    {
        format.name: format
        for format in (
            _blocks("mxfp8_e4m3", "float8_e4m3fn", "float8_e8m0fnu", 32),
            _blocks("mxfp8_e5m2", "float8_e5m2", "float8_e8m0fnu", 32),
            _blocks("mxfp6_e2m3", "float6_e2m3fn", "float8_e8m0fnu", 32),
            _blocks("mxfp6_e3m2", "float6_e3m2fn", "float8_e8m0fnu", 32),
            _blocks("mxfp4_e2m1", "float4_e2m1fn", "float8_e8m0fnu", 32),
            _blocks("mxint8", "q2.6", "float8_e8m0fnu", 32),
            _blocks("nvfp4", "float4_e2m1fn", "float8_e4m3fn", 16, tensor_scaled=True),
        )
    }
)
"""Name to block format. OCP's INT8 has an implied scale of 2^-6: as q2.6 its largest value is 127/64."""


def parse_block_format(name: str) -> BlockFormat:
    """Return the block format called `name`; ValueError suggests near names and lists them."""
    found = BLOCK_FORMATS.get(name.strip().lower())
    if found is None:
        raise unknown("block format", name, BLOCK_FORMATS)
    return found


def parse_scale_rule(name: str | None, format: BlockFormat) -> ScaleRule:
    """Return the rule called `name` (None: the format's default); ValueError where it is not one of its."""
    if name is None:
        return format.rules[0]
    if name not in format.rules:
        raise unknown(f"scale rule of {format}", name, format.rules)
    return ScaleRule(name)
