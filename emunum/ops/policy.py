"""Which format each tensor and each operation of a training run uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from types import MappingProxyType

from emunum.formats import FLOAT32, Cast, Format
from emunum.formats.names import unknown


class Role(IntEnum):
    """What a tensor is to training. The number is part of the random counter: never renumber."""

    INPUT = 0
    """Features and targets as they enter the network."""
    WEIGHT = 1
    """Weights and biases as operands."""
    ACTIVATION = 2
    """What a layer hands on."""
    ERROR = 3
    """Gradient of the loss with respect to activations."""
    GRADIENT = 4
    """Gradient of the loss with respect to weights."""
    UPDATE = 5
    """Optimizer arithmetic and state."""
    MASTER = 6
    """Weights as they are kept between steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A cast for every role, and for the arithmetic between them.

    `product` rounds each product of a matrix product (None: products stay exact). `accumulator` rounds
    each partial sum, and the elementwise arithmetic of layers and losses (bias, y - t, 2 (y - t) / n).
    """

    name: str
    product: Cast | None
    accumulator: Cast
    roles: Mapping[Role, Cast]

    def with_accumulator(self, format: Format) -> Policy:
        """Return this policy with its partial sums in another format, rounded the same way."""
        return replace(self, accumulator=replace(self.accumulator, format=format))


_FLOAT32 = Cast(format=FLOAT32)


def _full(cast: Cast) -> Policy:
    """Everything in the one format, master weights too."""
    return Policy(name="full", product=cast, accumulator=cast, roles=_roles(cast))


def _mixed(cast: Cast) -> Policy:
    """The operands of every matrix product in the format; exact products, float32 sums and weights."""
    # Gradients go straight into the float32 update: no product takes them.
    wide = dict.fromkeys((Role.GRADIENT, Role.UPDATE, Role.MASTER), _FLOAT32)
    narrow = _roles(cast, wide)
    return Policy(name="mixed", product=None, accumulator=_FLOAT32, roles=narrow)


def _output(cast: Cast) -> Policy:
    """float32 everywhere; only what layers hand on, forward and backward, is rounded to the format."""
    roles = _roles(_FLOAT32, {Role.ACTIVATION: cast, Role.ERROR: cast})
    return Policy(name="output", product=_FLOAT32, accumulator=_FLOAT32, roles=roles)


def _roles(cast: Cast, exceptions: Mapping[Role, Cast] | None = None) -> Mapping[Role, Cast]:
    return MappingProxyType(dict.fromkeys(Role, cast) | dict(exceptions or {}))


POLICIES: Mapping[str, Callable[[Cast], Policy]] = MappingProxyType(
    {"full": _full, "mixed": _mixed, "output": _output}
)


def parse_policy(name: str, cast: Cast) -> Policy:
    """Return the policy called `name` for a format and its rounding; ValueError if there is none."""
    if name not in POLICIES:
        raise unknown("policy", name, POLICIES)
    return POLICIES[name](cast)
