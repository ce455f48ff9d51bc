"""How long runs will take, judged by those whose records are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emunum.experiments.config import RunConfig
from emunum.experiments.sweeps.ledger import FAILED

_KIN = (
    ("dataset", "model", "hidden", "policy", "format", "rounding"),
    ("dataset", "model", "policy", "rounding"),
    ("dataset", "model", "policy"),
    ("dataset", "model"),
    ("dataset",),
)
"""What runs have in common that one is judged by another, the nearest kin first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds of all runs, one after the other; `known` of them were judged, by `records` records."""

    run_s: float
    known: int
    records: int


def estimate(configs: Sequence[RunConfig], records: Iterable[Mapping[str, Any]]) -> Estimate | None:
    """Return what the runs will take, or None where no record is of kin.

    A run takes its epochs times the seconds an epoch took in the records nearest to it, at their lower
    quartile: in the first runs kernels were compiled. One without any kin takes the mean of the others.
    """
    rates: dict[tuple[Any, ...], list[tuple[str, float]]] = {}
    for record in records:
        if record["status"] == FAILED or not record.get("epochs_completed"):
            continue
        rate = record["run_id"], record["wall_s"] / record["epochs_completed"]
        for kin in _KIN:
            rates.setdefault(_key(kin, record), []).append(rate)
    seconds: list[float] = []
    used: set[str] = set()
    for config in configs:
        own = config.as_dict()
        found = next((rates[key] for kin in _KIN if (key := _key(kin, own)) in rates), None)
        if found is not None:
            seconds.append(config.epochs * _lower_quartile([rate for _, rate in found]))
            used |= {run_id for run_id, _ in found}
    if not seconds:
        return None
    run_s = sum(seconds) / len(seconds) * len(configs)
    return Estimate(run_s=run_s, known=len(seconds), records=len(used))


def _lower_quartile(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 4]


def _key(kin: Sequence[str], options: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple((name, str(options.get(name))) for name in kin)
