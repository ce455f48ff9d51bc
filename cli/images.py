"""emunum reproduce images, emunum reproduce cifar10"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from emunum_cli.progress import TrainingProgress
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from emunum.experiments.images import Row, Study

Records = list[dict[str, Any]]
TITLES = {
    "images": {
        "published": "As published: only the input is cast (policy input); MNIST, network cnn",
        "emulated": "The arithmetic emulated too; MNIST, network cnn",
    },
    "cifar10": {"emulated": "CIFAR-10, network cifar_quick"},
}
NOTES = {
    "images": (
        "54,000 images train, 6,000 choose the best epoch (in brackets), 10,000 test; batches of 256, Adam, "
        "learning rate 0.001, weight decay 0.0001. Rows full-*: SGD, momentum 0.9, learning rate 0.1, as "
        "Adam's average of squares is below the least number of a narrow format; full-float32 is theirs to "
        "be set beside, float32 the other emulated ones'. The published int8 truncates "
        "(pixel / 255 - 0.5) / 0.5 toward zero: -1 for black, 1 for white, 0 for everything between, so "
        "a drawing keeps little but its outline. Published run times are of another machine."
    ),
    "cifar10": (
        "A subset: 2,500 of the 50,000 images train for 2 epochs, 1,000 choose the best epoch (in brackets), "
        "10,000 test; SGD, momentum 0.9, learning rate 0.02, weight decay 0.0001, batches of 25. Rows are "
        "to be set beside each other, not beside what networks reach on all of it; nothing was published. "
        "Policy output: layer outputs and errors are rounded; full: everything is."
    ),
}


def command(name: str, summary: str) -> click.Command:
    """Return the command of a study, whose text starts with a summary."""
    levels = tuple(TITLES[name])

    def run(**options: Any) -> int:
        return _reproduce(name, **options)

    made = _with_options(name, levels)(run)
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


def _with_options(name: str, levels: tuple[str, ...]) -> Callable[[Any], Any]:
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
        click.option("--threads", type=click.IntRange(1), show_default="all cores", help="Threads to use."),
        click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON, and nothing else."),
        click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV, and nothing else."),
    ]
    if len(levels) > 1:
        options.insert(
            1,
            click.option(
                "--level",
                type=click.Choice(levels),
                metavar="LEVEL",
                show_default="both",
                help=f"Only one table: {' or '.join(levels)}.",
            ),
        )

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
    threads: int | None,
    as_json: bool,
    as_csv: bool,
    level: str | None = None,
) -> int:
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two forms of the same rows: give one of them.")
    if not rerun and (epochs is not None or append):
        option = "--append" if append else f"--epochs {epochs}"
        raise click.UsageError(f"{option} is for rows that are trained: name one with --rerun.")
    from emunum.experiments import images
    from emunum.report.tables import to_csv

    study = images.STUDIES[name]()
    try:
        chosen = [study.row(row) for row in rerun]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    path = images.records_path(study) if records is None else records
    try:
        known = images.read_records(path)
        for row in chosen:
            record = _trained(study, row, output, epochs, data_dir, threads)
            if record["status"] == "interrupted":
                click.echo(f"Interrupted: {record['reason']}. The same command goes on.", err=True)
                return 130
            known.append(record)
            if append:
                images.append(path, record)
        rows = images.rows(study, known, level)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif as_csv:
        click.echo(to_csv(rows), nl=False)
    else:
        _print(name, rows)
    return 0


def _trained(
    study: Study, row: Row, output: Path, epochs: int | None, data_dir: Path | None, threads: int | None
) -> dict[str, Any]:
    from emunum.experiments import images
    from emunum.kernels.cpu import set_threads

    set_threads(threads)
    with TrainingProgress(Console(stderr=True), row.with_epochs(epochs).epochs, False) as progress:
        return images.run(
            study,
            row,
            output,
            epochs=epochs,
            data_dir=data_dir,
            on_step=progress.on_step,
            on_epoch=progress.on_epoch,
        )


def _print(name: str, rows: Sequence[dict[str, Any]]) -> None:
    from emunum.report.tables import IMAGES_HEADER, images_cells

    console = Console(width=None if Console().is_terminal else 190)
    for level, title in TITLES[name].items():
        own = [row for row in rows if row["level"] == level]
        if not own:
            continue
        cells = images_cells(own)
        shown = [at for at, column in enumerate(zip(*cells, strict=True)) if set(column) != {"-"}]
        table = Table(title=title)
        for at in shown:
            table.add_column(
                IMAGES_HEADER[at], justify="right" if 2 < at < len(IMAGES_HEADER) - 1 else "left"
            )
        for line in cells:
            table.add_row(*(line[at] for at in shown))
        console.print(table)
    console.print(NOTES[name], markup=False, highlight=False)
    for note in dict.fromkeys(row["data_note"] for row in rows if row["data_note"]):
        with_it = list(dict.fromkeys(row["row"] for row in rows if row["data_note"] == note))
        console.print(f"Data of {', '.join(with_it)}: {note}.", markup=False, highlight=False)
    missing = list(dict.fromkeys(row["row"] for row in rows if row["status"] is None))
    if missing:
        click.echo(f"No record yet: {', '.join(missing)}.")
        click.echo(f"To make one: emunum reproduce {name} --rerun {missing[0]} --append")
