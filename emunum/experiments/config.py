"""Everything a run's result depends on, checked once and written into its record."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any

import numpy as np

from emunum.experiments.datasets import DATASETS, PUBLISHED
from emunum.experiments.datasets.facts import EMBEDDED_FACTS
from emunum.experiments.datasets.samples import Task
from emunum.experiments.methods import (
    DYNAMIC,
    loss_named,
    parse_optimizer,
    settled_loss_scale,
    settled_schedule,
)
from emunum.formats import FLOAT32, Cast, Format, Overflow, parse_mode, parse_overflow
from emunum.formats.names import unknown
from emunum.formats.rounding import DEFAULT_RANDOM_BITS
from emunum.nn.initial import parse_scheme
from emunum.nn.models import DEFAULT_HIDDEN, IMAGE_HIDDEN, build
from emunum.ops.policy import FIXED, INTEGER, IntegerPolicy, Policy, Role, parse_policy
from emunum.ops.scaling import INT8, IntegerAccumulator, Scale

_NO_SCALE = "format {name} cannot hold {what}: it is a scale without zero. Choose another --{option}."
LATER = {
    "order": "sequential", "outer": None, "scale": "absmax", "per_channel": False, "master": "float32",
    "validation_split": 0.0, "patience": None, "loss": "auto", "optimizer": "sgd", "nesterov": False,
    "schedule": "constant", "augment": False, "dropout": None, "train_samples": None,
}  # fmt: skip
"""Options that the first version did not have, and their defaults."""
MASTERS = ("float32", "int8")
_FORWARD = "float8_e4m3fn"
"""The format that a run of --policy hfp8 is listed under."""
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
    order: str = "sequential"
    outer: str | None = None
    scale: str = "absmax"
    per_channel: bool = False
    master: str = "float32"
    model: str = "linear"
    hidden: tuple[int, ...] = ()
    dropout: float | None = None
    epochs: int = 30
    learning_rate: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    optimizer: str = "sgd"
    nesterov: bool = False
    schedule: str = "constant"
    batch_size: int = 32
    test_split: float = 0.2
    validation_split: float = 0.0
    train_samples: int | None = None
    patience: int | None = None
    shuffle: bool = True
    augment: bool = False
    loss: str = "auto"
    loss_scale: float | str = 1.0
    init: str = "torch"
    seed: int = 42
    rounding_seed: int | None = None

    def __post_init__(self) -> None:
        """Check every field and settle on canonical names."""
        shape, task = self.shape_and_task()
        self._settle("format", Format.from_name(self.format).name)
        self._settle("rounding", str(parse_mode(self.rounding)))
        self._settle("overflow", str(parse_overflow(self.overflow)))
        for field in ("accumulator", "outer"):
            if (name := getattr(self, field)) is not None and self.policy != INTEGER:
                self._settle(field, Format.from_name(name).name)
        for field in ("per_channel", "nesterov", "augment"):
            self._settle(field, bool(getattr(self, field)))
        self._settle("order", re.sub(r":0+(?=\d)", ":", self.order))
        parse_scheme(self.init)
        for field in ("epochs", "batch_size"):
            self._settle(field, _whole(field, getattr(self, field), " of at least 1"))
            self._require(getattr(self, field) >= 1, field, "a whole number of at least 1")
        if self.train_samples is not None:
            self._settle("train_samples", _whole("train_samples", self.train_samples, " of at least 1"))
            self._require(self.train_samples >= 1, "train_samples", "a whole number of at least 1")
        for field in ("seed", "rounding_seed"):
            if getattr(self, field) is not None:
                self._settle(field, _whole(field, getattr(self, field)))
                self._require(0 <= getattr(self, field) < SEED_LIMIT, field, "from 0 to 2**32 - 1")
        self._settle("random_bits", _whole("random_bits", self.random_bits))
        self._settle_numbers()
        loss_named(self.loss, task)
        if self.augment and len(shape) == 1:
            raise ValueError(f"--augment moves images, and {self.dataset} is a table: leave it out.")
        hidden = tuple(_whole("hidden", size) for size in self.hidden)
        if self.model == "mlp" and not hidden:
            hidden = DEFAULT_HIDDEN if len(shape) == 1 else IMAGE_HIDDEN
        self._settle("hidden", hidden)
        parse_optimizer(self.optimizer, self.momentum, self.nesterov, self.weight_decay)
        self._settle("schedule", settled_schedule(self.schedule))
        build(self.model, shape, 1, self.hidden or None, self.dropout)
        self._check(self.build_policy())  # which checks names and random_bits

    def shape_and_task(self) -> tuple[tuple[int, ...], Task]:
        """Shape of a sample, and what is to be learned from it."""
        if self.dataset not in DATASETS:
            raise unknown("dataset", self.dataset, DATASETS)
        if self.dataset in PUBLISHED:
            return PUBLISHED[self.dataset].shape, "classification"
        facts = EMBEDDED_FACTS[self.dataset]
        return facts.shape, facts.task

    def _settle_numbers(self) -> None:
        for field in ("learning_rate", "momentum", "weight_decay", "test_split", "validation_split"):
            self._settle(field, float(getattr(self, field)))
        if self.dropout is not None:
            self._settle("dropout", float(self.dropout))
        self._settle("loss_scale", settled_loss_scale(self.loss_scale))
        scale = 1.0 if self.loss_scale == DYNAMIC else float(self.loss_scale)
        for field, number in (("learning_rate", self.learning_rate), ("loss_scale", scale)):
            self._require(0 < number < math.inf, field, "a finite number above 0")
        self._require(0 <= self.momentum < 1, "momentum", "at least 0 and below 1")
        self._require(0 <= self.weight_decay < math.inf, "weight_decay", "a finite number of at least 0")
        self._require(0 < self.test_split < 1, "test_split", "between 0 and 1")
        self._require(0 <= self.validation_split < 1, "validation_split", "at least 0 and below 1")
        if self.patience is not None:
            self._settle("patience", _whole("patience", self.patience, " of at least 1"))
            self._require(self.patience >= 1, "patience", "a whole number of at least 1")
            if self.validation_split == 0:
                raise ValueError(
                    f"--patience {self.patience} waits for a better validation loss: give --validation-split."
                )
        for field, constant in (
            ("learning_rate", self.learning_rate),
            ("momentum", self.momentum),
            ("weight_decay", self.weight_decay),
            ("loss_scale", scale),
            ("loss_scale", 1 / scale),
        ):
            self._require(_survives(constant), field, "neither 0 nor infinite as the float32 constant it is")

    def _check(self, policy: Policy | IntegerPolicy) -> None:
        if isinstance(policy, IntegerPolicy):
            if self.loss_scale == DYNAMIC:
                raise ValueError(
                    "--loss-scale 'dynamic' is for floats: int8 tensors have scales of their own."
                )
            return
        for role in (Role.ERROR, Role.GRADIENT):
            cast = policy.roles[role]
            if self.loss_scale == DYNAMIC and cast.rule in (Overflow.SATURATE, Overflow.WRAP):
                raise ValueError(
                    f"--loss-scale 'dynamic' goes down where gradients overflow to Inf or NaN, and "
                    f"{cast.format} saturates here. Give --overflow ieee, or a number."
                )
        for role, cast in policy.roles.items():
            if not cast.format.has_zero:
                what = f"a network's {role.name.lower()} values"
                raise ValueError(_NO_SCALE.format(name=self.format, what=what, option="format"))
        for option, cast in (("accumulator", policy.accumulator.cast), ("outer", policy.accumulator.last)):
            if not cast.format.has_zero:
                raise ValueError(_NO_SCALE.format(name=cast.format, what="sums", option=option))

    @property
    def cast(self) -> Cast:
        """The rounding into the run's format."""
        return Cast.from_names(self.format, self.rounding, self.overflow, self.random_bits)

    @property
    def sha256(self) -> str:
        """SHA-256 of every field as JSON with sorted keys."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()

    @property
    def run_id(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the configuration as JSON with sorted keys.

        Options that came later count only where they are given, so that older runs keep their names.
        """
        named = {key: value for key, value in self.as_dict().items() if LATER.get(key, ...) != value}
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:12]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self) | {"hidden": list(self.hidden)}

    def build_policy(self) -> Policy | IntegerPolicy:
        """Return what rounds every role, and every sum."""
        if self.policy == INTEGER:
            return self._integer_policy()
        if self.policy == FIXED:
            self._settle_fixed()
        policy = parse_policy(self.policy, self.cast)
        for field in ("scale", "per_channel", "master"):
            given = getattr(self, field)
            if given != type(self).__dataclass_fields__[field].default:
                raise ValueError(f"{_option(field)} {given!r} is for --policy int8: {self.policy} has none.")
        if (self.accumulator, self.order, self.outer) == (None, "sequential", None):
            return policy
        formats = (
            None if name is None else Format.from_name(name) for name in (self.accumulator, self.outer)
        )
        accumulator, outer = formats
        return policy.with_accumulator(accumulator, self.order, outer)

    def _settle_fixed(self) -> None:
        if self.format not in ("float32", _FORWARD):
            raise ValueError(
                f"--format {self.format!r} with --policy hfp8: its formats are e4m3 forward, e5m2 backward "
                "and e6m9 for sums. Leave --format out."
            )
        self._settle("format", _FORWARD)
        for field, default in (("accumulator", None), ("order", "sequential"), ("outer", None)):
            if (given := getattr(self, field)) != default:
                raise ValueError(
                    f"{_option(field)} {given!r} with --policy hfp8: its sums are e6m9, in chunks of 64."
                )

    def _integer_policy(self) -> IntegerPolicy:
        if self.format not in ("float32", INTEGER):
            raise ValueError(f"--format {self.format!r} with --policy int8: its tensors are int8.")
        self._settle("format", INTEGER)
        if self.order != "sequential" or self.outer is not None:
            raise ValueError("--order and --outer are for float sums: those of --policy int8 are integers.")
        if self.overflow in (Overflow.IEEE, Overflow.PROPAGATE):
            raise ValueError(f"--overflow {self.overflow!r}: integers saturate (auto does, too) or wrap.")
        width = re.fullmatch(r"int(\d{1,2})", self.accumulator or "int32")
        if width is None:
            raise ValueError(
                f"--accumulator {self.accumulator!r} with --policy int8: its sums are int2..int32."
            )
        if self.accumulator is not None:
            self._settle("accumulator", f"int{int(width[1])}")
        if self.scale not in list(Scale):
            raise unknown("scale", self.scale, Scale)
        if self.master not in MASTERS:
            raise unknown("master", self.master, MASTERS)
        overflow = Overflow.WRAP if self.overflow == Overflow.WRAP else Overflow.SATURATE
        return IntegerPolicy(
            name=INTEGER,
            cast=Cast(format=INT8, mode=parse_mode(self.rounding), random_bits=self.random_bits),
            accumulator=IntegerAccumulator(bits=int(width[1]), overflow=overflow),
            scale=Scale(self.scale),
            per_channel=self.per_channel,
            integer_master=self.master == INTEGER,
        )

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
