"""The options of `emunum sweep`: a list for each option of a run, and its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from emunum_cli import run
from emunum_cli.options import about, json_only

from emunum.experiments.config import RunConfig

sweeping = about("This sweep")

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    sweeping(
        "--jobs",
        type=click.IntRange(1),
        show_default="all cores",
        help="Runs that are computed at a time, each in a process.",
    ),
    sweeping(
        "--threads",
        type=click.IntRange(1),
        show_default="cores / jobs; on a cluster 1",
        help="Threads of each run; no result depends on it.",
    ),
    sweeping("--scheduler", metavar="ADDRESS", help="Use the workers of a Dask cluster: tcp://host:8786."),
    sweeping("--events", is_flag=True, help="Count what the roundings do, for every run. Slower."),
    sweeping(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        show_default="EMUNUM_DATA, then the cache",
        help="Folder with the data sets that do not come with the package, where the runs are computed.",
    ),
    sweeping(
        "--output",
        type=click.Path(path_type=Path, file_okay=False),
        show_default="runs/GRID, or runs/sweep",
        help="Directory of records.jsonl.",
    ),
    sweeping("--dry-run", is_flag=True, help="List what would run, and estimate the time."),
    json_only("a summary", sweeping),
    sweeping("--quiet", is_flag=True, help="No progress and no table."),
)


def sweep_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for every option of a run, explained and sorted as there, and its own."""
    explained = {name: param for param in run.command.params for name in param.opts}
    for option in reversed(_OPTIONS):
        function = option(function)
    for field in reversed(fields(RunConfig)):
        name = "--" + field.name.replace("_", "-")
        topic = getattr(explained.get(name), "topic", "Runs")
        text = getattr(explained.get(name), "help", None)
        function = about(topic)(name, field.name, multiple=True, metavar="LIST", help=text)(function)
    return function
