"""emunum run"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click
from emunum_cli.jobs import Job, begun, require_alone, resumed
from emunum_cli.options import TopicCommand
from emunum_cli.progress import TrainingProgress
from emunum_cli.result import events_in, print_events, print_result
from emunum_cli.run_options import run_options
from emunum_cli.stopping import terminable
from rich.console import Console

from emunum.experiments.tracking import Untracked, tracking


@click.command(
    "run",
    cls=TopicCommand,
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
@run_options
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
    console = Console(stderr=True, quiet=quiet)
    path: Path | None = options.pop("resume")
    track: str | None = options.pop("track")
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
    record = job.record or _trained(job, console, quiet, track)
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


def _trained(job: Job, console: Console, quiet: bool, track: str | None) -> dict[str, Any]:
    from emunum.experiments.records import RunDirectory
    from emunum.experiments.run import execute

    try:
        warn = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        tracker = tracking(track, job.config, job.directory, warn) if track else Untracked
    except ModuleNotFoundError as error:
        raise click.ClickException(f"--track {track}: {error}") from None
    kept = {
        "events": job.events,
        "checkpoint_steps": job.interval.steps,
        "checkpoint_minutes": job.interval.minutes,
        "data_dir": None if job.data_dir is None else str(job.data_dir.absolute()),
        "backend": job.backend.NAME,
    }
    directory = RunDirectory(job.directory.parent, job.directory.name, job.config, kept)
    try:
        with TrainingProgress(console, job.config.epochs, quiet) as progress, terminable():
            return execute(
                job.config,
                directory=directory,
                events=job.events,
                checkpoints=job.interval,
                resume=job.resume,
                data_dir=job.data_dir,
                backend=job.backend,
                on_step=progress.on_step,
                on_epoch=progress.on_epoch,
                track=tracker,
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
