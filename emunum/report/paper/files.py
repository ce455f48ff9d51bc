"""The files of a study: records, tables and figures, the same bytes from the same records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emunum.experiments.records import write_atomically
from emunum.experiments.studies import Study
from emunum.experiments.studies.study import record_lines
from emunum.report.paper.sections import section
from emunum.report.paper.studies import shown
from emunum.report.paper.studies.shown import in_markdown
from emunum.report.tables import to_csv

Files = dict[str, bytes | str]
"""Path below the output folder to content."""


def files_of(study: Study, records: Sequence[dict[str, Any]]) -> Files:
    """Return records/, tables/ and figures/ of a study; without records, only what the table has then."""
    name, show, rows = study.name, shown(study.name), study.rows(records)
    title = f"# {section(name).title}: `emunum reproduce {name}`\n\n"
    files: Files = {}
    if records:
        files[f"records/{name}.jsonl"] = record_lines(records)
    files[f"tables/{name}.csv"] = to_csv(rows)
    files[f"tables/{name}.md"] = title + in_markdown(show.tables(rows), show.notes(rows))
    if records and show.figure is not None:
        for kind, content in show.figure(records).items():
            files[f"figures/{name}.{kind}"] = content
    return files


def write(output: Path, files: Mapping[str, bytes | str]) -> None:
    """Write the files below a folder, each in one step. Raises OSError, which names the file."""
    for name, content in files.items():
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
