"""emunum run"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from emunum.experiments.config import RunConfig
from emunum.ops.events import EVENTS

if TYPE_CHECKING:
    from emunum.experiments.train import EpochRecord, EventRow

PRECISIONS = {"float8": "float8_e5m2", "float16": "e6m9", "float32": "float32"}
DEFAULTS = RunConfig()


def _sizes(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in value.split(",") if size.strip())
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of sizes, such as 64,32") from None


@click.command(
    "run",
    context_settings={"show_default": True},
    epilog="""\b
Examples:
  emunum run --dataset diabetes --format e4m3 --rounding stochastic
  emunum run --dataset boston --format e5m2 --policy mixed --model mlp --hidden 64,32 --epochs 100
  emunum run --dataset digits --policy int8 --rounding stochastic --model mlp --epochs 10
  emunum run --dataset digits --format e5m2 --policy mixed --order tensor_core:h100_fp8:128
  emunum run --dataset diabetes --format e5m2 --events
  emunum run --dataset toy --precision float8 --policy output --json --quiet""",
)
@click.option("--dataset", default=DEFAULTS.dataset, help="toy, diabetes, boston or digits.")
@click.option(
    "--format", "format_name", metavar="NAME", show_default="float32", help="Number format: a name or eXmY."
)
@click.option(
    "--precision",
    type=click.Choice(list(PRECISIONS)),
    help="The published study's spelling: e5m2, e6m9, float32.",
)
@click.option(
    "--rounding",
    default="nearest",
    help="nearest, nearest_away, toward_zero, up, down, to_odd, stochastic, stochastic_b or stochastic_c.",
)
@click.option(
    "--overflow", default=DEFAULTS.overflow, help="ieee, saturate, or auto: ieee where the format has Inf."
)
@click.option(
    "--random-bits",
    type=int,
    default=DEFAULTS.random_bits,
    help="Random bits N of stochastic rounding, 1..32.",
)
@click.option(
    "--policy",
    default=DEFAULTS.policy,
    help="full: everything in the format; mixed: matmul operands; output: layer outputs and errors; "
    "int8: integers with scales.",
)
@click.option(
    "--accumulator",
    metavar="NAME",
    show_default="the policy's",
    help="Format of partial sums, rounded as the policy's are; int2..int32 with --policy int8.",
)
@click.option(
    "--order",
    default=DEFAULTS.order,
    metavar="ORDER",
    help="How sums are added: sequential, chunked:64, pairwise, kahan, exact, tensor_core:h100, or "
    "tensor_core:h100_fp8:128 with promotion every 128 terms.",
)
@click.option(
    "--outer", metavar="NAME", show_default="--accumulator", help="Format in which sums of chunks are added."
)
@click.option("--scale", default=DEFAULTS.scale, help="Scales of --policy int8: absmax or power_of_two.")
@click.option(
    "--per-channel/--per-tensor",
    default=DEFAULTS.per_channel,
    help="One scale for each row of an int8 weight matrix, or one for all.",
)
@click.option(
    "--master",
    default=DEFAULTS.master,
    help="Weights between steps of --policy int8: float32, or int8 updated stochastically.",
)
@click.option("--model", default=DEFAULTS.model, help="linear or mlp.")
@click.option(
    "--hidden",
    default="",
    callback=_sizes,
    metavar="SIZES",
    show_default="32",
    help="Hidden sizes of mlp, such as 64,32.",
)
@click.option("--epochs", type=int, default=DEFAULTS.epochs)
@click.option("--learning-rate", type=float, default=DEFAULTS.learning_rate)
@click.option("--momentum", type=float, default=DEFAULTS.momentum)
@click.option("--weight-decay", type=float, default=DEFAULTS.weight_decay)
@click.option("--batch-size", type=int, default=DEFAULTS.batch_size)
@click.option(
    "--test-split", type=float, default=DEFAULTS.test_split, help="Share of the samples kept for the test."
)
@click.option(
    "--shuffle/--no-shuffle", default=DEFAULTS.shuffle, help="New order of the samples in every epoch."
)
@click.option(
    "--loss-scale",
    type=float,
    default=DEFAULTS.loss_scale,
    help="Constant factor on the loss gradient, undone in the update.",
)
@click.option(
    "--init", default=DEFAULTS.init, help="Initial weights: torch (torch.nn.Linear's bits), he or zeros."
)
@click.option(
    "--seed", type=int, default=DEFAULTS.seed, help="Decides split, initial weights, order and random bits."
)
@click.option(
    "--rounding-seed", type=int, show_default="--seed", help="Another seed for the random bits alone."
)
@click.option(
    "--threads", type=int, show_default="all cores", help="Threads to use; no result depends on it."
)
@click.option(
    "--events",
    is_flag=True,
    help="Count overflows, absorbed additions, ties and more, by layer, pass and epoch. Slower.",
)
@click.option("--name", show_default="made from the configuration", help="Name of the run's directory.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("runs"), help="Where run directories go."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the record, and nothing else, on standard output."
)
@click.option("--quiet", is_flag=True, help="No progress and no table.")
def command(
    format_name: str | None,
    precision: str | None,
    threads: int | None,
    events: bool,
    name: str | None,
    output: Path,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a network with every product, sum and update rounded into a format, and save the record.

    OUTPUT/NAME holds config.json, history.jsonl (a line an epoch, its events with --events), weights.npz
    and record.json. The same command gives the same weights, bit for bit, on any machine; record.json has
    their SHA-256.

    The first run of a configuration compiles its kernels, which takes some seconds; they are kept.
    """
    if format_name is not None and precision is not None:
        raise click.UsageError("--format and --precision name the same thing: give one of them.")
    if precision is not None:
        format_name = PRECISIONS[precision]
    options["format"] = DEFAULTS.format if format_name is None else format_name
    try:
        config = RunConfig(**options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if threads is not None and threads < 1:
        raise click.UsageError(f"--threads {threads} is out of range: at least one is needed.")
    if name is not None and (name in ("", "..") or Path(name).name != name):
        raise click.UsageError(f"--name {name!r} is no directory name: --output says where it goes.")

    from emunum.experiments.records import RunDirectory
    from emunum.experiments.run import execute
    from emunum.kernels.cpu import set_threads

    set_threads(threads)
    directory = RunDirectory(output, name or default_name(config), config)
    console = Console(stderr=True, quiet=quiet)
    counted: list[EventRow] = []

    def on_epoch(epoch: EpochRecord) -> None:
        counted.extend(epoch.events)
        loss = f"loss {epoch.step_mse[-1]:.5g}"
        progress.update(task, advance=1, description="training", loss=loss)

    with _progress(console, quiet) as progress:
        task = progress.add_task("starting: kernels compile at first use", total=config.epochs, loss="")
        try:
            record = execute(config, directory=directory, events=events, on_epoch=on_epoch)
        except ValueError as error:
            raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(record, indent=2))
    elif not quiet:
        _print_result(record, directory.path)
        if counted:
            _print_events(counted)
    if record["status"] == "diverged":
        console.print(f"The run diverged: {record['reason']}. The record says so too.", markup=False)
    if record["status"] == "interrupted":
        message = f"Interrupted: {record['reason']}. The record in {directory.path} holds what there is."
        console.print(message, markup=False)
        raise click.exceptions.Exit(130)


