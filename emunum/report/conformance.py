"""The conformance page: what emunum was compared with, what agreed, and every difference explained."""

from __future__ import annotations

from typing import Any

from emunum.experiments.conformance.run import summary
from emunum.report.tables import to_markdown

HEADER = (
    "peer", "comparison", "formats", "rounding", "overflow", "cases", "mismatches", "explained",
    "unexplained",
)  # fmt: skip
INTRODUCTION = """# Conformance: `emunum conform`

emunum and each peer compute the same operations on the same operands; results are compared bit by bit, signs
of zeros included, all NaNs being one. Every case that differs is judged by rational arithmetic
(`emunum/formats/exact.py`), which is the contract: emunum's result is the exact one rounded once, or it is a
breach. What a peer does differently is explained below, or counted as unexplained.
"""


def to_page(record: dict[str, Any]) -> str:
    """Return the page of a record, Markdown."""
    share = " Of every set of cases a tenth was taken." if record["quick"] else ""
    counts = (
        f"{record['cases']:,} cases, {record['breaches']:,} breaches of the contract, "
        f"{record['unexplained']:,} unexplained mismatches; emunum {record['emunum_version']}.{share}\n"
    )
    table = to_markdown(HEADER, [_cells(row) for row in summary(record["rows"])])
    lines = ["## Differences\n"]
    for n, difference in enumerate(record["differences"], 1):
        head, *rest = described(n, difference)
        lines.append(
            "\n".join([head.replace("*", r"\*"), *(line.replace("*", r"\*") for line in rest)]) + "\n"
        )
    if not record["differences"]:
        lines.append("None.\n")
    return "\n".join([INTRODUCTION, counts, table, *lines])


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['peer']} {row['version']}",
        row["comparison"],
        ", ".join(row["formats"]),
        ", ".join(row["roundings"]),
        ", ".join(row["overflows"]),
        *(f"{row[key]:,}" for key in ("cases", "mismatches", "explained", "unexplained")),
    ]


def described(n: int, difference: dict[str, Any]) -> list[str]:
    """A numbered difference in words: what and how often, why, the smallest example."""
    example = difference["example"]
    given = ", ".join(f"{x['hex']} ({x['value']})" for x in example["operands"])
    reason = [f"   {difference['reason']}"] if difference["reason"] else []
    kind, title = difference["kind"], difference["title"]
    named = kind if kind == title else f"{kind}: {title}"
    return [
        f"{n}. {difference['peer']} {difference['version']}, {named}. "
        f"{difference['cases']:,} cases in {difference['comparisons']:,} comparisons.",
        *reason,
        f"   Smallest: {example['comparison']} of {given}: {difference['peer']} {example['theirs']}, "
        f"emunum {example['ours']}, exact {example['exact']}.",
    ]
