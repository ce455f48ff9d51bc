"""emunum data"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

data_dir = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    show_default="the folder in EMUNUM_DATA, if set",
    help="Folder that holds image sets, searched before the cache.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")


@click.group(
    "data",
    epilog="""\b
Examples:
  emunum data list
  emunum data fetch mnist
  emunum data info digits""",
)
def command() -> None:
    """List data sets, fetch the published image sets, or print what is in one.

    Image sets are read from --data-dir (or the folder in EMUNUM_DATA), from its subfolder with the set's
    name or itself, in the published layouts: MNIST's four IDX files, gzipped or not; CIFAR's binary
    batches or the .tar.gz. The per-user cache, which fetch fills, comes after.
    """


@command.command("list", epilog="Example: emunum data list --json")
@data_dir
@as_json
def list_(data_dir: Path | None, as_json: bool) -> None:
    """List the data sets, and where they are on this machine."""
    from emunum.experiments.datasets import DATASETS
    from emunum.experiments.datasets.facts import summary

    try:
        rows = [summary(name, data_dir) for name in DATASETS]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(title="Data sets")
    for column in ("name", "what", "samples", "for testing", "shape", "where"):
        right = column in ("samples", "for testing")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        where = row["place"] or f"nowhere: emunum data fetch {row['name']}"
        test = f"{row['n_test']:,}" if row["n_test"] else "a share"
        table.add_row(
            row["name"], row["title"], f"{row['samples']:,}", test, _by(row["shape"]), escape(where)
        )
    Console(width=None if Console().is_terminal else 150).print(table)


@command.command(
    "fetch", epilog="Examples: emunum data fetch mnist; emunum data fetch cifar10 --to downloads/cifar10"
)
@click.argument("name")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="the per-user cache",
    help="Folder to put the files into.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
def fetch(name: str, folder: Path | None, quiet: bool) -> None:
    """Download the image set NAME from its published mirrors, tried in order.

    A file is in its place when it is whole and has its published MD5, and not before. A download that
    was broken off continues where the server allows it.
    """
    from emunum.experiments.datasets import DATASETS, PUBLISHED
    from emunum.experiments.datasets.fetching import fetch as fetch_files
    from emunum.formats.names import unknown

    if name not in DATASETS:
        raise click.UsageError(str(unknown("dataset", name, DATASETS)))
    if name not in PUBLISHED:
        click.echo(f"{name} comes with the installation: there is nothing to fetch.")
        return
    console = Console(stderr=True)
    display = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )
    with display:
        paths = fetch_files(PUBLISHED[name], folder, progress=lambda url: _Bar(display, url))
    for path in paths:
        click.echo(str(path))


@command.command("info", epilog="Examples: emunum data info digits; emunum data info mnist --data-dir data")
@click.argument("name")
@data_dir
@as_json
def info(name: str, data_dir: Path | None, as_json: bool) -> None:
    """Read the data set NAME and print its shapes, classes, checksum, source and terms."""
    from emunum.experiments.datasets.facts import details, summary

    try:
        summary(name, data_dir)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        facts = details(name, data_dir)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    table = Table(title=f"{name}: {facts['title']}", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in _lines(facts):
        table.add_row(label, escape(text))
    Console(width=None if Console().is_terminal else 110).print(table)


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    samples, n_test = facts["samples"], facts["n_test"]
    split = f"{samples - n_test:,} to train on, {n_test:,} to test on" if n_test else "no published test set"
    lines = [("samples", f"{samples:,}: {split}"), ("features of one", _by(facts["shape"]))]
    if "features" in facts:
        lines.append(("columns", ", ".join(facts["features"])))
    else:
        lines.append(("pixels", f"whole numbers from 0 to {facts['largest_pixel']}"))
        named = zip(facts["classes"], facts["class_counts"], strict=True)
        lines.append(("classes, samples", ", ".join(f"{name} {count:,}" for name, count in named)))
    lines += [("SHA-256 of the arrays", facts["sha256"]), ("where", facts["place"])]
    if facts["note"]:
        lines.append(("note", facts["note"]))
    return [*lines, ("source", facts["source"]), ("terms", facts["terms"])]


def _by(shape: list[int]) -> str:
    return " x ".join(map(str, shape))


class _Bar:
    """One file of a display, with the methods that the download calls."""

    def __init__(self, display: Progress, url: str) -> None:
        self._display, self._task = display, display.add_task(url.rpartition("/")[2], total=None)

    @property
    def total(self) -> int:
        return int(self._display.tasks[self._task].total or 0)

    @total.setter
    def total(self, size: int) -> None:
        self._display.update(self._task, total=size or None)

    def update(self, n: int) -> None:
        self._display.advance(self._task, n)

    def reset(self) -> None:
        self._display.reset(self._task, total=self._display.tasks[self._task].total)

    def close(self) -> None:
        self._display.stop_task(self._task)
