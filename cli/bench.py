"""emunum bench"""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

Row = dict[str, Any]


@click.command(
    "bench",
    context_settings={"show_default": True},
    epilog="Examples: emunum bench; emunum bench --only 'cast e4m3'; emunum bench --quick --json",
)
@click.option("--only", metavar="TEXT", help="Only cases whose name contains TEXT, and their references.")
@click.option("--size", type=click.IntRange(1), default=512, help="Matrices are SIZE x SIZE.")
@click.option("--repeats", type=click.IntRange(1), default=7, help="Timed calls of each case.")
@click.option("--threads", type=click.IntRange(1), show_default="all cores", help="Threads to use.")
@click.option("--quick", is_flag=True, help="A few cases, small arrays, 3 repeats: no measurement.")
@click.option("--list", "only_list", is_flag=True, help="Print the names of the cases and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, and nothing else.")
def command(
    only: str | None,
    size: int,
    repeats: int,
    threads: int | None,
    quick: bool,
    only_list: bool,
    as_json: bool,
) -> None:
    """Measure casts and matrix products beside what bounds them and beside other libraries.

    Cases take turns in one process; rates are medians. The limit of casts and codes is the bandwidth of a
    float32 copy of the same run, that of products in index order the rate of a loop of simple vector
    instructions over the instructions that a multiply-add takes in the compiled kernel. '-': not known.
    BLAS and other libraries use their own threads. Everything takes some minutes: see --only.
    """
    from emunum.experiments import bench
    from emunum.kernels.cpu import get_threads, set_threads

    set_threads(threads)
    selected = bench.cases(size=64, elements=1 << 16) if quick else bench.cases(size=size)
    repeats = 3 if quick else repeats
    if only:
        selected = bench.chosen(selected, only)
        if not selected:
            raise click.UsageError(f"--only {only!r} matches no case; 'emunum bench --list' lists them.")
    elif quick:
        selected = [case for case in selected if case.name in bench.QUICK]
    if only_list:
        click.echo("\n".join(case.name for case in selected))
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring (kernels compile first)", total=len(selected) * (repeats + 2))
        rows, missing = bench.measure(selected, repeats=repeats, on_step=lambda: progress.advance(task))
    if as_json:
        facts = {"threads": get_threads(), "repeats": repeats, "not_installed": missing, "rows": rows}
        click.echo(json.dumps(facts, indent=2))
    else:
        _print(rows, get_threads())
        if missing:
            click.echo(f"not installed, and so not measured: {', '.join(missing)}")


def _print(rows: list[Row], threads: int) -> None:
    console = Console(width=None if Console().is_terminal else 160)
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == group]
        references = {row["reference"] for row in own if row["reference"] != row["name"]}
        alike = len(references) == 1
        ratio = f"ratio to {next(iter(references))}" if alike else "ratio to reference"
        unit = own[-1]["unit"]
        table = Table(title=f"{group}: {unit}, {threads} threads")
        table.add_column("case")
        for column in ("median", "slowest", "fastest", ratio, "limit", "share of limit"):
            table.add_column(column, justify="right")
        if not alike:
            table.add_column("reference")
        for row in own:
            table.add_row(
                row["name"] if row["unit"] == unit else f"{row['name']} ({row['unit']})",
                *(_rate(row[f"{kind}_per_s"]) for kind in ("median", "slowest", "fastest")),
                _ratio(row["ratio_to_reference"]),
                _rate(row["limit_per_s"]),
                _ratio(row["share_of_limit"]),
                *([] if alike else [row["reference"]]),
            )
        console.print(table)


def _rate(per_s: float | None) -> str:
    return "-" if per_s is None else f"{per_s / 1e9:.3g} G"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
