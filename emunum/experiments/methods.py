"""How a configuration's words become a loss, an optimizer, a schedule and a loss scaling."""

from __future__ import annotations

from typing import Literal

from emunum.formats.names import unknown
from emunum.nn.loss import LOSSES
from emunum.nn.loss_scaling import ConstantScaling, DynamicScaling
from emunum.nn.optim import SGD, Adam, Optimizer
from emunum.nn.schedule import SCHEDULES, Constant, Cosine, Schedule, Step

AUTO, DYNAMIC = "auto", "dynamic"
OPTIMIZERS = ("sgd", "adam")
_STEP = "step:EPOCHS:FACTOR, such as step:10:0.5, needs a whole number of at least 1 and a factor in (0, 1]"


def loss_named(name: str, task: Literal["regression", "classification"]) -> str:
    """Return the loss that `name` means: `auto` is mse for regressions and cross_entropy for classes.

    Raises ValueError where there is no such loss, and for cross_entropy of a regression.
    """
    if name == AUTO:
        return "mse" if task == "regression" else "cross_entropy"
    if name not in LOSSES:
        raise unknown("loss", name, (AUTO, *LOSSES))
    if name == "cross_entropy" and task == "regression":
        raise ValueError("--loss 'cross_entropy' is for classes: these data are a regression. Choose mse.")
    return name


def parse_optimizer(name: str, momentum: float, nesterov: bool, weight_decay: float) -> Optimizer:
    """Return the optimizer called `name`. Raises ValueError where an option is not one of its own."""
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    if name == "adam":
        if momentum or nesterov:
            raise ValueError("--momentum and --nesterov are for --optimizer sgd: adam has its own averages.")
        return Adam(weight_decay=weight_decay)
    if nesterov and momentum == 0:
        raise ValueError("--nesterov needs --momentum: choose one above 0, such as 0.9.")
    return SGD(momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)


def parse_schedule(text: str) -> Schedule:
    """Return the schedule of the learning rate: constant, cosine or step:EPOCHS:FACTOR."""
    name, *numbers = text.split(":")
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    if name == "step":
        try:
            every, factor = numbers
            return Step(every=int(every), factor=float(factor))
        except ValueError:
            raise ValueError(f"--schedule {text!r}: {_STEP}.") from None
    if numbers:
        raise ValueError(f"--schedule {text!r}: {name} takes no numbers.")
    return Constant() if name == "constant" else Cosine()


def parse_loss_scale(value: float | str) -> ConstantScaling | DynamicScaling:
    """Return the scaling of the loss gradient: a constant factor, or dynamic."""
    return DynamicScaling() if isinstance(value, str) else ConstantScaling(scale=value)


def settled_loss_scale(value: float | str) -> float | str:
    """Return a number as a float, or "dynamic"; ValueError for what is neither."""
    if value == DYNAMIC:
        return DYNAMIC
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"--loss-scale {value!r} is neither a number nor {DYNAMIC!r}.") from None


def settled_schedule(text: str) -> str:
    """Return the canonical spelling of a schedule's name."""
    schedule = parse_schedule(text)
    return f"step:{schedule.every}:{schedule.factor!r}" if isinstance(schedule, Step) else text
