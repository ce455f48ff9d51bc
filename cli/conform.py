"""emunum conform"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from emunum.experiments.conformance.run import Peer, Report

NUMBERS = ("cases", "mismatches", "explained", "unexplained", "breaches")


@click.command(
    "conform",
    epilog="""\b
Examples:
  emunum conform
  emunum conform ml_dtypes gmpy2 --quick
  emunum conform gfloat --only "float8_e4m3fn stochastic" --json
  emunum conform --output paper""",
)
@click.argument("peers", nargs=-1, metavar="[PEER]...")
@click.option("--only", default="", metavar="TEXT", help="Only comparisons whose description contains TEXT.")
@click.option("--quick", is_flag=True, help="A tenth of the cases.")
@click.option("--json", "as_json", is_flag=True, help="Print rows and differences as JSON, and nothing else.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write records/conformance.json and tables/conformance.md below this directory.",
)
def command(peers: tuple[str, ...], only: str, quick: bool, as_json: bool, output: Path | None) -> None:
    """Compare emunum with other implementations, case by case and bit by bit.

    PEERs are ml_dtypes, gfloat, gmpy2, apytypes, numpy, pychop and qtorch; all that are installed without a
    name. Where results differ, rational arithmetic decides: a result of emunum's that is not the exact one
    rounded once is a breach of the contract, and the exit code is 1. A peer's is a known difference, printed
    with its reason, or unexplained.
    """
    from emunum.experiments.conformance import run as study

    unknown = [name for name in peers if name not in study.PEERS]
    if unknown:
        raise click.UsageError(f"unknown peer {unknown[0]!r}. Known: {', '.join(study.PEERS)}.")
    if output is not None:
        for folder in ("records", "tables"):
            (output / folder).mkdir(parents=True, exist_ok=True)
    errors = Console(stderr=True, soft_wrap=True)
    found = _load(peers or study.PEERS, only, errors)
    if not found:
        raise click.ClickException("none of the peers is there: nothing was compared.")
    count = sum(len(peer.comparisons) for peer in found)
    if not count:
        raise click.UsageError(
            f"--only {only!r} matches no comparison of {', '.join(p.name for p in found)}."
        )
    with _progress(errors) as progress:
        task = progress.add_task("comparing (kernels compile at first use)", total=count)
        report = study.run(found, quick=quick, on_comparison=lambda: progress.advance(task))
    if output is not None:
        _write(output, report)
    if as_json:
        click.echo(json.dumps(study.record(report), indent=2, allow_nan=False))
    else:
        _print(report)
        if output is not None:
            click.echo(f"Written below {output}: records and tables of conformance.")
    if report.unexplained:
        errors.print(f"Warning: {report.unexplained:,} mismatches are unexplained.", markup=False)
    if report.breaches:
        raise click.ClickException(
            f"{report.breaches:,} results are not the exact ones rounded once: emunum breaks its contract."
        )


def _load(names: Sequence[str], only: str, errors: Console) -> list[Peer]:
    """Import the peers, saying in one line each which are not there."""
    from emunum.experiments.conformance import run as study

    found = []
    for name in names:
        try:
            found.append(study.load(name, only))
        except ImportError as error:
            errors.print(str(error), markup=False, highlight=False)
    return found


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def _print(report: Report) -> None:
    from emunum.experiments.conformance import run as study
    from emunum.report.conformance import described

    console = Console(width=None if Console().is_terminal else 160)
    table = Table(title="emunum beside its peers")
    for column in ("peer", "comparison", "formats", "rounding, overflow"):
        table.add_column(column, overflow="fold")
    for column in NUMBERS:
        table.add_column(column, justify="right")
    last = None
    for row in study.summary(study.rows(report)):
        if last not in (None, row["peer"]):
            table.add_section()
        last = row["peer"]
        table.add_row(
            f"{row['peer']} {row['version']}",
            row["comparison"],
            _few(row["formats"], 3),
            _few([x for x in [*row["roundings"], *row["overflows"]] if x != "-"], 4),
            *(f"{row[key]:,}" for key in NUMBERS),
        )
    console.print(table)
    for n, difference in enumerate(study.differences(report), 1):
        for line in described(n, difference):
            console.print(line, markup=False, highlight=False)
    console.print(
        f"{report.cases:,} cases, {report.breaches:,} breaches of the contract by emunum, "
        f"{report.unexplained:,} unexplained mismatches.",
        markup=False,
        highlight=False,
    )


def _few(names: Sequence[str], most: int) -> str:
    """The first names and how many more there are; --json and --output have them all."""
    shown = names if len(names) <= most + 1 else [*names[:most], f"and {len(names) - most} more"]
    return ", ".join(shown)


def _write(output: Path, report: Report) -> None:
    from emunum.experiments.conformance import run as study
    from emunum.experiments.records import write_atomically
    from emunum.report.conformance import to_page

    record = study.record(report)
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    write_atomically(output / "records" / "conformance.json", text)
    write_atomically(output / "tables" / "conformance.md", to_page(record))
