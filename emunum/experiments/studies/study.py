"""A study of the paper: cases from a grid, a measurement of each, records, and the rows of a table."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

Grid = dict[str, Any]
"""What a study varies and what it holds fixed: paper/grids/NAME.toml."""
Case = dict[str, Any]
Record = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A question, the cases that answer it, and what is measured in each.

    A record is `case | measure(case)`: JSON, the same whenever and wherever it is made, without times.
    cases: what the grid asks for, in the order of the records, as plain JSON values that say everything
    `measure` depends on; None where the records are made by a command of the study's own.
    trains: whether `measure` trains networks, and so takes a `backend` too, on which nothing depends.
    rows: the table, from any part of the records; published numbers stand beside ours.
    rerun_s: about how long all of `measure` takes on two cores.
    """

    name: str
    rows: Callable[[Sequence[Record]], list[Row]]
    cases: Callable[[Grid], list[Case]] | None = None
    measure: Callable[..., Record] | None = None
    trains: bool = False
    rerun_s: float | None = None

    @property
    def records_path(self) -> Path:
        """Where the committed records are, if there are any."""
        return paper() / "records" / f"{self.name}.jsonl"

    def grid(self) -> Grid:
        """Read the study's grid."""
        return tomllib.loads((paper() / "grids" / f"{self.name}.toml").read_text(encoding="utf-8"))

    def records(self) -> list[Record]:
        """Read the committed records; none where there is no file of them."""
        return read_records(self.records_path) if self.records_path.exists() else []

    def asked(self, **changes: Any) -> list[Case]:
        """Return the cases of the grid, with some of its entries changed."""
        assert self.cases is not None, f"{self.name} has a command of its own"
        return self.cases(self.grid() | changes)

    def run(self, cases: Sequence[Case], backend: ModuleType | None = None) -> Iterator[Record]:
        """Measure the cases, one after the other; on a backend, where the study trains."""
        assert self.measure is not None, f"{self.name} has a command of its own"
        options = {} if backend is None else {"backend": backend}
        for case in cases:
            yield case | self.measure(case, **options)


def paper() -> Path:
    """Return the folder of the paper: grids, sections, records, tables, figures, published numbers."""
    return Path(str(files("emunum_paper")))


def published(name: str) -> list[dict[str, str]]:
    """Read the lines of paper/NAME_published.csv; lines that start with # are comments."""
    lines = (paper() / f"{name}_published.csv").read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def read_records(path: Path) -> list[Record]:
    """Return the JSON objects in a file, one a line. Raises ValueError that names a line which is none."""
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}:{number} is no record: {error}.") from None
        if not isinstance(record, dict):
            raise ValueError(f"{path}:{number} is no record: a JSON object is needed.")
        records.append(record)
    return records


def record_lines(records: Sequence[Record]) -> str:
    """Return the records as `read_records` reads them."""
    return "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
