"""Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011): random bits as a pure function of counter and key."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emunum.kernels.cpu.compile import compiled, inlined

_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)


@inlined
def _round(c: Any, k0: Any, k1: Any, number: Any) -> Any:
    # Words live in the low half of 64 bits and the high half is rubbish: one vector instruction then
    # multiplies 32 x 32 -> 64 bits, and nothing is packed or unpacked between the rounds.
    product_0 = _MULTIPLIER_0 * (c[0] & _LOW)
    product_1 = _MULTIPLIER_1 * (c[2] & _LOW)
    key_0, key_1 = np.uint64(k0) + number * _WEYL_0, np.uint64(k1) + number * _WEYL_1
    return (product_1 >> _32) ^ c[1] ^ key_0, product_1, (product_0 >> _32) ^ c[3] ^ key_1, product_0


@inlined
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Return the four output words of counter (c0, c1, c2, c3) under key (k0, k1), all uint32."""
    # Ten rounds, written out: a loop here would keep LLVM from vectorising the loop around the call.
    c = (np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3))
    c = _round(c, k0, k1, np.uint64(0))
    c = _round(c, k0, k1, np.uint64(1))
    c = _round(c, k0, k1, np.uint64(2))
    c = _round(c, k0, k1, np.uint64(3))
    c = _round(c, k0, k1, np.uint64(4))
    c = _round(c, k0, k1, np.uint64(5))
    c = _round(c, k0, k1, np.uint64(6))
    c = _round(c, k0, k1, np.uint64(7))
    c = _round(c, k0, k1, np.uint64(8))
    c = _round(c, k0, k1, np.uint64(9))
    return np.uint32(c[0]), np.uint32(c[1]), np.uint32(c[2]), np.uint32(c[3])


@inlined
def word_of(words: Any, index: Any) -> Any:
    """Return words[index] of a call's four words."""
    low = words[1] if index & 1 else words[0]
    high = words[3] if index & 1 else words[2]
    return high if index & 2 else low


@inlined
def draw_of(words: Any, index: Any, width: Any, drop: Any) -> Any:
    """Return the top width - drop bits of draw `index` of a call, each draw 16 or 32 bits wide."""
    if width == 16:
        half = np.uint32(np.uint32(word_of(words, index >> 1)) >> np.uint32(16 * (index & 1)))
        return np.uint32(np.uint32(half & np.uint32(0xFFFF)) >> drop)
    return np.uint32(np.uint32(word_of(words, index)) >> drop)


@compiled
def philox_block(counter: Any, key: Any, out: Any) -> None:
    """Write Philox of counter (4,) under key (2,) to out (4,): all uint32."""
    words = philox(counter[0], counter[1], counter[2], counter[3], key[0], key[1])
    out[0], out[1], out[2], out[3] = words


_64, _EIGHT = ir.IntType(64), ir.VectorType(ir.IntType(64), 8)
_WORDS = ir.VectorType(ir.IntType(32), 16)
_MIXED = ir.Constant(_WORDS, [lane + half for lane in range(0, 16, 2) for half in (0, 16)])
"""Of two vectors of eight 64-bit numbers, the low halves in turn: sixteen words."""


def _across(lane_word: int) -> Any:
    """Return philox_16 of counters that count up in this word, 0 or 1.

    As in `_round`, words are the low halves of 64-bit numbers. Two things are done here that LLVM leaves
    undone: what all lanes share stays one number until it meets what they do not, which saves half of the
    first two rounds; and even and odd lanes are two vectors, whose words one shuffle puts in order, and
    neither waits for the other's multiplications.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def philox_16(
        typing_context: Any, words: Any, at: Any, apart: Any,
        c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any,
    ) -> Any:  # fmt: skip
        """words[at + lane + n apart] = word n of the call of the counter plus lane, for 16 lanes."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind, array = signature.args[0], arguments[0]
            at, apart, *counter, k0, k1 = (
                context.cast(builder, value, of, types.uint64)
                for value, of in zip(arguments[1:], signature.args[1:], strict=True)
            )
            # A key with rubbish in its high half: of zeros there LLVM would conclude that a word needs no
            # mask before it is multiplied, and then take the slow product of 64 bits by 64.
            k0, k1 = (
                builder.or_(low, builder.shl(high, ir.Constant(_64, 32)))
                for low, high in ((k0, k1), (k1, k0))
            )
            halves = [
                [_counting(builder, word, odd) if n == lane_word else word for n, word in enumerate(counter)]
                for odd in (0, 1)
            ]
            for _ in range(10):
                halves = [_round_of_any(builder, c, k0, k1) for c in halves]
                k0 = builder.add(k0, ir.Constant(_64, int(_WEYL_0)))
                k1 = builder.add(k1, ir.Constant(_64, int(_WEYL_1)))
            data = context.make_array(kind)(context, builder, array).data
            for n, (even, odd) in enumerate(zip(*halves, strict=True)):
                both = builder.shuffle_vector(
                    builder.bitcast(even, _WORDS), builder.bitcast(odd, _WORDS), _MIXED
                )
                place = builder.gep(data, [builder.add(at, builder.mul(apart, ir.Constant(_64, n)))])
                builder.store(both, builder.bitcast(place, _WORDS.as_pointer()), align=4)
            return context.get_dummy_value()

        return types.void(words, at, apart, c0, c1, c2, c3, k0, k1), generate

    return philox_16


def _round_of_any(builder: Any, c: list[Any], k0: Any, k1: Any) -> list[Any]:
    """As `_round`, of words each of which is a vector or one number for all lanes."""

    def times(x: Any, multiplier: np.uint64) -> Any:
        return builder.mul(builder.and_(x, _like(x, int(_LOW))), _like(x, int(multiplier)))

    def high(x: Any) -> Any:
        return builder.lshr(x, _like(x, 32))

    def xor(x: Any, y: Any, z: Any) -> Any:
        x, y, z = sorted((x, y, z), key=lambda word: word.type == _EIGHT)  # numbers first
        return _xor(builder, _xor(builder, x, y), z)

    product_0, product_1 = times(c[0], _MULTIPLIER_0), times(c[2], _MULTIPLIER_1)
    return [xor(high(product_1), c[1], k0), product_1, xor(high(product_0), c[3], k1), product_0]


def _xor(builder: Any, x: Any, y: Any) -> Any:
    if x.type != y.type:
        x, y = (word if word.type == _EIGHT else _spread(builder, word) for word in (x, y))
    return builder.xor(x, y)


def _like(x: Any, number: int) -> Any:
    return ir.Constant(x.type, [number] * 8 if x.type == _EIGHT else number)


def _spread(builder: Any, x: Any) -> Any:
    """One number in eight lanes."""
    undefined = ir.Constant(_EIGHT, ir.Undefined)
    first = builder.insert_element(undefined, x, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), 8), [0] * 8)
    return builder.shuffle_vector(first, undefined, zeros)


def _counting(builder: Any, x: Any, odd: int) -> Any:
    """x + 0, x + 2, ..., x + 14, and one more each where `odd`."""
    return builder.add(_spread(builder, x), ir.Constant(_EIGHT, list(range(odd, 16, 2))))


philox_16_columns, philox_16_rows = _across(0), _across(1)
