"""emunum reproduce"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from emunum_cli import images
from emunum_cli.options import backend
from emunum_cli.showing import print_study
from rich.console import Console
from rich.progress import track
from rich.table import Table

from emunum.experiments.studies import NAMES, study_named

if TYPE_CHECKING:
    from types import ModuleType

    from emunum.experiments.studies import Study

Records = list[dict[str, Any]]
_WIDTH = 165  # where the output is no terminal


class _Studies(click.Group):
    """A group whose commands are studies; several names in a row are one call of what they share."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*(name for name in self.commands if name not in NAMES), *NAMES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self.commands.get(cmd_name) or (_shared(cmd_name) if cmd_name in NAMES else None)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        first, *rest = args
        if first in NAMES and rest and rest[0] in NAMES:
            return first, _shared(first), rest
        if not first.startswith("-") and self.get_command(ctx, first) is None:
            try:
                study_named(first)
            except ValueError as error:
                raise click.UsageError(f"{error} 'emunum reproduce list' says what they are.") from None
        return super().resolve_command(ctx, args)


@click.group(
    "reproduce",
    cls=_Studies,
    epilog="Examples: emunum reproduce list; emunum reproduce stagnation growth",
)
def command() -> None:
    """Make the tables and figures of the paper, ours beside the published numbers.

    They are made from committed records, in seconds; --rerun makes the records anew.
    """


command.add_command(
    images.command(
        "images",
        "The image study: MNIST with only the input cast, then with all emulated.",
    )
)
command.add_command(
    images.command(
        "cifar10",
        "CIFAR-10 in the regression study's formats: e5m2, e6m9, float32.",
    )
)


@command.command("list", epilog="Example: emunum reproduce list")
def listing() -> None:
    """List the studies, their records, and the time a rerun takes."""
    from emunum.report.paper.sections import section

    table = Table(title="Studies: emunum reproduce NAME")
    for column in ("name", "title"):
        table.add_column(column)
    for column in ("records", "rerun"):
        table.add_column(column, justify="right")
    for name in NAMES:
        own = study_named(name)
        rerun = "row by row" if own.rerun_s is None else f"{own.rerun_s:g} s"
        table.add_row(name, section(name).title, f"{len(own.records()) or '-'}", rerun)
    Console(width=None if Console().is_terminal else _WIDTH).print(table)


@command.command("all", epilog="Example: emunum reproduce all --output paper-of-mine")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where paper.md, paper.tex, records/, tables/ and figures/ go.",
)
@click.option("--rerun", is_flag=True, help="Make the records anew, but for those of trained images.")
def everything(output: Path, rerun: bool) -> None:
    """Build the paper, with every table and figure in place.

    paper.md for pandoc and paper.tex for pdflatex say the same: a section for each study. Nothing is
    measured unless --rerun asks for it.
    """
    from emunum.report.paper.document import document
    from emunum.report.paper.files import write

    output.mkdir(parents=True, exist_ok=True)
    studies = [study_named(name) for name in NAMES]
    records = {own.name: _records(own, rerun and own.cases is not None, None, None) for own in studies}
    files = document(studies, records)
    write(output, files)
    click.echo(f"Written below {output}: paper.md, paper.tex and the {len(files) - 2} files they show.")
    click.echo(f"To make a PDF: cd {output} && pdflatex paper.tex, or pandoc paper.md -o paper.pdf")


