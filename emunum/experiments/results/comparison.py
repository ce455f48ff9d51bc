"""Two runs side by side: the options and results in which their records differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from emunum.experiments.config import RunConfig
from emunum.experiments.results.collection import flat, read_collection

SURROUNDINGS = (
    "schema_version", "wall_s", "started", "resumed", "threads", "backend", "device", "emunum_version",
    "numpy_version", "numba_version", "scikit_learn_version", "python_version", "platform",
)  # fmt: skip
"""What says where and when a run was, and no result depends on."""
_OPTIONS = {field.name for field in fields(RunConfig)} | {"run_id", "format_max", "overflow_applied"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The keys in which two records differ, with both values; None where one lacks a key."""

    configuration: Mapping[str, tuple[Any, Any]]
    result: Mapping[str, tuple[Any, Any]]
    surroundings: Mapping[str, tuple[Any, Any]]
    first_epoch: int | None
    """The first epoch in which a loss or accuracy differs, where both have a history."""

    @property
    def same_result(self) -> bool:
        """Whether no result differs, weights included."""
        return not self.result


def find_run(text: str) -> dict[str, Any]:
    """Return the record of a run's directory, a record.json, or DIR:PREFIX, the start of a run_id in DIR.

    Raises ValueError where there is none, or more than one.
    """
    place, prefix = text, ""
    if not Path(text).exists() and ":" in text:
        place, prefix = text.rsplit(":", 1)
    if not Path(place).exists():
        raise ValueError(f"{place} does not exist. RUN is a run's directory, its record.json, or DIR:RUN_ID.")
    records = {record.get("run_id"): record for record in read_collection(Path(place))}
    found = [record for name, record in records.items() if str(name).startswith(prefix)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(record.get("run_id")) for record in found[:4])
    if not found:
        raise ValueError(f"{place} has no run {prefix!r}. 'emunum records {place}' lists those there are.")
    more = ", ..." if len(found) > 4 else ""
    raise ValueError(f"{text} means {len(found)} runs ({names}{more}). Name one: {place}:{names[:6]}, say.")


def compare(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Comparison:
    """Return what differs between two records."""
    a, b = flat(ours), flat(theirs)
    keys = list(dict.fromkeys([*a, *b]))
    different = {key: (a.get(key), b.get(key)) for key in keys if a.get(key) != b.get(key)}
    surroundings = {key: both for key, both in different.items() if key in SURROUNDINGS}
    configuration = {key: both for key, both in different.items() if key in _OPTIONS}
    return Comparison(
        configuration=configuration,
        result={k: both for k, both in different.items() if k not in surroundings and k not in configuration},
        surroundings=surroundings,
        first_epoch=_first_difference(ours.get("history", ()), theirs.get("history", ())),
    )


def _first_difference(ours: Any, theirs: Any) -> int | None:
    if not ours or not theirs:
        return None
    for one, other in zip(ours, theirs, strict=False):
        keys = ("train_loss", "validation_loss", "validation_accuracy")
        if any(one.get(key) != other.get(key) for key in keys):
            return int(one["epoch"])
    return None if len(ours) == len(theirs) else min(len(ours), len(theirs)) + 1
