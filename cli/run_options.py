"""The options of `emunum run`, by topic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from emunum_cli.jobs import DEFAULT_MINUTES, PRECISIONS
from emunum_cli.options import about, backend, completed_by, data_dir, json_only, threads

from emunum.experiments.config import RunConfig
from emunum.experiments.datasets import DATASETS
from emunum.experiments.tracking import TRACKERS
from emunum.formats.catalog import ALIASES, NAMED
from emunum.formats.rounding import MODE_ALIASES, MODES
from emunum.nn.models import MODELS
from emunum.ops.policy import NAMES as POLICY_NAMES

DEFAULTS = RunConfig()

arithmetic = about("Arithmetic")
integers = about("Arithmetic of --policy int8")
data = about("Data")
network = about("Network")
training = about("Training")
seeds = about("Randomness")
running = about("This run")


_formats = completed_by(lambda: (*ALIASES, *NAMED))
_roundings = completed_by(lambda: (*MODE_ALIASES, *MODES))


def _sizes(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in value.split(",") if size.strip())
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of sizes, such as 64,32") from None


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    arithmetic(
        "--format",
        "format_name",
        metavar="NAME",
        show_default="float32",
        help="Number format: a name or eXmY.",
        shell_complete=_formats,
    ),
    arithmetic(
        "--precision",
        type=click.Choice(list(PRECISIONS)),
        help="The published study's spelling: e5m2, e6m9, float32.",
    ),
    arithmetic(
        "--rounding",
        default="nearest",
        help="nearest, nearest_away, toward_zero, up, down, to_odd, stochastic, stochastic_b, stochastic_c.",
        shell_complete=_roundings,
    ),
    arithmetic(
        "--overflow",
        default=DEFAULTS.overflow,
        help="ieee, saturate, or auto: ieee where the format has Inf.",
    ),
    arithmetic(
        "--random-bits",
        type=int,
        default=DEFAULTS.random_bits,
        help="Random bits N of stochastic rounding, 1..32.",
    ),
    arithmetic(
        "--policy",
        default=DEFAULTS.policy,
        help="full: everything in the format; mixed: matmul operands; output: layer outputs and errors; "
        "input: what enters the network; hfp8: e4m3 forward, e5m2 backward; int8: integers with scales.",
        shell_complete=completed_by(lambda: POLICY_NAMES),
    ),
    arithmetic(
        "--accumulator",
        metavar="NAME",
        show_default="the policy's",
        help="Format of partial sums, rounded as the policy's are; int2..int32 with --policy int8.",
        shell_complete=_formats,
    ),
    arithmetic(
        "--order",
        default=DEFAULTS.order,
        metavar="ORDER",
        help="How sums are added: sequential, chunked:64, pairwise, kahan, exact, tensor_core:h100, or "
        "tensor_core:h100_fp8:128 with promotion every 128 terms.",
    ),
    arithmetic(
        "--outer",
        metavar="NAME",
        show_default="--accumulator",
        help="Format in which sums of chunks are added.",
    ),
    integers("--scale", default=DEFAULTS.scale, help="Scales of --policy int8: absmax or power_of_two."),
    integers(
        "--per-channel/--per-tensor",
        default=DEFAULTS.per_channel,
        help="One scale for each row of an int8 weight matrix, or one for all.",
    ),
    integers(
        "--master",
        default=DEFAULTS.master,
        help="Weights between steps of --policy int8: float32, or int8 updated stochastically.",
    ),
    data(
        "--dataset",
        default=DEFAULTS.dataset,
        help=f"{', '.join(DATASETS)}.",
        shell_complete=completed_by(lambda: DATASETS),
    ),
    data(
        "--test-split",
        type=float,
        default=DEFAULTS.test_split,
        help="Share of the samples kept for the test.",
    ),
    data(
        "--validation-split",
        type=float,
        default=DEFAULTS.validation_split,
        help="Share of the training samples that choose the best epoch, such as 0.1; its weights are kept.",
    ),
    data(
        "--train-samples",
        type=int,
        show_default="all",
        help="Train on so many of the training samples, chosen by --seed.",
    ),
    data("--augment", is_flag=True, help="Vary the training images at random, by --seed."),
    data("--shuffle/--no-shuffle", default=DEFAULTS.shuffle, help="New order of the samples in every epoch."),
    data_dir(data),
    network(
        "--model",
        show_default="linear; cnn or cifar_quick for images",
        help=f"{', '.join(MODELS)}.",
        shell_complete=completed_by(lambda: MODELS),
    ),
    network(
        "--hidden",
        default="",
        callback=_sizes,
        metavar="SIZES",
        show_default="32; 256,128 for images",
        help="Hidden sizes of mlp, such as 64,32.",
    ),
    network(
        "--dropout",
        type=float,
        show_default="the model's",
        help="Share of the activations that dropout leaves out in training, where the model has it.",
    ),
    network(
        "--init", default=DEFAULTS.init, help="Initial weights: torch (torch.nn.Linear's bits), he or zeros."
    ),
    training("--epochs", type=int, show_default="30; 3 to 10 for images"),
    training("--batch-size", type=int, show_default="32; 128 for images"),
    training("--optimizer", show_default="sgd; adam for images", help="sgd or adam."),
    training("--learning-rate", type=float, show_default="0.01; 0.001 for adam"),
    training("--momentum", type=float, show_default="0"),
    training("--nesterov", is_flag=True, help="Nesterov's momentum: --momentum 0.9 --nesterov."),
    training("--weight-decay", type=float, default=DEFAULTS.weight_decay),
    training(
        "--schedule",
        default=DEFAULTS.schedule,
        help="Learning rate over time: constant, cosine, or step:EPOCHS:FACTOR, such as step:10:0.5.",
    ),
    training(
        "--patience",
        type=int,
        show_default="all epochs are trained",
        help="Stop after so many epochs without a better validation loss.",
    ),
    training(
        "--loss",
        default=DEFAULTS.loss,
        help="auto (mse for regressions, cross_entropy for classes), mse or cross_entropy.",
    ),
    training(
        "--loss-scale",
        metavar="NUMBER|dynamic",
        show_default="1; 1024 for images in narrow formats",
        help="Factor on the loss gradient, undone in the update; dynamic: halved and the step skipped where "
        "gradients overflow, doubled after 2000 good steps.",
    ),
    seeds(
        "--seed",
        type=int,
        default=DEFAULTS.seed,
        help="Decides split, initial weights, order and random bits.",
    ),
    seeds("--rounding-seed", type=int, show_default="--seed", help="Another seed for the random bits alone."),
    backend(running),
    threads(running),
    running(
        "--events",
        is_flag=True,
        help="Count overflows, absorbed additions, ties and more, by layer, pass and epoch. Slower.",
    ),
    running(
        "--track",
        type=click.Choice(TRACKERS),
        help="Log epochs and result there as well, under the names they have in the files.",
    ),
    running(
        "--resume",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Go on with the run in DIR that was killed or stopped, with the options it was started with.",
    ),
    running(
        "--checkpoint-steps", type=int, show_default="none", help="Write a checkpoint every so many steps."
    ),
    running(
        "--checkpoint-minutes",
        type=float,
        show_default=f"{DEFAULT_MINUTES:g}",
        help="Write a checkpoint every so many minutes, and where the run is stopped.",
    ),
    running("--name", show_default="made from the configuration", help="Name of the run's directory."),
    running(
        "--output", type=click.Path(path_type=Path), default=Path("runs"), help="Where run directories go."
    ),
    json_only("the record", running),
    running("--quiet", is_flag=True, help="No progress and no table."),
)


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command every option of a run."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
