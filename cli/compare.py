"""emunum compare"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table


@click.command(
    "compare",
    epilog="""\b
Examples:
  emunum compare runs/a runs/b
  emunum compare sweep:3f81 sweep:9c20 --json""",
)
@click.argument("one", metavar="RUN")
@click.argument("other", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON, and nothing else.")
def command(one: str, other: str, as_json: bool) -> None:
    """Say in which options and in which results two runs differ.

    RUN is a run's directory, its record.json, or DIR:RUN_ID, a run of a sweep's directory or of a folder of
    runs by the first digits of its run_id.
    """
    from emunum.experiments.results.comparison import compare, find_run

    try:
        ours, theirs = find_run(one), find_run(other)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    found = compare(ours, theirs)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    console = Console(width=None if Console().is_terminal else 150)
    sections = (
        ("configuration", found.configuration),
        ("result", found.result),
        ("time and place", found.surroundings),
    )
    for title, differences in sections:
        if differences:
            console.print(_table(f"What differs in {title}", one, other, differences))
    same = [title for title, differences in sections[:2] if not differences]
    if same:
        console.print(f"The same in {' and in '.join(same)}.", highlight=False)
    if found.first_epoch is not None:
        console.print(f"The histories part in epoch {found.first_epoch}.", highlight=False)


def _table(title: str, one: str, other: str, differences: Mapping[str, tuple[Any, Any]]) -> Table:
    table = Table(title=title)
    table.add_column("key", no_wrap=True)
    for name in (one, other):
        table.add_column(escape(name), overflow="fold", justify="right")
    table.add_column("difference", justify="right")
    for key, (ours, theirs) in differences.items():
        table.add_row(key, escape(_shown(ours)), escape(_shown(theirs)), _difference(ours, theirs))
    return table


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.9g}"
    return "-" if value is None else str(value)


def _difference(ours: Any, theirs: Any) -> str:
    numbers = [x for x in (ours, theirs) if isinstance(x, int | float) and not isinstance(x, bool)]
    if len(numbers) < 2:
        return ""
    relative = f" ({100 * (theirs - ours) / abs(ours):+.3g} %)" if ours else ""
    return f"{theirs - ours:+.4g}{relative}"
