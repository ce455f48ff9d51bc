"""What `emunum run` is asked for: a new run, or one in a directory that goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from emunum.experiments.config import RunConfig
from emunum.experiments.defaults import configure
from emunum.kernels.backends import DEFAULT, backend_named

if TYPE_CHECKING:
    from types import ModuleType

    from emunum.experiments.training.checkpoint import Interval

PRECISIONS = {"float8": "float8_e5m2", "float16": "e6m9", "float32": "float32"}
DEFAULT_MINUTES = 5.0
_BESIDE_RESUME = {
    "resume", "checkpoint_steps", "checkpoint_minutes", "data_dir", "backend", "threads", "track", "as_json",
    "quiet",
}  # fmt: skip
"""Options that change neither the run nor its directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run to do, or one that is done and has its `record`."""

    directory: Path
    config: RunConfig
    events: bool
    interval: Interval
    data_dir: Path | None
    backend: ModuleType
    resume: bool
    record: dict[str, Any] | None = None
    remarks: tuple[str, ...] = ()


def begun(options: dict[str, Any]) -> Job:
    """A new run, from the options."""
    format_name, precision = options.pop("format_name"), options.pop("precision")
    if format_name is not None and precision is not None:
        raise click.UsageError("--format and --precision name the same thing: give one of them.")
    if precision is not None:
        format_name = PRECISIONS[precision]
    options["format"] = format_name
    name, output, events = options.pop("name"), options.pop("output"), options.pop("events")
    data_dir, backend = options.pop("data_dir"), options.pop("backend")
    interval = _interval(options.pop("checkpoint_steps"), options.pop("checkpoint_minutes"))
    try:
        config = configure(**{option: value for option, value in options.items() if value is not None})
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if name is not None and (name in ("", "..") or Path(name).name != name):
        raise click.UsageError(f"--name {name!r} is no directory name: --output says where it goes.")
    directory = output / (name or default_name(config))
    remarks: tuple[str, ...] = ()
    if (directory / "checkpoint.npz").exists():
        remarks = (f"{directory} holds a checkpoint. This run starts over; --resume would have gone on.",)
    return Job(
        directory=directory,
        config=config,
        events=events,
        interval=interval,
        data_dir=data_dir,
        backend=backend_named(backend or DEFAULT),
        resume=False,
        remarks=remarks,
    )


def require_alone(ctx: click.Context, path: Path) -> None:
    given = ParameterSource.COMMANDLINE
    for param in ctx.command.params:
        name = param.name or ""
        if name not in _BESIDE_RESUME and ctx.get_parameter_source(name) is given:
            option = max(param.opts, key=len)
            raise click.UsageError(f"{option} cannot stand beside --resume: {path} has the run's options.")


def resumed(path: Path, options: dict[str, Any]) -> Job:
    """The run in a directory, from its files."""
    from emunum.experiments.records import read_config, read_options, read_record, running_in

    try:
        config = read_config(path)
        record = read_record(path) if (path / "record.json").exists() else None
        kept = read_options(path)
        backend = backend_named(options["backend"] or kept.get("backend") or DEFAULT)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    steps, minutes = options["checkpoint_steps"], options["checkpoint_minutes"]
    interval = _interval(
        kept.get("checkpoint_steps") if steps is None else steps,
        kept.get("checkpoint_minutes") if minutes is None else minutes,
    )
    over = record is not None and record["status"] != "interrupted"
    if not over and (process := running_in(path)):
        raise click.ClickException(f"process {process} is at work on {path}. Stop it first.")
    remarks = []
    if over:
        assert record is not None
        remarks.append(f"{path} holds a run that is {record['status']}: there is nothing to resume.")
    elif not (path / "checkpoint.npz").exists():
        remarks.append(f"{path} has no checkpoint: the run starts over.")
    return Job(
        directory=path,
        config=config,
        events=bool(kept.get("events")),
        interval=interval,
        data_dir=options["data_dir"] or (Path(kept["data_dir"]) if kept.get("data_dir") else None),
        backend=backend,
        resume=True,
        record=record if over else None,
        remarks=tuple(remarks),
    )


def _interval(steps: int | None, minutes: float | None) -> Interval:
    from emunum.experiments.training.checkpoint import Interval

    minutes = DEFAULT_MINUTES if minutes is None else minutes
    if steps is not None and steps < 1:
        raise click.UsageError(f"--checkpoint-steps {steps} is out of range: at least one is needed.")
    if not minutes > 0:
        raise click.UsageError(f"--checkpoint-minutes {minutes} is out of range: it must be above 0.")
    return Interval(steps=steps, minutes=minutes)


def default_name(config: RunConfig) -> str:
    return f"{config.dataset}-{config.format}-{config.rounding}-{config.policy}-{config.run_id[:8]}"
