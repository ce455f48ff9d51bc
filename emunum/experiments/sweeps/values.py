"""The values that a grid lists for one option of a run, from the words of a command or a TOML file.

A text lists values with commas between them: "e4m3,e5m2". For whole numbers, "0:30" is range(0, 30) and
"0:30:5" every fifth of them. Booleans are "true" and "false"; "none" stands for an option that is not given,
where the option may be left out. The sizes of a network are one value: "64,32" is one network of two hidden
layers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

from emunum.experiments.config import RunConfig
from emunum.experiments.methods import settled_loss_scale, settled_schedule
from emunum.formats import Format, parse_mode, parse_overflow
from emunum.formats.names import unknown

LIMIT = 100_000
"""Runs of a sweep, and values of a list: beyond it, a range has a slip of the pen."""

_TYPES: Mapping[str, Any] = get_type_hints(RunConfig)
OPTIONS = tuple(_TYPES)
"""What a grid can list: every option of a run."""

_CANONICAL: Mapping[str, Callable[[Any], Any]] = {
    "format": lambda name: Format.from_name(name).name,
    "rounding": lambda name: str(parse_mode(name)),
    "overflow": lambda name: str(parse_overflow(name)),
    "schedule": settled_schedule,
    "loss_scale": settled_loss_scale,
}
"""Spellings of what depends on no other option; RunConfig settles the rest."""


def named(option: str) -> str:
    """The option as it is typed."""
    return "--" + option.replace("_", "-")


def require_known(option: str) -> None:
    """Raise ValueError, which lists the options there are, for any other."""
    if option not in _TYPES:
        raise unknown("option", option, OPTIONS)


def listed(option: str, given: Any) -> tuple[Any, ...]:
    """Return the values of an option: given as a text, a value, or a list of texts and values.

    Each is in its canonical spelling; one that is listed twice comes twice. Raises ValueError naming the
    option for a list without values and for a value that is none of the option's.
    """
    items = given if isinstance(given, list | tuple) else [given]
    if _is_sizes(option) and any(isinstance(item, int) for item in items):
        sizes = ", ".join(map(str, items))
        raise ValueError(
            f"{named(option)} {list(items)} can be read in two ways: write [[{sizes}]] for one network, or a "
            "list of such lists for several."
        )
    values = tuple(value for item in items for value in _values(option, item))
    if not values:
        raise ValueError(f"{named(option)} lists no value: give one, or leave the option out.")
    if len(values) > LIMIT:
        raise ValueError(f"{named(option)} lists {len(values):,} values: {LIMIT:,} are the most.")
    return values


def _values(option: str, item: Any) -> list[Any]:
    if isinstance(item, str):
        words = [item] if _is_sizes(option) else [word.strip() for word in item.split(",")]
        if words == [""] and not _is_sizes(option):
            return []
        if "" in words and not _is_sizes(option):
            raise ValueError(f"{named(option)} {item!r} has an empty place between its commas.")
        return [value for word in words for value in _read(option, word)]
    return [_checked(option, item)]


def _read(option: str, word: str) -> list[Any]:
    """Return what a word stands for: one value, or those of a range."""
    kinds = _kinds(option)
    if word == "none" and type(None) in kinds:
        return [None]
    if int in kinds and ":" in word:
        return list(_range(option, word))
    if bool in kinds:
        if word not in ("true", "false"):
            raise ValueError(f"{named(option)} {word!r} is neither true nor false.")
        return [word == "true"]
    if _is_sizes(option):
        if not re.fullmatch(r"\s*(\d+\s*(,\s*\d+\s*)*)?", word):
            raise ValueError(f"{named(option)} {word!r} is no list of sizes, such as 64,32.")
        return [tuple(int(size) for size in word.split(",") if size.strip())]
    if str not in kinds:
        number = int if int in kinds else float
        try:
            return [number(word)]
        except ValueError:
            what = "whole number, nor a range such as 0:30" if number is int else "number"
            raise ValueError(f"{named(option)} {word!r} is no {what}.") from None
    return [_checked(option, word)]


def _range(option: str, word: str) -> range:
    match = re.fullmatch(r"(-?\d+):(-?\d+)(?::(-?\d+))?", word)
    step = int(match[3] or 1) if match else 0
    if match is None or step == 0:
        raise ValueError(
            f"{named(option)} {word!r} is no range: 0:30 is 0, 1, ..., 29, and 0:30:5 every fifth."
        )
    found = range(int(match[1]), int(match[2]), step)
    if not 0 < len(found) <= LIMIT:
        raise ValueError(f"{named(option)} {word!r} has {len(found):,} values: 1 to {LIMIT:,} make sense.")
    return found


def _checked(option: str, value: Any) -> Any:
    """Return a value of the option's type in its canonical spelling."""
    kinds = _kinds(option)
    if _is_sizes(option):
        if not isinstance(value, list | tuple) or not all(type(size) is int for size in value):
            raise ValueError(f"{named(option)} {value!r} is no list of sizes, such as [64, 32].")
        return tuple(value)
    if float in kinds and type(value) is int:
        value = float(value)
    if type(value) not in kinds:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
        wanted = " or ".join(words[kind] for kind in kinds if kind in words)
        raise ValueError(f"{named(option)} {value!r} has to be {wanted}.")
    try:
        return _CANONICAL.get(option, lambda same: same)(value)
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith("--") else f"{named(option)}: {error}") from None


def _kinds(option: str) -> tuple[Any, ...]:
    return (
        get_args(_TYPES[option]) if not _is_sizes(option) and get_args(_TYPES[option]) else (_TYPES[option],)
    )


def _is_sizes(option: str) -> bool:
    return bool(_TYPES[option] == tuple[int, ...])
