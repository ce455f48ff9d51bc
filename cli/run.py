"""emunum run"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from emunum_cli.jobs import DEFAULT_MINUTES, PRECISIONS, Job, begun, require_alone, resumed
from emunum_cli.progress import TrainingProgress
from emunum_cli.result import events_in, print_events, print_result
from rich.console import Console

from emunum.experiments.config import RunConfig
from emunum.experiments.datasets import DATASETS
from emunum.nn.models import MODELS

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
  emunum run --dataset mnist --model cnn --format e4m3 --policy mixed --epochs 3
  emunum run --dataset digits --policy int8 --rounding stochastic --model mlp --epochs 10
  emunum run --dataset digits --format e5m2 --policy mixed --order tensor_core:h100_fp8:128
  emunum run --dataset digits --optimizer adam --learning-rate 0.001 --validation-split 0.1 --patience 3
  emunum run --dataset digits --momentum 0.9 --nesterov --schedule cosine --loss-scale dynamic
  emunum run --dataset diabetes --format e5m2 --events
  emunum run --resume runs/mine
  emunum run --dataset toy --precision float8 --policy output --json --quiet""",
)
@click.option("--dataset", default=DEFAULTS.dataset, help=f"{', '.join(DATASETS)}.")
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
    "input: what enters the network; hfp8: e4m3 forward, e5m2 backward; int8: integers with scales.",
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
@click.option("--model", show_default="linear; cnn or cifar_quick for images", help=f"{', '.join(MODELS)}.")
@click.option(
    "--hidden",
    default="",
    callback=_sizes,
    metavar="SIZES",
    show_default="32; 256,128 for images",
    help="Hidden sizes of mlp, such as 64,32.",
)
@click.option(
    "--dropout",
    type=float,
    show_default="the model's",
    help="Share of the activations that dropout leaves out in training, such as 0.5, in models that have it.",
)
@click.option("--epochs", type=int, show_default="30; 3 to 10 for images")
@click.option("--learning-rate", type=float, show_default="0.01; 0.001 for adam")
@click.option("--momentum", type=float, show_default="0")
@click.option("--weight-decay", type=float, default=DEFAULTS.weight_decay)
@click.option("--optimizer", show_default="sgd; adam for images", help="sgd or adam.")
@click.option("--nesterov", is_flag=True, help="Nesterov's momentum: --momentum 0.9 --nesterov.")
@click.option(
    "--schedule",
    default=DEFAULTS.schedule,
    help="Learning rate over time: constant, cosine, or step:EPOCHS:FACTOR, such as step:10:0.5.",
)
@click.option("--batch-size", type=int, show_default="32; 128 for images")
@click.option(
    "--test-split", type=float, default=DEFAULTS.test_split, help="Share of the samples kept for the test."
)
@click.option(
    "--validation-split",
    type=float,
    default=DEFAULTS.validation_split,
    help="Share of the training samples that choose the best epoch, such as 0.1; its weights are kept.",
)
@click.option(
    "--train-samples",
    type=int,
    show_default="all",
    help="Train on so many of the training samples, chosen by --seed.",
)
@click.option(
    "--patience",
    type=int,
    show_default="all epochs are trained",
    help="Stop after so many epochs without a better validation loss.",
)
@click.option("--augment", is_flag=True, help="Vary the training images at random, by --seed.")
@click.option(
    "--shuffle/--no-shuffle", default=DEFAULTS.shuffle, help="New order of the samples in every epoch."
)
@click.option(
    "--loss-scale",
    metavar="NUMBER|dynamic",
    show_default="1; 1024 for images in narrow formats",
    help="Factor on the loss gradient, undone in the update; dynamic: halved and the step skipped where "
    "gradients overflow, doubled after 2000 good steps.",
)
@click.option(
    "--loss",
    default=DEFAULTS.loss,
    help="auto (mse for regressions, cross_entropy for classes), mse or cross_entropy.",
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
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="EMUNUM_DATA, then the cache",
    help="Folder with the data sets that do not come with the package; 'emunum data' fetches them.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Go on with the run in DIR that was killed or stopped; every option is the one it was started with.",
)
@click.option(
    "--checkpoint-steps", type=int, show_default="none", help="Write a checkpoint every so many steps."
)
@click.option(
    "--checkpoint-minutes",
    type=float,
    show_default=f"{DEFAULT_MINUTES:g}",
    help="Write a checkpoint every so many minutes, and where the run is stopped.",
)
@click.option("--name", show_default="made from the configuration", help="Name of the run's directory.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("runs"), help="Where run directories go."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the record, and nothing else, on standard output."
)
@click.option("--quiet", is_flag=True, help="No progress and no table.")
@click.pass_context
def command(ctx: click.Context, /, threads: int | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Train a network with every product, sum and update rounded into a format, and save the record.

    OUTPUT/NAME holds config.json, history.jsonl (a line an epoch, its events with --events), weights.npz
    and record.json. The same command gives the same weights, bit for bit, on any machine; record.json has
    their SHA-256.

    Images have defaults of their own: a convolutional network and Adam; with --policy full, which rounds
    Adam's state as well, SGD with momentum 0.9 and learning rate 0.1; and a loss scale (1024, under full 64)
    where errors are in a format whose smallest number is above 2^-30. The record names them all.

    A run that is killed or stopped goes on with --resume OUTPUT/NAME, to the same weights and history.

    The first run of a configuration compiles its kernels, which takes some seconds; they are kept.
    """
    if threads is not None and threads < 1:
        raise click.UsageError(f"--threads {threads} is out of range: at least one is needed.")
    console = Console(stderr=True, quiet=quiet)
    path: Path | None = options.pop("resume")
    if path is None:
        job = begun(options)
    else:
        require_alone(ctx, path)
        job = resumed(path, options)
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    for remark in job.remarks:
        say(remark)

    from emunum.kernels.cpu import set_threads

    set_threads(threads)
    record = job.record or _trained(job, console, quiet)
    if as_json:
        click.echo(json.dumps(record, indent=2))
    elif not quiet:
        print_result(record, job.directory)
        if counted := events_in(job.directory):
            print_events(counted)
    if record["status"] == "diverged":
        say(f"The run diverged: {record['reason']}. The record says so too.")
    if record["status"] == "interrupted":
        say(f"Interrupted: {record['reason']}. To go on: emunum run --resume {job.directory}")
        raise click.exceptions.Exit(143 if "SIGTERM" in record["reason"] else 130)


def _trained(job: Job, console: Console, quiet: bool) -> dict[str, Any]:
    from emunum.experiments.records import RunDirectory
    from emunum.experiments.run import execute

    kept = {
        "events": job.events,
        "checkpoint_steps": job.interval.steps,
        "checkpoint_minutes": job.interval.minutes,
        "data_dir": None if job.data_dir is None else str(job.data_dir.absolute()),
    }
    directory = RunDirectory(job.directory.parent, job.directory.name, job.config, kept)
    try:
        with TrainingProgress(console, job.config.epochs, quiet) as progress, _terminable():
            return execute(
                job.config,
                directory=directory,
                events=job.events,
                checkpoints=job.interval,
                resume=job.resume,
                data_dir=job.data_dir,
                on_step=progress.on_step,
                on_epoch=progress.on_epoch,
            )
    except ValueError as error:
        directory.discard()
        raise click.ClickException(str(error)) from None
    except OSError as error:
        if not directory.checkpoint.exists():
            raise
        raise click.ClickException(
            f"{error.strerror}: {error.filename}. The run goes on from its checkpoint, once that is mended: "
            f"emunum run --resume {directory.path}"
        ) from None


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM stop a run as Ctrl-C does, with a checkpoint."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt("SIGTERM")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
