"""What a network takes to keep: bytes of its weights and activations, from the bits of a value."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from emunum.kernels import cpu
from emunum.kernels.random import Key
from emunum.nn.layers import Array, Params
from emunum.nn.sequential import Sequential
from emunum.ops.arithmetic import Arithmetic, IntegerArithmetic
from emunum.ops.policy import IntegerPolicy, Policy, Role
from emunum.ops.scaling import Scaled

_FLOAT32_BITS = 32
_SCALE_BITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Bytes of the weights and of a batch's activations as a policy keeps them, and in float32.

    Weights are the tensors that the forward pass reads as such, in the format of their role; master weights
    and the optimizer's state are not among them. Activations are the network's input and whatever it rounds
    to activations on the way: what ReLU, pooling and dropout select from them is not counted again. A
    tensor of n values in a format of b bits takes n b bits; one of int8 values has 32 more for each of its
    scales, and its biases stay float32. Bits are added up and rounded up to a byte.
    """

    weight_bytes: int
    weight_float32_bytes: int
    activation_bytes: int
    activation_float32_bytes: int


def storage(
    model: Sequential,
    params: list[Params],
    policy: Policy | IntegerPolicy,
    sample: Array,
    batch: int,
    backend: ModuleType = cpu,
) -> Storage:
    """Measure a forward pass of one sample (1, ...), and return what `batch` of them would take."""
    kind = _WatchedIntegers if isinstance(policy, IntegerPolicy) else _WatchedFloats
    arith = kind(policy=policy, key=Key(0), backend=backend)  # type: ignore[arg-type]
    model.forward(arith, params, arith.cast(Role.INPUT, sample), training=False)
    weights, activations = arith.seen[Role.WEIGHT], arith.seen[Role.INPUT] + arith.seen[Role.ACTIVATION]
    return Storage(
        weight_bytes=-(-(weights["values"] + weights["scales"]) // 8),
        weight_float32_bytes=-(-weights["float32"] // 8),
        activation_bytes=-(-(batch * activations["values"] + activations["scales"]) // 8),
        activation_float32_bytes=-(-batch * activations["float32"] // 8),
    )


def _seen() -> dict[Role, Counter[str]]:
    return {role: Counter() for role in Role}


@dataclass(frozen=True, slots=True, kw_only=True)
class _WatchedFloats(Arithmetic):
    """Arithmetic that notes the bits of what it casts, by role."""

    seen: dict[Role, Counter[str]] = field(default_factory=_seen)

    def cast(self, role: Role, x: Array, part: int = 0) -> Array:
        """Cast, and count the values."""
        bits = self.policy.roles[role].format.bits
        self.seen[role].update(values=x.size * bits, float32=x.size * _FLOAT32_BITS)
        return Arithmetic.cast(self, role, x, part)


@dataclass(frozen=True, slots=True, kw_only=True)
class _WatchedIntegers(IntegerArithmetic):
    """The same of integers with scales."""

    seen: dict[Role, Counter[str]] = field(default_factory=_seen)

    def cast(self, role: Role, x: Any, part: int = 0) -> Any:
        """Cast, and count the values and scales."""
        out = IntegerArithmetic.cast(self, role, x, part)
        if isinstance(out, Scaled):
            size, scales = out.codes.size, out.scale.size
            bits = self.policy.cast.format.bits * size
        else:
            size, scales = out.size, 0
            bits = _FLOAT32_BITS * size
        self.seen[role].update(values=bits, scales=_SCALE_BITS * scales, float32=_FLOAT32_BITS * size)
        return out
