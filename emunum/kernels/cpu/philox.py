"""Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011): random bits as a pure function of counter and key."""

from __future__ import annotations

from typing import Any

import numpy as np

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
