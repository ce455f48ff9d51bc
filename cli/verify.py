"""emunum verify"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from emunum_cli import options
from emunum_cli.progress import TrainingProgress
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from emunum.experiments.verify import Verdict


@click.command(
    "verify",
    context_settings={"show_default": True},
    epilog="""\b
Examples:
  emunum verify runs/mine
  emunum verify runs/*/record.json --threads 1
  emunum verify records.jsonl --json""",
)
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@options.backend()
@options.threads()
@options.data_dir()
@options.json_only("a list of verdicts")
@click.option("--quiet", is_flag=True, help="No progress and no table: the exit code says it.")
def command(
    records: tuple[Path, ...],
    backend: str | None,
    threads: int | None,
    data_dir: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run the configuration of each RECORD again, and compare weights and metrics bit for bit.

    RECORD is a run's directory, a sweep's, a record.json, or a file of such records, one a line (.jsonl).
    Nothing is written.

    Exit codes: 0 all are the same, 1 one differs or cannot be run again, 2 wrong usage, 130 Ctrl-C.
    """
    from emunum.experiments.verify import configuration_of, records_in, verify
    from emunum.kernels.backends import DEFAULT, backend_named
    from emunum.kernels.cpu import set_threads

    chosen = backend_named(backend or DEFAULT)
    set_threads(threads)
    console = Console(stderr=True, quiet=quiet)
    verdicts: list[Verdict] = []
    try:
        todo = [entry for path in records for entry in records_in(path)]
        for where, record in todo:
            epochs = configuration_of(where, record).epochs
            with TrainingProgress(console, epochs, quiet) as progress:
                verdict = verify(
                    where,
                    record,
                    data_dir=data_dir,
                    backend=chosen,
                    on_step=progress.on_step,
                    on_epoch=progress.on_epoch,
                )
            verdicts.append(verdict)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps([_as_dict(verdict) for verdict in verdicts], indent=2))
    elif not quiet:
        Console(width=None if Console().is_terminal else 150).print(_table(verdicts))
    return 0 if all(verdict.same for verdict in verdicts) else 1


def _as_dict(verdict: Verdict) -> dict[str, Any]:
    return {
        "record": verdict.source,
        "run_id": verdict.run_id,
        "same": verdict.same,
        "differences": {
            key: {"recorded": ours, "again": theirs} for key, (ours, theirs) in verdict.differences.items()
        },
    }


def _table(verdicts: list[Verdict]) -> Table:
    table = Table(title="Records and what running them again gave")
    table.add_column("record", overflow="fold")
    for column in ("weights", "data", "metrics"):
        table.add_column(column)
    for verdict in verdicts:
        found = dict(verdict.differences)
        cells = ["different" if found.pop(key, None) else "same" for key in ("weights_sha256", "data_sha256")]
        rest = "; ".join(f"{key}: {ours} recorded, {theirs} now" for key, (ours, theirs) in found.items())
        table.add_row(verdict.source, *cells, f"different: {rest}" if rest else "same")
    return table
