"""The only arithmetic a network sees: a policy, a backend and a random key, bound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.kernels import cpu
from emunum.kernels.random import Key
from emunum.ops.policy import Policy, Role
from emunum.ops.strict import guard, plain

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Emulated operations on float32 arrays that hold values of their roles' formats.

    Random bits follow from `key`, the operation, the role its result serves and `part`, which tells
    apart the tensors of one role in one place (a layer's weights 0 and biases 1). A place is entered with
    `at`; under one place, no two calls may share operation, role and part.

    With `strict`, results refuse raw NumPy arithmetic (RawOperationError).
    """

    policy: Policy
    key: Key
    backend: ModuleType = cpu
    strict: bool = False

    def at(self, place: int, sub: int = 0) -> Arithmetic:
        """Return the arithmetic of a place: a step, a layer, a pass."""
        return replace(self, key=self.key.fold(place, sub))

    def cast(self, role: Role, x: Array, part: int = 0) -> Array:
        """Round x to the format of its role."""
        return self._out(self.backend.cast(plain(x), self.policy.roles[role], self._key(role, part)))

    def matmul(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        """a (M, K) times b (K, N), rounded as products and accumulators are; not yet cast to the role."""
        policy = self.policy
        return self._out(
            self.backend.matmul(plain(a), plain(b), policy.product, policy.accumulator, self._key(role, part))
        )

    def column_sum(self, x: Array, role: Role, part: int = 0) -> Array:
        """Sum over the first axis in index order, in the accumulator's format."""
        return self._out(self.backend.column_sum(plain(x), self.policy.accumulator, self._key(role, part)))

    def add(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        """a + b, broadcast, in the accumulator's format."""
        return self._out(self.backend.add(plain(a), plain(b), self.policy.accumulator, self._key(role, part)))

    def subtract(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        """a - b, broadcast, in the accumulator's format."""
        return self._out(
            self.backend.subtract(plain(a), plain(b), self.policy.accumulator, self._key(role, part))
        )

    def scale(self, alpha: float, x: Array, role: Role, part: int = 0) -> Array:
        """alpha x, the float32 constant alpha, in the accumulator's format (of UPDATE: in its own)."""
        cast = self.policy.roles[role] if role is Role.UPDATE else self.policy.accumulator
        return self._out(
            self.backend.multiply(np.asarray(alpha, np.float32), plain(x), cast, self._key(role, part))
        )

    def scaled_add(self, y: Array, alpha: float, x: Array, part: int = 0) -> Array:
        """y + alpha x in the update's format: the product rounded, then the sum."""
        cast = self.policy.roles[Role.UPDATE]
        return self._out(
            self.backend.scaled_add(plain(y), np.float32(alpha), plain(x), cast, self._key(Role.UPDATE, part))
        )

    def select(self, condition: Array, x: Array) -> Array:
        """x where the condition holds, else +0: exact."""
        return self._out(np.where(plain(condition), plain(x), np.float32(0)))

    def _key(self, role: Role, part: int) -> Key:
        return self.key.fold(role, part)

    def _out(self, x: Array) -> Array:
        return guard(x) if self.strict else x
