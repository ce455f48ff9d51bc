"""Records of many runs, from wherever they lie.

    DIR/records.jsonl   what a sweep wrote, one record a line
    DIR/*/record.json   what `emunum run --output DIR` made; runs without a record are not finished
    DIR/record.json     a single run's directory; the file itself will do, too
    FILE.jsonl          records, one a line, or the part of them that a study keeps

A record of any of them is a flat dict, and with it come, where they were written, `history` (a dict an
epoch) and `events` (a total for each counter). Options that came later have their defaults in older records.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emunum.experiments.config import LATER
from emunum.experiments.records import parse_record
from emunum.experiments.sweeps import ledger
from emunum.ops.events import EVENTS

EPOCH_KEYS = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "wall_s")
_EXCERPT = {"dataset", "format", "status"}
"""What the part of a record that a study keeps has at least."""

Record = dict[str, Any]


def read_collection(path: Path) -> list[Record]:
    """Return every record at `path`, in the order of the lines or of the directories' names.

    Raises ValueError where there is none, and where one is damaged, naming the file and the line.
    """
    if not path.is_dir():
        records = _lines(path) if path.suffix == ".jsonl" else [_alone(path)]
    elif (path / "record.json").exists():
        records = [_alone(path / "record.json")]
    elif (path / "records.jsonl").exists():
        records = ledger.read(path)
    else:
        records = [_alone(one) for one in sorted(path.glob("*/record.json"))]
    if not records:
        raise ValueError(
            f"{path} holds no records. Give a sweep's directory, a folder of runs, a run or a .jsonl file."
        )
    return [_settled(record) for record in records]


def is_collection(path: Path) -> bool:
    """Whether a directory is meant to hold many runs rather than the files of one."""
    if any((path / name).exists() for name in ("config.json", "record.json")):
        return False
    return (path / "records.jsonl").exists() or any(path.glob("*/record.json"))


def flat(record: Mapping[str, Any]) -> Record:
    """Return a record without its history, its totals of events as events_overflow and the like."""
    found = {key: value for key, value in record.items() if key not in ("history", "events")}
    return found | {f"events_{name}": total for name, total in record.get("events", {}).items()}


def columns_of(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return every key of flat records, in the order in which they come."""
    return list(dict.fromkeys(key for record in records for key in record))


def _settled(record: Record) -> Record:
    later = LATER if "schema_version" in record else {}
    return record | {key: value for key, value in later.items() if key not in record}


def _alone(path: Path) -> Record:
    """The record in a file, with the history beside it if there is one."""
    record = parse_record(str(path), path.read_bytes())
    history = path.with_name("history.jsonl")
    if path.name != "record.json" or not history.exists():
        return record
    epochs = [_parsed(f"{history}:{n}", line) for n, line in enumerate(_text(history).splitlines(), start=1)]
    record["history"] = [{key: epoch.get(key) for key in EPOCH_KEYS} for epoch in map(_renamed, epochs)]
    if any(epoch.get("events") for epoch in epochs):
        record["events"] = _totals(epochs)
    return record


def _renamed(epoch: Record) -> Record:
    """An epoch under today's names: the first version's only loss was the mean squared error."""
    return epoch | {"train_loss": epoch["mean_mse"]} if "mean_mse" in epoch else epoch


def _totals(epochs: Sequence[Record]) -> dict[str, int]:
    rows = [row for epoch in epochs for row in epoch.get("events", ())]
    return {event: sum(int(row[event]) for row in rows) for event in EVENTS}


def _lines(path: Path) -> list[Record]:
    records = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        where = f"{path}:{number}"
        record = _parsed(where, line)
        if "schema_version" in record or not record.keys() >= _EXCERPT:
            record = parse_record(where, line)
        records.append(record)
    return records


def _parsed(where: str, line: str) -> Record:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where} is damaged: {error}.") from None
    if not isinstance(found, dict):
        raise ValueError(f"{where} is damaged: it is no object.")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}.") from None
