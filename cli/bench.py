"""emunum bench, emunum bench train"""

from __future__ import annotations

import json
from typing import Any

import click
from click.core import ParameterSource
from emunum_cli import options
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

Row = dict[str, Any]


@click.group(
    "bench",
    invoke_without_command=True,
    context_settings={"show_default": True},
    epilog="Examples: emunum bench; emunum bench --only 'cast e4m3'; emunum bench --quick --json; "
    "emunum bench train",
)
@click.option("--only", metavar="TEXT", help="Only cases whose name contains TEXT, and their references.")
@click.option(
    "--size",
    type=click.IntRange(1),
    show_default="512; 4096 where the CPU does not compute",
    help="Matrices are SIZE x SIZE.",
)
@click.option("--repeats", type=click.IntRange(1), default=7, help="Timed calls of each case.")
@options.backend()
@click.option("--threads", type=click.IntRange(1), show_default="all cores", help="Threads to use.")
@click.option("--quick", is_flag=True, help="A few cases, small arrays, 3 repeats: no measurement.")
@click.option("--list", "only_list", is_flag=True, help="Print the names of the cases and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, and nothing else.")
@click.pass_context
def command(
    ctx: click.Context,
    only: str | None,
    size: int | None,
    repeats: int,
    backend: str | None,
    threads: int | None,
    quick: bool,
    only_list: bool,
    as_json: bool,
) -> None:
    """Measure casts and matrix products beside what bounds them and beside other libraries.

    Cases take turns in one process; rates are medians. The limit of casts and codes is the bandwidth of a
    float32 copy of the same run, that of products in index order the rate of a loop of simple vector
    instructions over the instructions that a multiply-add takes in the compiled kernel. '-': not known.
    With --backend, the same of its kernels, beside the device's own float32 product.
    BLAS and other libraries use their own threads. Everything takes some minutes: see --only.
    """
    if ctx.invoked_subcommand is not None:
        _require_nothing(ctx)
        return
    from emunum.experiments import bench
    from emunum.experiments.records import computed_on
    from emunum.kernels.backends import DEFAULT, backend_named
    from emunum.kernels.cpu import get_threads, set_threads

    set_threads(threads)
    chosen = backend_named(backend or DEFAULT)
    selected = bench.cases(chosen, size=64 if quick else size, elements=1 << 16 if quick else None)
    repeats = 3 if quick else repeats
    if only:
        selected = bench.chosen(selected, only)
        if not selected:
            raise click.UsageError(f"--only {only!r} matches no case; 'emunum bench --list' lists them.")
    elif quick:
        selected = [case for case in selected if case.name in bench.QUICK] or selected
    if only_list:
        click.echo("\n".join(case.name for case in selected))
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring (kernels compile first)", total=len(selected) * (repeats + 2))
        rows, missing = bench.measure(selected, repeats=repeats, on_step=lambda: progress.advance(task))
    facts: Row = {"backend": chosen.NAME, "device": chosen.device()}
    if as_json:
        facts = facts | {"threads": get_threads(), "repeats": repeats, "not_installed": missing, "rows": rows}
        click.echo(json.dumps(facts, indent=2))
    else:
        _print(rows, computed_on(facts | {"threads": get_threads()}))
        if missing:
            click.echo(f"not installed, and so not measured: {', '.join(missing)}")


def _require_nothing(ctx: click.Context) -> None:
    """Refuse options of the kernels' benchmark in front of another's name."""
    for param in ctx.command.params:
        if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE:
            option, name = max(param.opts, key=len), ctx.invoked_subcommand
            raise click.UsageError(f"{option} is not for {name}, whose options stand after it.")


@command.command(
    "train",
    context_settings={"show_default": True},
    epilog="Examples: emunum bench train; emunum bench train --steps 20 --json",
)
@click.option("--steps", type=click.IntRange(1), default=5, help="Timed steps of each case.")
@click.option("--images", type=click.IntRange(1), default=54_000, help="Images of an epoch.")
@click.option("--batch-size", type=click.IntRange(1), default=256)
@options.backend()
@click.option("--threads", type=click.IntRange(1), show_default="all cores", help="Threads to use.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, and nothing else.")
def train(
    steps: int, images: int, batch_size: int, backend: str | None, threads: int | None, as_json: bool
) -> None:
    """Measure an epoch of training, emulated in e4m3, beside PyTorch in float32.

    The network cnn with Adam on made-up images of MNIST's shape. Cases take turns, a step each, in one
    process; an epoch is the median step times the steps in it. Says which share of the time is spent inside
    emulated arithmetic, and in which kernels. Memory is the most that the process held while the case took
    its first two steps, which compile.
    """
    if batch_size > images:
        raise click.UsageError(f"--batch-size {batch_size} is out of range: there are {images} images.")
    from emunum.experiments.bench import training
    from emunum.kernels.backends import DEFAULT, backend_named
    from emunum.kernels.cpu import set_threads

    chosen = backend_named(backend or DEFAULT)
    set_threads(threads)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        total = (len(training.CASES) + 1) * (steps + 2)
        task = progress.add_task("measuring (kernels compile first)", total=total)
        rows, missing = training.measure(
            steps=steps,
            images=images,
            batch=batch_size,
            backend=chosen,
            on_step=lambda: progress.advance(task),
        )
    facts = {"images": images, "backend": chosen.NAME, "device": chosen.device(), "not_installed": missing}
    if as_json:
        click.echo(json.dumps(facts | {"rows": rows}, indent=2))
        return
    _print_training(rows, facts)
    if missing:
        click.echo(f"not installed, and so not measured: {', '.join(missing)}")


def _print_training(rows: list[Row], facts: Row) -> None:
    from emunum.experiments.records import computed_on

    batch, steps, where = rows[0]["batch_size"], rows[0]["steps"], computed_on(facts | rows[0])
    title = f"An epoch of {facts['images']:,} images in batches of {batch}, from {steps} steps, {where}"
    table = Table(title=title)
    table.add_column("case")
    for column in ("s a step", "s an epoch", "ratio to PyTorch", "peak MB", "inside"):
        table.add_column(column, justify="right")
    table.add_column("where most of it goes")
    for row in rows:
        table.add_row(
            row["name"],
            f"{row['step_s']:.3g}",
            f"{row['epoch_s']:.3g}",
            _ratio(row["ratio_to_pytorch"]),
            "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:,.0f}",
            "-" if row["inside"] is None else f"{row['inside']:.0%}",
            ", ".join(f"{name} {share:.0%}" for name, share in row["slowest"].items()) or "-",
        )
    Console(width=None if Console().is_terminal else 180).print(table)


def _print(rows: list[Row], where: str) -> None:
    console = Console(width=None if Console().is_terminal else 160)
    for group in dict.fromkeys(row["group"] for row in rows):
        own = [row for row in rows if row["group"] == group]
        references = {row["reference"] for row in own if row["reference"] != row["name"]}
        alike = len(references) == 1
        ratio = f"ratio to {next(iter(references))}" if alike else "ratio to reference"
        unit = own[-1]["unit"]
        table = Table(title=f"{group}: {unit}, {where}")
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
