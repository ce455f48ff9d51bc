"""Random keys, and Philox4x32-10 as a readable function of Python integers.

Random bits are a pure function of a 64-bit key and a 128-bit counter. A run derives a key for each place
in it (step, layer, role) by `Key.fold`; within one kernel call the counter says which rounding it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

from emunum.kernels.contract import Operation

_MASK = 0xFFFFFFFF
SEED_LIMIT = 1 << 64


def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the four 32-bit output words of ten Philox rounds.

    Source: Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product_0, product_1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (product_1 >> 32) ^ c1 ^ k0,
            product_1 & _MASK,
            (product_0 >> 32) ^ c3 ^ k1,
            product_0 & _MASK,
        )
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return c0, c1, c2, c3


@dataclass(frozen=True, slots=True)
class Key:
    """A 64-bit Philox key: the seed itself, or what `fold` made of it."""

    value: int

    def __post_init__(self) -> None:
        if not isinstance(self.value, Integral) or not 0 <= self.value < SEED_LIMIT:
            raise ValueError(
                f"seed {self.value!r} is out of range: a seed is an integer from 0 to 2**64 - 1."
            )
        object.__setattr__(self, "value", int(self.value))  # a NumPy integer would overflow in fold

    @property
    def words(self) -> tuple[int, int]:
        """(low, high) 32 bits."""
        return self.value & _MASK, self.value >> 32

    def fold(self, a: int, b: int = 0, c: int = 0) -> Key:
        """Return the key of place (a, b, c), three 32-bit numbers, under this one."""
        low, high, _, _ = philox4x32((a & _MASK, b & _MASK, c & _MASK, Operation.FOLD), self.words)
        return Key(high << 32 | low)
