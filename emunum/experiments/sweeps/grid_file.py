"""A grid in a file: a TOML table of options, each with a value or a list of values (see values.py).

    dataset = "diabetes"
    format = ["e4m3", "e5m2", "e6m9"]
    rounding = ["nearest", "stochastic"]
    seed = "0:30"

    [[exclude]]                     # combinations that are left out: all of its options have to agree
    format = "e6m9"
    rounding = "stochastic"

    [[override]]                    # where all of `when` agree, `set` replaces; a list there multiplies
    when = {format = ["e4m3", "e5m2"]}
    set = {loss_scale = 64, learning_rate = [0.01, 0.02]}

    [[grid]]                        # several products: each has the options above and its own
    policy = ["full", "mixed"]

    [[grid]]
    policy = "hfp8"
    format = "float32"

Tables of exclude and override are taken from top to bottom, all of exclude first; options that a grid does
not list have the values of `emunum run`. Combinations that are one configuration are one run.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from emunum.experiments.sweeps.grid import Grid, Lists, Override, lists_of
from emunum.formats.names import unknown

_TABLES = ("exclude", "override", "grid")


def read_grid(path: Path) -> Grid:
    """Return the grid in a TOML file. Raises ValueError naming the file and what is wrong, or OSError."""
    try:
        return _grid(tomllib.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None


def _grid(table: dict[str, Any]) -> Grid:
    tables = {name: _tables(name, table.pop(name, [])) for name in _TABLES}
    shared = _lists("", table)
    own = [_lists(f"[[grid]] {at}: ", entry) for at, entry in enumerate(tables["grid"], 1)]
    return Grid(
        products=tuple({**shared, **lists} for lists in own or [{}]),
        excluded=tuple(_excluded(at, entry) for at, entry in enumerate(tables["exclude"], 1)),
        overrides=tuple(_override(at, entry) for at, entry in enumerate(tables["override"], 1)),
    )


def _tables(name: str, entry: Any) -> list[dict[str, Any]]:
    if not isinstance(entry, list) or not all(isinstance(part, dict) for part in entry):
        raise ValueError(f"{name} has to be one table or more: write [[{name}]].")
    return entry


def _excluded(at: int, entry: dict[str, Any]) -> Lists:
    if not entry:
        raise ValueError(f"[[exclude]] {at} is empty: it would leave out everything.")
    return _lists(f"[[exclude]] {at}: ", entry)


def _override(at: int, entry: dict[str, Any]) -> Override:
    where = f"[[override]] {at}: "
    for name in entry:
        if name not in ("when", "set"):
            raise ValueError(f"{where}{unknown('table', name, ('when', 'set'))}")
    parts = {name: entry.get(name) for name in ("when", "set")}
    for name, part in parts.items():
        if not isinstance(part, dict) or not part:
            raise ValueError(
                f'{where}it needs a table {name} with options, such as {name} = {{policy = "full"}}.'
            )
    return Override(when=_lists(where, parts["when"]), set=_lists(where, parts["set"]))


def _lists(where: str, entry: Any) -> Lists:
    try:
        return lists_of(entry)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None
