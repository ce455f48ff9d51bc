"""Every comparison with every peer that is installed, and what came out, as rows and as differences."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emunum import __version__
from emunum.experiments.conformance.comparison import Comparison, Example, Outcome, compare
from emunum.experiments.conformance.inputs import Sampling

PEERS = ("ml_dtypes", "gfloat", "gmpy2", "apytypes", "numpy", "pychop", "qtorch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A package that computes the same things, and what is compared with it."""

    name: str
    version: str
    comparisons: tuple[Comparison, ...]


@dataclass(slots=True, kw_only=True)
class Report:
    """Outcomes by peer, in order."""

    quick: bool
    peers: list[Peer] = field(default_factory=list)
    outcomes: list[tuple[Peer, Outcome]] = field(default_factory=list)

    @property
    def breaches(self) -> int:
        """Cases in which emunum's result is not the rational reference's."""
        return sum(outcome.breaches for _, outcome in self.outcomes)

    @property
    def unexplained(self) -> int:
        """Cases in which a peer differs from emunum and from the reference for no declared reason."""
        return sum(outcome.unexplained for _, outcome in self.outcomes)

    @property
    def cases(self) -> int:
        """Cases compared."""
        return sum(outcome.cases for _, outcome in self.outcomes)


def load(name: str, only: str = "") -> Peer:
    """Import a peer and select the comparisons whose description contains `only`.

    Raises ModuleNotFoundError where the peer is not installed, ImportError where it does not start.
    """
    if importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(f"{name} is not installed: pip install 'emunum[conform]'")
    module = importlib.import_module(f"emunum.experiments.conformance.peers.{name}")
    try:
        found = tuple(module.comparisons())
    except (ImportError, OSError, RuntimeError) as error:  # qtorch compiles its kernels when imported
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ImportError(f"{name} is installed but does not start: {reason[0]}") from None
    selected = tuple(comparison for comparison in found if only in f"{name} {comparison}")
    return Peer(name=name, version=importlib.metadata.version(name), comparisons=selected)


def run(
    peers: Sequence[Peer],
    *,
    quick: bool = False,
    on_comparison: Callable[[], None] = lambda: None,
) -> Report:
    """Make every comparison of these peers."""
    report, sampling = Report(quick=quick, peers=list(peers)), Sampling(quick=quick)
    for peer in peers:
        for comparison in peer.comparisons:
            report.outcomes.append((peer, compare(comparison, sampling)))
            on_comparison()
    return report


def rows(report: Report) -> list[dict[str, Any]]:
    """Return a row for each comparison."""
    return [
        {
            "peer": peer.name,
            "version": peer.version,
            "comparison": outcome.comparison.operation,
            "format": outcome.comparison.format,
            "rounding": outcome.comparison.rounding,
            "overflow": outcome.comparison.overflow,
            "cases": outcome.cases,
            "mismatches": outcome.mismatches,
            "explained": sum(outcome.explained.values()),
            "unexplained": outcome.unexplained,
            "breaches": outcome.breaches,
            "differences": list(outcome.explained),
        }
        for peer, outcome in report.outcomes
    ]


def summary(table: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows merged: a peer's comparisons of one operation that differ in the same ways.

    `formats`, `roundings` and `overflows` list what was merged; counts are sums.
    """
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in table:
        kind = (tuple(sorted(row["differences"])), row["unexplained"] > 0, row["breaches"] > 0)
        entry = merged.setdefault(
            (row["peer"], row["comparison"], kind),
            {"peer": row["peer"], "version": row["version"], "comparison": row["comparison"]}
            | {"formats": [], "roundings": [], "overflows": []}
            | dict.fromkeys(("cases", "mismatches", "explained", "unexplained", "breaches"), 0),
        )
        for key in ("format", "rounding", "overflow"):
            if row[key] not in entry[f"{key}s"]:
                entry[f"{key}s"].append(row[key])
        for key in ("cases", "mismatches", "explained", "unexplained", "breaches"):
            entry[key] += row[key]
    return list(merged.values())


def differences(report: Report) -> list[dict[str, Any]]:
    """Return each kind of difference once: why, how often, and the smallest example.

    `kind` is known, unexplained or breach.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    smallest: dict[tuple[str, str], Example] = {}
    for peer, outcome in report.outcomes:
        reasons = {known.title: known.reason for known in outcome.comparison.known}
        counts = outcome.explained | {"unexplained": outcome.unexplained, "breach": outcome.breaches}
        for title, example in outcome.examples.items():
            key = (peer.name, title)
            entry = found.setdefault(
                key,
                {"peer": peer.name, "version": peer.version, "kind": _kind(title), "title": title}
                | {"reason": reasons.get(title, ""), "cases": 0, "comparisons": 0},
            )
            entry["cases"] += counts[title]
            entry["comparisons"] += 1
            if key not in smallest or example.size < smallest[key].size:
                smallest[key] = example
    for key, entry in found.items():
        entry["example"] = _shown(smallest[key])
    return list(found.values())


def record(report: Report) -> dict[str, Any]:
    """Return everything, for a file: versions, rows and differences."""
    return {
        "emunum_version": __version__,
        "quick": report.quick,
        "peers": {peer.name: peer.version for peer in report.peers},
        "cases": report.cases,
        "unexplained": report.unexplained,
        "breaches": report.breaches,
        "rows": rows(report),
        "differences": differences(report),
    }


def _kind(title: str) -> str:
    return title if title in ("unexplained", "breach") else "known"


def _shown(example: Example) -> dict[str, Any]:
    return {
        "comparison": example.comparison,
        "operands": _numbers(example.operands),
        "theirs": number(example.theirs),
        "ours": number(example.ours),
        "exact": number(example.exact),
    }


def _numbers(values: Iterable[float]) -> list[dict[str, Any]]:
    return [{"hex": hexadecimal(value), "value": number(value)} for value in values]


def number(value: float) -> float | str:
    """The value, as text where JSON has no number for it."""
    return value if math.isfinite(value) else str(value)


def hexadecimal(value: float) -> str:
    """The hexadecimal form without the zeros that say nothing: 0x1.8p-3."""
    if not math.isfinite(value):
        return str(value)
    significand, exponent = value.hex().split("p")
    return f"{significand.rstrip('0').rstrip('.') if '.' in significand else significand}p{exponent}"
