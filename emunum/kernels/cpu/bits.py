"""The two views of a word, a float and its bit pattern, and shifts of 32-bit patterns: an instruction each.

Numba widens integers to 64 bits before it shifts them, which halves what a vector holds.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

_PATTERN = {types.float32: types.uint32, types.float64: types.uint64}
_FLOAT = {pattern: number for number, pattern in _PATTERN.items()}


@intrinsic  # type: ignore[untyped-decorator]
def bits_of(typing_context: Any, x: Any) -> Any:
    """Return the bit pattern of a float32 (float64) as uint32 (uint64)."""
    return _bitcast(x, _PATTERN)


@intrinsic  # type: ignore[untyped-decorator]
def float_of(typing_context: Any, bits: Any) -> Any:
    """Return the float32 (float64) whose bit pattern is this uint32 (uint64)."""
    return _bitcast(bits, _FLOAT)


@intrinsic  # type: ignore[untyped-decorator]
def right(typing_context: Any, bits: Any, count: Any) -> Any:
    """Return a uint32 shifted right by count < 32 bits."""
    return _shift("lshr", bits)


@intrinsic  # type: ignore[untyped-decorator]
def left(typing_context: Any, bits: Any, count: Any) -> Any:
    """Return a uint32 shifted left by count < 32 bits."""
    return _shift("shl", bits)


def _shift(instruction: str, bits: Any) -> Any:
    if bits != types.uint32:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return getattr(builder, instruction)(*arguments)

    return types.uint32(types.uint32, types.uint32), generate


def _bitcast(source: Any, targets: dict[Any, Any]) -> Any:
    if source not in targets:
        return None
    target = targets[source]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(target))

    return target(source), generate