def _shared(name: str) -> click.Command:
    """The command of a study, or of several of which this is the first."""
    from emunum.report.paper.sections import section

    title = section(name).title
    text = f"""{title}.

    The tables are made from the committed records. --rerun measures everything anew and says whether the
    records are the committed ones."""
    options = [
        click.argument("others", nargs=-1, metavar="[NAME]..."),
        click.option("--rerun", is_flag=True, help="Make the records anew."),
        click.option(
            "--seeds",
            type=click.IntRange(2),
            show_default="the study's",
            help="Seeds of each stochastic row.",
        ),
        backend(),
        click.option("--output", type=click.Path(path_type=Path, file_okay=False), help=_OUTPUT_HELP),
        click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON, and nothing else."),
        click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV, and nothing else."),
    ]

    def run(others: tuple[str, ...], **chosen: Any) -> None:
        _reproduce((name, *others), **chosen)

    for option in reversed(options):
        run = option(run)
    epilog = f"Examples: emunum reproduce {name}; emunum reproduce {name} --rerun --output paper"
    return click.command(name, help=text, short_help=title, epilog=epilog)(run)


_OUTPUT_HELP = "Also write records/, tables/ and figures/ below this directory."


def _reproduce(
    names: Sequence[str],
    *,
    rerun: bool,
    seeds: int | None,
    backend: str | None,
    output: Path | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two forms of the same rows: give one of them.")
    if (as_json or as_csv) and len(names) > 1:
        raise click.UsageError(
            f"--{'json' if as_json else 'csv'} is of one study: name one, not {len(names)}."
        )
    from emunum.kernels.backends import backend_named
    from emunum.report.paper.files import files_of, write
    from emunum.report.tables import to_csv

    try:
        studies = [study_named(name) for name in names]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    for own in studies:
        _check(own, rerun, seeds, backend)
    computing = None if backend is None else backend_named(backend)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    for own in studies:
        records = _records(own, rerun, seeds, computing)
        rows = own.rows(records)
        verdict = _compared(own, records) if rerun else ""
        if output is not None:
            write(output, files_of(own, records))
        if as_json:
            click.echo(json.dumps(rows, indent=2))
        elif as_csv:
            click.echo(to_csv(rows), nl=False)
        else:
            _print(own, rows)
            if verdict:
                click.echo(verdict)
            if output is not None:
                click.echo(f"Written below {output}: records, tables and figures of {own.name}.")


def _check(own: Study, rerun: bool, seeds: int | None, backend: str | None) -> None:
    """Say no before anything is measured."""
    if rerun and own.cases is None:
        raise click.UsageError(
            f"{own.name} is trained row by row: 'emunum reproduce {own.name} --rerun ROW', alone."
        )
    if backend is not None and not (rerun and own.trains):
        why = "takes it with --rerun alone" if own.trains else "trains no network, which takes one"
        raise click.UsageError(f"--backend {backend}: {own.name} {why}.")
    if seeds is not None and (own.cases is None or "seeds" not in own.grid()):
        raise click.UsageError(f"--seeds {seeds}: {own.name} has no seeds to choose.")


def _records(own: Study, rerun: bool, seeds: int | None, backend: ModuleType | None) -> Records:
    """The committed records, or those of the chosen cases, or new ones."""
    if rerun:
        cases = own.asked() if seeds is None else own.asked(seeds=seeds)
        runs = track(
            own.run(cases, backend),
            total=len(cases),
            description=f"{own.name} (kernels compile at first use)",
            console=Console(stderr=True),
            transient=True,
        )
        return list(runs)
    try:
        records = own.records()
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if seeds is None:
        return records
    cases = own.asked(seeds=seeds)
    chosen = [record for record in records if any(case.items() <= record.items() for case in cases)]
    if len(chosen) < len(cases):
        raise click.UsageError(
            f"--seeds {seeds}: {own.name} has {own.grid()['seeds']} in its records. --rerun makes others."
        )
    return chosen


def _compared(own: Study, records: Records) -> str:
    known = own.records()
    same = sum(record in known for record in records)
    return f"{own.name}: {same} of {len(records)} records are the committed ones, digit for digit."


def _print(own: Study, rows: Records) -> None:
    if not rows:
        click.echo(
            f"{own.name} has no records yet. To make them: emunum reproduce {own.name} --rerun --output paper"
        )
        return
    print_study(own.name, rows)
