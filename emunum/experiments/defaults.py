"""What an option is where it was not given: what suits the data set, and never something hidden.

Tables have RunConfig's own defaults, those of the regression study. Images have a convolutional network, and
a recipe that trains it: Adam, or, where the policy rounds the optimizer's state too (`full`), SGD with
momentum, for Adam's average of g^2 ends at 0 in a narrow format. In formats whose small numbers end early,
the loss of images is scaled. Whatever is settled here is in the configuration, and so in every record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

from emunum.experiments.config import RunConfig
from emunum.ops.policy import IntegerPolicy, Policy, Role

_OPTIMIZERS = ("optimizer", "momentum", "nesterov")
_ADAM_RATE = 1e-3
_WIDE = 2.0**-30
"""Formats that reach below this need no loss scale: errors of a batch begin a little below 2^-8."""

_IMAGES: dict[str, Any] = {
    "model": "cnn",
    "optimizer": "adam",
    "learning_rate": _ADAM_RATE,
    "batch_size": 128,
}
_FULL: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.1}
_RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "digits": _IMAGES | {"learning_rate": 2e-3, "batch_size": 16, "epochs": 10},
        "mnist": _IMAGES | {"epochs": 3},
        "fashion_mnist": _IMAGES | {"epochs": 5},
        "cifar10": _IMAGES | {"model": "cifar_quick", "epochs": 5},
        "cifar100": _IMAGES | {"model": "cifar_quick", "epochs": 5},
    }
)

PLAIN: Mapping[str, Any] = MappingProxyType({field.name: field.default for field in fields(RunConfig)})
"""RunConfig's own defaults."""


def configure(**given: Any) -> RunConfig:
    """Return the configuration with the options that are given, and for the others what suits the data set.

    Where one of optimizer, momentum and nesterov is given, the recipe's optimizer does not apply: the rate
    is then 0.001 for adam and RunConfig's for sgd. Raises ValueError as RunConfig does.
    """
    dataset, policy = (given.get(name, PLAIN[name]) for name in ("dataset", "policy"))
    if dataset not in _RECIPES:
        return RunConfig(**given)
    config = RunConfig(**_recipe(dataset, policy, given) | given)
    if "loss_scale" in given:
        return config
    return replace(config, loss_scale=loss_scale_for(config.build_policy()))


def loss_scale_for(policy: Policy | IntegerPolicy) -> float:
    """Return the factor on the loss gradient of a classification: 1024 where errors are narrow, or else 1.

    64 where the update has to undo it in a narrow format as well. int8 tensors have scales of their own.
    """
    if isinstance(policy, IntegerPolicy) or not _narrow(policy, Role.ERROR):
        return 1.0
    return 64.0 if _narrow(policy, Role.UPDATE) else 1024.0


def _narrow(policy: Policy, role: Role) -> bool:
    return policy.roles[role].format.smallest > _WIDE


def _recipe(dataset: str, policy: str, given: Mapping[str, Any]) -> dict[str, Any]:
    recipe = dict(_RECIPES[dataset])
    if any(given.get(name) for name in _OPTIMIZERS):
        del recipe["optimizer"], recipe["learning_rate"]
        return recipe | ({"learning_rate": _ADAM_RATE} if given.get("optimizer") == "adam" else {})
    return recipe | (_FULL if policy == "full" else {})
