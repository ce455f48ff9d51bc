"""A configuration as the command that runs it."""

from __future__ import annotations

import shlex
from typing import Any

from emunum.experiments.config import RunConfig
from emunum.experiments.defaults import configure

_NEGATIVE = {"shuffle": "--no-shuffle", "per_channel": "--per-tensor"}
"""What says no to an option that is on."""


def arguments_of(config: RunConfig, *, without: frozenset[str] = frozenset()) -> list[str]:
    """Return the options of `emunum run` that say something, in the order of the fields.

    What the data set and other options imply is left out: --policy int8 means --format int8. Fields in
    `without` are never named.
    """
    fields = {key: value for key, value in config.as_dict().items() if value is not None}
    usual = configure(dataset=config.dataset, policy=config.policy).as_dict()
    given = {key: value for key, value in fields.items() if value != usual[key]}
    given |= {"dataset": config.dataset, "policy": config.policy}
    if not _means(given, config):
        given = fields
    for key in [key for key in given if key != "dataset"]:
        rest = {other: value for other, value in given.items() if other != key}
        if _means(rest, config):
            given = rest
    names = [key for key in fields if key in given and key not in without]
    return [word for key in names for word in _option(key, given[key])]


def command_of(config: RunConfig, *, without: frozenset[str] = frozenset()) -> str:
    """Return `emunum run` with those options, quoted for a shell."""
    return shlex.join(["emunum", "run", *arguments_of(config, without=without)])


def _means(options: dict[str, Any], config: RunConfig) -> bool:
    try:
        return configure(**options) == config
    except ValueError:
        return False


def _option(key: str, value: Any) -> list[str]:
    name = "--" + key.replace("_", "-")
    if isinstance(value, bool):
        return [name if value else _NEGATIVE[key]]
    return [name, ",".join(map(str, value)) if isinstance(value, list) else str(value)]
