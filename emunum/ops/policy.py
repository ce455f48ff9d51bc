"""Which format each tensor and each operation of a training run uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from types import MappingProxyType

from emunum.formats import FLOAT32, NAMED, Accumulator, Cast, Format, Mode, parse_accumulator, parse_format
from emunum.formats.names import unknown
from emunum.ops.scaling import IntegerAccumulator, Scale


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

    `product` rounds each product of a matrix product (None: products stay exact). `accumulator` adds them
    up, in its order and formats, and so do all sums over samples. `elementwise` rounds the arithmetic of
    layers and losses (bias, y - t, 2 (y - t) / n).
    """

    name: str
    product: Cast | None
    accumulator: Accumulator
    elementwise: Cast
    roles: Mapping[Role, Cast]

    def with_accumulator(
        self, format: Format | None = None, order: str = "sequential", outer: Format | None = None
    ) -> Policy:
        """Return this policy with its sums in another format or order, rounded the same way.

        Elementwise arithmetic goes where the sums end; beside a tensor core, in float32 (or float16).
        Raises ValueError for an unknown order, and for a tensor core beside rounded products.
        """
        inner = replace(self.accumulator.cast, format=format or self.accumulator.cast.format)
        accumulator = parse_accumulator(order, inner, None if outer is None else replace(inner, format=outer))
        if accumulator.core is not None and self.product is not None:
            raise ValueError(
                f"policy {self.name} rounds products to {self.product.format}, and tensor core "
                f"{accumulator.core.name} keeps them exact. Choose --policy mixed."
            )
        elementwise = accumulator.last if accumulator.core is None else inner
        return replace(self, accumulator=accumulator, elementwise=elementwise)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerPolicy:
    """int8 tensors with scales, exact products in integer sums, float32 between them.

    `cast` rounds into int8 (its mode), `master` is how weights are kept between steps: float32, or int8
    values times a power of two, updated stochastically, for a smaller step than one would be lost.
    """

    name: str
    cast: Cast
    accumulator: IntegerAccumulator
    scale: Scale
    per_channel: bool
    integer_master: bool

    @property
    def master(self) -> Cast:
        """The rounding of weights kept as int8."""
        return replace(self.cast, mode=Mode.STOCHASTIC)


_FLOAT32 = Cast(format=FLOAT32)
_HFP8 = (NAMED["float8_e4m3fn"], NAMED["float8_e5m2"], parse_format("e6m9"))


def _full(cast: Cast) -> Policy:
    """Everything in the one format, master weights too."""
    return _policy("full", cast, cast, _roles(cast))


def _mixed(cast: Cast) -> Policy:
    """The operands of every matrix product in the format; exact products, float32 sums and weights."""
    # Gradients go straight into the float32 update: no product takes them.
    wide = dict.fromkeys((Role.GRADIENT, Role.UPDATE, Role.MASTER), _FLOAT32)
    narrow = _roles(cast, wide)
    return _policy("mixed", None, _FLOAT32, narrow)


def _output(cast: Cast) -> Policy:
    """float32 everywhere; only what layers hand on, forward and backward, is rounded to the format."""
    roles = _roles(_FLOAT32, {Role.ACTIVATION: cast, Role.ERROR: cast})
    return _policy("output", _FLOAT32, _FLOAT32, roles)


def _input(cast: Cast) -> Policy:
    """float32 everywhere; only what enters the network is rounded to the format."""
    return _policy("input", _FLOAT32, _FLOAT32, _roles(_FLOAT32, {Role.INPUT: cast}))


def _hfp8(cast: Cast) -> Policy:
    """e4m3 forward, e5m2 backward; exact products, e6m9 sums in chunks of 64; float32 weights and update.

    Formats in place of the cast's own. Source: Sun et al. (NeurIPS 2019), whose update is not float32.
    """
    forward, backward, sums = (replace(cast, format=format) for format in _HFP8)
    roles = dict.fromkeys((Role.GRADIENT, Role.UPDATE, Role.MASTER), _FLOAT32) | {Role.ERROR: backward}
    policy = _policy("hfp8", None, sums, _roles(forward, roles))
    return policy.with_accumulator(order="chunked:64")


def _policy(name: str, product: Cast | None, sums: Cast, roles: Mapping[Role, Cast]) -> Policy:
    accumulator = Accumulator(cast=sums)
    return Policy(name=name, product=product, accumulator=accumulator, elementwise=sums, roles=roles)


def _roles(cast: Cast, exceptions: Mapping[Role, Cast] | None = None) -> Mapping[Role, Cast]:
    return MappingProxyType(dict.fromkeys(Role, cast) | dict(exceptions or {}))


POLICIES: Mapping[str, Callable[[Cast], Policy]] = MappingProxyType(
    {"full": _full, "mixed": _mixed, "output": _output, "input": _input, "hfp8": _hfp8}
)


INTEGER = "int8"
FIXED = "hfp8"
"""The policy whose formats are its own: of the cast it is given, it takes everything else."""
NAMES = (*POLICIES, INTEGER)


def parse_policy(name: str, cast: Cast) -> Policy:
    """Return the policy called `name` for a format and its rounding; ValueError if there is none."""
    if name not in POLICIES:
        raise unknown("policy", name, NAMES)
    return POLICIES[name](cast)