def _print_events(rows: list[EventRow]) -> None:
    totals: dict[tuple[str, str], Counter[str]] = {}
    worst: dict[tuple[str, str], tuple[float, float]] = {}
    for row in rows:
        place = str(row["layer"]), str(row["pass"])
        totals.setdefault(place, Counter()).update({event: int(row[event]) for event in EVENTS})
        error, bound = worst.get(place, (0.0, 0.0))
        worst[place] = max(error, float(row["backward_error"])), max(bound, float(row["worst_case"]))
    table = Table(title="What the roundings did, all epochs; backward error of matrix products beside n u")
    for column in ("layer", "pass"):
        table.add_column(column)
    for event in (*EVENTS, "backward error", "n u"):
        table.add_column(event.replace("_", " "), justify="right")
    for place, counts in sorted(totals.items()):
        errors = (f"{value:.2g}" if value else "-" for value in worst[place])
        table.add_row(*place, *(f"{counts[event]:,}" for event in EVENTS), *errors)
    Console(width=None if Console().is_terminal else 150).print(table)


def default_name(config: RunConfig) -> str:
    return f"{config.dataset}-{config.format}-{config.rounding}-{config.policy}-{config.run_id[:8]}"


def _progress(console: Console, quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
    )


def _print_result(record: dict[str, Any], path: Path) -> None:
    table = Table(
        title=f"{record['dataset']} in {record['format']} (max {record['format_max']:g})", show_header=False
    )
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rounding = record["rounding"]
    if rounding.startswith("stochastic"):
        rounding += f", {record['random_bits']} random bits"
    table.add_row("rounding, overflow", f"{rounding}, {record['overflow_applied']}")
    accumulator = f", accumulator {record['accumulator']}" if record["accumulator"] else ""
    accumulator += f", order {record['order']}" if record["order"] != "sequential" else ""
    table.add_row("policy, model", f"{record['policy']}{accumulator}, {record['model']}")
    table.add_row("status", f"{record['status']}, {record['epochs_completed']} of {record['epochs']} epochs")
    for key, label in (
        ("final_step_mse", "last step's MSE"),
        ("train_mse", "train MSE"),
        ("test_mse", "test MSE"),
        ("test_rmse", "test RMSE"),
        ("test_accuracy", "test accuracy"),
    ):
        value = record.get(key)
        if key == "test_accuracy" and value is None:
            continue
        table.add_row(label, "-" if value is None else f"{value:.6g}")
    table.add_row("weights SHA-256", str(record["weights_sha256"]))
    table.add_row("time", f"{record['wall_s']:.2f} s on {record['threads']} threads")
    table.add_row("saved in", escape(str(path)))
    Console().print(table)
