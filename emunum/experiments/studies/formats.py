"""The facts of every named format, generated from its description, beside those of its specification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emunum.experiments.studies.study import Case, Grid, Record, Row, Study, published
from emunum.formats import NAMED, Format
from emunum.formats.blocks import BLOCK_FORMATS
from emunum.formats.facts import block_facts, facts

_LISTS = {"named": tuple(NAMED), "block": tuple(BLOCK_FORMATS)}
_COMPARED = ("precision", "bias", "max", "smallest_normal", "smallest_subnormal")


def cases(grid: Grid) -> list[Case]:
    """Return a case for each format of the kinds, and for each example."""
    listed = [{"kind": kind, "format": name} for kind in grid["kinds"] for name in _LISTS[kind]]
    return listed + [{"kind": "example", "format": name} for name in grid["examples"]]


def measure(case: Case) -> Record:
    """Return the facts, lists as words."""
    name = case["format"]
    found = block_facts(BLOCK_FORMATS[name]) if case["kind"] == "block" else facts(Format.from_name(name))
    return {key: " ".join(value) if isinstance(value, list) else value for key, value in found.items()}


def rows(records: Sequence[Record]) -> list[Row]:
    """Return the records with equal keys, null where a kind has no such fact.

    `source` is the specification that was compared with, null where none was; `agrees` says whether
    precision, bias, largest, least normal and least subnormal number are those it states.
    """
    keys = dict.fromkeys(key for record in records for key in record)
    theirs = {line["format"]: line for line in published("formats")}
    table = []
    for record in records:
        line = theirs.get(record["format"])
        agrees = None if line is None else all(_stated(line[key]) == record[key] for key in _COMPARED)
        row: dict[str, Any] = {key: record.get(key) for key in keys}
        table.append(row | {"source": line and line["source"], "agrees": agrees})
    return table


def _stated(text: str) -> float | None:
    """A number as the table has it, decimal or hexadecimal; null for none."""
    return None if text == "" else float.fromhex(text) if text.startswith("0x") else float(text)


FORMATS = Study(name="formats", cases=cases, measure=measure, rows=rows, rerun_s=1)
