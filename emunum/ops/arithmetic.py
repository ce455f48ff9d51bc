"""The only arithmetic a network sees: a policy, a backend and a random key, bound."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from emunum.formats import FLOAT32, Accumulator, Cast, Format, Overflow
from emunum.kernels import cpu
from emunum.kernels.contract import Event
from emunum.kernels.random import Key
from emunum.kernels.windows import Window
from emunum.ops.events import Entry, EventLog, Place, patches_of
from emunum.ops.policy import IntegerPolicy, Policy, Role
from emunum.ops.scaling import Scale, Scaled, matmul_int8, quantize_int8
from emunum.ops.strict import guard, plain

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Emulated operations on float32 arrays that hold values of their roles' formats.

    Random bits follow from `key`, the operation, the role its result serves and `part`, which tells
    apart the tensors of one role in one place (a layer's weights 0 and biases 1). A place is entered with
    `at`; under one place, no two calls may share operation, role and part.

    Arrays are the backend's; what a method is handed may be NumPy's too. With `strict`, results refuse raw
    NumPy arithmetic (RawOperationError). `events` counts what roundings do, by place and role: the same
    bits, at a tenth of the speed.
    """

    policy: Policy
    key: Key
    backend: ModuleType = cpu
    strict: bool = False
    events: EventLog | None = None
    where: Place = ()

    def at(self, place: int, sub: int = 0) -> Self:
        """Return the arithmetic of a place: a step, a layer, a pass."""
        return replace(self, key=self.key.fold(place, sub), where=(*self.where, (place, sub)))

    def cast(self, role: Role, x: Array, part: int = 0) -> Array:
        """Round x to the format of its role."""
        key, counts = self._key(role, part), self._counts(role)
        return self._out(self.backend.cast(plain(x), self.policy.roles[role], key, counts=counts))

    def matmul(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        """a (M, K) times b (K, N), rounded as products and accumulators are; not yet cast to the role."""
        policy, key, counts = self.policy, self._key(role, part), self._counts(role)
        a, b = plain(a), plain(b)
        y = self.backend.matmul(a, b, policy.product, policy.accumulator, key, counts=counts)
        if self.events is not None:
            self.events.compare(self._entry(role), a, b, y, policy.accumulator)
        return self._out(y)

    def convolve(self, x: Array, w: Array, window: Window, role: Role, part: int = 0) -> Array:
        """x (N, C, H, W) under w (O, C, R, S) -> (N, O, OH, OW): a matmul of patches, as are the next two."""
        policy, key, counts = self.policy, self._key(role, part), self._counts(role)
        x, w = plain(x), plain(w)
        y = self.backend.convolve(x, w, window, policy.product, policy.accumulator, key, counts=counts)
        if self.events is not None:
            rows, channels = w.reshape(len(w), -1), y.swapaxes(0, 1).reshape(len(w), -1)
            entry, under = self._entry(role), patches_of(x, window)
            self.events.compare(entry, rows, under, channels, policy.accumulator)
        return self._out(y)

    def convolve_weights(self, dy: Array, x: Array, window: Window, role: Role, part: int = 0) -> Array:
        """Return the gradient of w from those of y (N, O, OH, OW) and from x (N, C, H, W)."""
        policy, key, counts = self.policy, self._key(role, part), self._counts(role)
        dy, x = plain(dy), plain(x)
        sums = policy.product, policy.accumulator, key
        dw = self.backend.convolve_weights(dy, x, window, *sums, counts=counts)
        if self.events is not None:
            rows, entry = dy.swapaxes(0, 1).reshape(dy.shape[1], -1), self._entry(role)
            under = patches_of(x, window).T
            self.events.compare(entry, rows, under, dw.reshape(len(dw), -1), policy.accumulator)
        return self._out(dw)

    def convolve_input(
        self, dy: Array, w: Array, window: Window, shape: tuple[int, ...], role: Role, part: int = 0
    ) -> Array:
        """Return the gradient of x, of this shape; what meets in an entry is added in the accumulator."""
        policy, key, counts = self.policy, self._key(role, part), self._counts(role)
        dx = self.backend.convolve_input(
            plain(dy), plain(w), window, shape, policy.product, policy.accumulator, key, counts=counts
        )
        return self._out(dx)

    def column_sum(self, x: Array, role: Role, part: int = 0) -> Array:
        """Sum over the first axis, in index order or the accumulator's own."""
        key, counts = self._key(role, part), self._counts(role)
        return self._out(self.backend.column_sum(plain(x), self.policy.accumulator, key, counts=counts))

    def add(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        """a + b, broadcast, in the elementwise format (of UPDATE: in its own), as are the next five."""
        to, key, counts = self._between(role), self._key(role, part), self._counts(role)
        return self._out(self.backend.add(plain(a), plain(b), to, key, counts=counts))

    def subtract(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        """a - b, broadcast."""
        to, key, counts = self._between(role), self._key(role, part), self._counts(role)
        return self._out(self.backend.subtract(plain(a), plain(b), to, key, counts=counts))

    def multiply(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        """a b, broadcast."""
        to, key, counts = self._between(role), self._key(role, part), self._counts(role)
        return self._out(self.backend.multiply(plain(a), plain(b), to, key, counts=counts))

    def scale(self, alpha: float, x: Array, role: Role, part: int = 0) -> Array:
        """alpha x, the float32 constant alpha."""
        return self.multiply(np.asarray(alpha, np.float32), x, role, part)

    def divide(self, a: Array, b: Array, role: Role, part: int = 0) -> Array:
        """a / b, broadcast."""
        to, key, counts = self._between(role), self._key(role, part), self._counts(role)
        return self._out(self.backend.divide(plain(a), plain(b), to, key, counts=counts))

    def square_root(self, x: Array, role: Role, part: int = 0) -> Array:
        """sqrt(x)."""
        to, key, counts = self._between(role), self._key(role, part), self._counts(role)
        return self._out(self.backend.square_root(plain(x), to, key, counts=counts))

    def scaled_add(self, y: Array, alpha: float, x: Array, part: int = 0) -> Array:
        """y + alpha x in the update's format: the product rounded, then the sum."""
        to, key = self.policy.roles[Role.UPDATE], self._key(Role.UPDATE, part)
        counts = self._counts(Role.UPDATE)
        out = self.backend.scaled_add(plain(y), np.float32(alpha), plain(x), to, key, counts=counts)
        return self._out(out)

    def values(self, x: Array) -> Array:
        """Return the float32 numbers that x stands for, for measurements."""
        return plain(x)  # type: ignore[no-any-return]

    def host(self, x: Array) -> Array:
        """Return the numbers that x stands for as a NumPy array, which waits for the backend."""
        return self.backend.host(self.values(x))  # type: ignore[no-any-return]

    def select(self, condition: Array, x: Array) -> Array:
        """x where the condition holds, else +0: exact."""
        return self._out(self.backend.select(plain(condition), plain(x)))

    def exp(self, x: Array, role: Role, part: int = 0) -> Array:
        """round(e^x), rounded from a float64 within 1 ulp of e^x (kernels.elementary): not quite once."""
        to, key, counts = self._between(role), self.key.fold(role, part, _EXP), self._counts(role)
        return self._out(self.backend.cast(self.backend.exp(plain(x)), to, key, counts=counts))

    def move(self, y: Array, alpha: float, x: Array, part: int = 0) -> Array:
        """y + alpha (x - y) in the update's format: difference, product and sum rounded, of one shape."""
        to, key = self.policy.roles[Role.UPDATE], self._key(Role.UPDATE, part)
        counts = self._counts(Role.UPDATE)
        return self._out(self.backend.move(plain(y), np.float32(alpha), plain(x), to, key, counts=counts))

    def row_sum(self, x: Array, role: Role, part: int = 0) -> Array:
        """Sum over the last axis: the column sums of the transpose."""
        return self.column_sum(x.reshape(-1, x.shape[-1]).T, role, part).reshape(x.shape[:-1])

    def row_max(self, x: Array) -> Array:
        """Largest of each row (last axis), which stays as an axis of 1: exact. NaN where a row holds one."""
        return self._out(self.values(x).max(axis=-1, keepdims=True))

    def smallest(self, role: Role) -> float:
        """Return the least positive number of the format that results for a role have."""
        return self._between(role).format.smallest

    def _between(self, role: Role) -> Cast:
        return self.policy.roles[role] if role is Role.UPDATE else self.policy.elementwise

    def _key(self, role: Role, part: int) -> Key:
        return self.key.fold(role, part)

    def _entry(self, role: Role) -> Entry:
        assert self.events is not None
        return self.events.entry(self.where, role.name.lower())

    def _counts(self, role: Role) -> NDArray[np.int64] | None:
        return None if self.events is None else self._entry(role).counts

    def _out(self, x: Array) -> Array:
        return guard(x) if self.strict else x

    def rearrange(self, move: Callable[[Array], Array], x: Any) -> Any:
        """x's numbers, moved, left out or mixed with zeros by `move`, which computes nothing: exact."""
        return self._holding(x, move(self._numbers(x)))

    def keep(self, shape: tuple[int, ...], rate: float, role: Role, part: int = 0) -> NDArray[np.bool_]:
        """Return a random mask: True with probability 1 - rate."""
        return self.backend.keep(shape, rate, self._key(role, part))  # type: ignore[no-any-return]

    def channel_sum(self, x: Any, role: Role, part: int = 0) -> Any:
        """x (N, C, ...) -> (C,): sums over samples and pixels in index order, n outermost, as column_sum."""
        channels = x.shape[1]
        rows = self.rearrange(lambda x: np.moveaxis(x, 1, -1).reshape(-1, channels), x)
        return self.column_sum(rows, role, part)

    def window_sum(self, x: Any, window: Window, role: Role, part: int = 0) -> Any:
        """x (N, C, H, W) -> (N, C, OH, OW): the sum of each window in index order, zeros for padding."""
        terms = self.rearrange(lambda x: self.backend.window_terms(x, window), x)
        flat = self._reshaped(terms, (terms.shape[0], -1))
        return self._reshaped(self.column_sum(flat, role, part), terms.shape[1:])

    def max_pool(self, x: Any, window: Window) -> tuple[Any, Any]:
        """x (N, C, H, W) -> (N, C, OH, OW): the largest of each window, and its number there: exact.

        Padding never is. The first of equal numbers is, in index order, and a NaN before every number.
        """
        y, winners = self.backend.max_pool(self._numbers(x), window)
        return self._holding(x, y), winners

    def window_scatter(
        self, dy: Any, winners: Any, window: Window, shape: tuple[int, ...], role: Role, part: int = 0
    ) -> Any:
        """dy (N, C, OH, OW) -> (N, C, H, W) = shape: each pixel the sum over the windows that cover it.

        `winners` limits them to those it won; None does not. Windows in index order from +0, one that it
        lost a term +0. Where no two windows overlap this is exact, the accumulator not being asked.
        """
        terms = self.rearrange(lambda dy: self.backend.pixel_terms(dy, winners, window, shape), dy)
        if terms.shape[0] == 1:
            return self._reshaped(terms, shape)
        flat = self._reshaped(terms, (terms.shape[0], -1))
        return self._reshaped(self.column_sum(flat, role, part), shape)

    def _reshaped(self, x: Any, shape: tuple[int, ...]) -> Any:
        return self.rearrange(lambda x: x.reshape(shape), x)

    def _numbers(self, x: Any) -> Any:
        """The numbers that x holds, to be compared and moved."""
        return plain(x)

    def _holding(self, x: Any, numbers: Any) -> Any:
        """Numbers of x as x holds them."""
        return self._out(numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerArithmetic(Arithmetic):
    """The same operations on int8 tensors (Scaled) and float32 arrays, as an IntegerPolicy has them.

    Operands of matrix products are int8 with a scale; their sums are integers whose scale is the product
    of the operands'. A bias is rounded to such an integer, of at most 24 bits, and added as products are.
    Everything else (the loss gradient, the update) is float32 arithmetic on float32 values. A weight
    matrix with a scale a row is given one scale where the rows are summed over: dx = dy w.
    """

    policy: IntegerPolicy  # type: ignore[assignment]
    overflows: Counter[str] = field(default_factory=Counter)
    """Additions that left the accumulator, by role, counted whether or not events are."""

    def cast(self, role: Role, x: Any, part: int = 0) -> Any:
        """int8 for operands of products; float32 for biases (vectors of weights) and master weights."""
        policy, key = self.policy, self._key(role, part)
        if role in (Role.UPDATE, Role.MASTER) or (role is Role.WEIGHT and x.ndim == 1):
            if role is not Role.MASTER or not policy.integer_master:
                return x
            kept = self._int8(self.values(x), policy.master, key, Scale.POWER_OF_TWO)
            return self._out(kept.values())
        rows = 0 if role is Role.WEIGHT and policy.per_channel else None
        return self._int8(x, policy.cast, key, policy.scale, rows)

    def matmul(self, a: Any, b: Any, role: Role, part: int = 0) -> Any:
        """a (M, K) times b (K, N), an integer with a scale."""
        a, b = (
            operand
            if np.size(operand.scale) == 1 or operand.scale.shape[axis] == 1
            else self._int8(operand, self.policy.cast, self.key.fold(role, part, 2), self.policy.scale)
            for operand, axis in ((a, 1), (b, 0))
        )
        out, overflows = matmul_int8(a, b, self.policy.accumulator, backend=self.backend)
        self._note(role, overflows, a.codes.shape[0] * b.codes.size)
        return out

    def convolve(self, x: Any, w: Any, window: Window, role: Role, part: int = 0) -> Any:
        """As in floats, in the integer accumulator; a scale for each row of w becomes one of its channel."""
        bits, wraps = self._width
        out, overflows = self.backend.convolve_integers(x.codes, w.codes, window, bits, wraps)
        self._note(role, overflows, out.size * w.codes[0].size)
        return Scaled(codes=out, scale=np.asarray(x.scale * w.scale.reshape(1, -1, 1, 1)))

    def convolve_weights(self, dy: Any, x: Any, window: Window, role: Role, part: int = 0) -> Any:
        """As in floats."""
        bits, wraps = self._width
        out, overflows = self.backend.convolve_weights_integers(dy.codes, x.codes, window, bits, wraps)
        self._note(role, overflows, out.size * dy.codes[:, 0].size)
        return Scaled(codes=out, scale=np.asarray(dy.scale * x.scale))

    def convolve_input(
        self, dy: Any, w: Any, window: Window, shape: tuple[int, ...], role: Role, part: int = 0
    ) -> Any:
        """As in floats; w is given one scale where it has more."""
        bits, wraps = self._width
        if np.size(w.scale) > 1:
            w = self._int8(w, self.policy.cast, self.key.fold(role, part, 2), self.policy.scale)
        out, overflows = self.backend.convolve_input_integers(dy.codes, w.codes, window, shape, bits, wraps)
        additions = w.codes.size * dy.codes[:, 0].size + w.codes[0, 0].size * out.size
        self._note(role, overflows, additions)
        return Scaled(codes=out, scale=np.asarray(dy.scale * w.scale.reshape(-1)))

    def column_sum(self, x: Any, role: Role, part: int = 0) -> Any:
        """Sum over the first axis, in the integer accumulator; of float32 numbers, in float32."""
        if not isinstance(x, Scaled):
            return self._out(self.backend.column_sum(self.values(x), Accumulator(cast=_FLOAT32), self.key))
        ones = Scaled(codes=np.ones_like(x.codes, shape=(1, x.shape[0])), scale=np.asarray(1.0))
        total = self.matmul(ones, x, role, part)
        return Scaled(codes=total.codes.reshape(-1), scale=total.scale.reshape(-1)[:1])

    def add(self, a: Any, b: Any, role: Role, part: int = 0) -> Any:
        """a + b: of an integer tensor and float32 numbers, which are rounded to its scale; else float32."""
        if not isinstance(a, Scaled):
            return self._out(self.backend.add(self.values(a), self.values(b), _FLOAT32, self.key))
        accumulator = self.policy.accumulator
        wide = replace(self.policy.cast, format=Format.from_name(f"q{min(accumulator.bits, 24)}.0"))
        b = self.backend.rescale(self.values(b), np.float64(1), a.scale, wide, self.key.fold(role, part, 1))
        top = np.int64(1) << (accumulator.bits - 1)
        if a.size and b.size:
            low, high = (int(end(a.codes)) + int(end(b)) for end in (np.min, np.max))
            if -top <= low and high < top:
                self._note(role, 0, math.prod(np.broadcast_shapes(a.shape, b.shape)))
                return Scaled(codes=a.codes + b.astype(np.int32), scale=a.scale)
        total = a.codes + b.astype(np.int64)
        self._note(role, int(((total >= top) | (total < -top)).sum()), total.size)
        if accumulator.overflow is Overflow.WRAP:
            return Scaled(codes=((total + top) & (2 * top - 1)) - top, scale=a.scale)
        return Scaled(codes=np.clip(total, -top, top - 1), scale=a.scale)

    def subtract(self, a: Any, b: Any, role: Role, part: int = 0) -> Array:
        """a - b in float32, as are the next three."""
        return self._out(self.backend.subtract(self.values(a), self.values(b), _FLOAT32, self.key))

    def multiply(self, a: Any, b: Any, role: Role, part: int = 0) -> Array:
        """a b."""
        return self._out(self.backend.multiply(self.values(a), self.values(b), _FLOAT32, self.key))

    def divide(self, a: Any, b: Any, role: Role, part: int = 0) -> Array:
        """a / b."""
        return self._out(self.backend.divide(self.values(a), self.values(b), _FLOAT32, self.key))

    def square_root(self, x: Any, role: Role, part: int = 0) -> Array:
        """sqrt(x)."""
        return self._out(self.backend.square_root(self.values(x), _FLOAT32, self.key))

    def scaled_add(self, y: Any, alpha: float, x: Any, part: int = 0) -> Array:
        """y + alpha x in float32: the product rounded, then the sum."""
        return self._out(
            self.backend.scaled_add(self.values(y), np.float32(alpha), self.values(x), _FLOAT32, self.key)
        )

    def exp(self, x: Any, role: Role, part: int = 0) -> Array:
        """e^x, rounded to float32 from a float64 within 1 ulp."""
        return self._out(self.backend.cast(self.backend.exp(self.values(x)), _FLOAT32, self.key))

    def move(self, y: Any, alpha: float, x: Any, part: int = 0) -> Array:
        """y + alpha (x - y) in float32: difference, product and sum rounded."""
        y, x = self.values(y), self.values(x)
        return self._out(self.backend.move(y, np.float32(alpha), x, _FLOAT32, self.key))

    def row_sum(self, x: Any, role: Role, part: int = 0) -> Array:
        """Sum over the last axis in float32, in index order: of losses, not of layers."""
        x = self.values(x)
        sums = self.backend.column_sum(x.reshape(-1, x.shape[-1]).T, _FLOAT32, self.key)
        return self._out(sums.reshape(x.shape[:-1]))

    def smallest(self, role: Role) -> float:
        """Return the least positive float32."""
        return FLOAT32.smallest

    def values(self, x: Any) -> Array:
        """Return the float32 numbers that x stands for."""
        return x.values() if isinstance(x, Scaled) else plain(x)

    def select(self, condition: Array, x: Any) -> Any:
        """x where the condition holds, else +0: exact."""
        if isinstance(x, Scaled):
            return replace(x, codes=self.backend.select(plain(condition), x.codes))
        return self._out(self.backend.select(plain(condition), plain(x)))

    @property
    def _width(self) -> tuple[int, bool]:
        return self.policy.accumulator.bits, self.policy.accumulator.overflow is Overflow.WRAP

    def _note(self, role: Role, overflows: int, additions: int) -> None:
        self.overflows[role.name.lower()] += overflows
        if self.events is not None:
            counts = self._entry(role).counts
            counts[Event.OVERFLOW] += overflows
            counts[Event.ROUNDINGS] += additions

    def _int8(self, x: Any, to: Cast, key: Key, scale: Scale, axis: int | None = None) -> Scaled:
        source = x if isinstance(x, Scaled) else plain(x)
        return quantize_int8(source, to, key, scale=scale, axis=axis, backend=self.backend)

    def _numbers(self, x: Any) -> Any:
        if not isinstance(x, Scaled):
            return plain(x)
        if x.scale.size != 1:
            raise ValueError("numbers of several scales cannot be compared or moved. Requantise them first.")
        return x.codes

    def _holding(self, x: Any, numbers: Any) -> Any:
        if isinstance(x, Scaled):
            return Scaled(codes=numbers, scale=x.scale.reshape(()))
        return self._out(numbers)


_FLOAT32 = Cast(format=FLOAT32)
_EXP = 3
"""Third word of the key under which exp rounds, so that a cast for the same role has other random bits."""


def bind(
    policy: Policy | IntegerPolicy,
    key: Key,
    *,
    strict: bool = False,
    events: EventLog | None = None,
    backend: ModuleType = cpu,
) -> Arithmetic:
    """Return the arithmetic of a policy.

    Raises ValueError where `strict` or `events` asks what the backend cannot do.
    """
    if strict and backend.NAME != cpu.NAME:
        raise ValueError(
            f"strict arithmetic guards NumPy arrays, and those of backend {backend.NAME} are none. "
            f"Choose backend {cpu.NAME}."
        )
    if events is not None and not backend.COUNTS_EVENTS:
        raise ValueError(
            f"--events counts what roundings do, and --backend {backend.NAME} does not. "
            f"Choose --backend {cpu.NAME}, which gives the same bits."
        )
    if isinstance(policy, IntegerPolicy):
        return IntegerArithmetic(policy=policy, key=key, backend=backend, strict=strict, events=events)
    return Arithmetic(policy=policy, key=key, backend=backend, strict=strict, events=events)
