"""emunum bench"""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table


@click.command(
    "bench",
    context_settings={"show_default": True},
    epilog="Examples: emunum bench; emunum bench --only matmul --threads 1; emunum bench --quick --json",
)
@click.option("--only", metavar="TEXT", help="Only cases whose name contains TEXT (references always run).")
@click.option("--size", type=click.IntRange(1), default=512, help="Matrices are SIZE x SIZE.")
@click.option("--repeats", type=click.IntRange(1), default=7, help="Timed calls of each case.")
@click.option("--threads", type=click.IntRange(1), show_default="all cores", help="Threads to use.")
@click.option("--quick", is_flag=True, help="Small arrays and 3 repeats: a smoke test, not a measurement.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON, and nothing else.")
def command(
    only: str | None, size: int, repeats: int, threads: int | None, quick: bool, as_json: bool
) -> None:
    """Measure casts and matrix products beside a plain copy, float32 BLAS and, if installed, ml_dtypes.

    Cases take turns in one process; rates are medians. BLAS uses its own threads.
    """
    from emunum.experiments import bench
    from emunum.kernels.cpu import get_threads, set_threads

    set_threads(threads)
    if quick:
        selected, repeats = bench.cases(size=64, elements=1 << 16), 3
    else:
        selected = bench.cases(size=size)
    if only:
        references = {case.reference for case in selected if only in case.name}
        selected = [case for case in selected if only in case.name or case.name in references]
        if not selected:
            raise click.UsageError(f"--only {only!r} matches no case; 'emunum bench --quick' lists them.")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring (kernels compile first)", total=len(selected) * (repeats + 1))
        rows = bench.measure(selected, repeats=repeats, on_call=lambda: progress.advance(task))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        _print(rows, get_threads())


def _print(rows: list[dict[str, Any]], threads: int) -> None:
    console = Console(width=None if Console().is_terminal else 120)
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == group]
        table = Table(title=f"{group}: {own[0]['unit']}, {threads} threads")
        table.add_column("case")
        for column in ("median", "slowest", "fastest", f"ratio to {own[0]['reference']}"):
            table.add_column(column, justify="right")
        for row in own:
            rates = (row[f"{kind}_per_s"] for kind in ("median", "slowest", "fastest"))
            ratio = row["ratio_to_reference"]
            table.add_row(
                row["name"],
                *(f"{rate / 1e9:.3g} G" for rate in rates),
                "-" if ratio is None else f"{ratio:.3g}",
            )
        console.print(table)
