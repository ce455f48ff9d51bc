"""emunum reproduce images, emunum reproduce cifar10"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from emunum_cli.options import backend
from emunum_cli.progress import TrainingProgress
from emunum_cli.showing import print_study
from rich.console import Console

from emunum.formats.names import unknown

if TYPE_CHECKING:
    from types import ModuleType

    from emunum.experiments.studies.image_rows import Row, Study


def command(name: str, summary: str) -> click.Command:
    """Return the command of a study, whose text starts with a summary."""

    def run(**options: Any) -> int:
        return _reproduce(name, **options)

    made = _with_options(name)(run)
    return click.command(
        name,
        context_settings={"show_default": True},
        help=f"{summary}\n\n{_HELP}",
        short_help=summary,
        epilog=f"\b\nExamples:\n  emunum reproduce {name}\n  emunum reproduce {name} --rerun ROW --append",
    )(made)


_HELP = """The table is made from committed records. It says which rows have none, and --rerun trains them,
below OUTPUT; the same command goes on with a run that was stopped or killed, and takes one that is finished
as it stands."""


def _with_options(name: str) -> Callable[[Any], Any]:
    folder = click.Path(path_type=Path, file_okay=False)
    options = [
        click.option(
            "--rerun", multiple=True, metavar="ROW", help="Train a row; can be given more than once."
        ),
        click.option(
            "--epochs",
            type=click.IntRange(1),
            show_default="the study's",
            help="With --rerun: how long to train.",
        ),
        click.option("--output", type=folder, default=Path("runs"), help="Where the runs of --rerun go."),
        click.option(
            "--append", is_flag=True, help="Put the records of --rerun into --records, for the next table."
        ),
        click.option(
            "--records",
            type=click.Path(path_type=Path, dir_okay=False),
            show_default=f"paper/records/{name}.jsonl",
            help="The records to make the table from.",
        ),
        click.option(
            "--data-dir",
            type=folder,
            show_default="EMUNUM_DATA, then the cache",
            help="With --rerun: folder with the data set.",
        ),
        backend(),
        click.option("--threads", type=click.IntRange(1), show_default="all cores", help="Threads to use."),
        click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON, and nothing else."),
        click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV, and nothing else."),
    ]
    if name == "images":
        level = click.option(
            "--level", metavar="LEVEL", show_default="both", help="Only one table: published or emulated."
        )
        options.insert(1, level)

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _reproduce(
    name: str,
    *,
    rerun: tuple[str, ...],
    epochs: int | None,
    output: Path,
    append: bool,
    records: Path | None,
    data_dir: Path | None,
    backend: str | None,
    threads: int | None,
    as_json: bool,
    as_csv: bool,
    level: str | None = None,
) -> int:
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two forms of the same rows: give one of them.")
    if not rerun and (epochs is not None or backend is not None or append):
        given = "--append" if append else f"--backend {backend}"
        option = given if epochs is None else f"--epochs {epochs}"
        raise click.UsageError(f"{option} is for rows that are trained: name one with --rerun.")
    from emunum.experiments.studies import image_rows, image_runs
    from emunum.kernels.backends import DEFAULT, backend_named
    from emunum.report.tables import to_csv

    study = image_rows.STUDIES[name]()
    try:
        if level not in (None, *image_rows.LEVELS):
            raise unknown("level", level, image_rows.LEVELS)
        chosen = [study.row(row) for row in rerun]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    chosen_backend = backend_named(backend or DEFAULT)
    path = image_runs.records_path(study) if records is None else records
    try:
        known = image_runs.read_records(path)
        for row in chosen:
            record = _trained(study, row, output, epochs, data_dir, chosen_backend, threads)
            if record["status"] == "interrupted":
                click.echo(f"Interrupted: {record['reason']}. The same command goes on.", err=True)
                return 130
            known.append(record)
            if append:
                image_runs.append(path, record)
        rows = image_rows.rows(study, known, level)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif as_csv:
        click.echo(to_csv(rows), nl=False)
    else:
        print_study(name, rows)
        if missing := next((row["row"] for row in rows if row["status"] is None), None):
            click.echo(f"To make one: emunum reproduce {name} --rerun {missing} --append")
    return 0


def _trained(
    study: Study,
    row: Row,
    output: Path,
    epochs: int | None,
    data_dir: Path | None,
    backend: ModuleType,
    threads: int | None,
) -> dict[str, Any]:
    from emunum.experiments.studies import image_runs
    from emunum.kernels.cpu import set_threads

    set_threads(threads)
    with TrainingProgress(Console(stderr=True), row.with_epochs(epochs).epochs, False) as progress:
        return image_runs.run(
            study,
            row,
            output,
            epochs=epochs,
            data_dir=data_dir,
            backend=backend,
            on_step=progress.on_step,
            on_epoch=progress.on_epoch,
        )
