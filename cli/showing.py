"""Tables of a study on a terminal, as its report shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_WIDTH = 190
"""Columns where the output is no terminal."""


def print_study(name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print the tables of a study's rows, and the notes below them."""
    from emunum.report.paper.studies import shown

    show, console = shown(name), Console(width=None if Console().is_terminal else _WIDTH)
    for made in show.tables(rows):
        if not made.cells:
            continue
        table = Table(title=made.title)
        for at, column in enumerate(made.header):
            table.add_column(column, justify="left" if at < made.left else "right", no_wrap=at == 0)
        for cells in made.cells:
            table.add_row(*map(escape, cells))
        console.print(table)
    for note in show.notes(rows):
        console.print(note, markup=False, highlight=False)
