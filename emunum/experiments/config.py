"""Everything a run's result depends on, checked once and written into its record."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any

import numpy as np

from emunum.experiments.datasets import DATASETS
from emunum.formats import FLOAT32, Cast, Format, parse_mode, parse_overflow
from emunum.formats.names import unknown
from emunum.formats.rounding import DEFAULT_RANDOM_BITS
from emunum.nn.initial import parse_scheme
from emunum.nn.models import DEFAULT_HIDDEN, build
from emunum.ops.policy import Policy, parse_policy

_NO_SCALE = "format {name} cannot hold {what}: it is a scale without zero. Choose another --{option}."
SEED_LIMIT = 2**32  # MT19937 and scikit-learn take no more


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """A training run: equal configurations end in equal weights, on any machine, for any thread count.

    Names are replaced by their canonical spelling. `seed` decides the split, the initial weights, the
    order of the samples and, unless `rounding_seed` is given, the random bits of stochastic rounding.
    Raises ValueError naming the first value that makes no sense, and its option.
    """

    dataset: str = "diabetes"
    format: str = "float32"
    rounding: str = "nearest_even"
    overflow: str = "auto"
    random_bits: int = DEFAULT_RANDOM_BITS
    policy: str = "full"
    accumulator: str | None = None
    model: str = "linear"
    hidden: tuple[int, ...] = ()
    epochs: int = 30
    learning_rate: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 32
    test_split: float = 0.2
    shuffle: bool = True
    loss_scale: float = 1.0
    init: str = "torch"
    seed: int = 42
    rounding_seed: int | None = None

    def __post_init__(self) -> None:
        """Check every field and settle on canonical names."""
        if self.dataset not in DATASETS:
            raise unknown("dataset", self.dataset, DATASETS)
        self._settle("format", Format.from_name(self.format).name)
        self._settle("rounding", str(parse_mode(self.rounding)))
        self._settle("overflow", str(parse_overflow(self.overflow)))
        if self.accumulator is not None:
            self._settle("accumulator", Format.from_name(self.accumulator).name)
        parse_scheme(self.init)
        for field in ("epochs", "batch_size"):
            self._settle(field, _whole(field, getattr(self, field), " of at least 1"))
            self._require(getattr(self, field) >= 1, field, "a whole number of at least 1")
        for field in ("seed", "rounding_seed"):
            if getattr(self, field) is not None:
                self._settle(field, _whole(field, getattr(self, field)))
                self._require(0 <= getattr(self, field) < SEED_LIMIT, field, "from 0 to 2**32 - 1")
        self._settle("random_bits", _whole("random_bits", self.random_bits))
        hidden = tuple(_whole("hidden", size) for size in self.hidden)
        self._settle("hidden", hidden or (DEFAULT_HIDDEN if self.model == "mlp" else ()))
        for field in ("learning_rate", "momentum", "weight_decay", "test_split", "loss_scale"):
            self._settle(field, float(getattr(self, field)))
        for field in ("learning_rate", "loss_scale"):
            self._require(0 < getattr(self, field) < math.inf, field, "a finite number above 0")
        self._require(0 <= self.momentum < 1, "momentum", "at least 0 and below 1")
        self._require(0 <= self.weight_decay < math.inf, "weight_decay", "a finite number of at least 0")
        self._require(0 < self.test_split < 1, "test_split", "between 0 and 1")
        for field, constant in (
            ("learning_rate", self.learning_rate),
            ("momentum", self.momentum),
            ("weight_decay", self.weight_decay),
            ("loss_scale", self.loss_scale),
            ("loss_scale", 1 / self.loss_scale),
        ):
            self._require(_survives(constant), field, "neither 0 nor infinite as the float32 constant it is")
        build(self.model, 1, 1, self.hidden)
        policy = self.build_policy()  # checks its name and random_bits
        for role, cast in policy.roles.items():
            if not cast.format.has_zero:
                what = f"a network's {role.name.lower()} values"
                raise ValueError(_NO_SCALE.format(name=self.format, what=what, option="format"))
        if not policy.accumulator.format.has_zero:
            raise ValueError(_NO_SCALE.format(name=self.accumulator, what="sums", option="accumulator"))

    @property
    def cast(self) -> Cast:
        """The rounding into the run's format."""
        return Cast.from_names(self.format, self.rounding, self.overflow, self.random_bits)

    @property
    def run_id(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the configuration as JSON with sorted keys."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self) | {"hidden": list(self.hidden)}

    def build_policy(self) -> Policy:
        """Return the casts of every role."""
        policy = parse_policy(self.policy, self.cast)
        if self.accumulator is None:
            return policy
        return policy.with_accumulator(Format.from_name(self.accumulator))

    def _settle(self, field: str, value: object) -> None:
        object.__setattr__(self, field, value)

    def _require(self, holds: bool, field: str, must_be: str) -> None:
        if not holds:
            value = getattr(self, field)
            raise ValueError(f"{_option(field)} {value!r} is out of range: it must be {must_be}.")


def _option(field: str) -> str:
    return "--" + field.replace("_", "-")


def _whole(field: str, value: object, least: str = "") -> int:
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise ValueError(f"{_option(field)} {value!r} is out of range: it must be a whole number{least}.")
    return int(value)


def _survives(constant: float) -> bool:
    """Whether a constant is still itself, not 0 and not infinite, as a float32."""
    return constant == 0 or (abs(constant) <= FLOAT32.max and float(np.float32(constant)) != 0)
