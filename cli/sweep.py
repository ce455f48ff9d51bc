"""emunum sweep"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from emunum_cli.options import TopicCommand
from emunum_cli.stopping import terminable
from emunum_cli.sweep_options import sweep_options
from emunum_cli.sweep_progress import SweepProgress, clock, names_of
from emunum_cli.sweep_result import print_plan, print_results, result_rows
from rich.console import Console

if TYPE_CHECKING:
    from emunum.experiments.sweeps.grid import Plan
    from emunum.experiments.sweeps.schedule import Sweep
    from emunum.experiments.sweeps.workers import Workers


@click.command(
    "sweep",
    cls=TopicCommand,
    epilog="""\b
Examples:
  emunum sweep --dataset diabetes --format e4m3,e5m2,e6m9 --rounding nearest,stochastic --seed 0:30
  emunum sweep --dataset digits --model mlp --hidden 64,32 --hidden 128 --learning-rate 0.01,0.1 --seed 0:5
  emunum sweep GRID.toml --output runs/formats --jobs 8 --dry-run
  emunum sweep GRID.toml --seed 0:2 --epochs 1
  emunum sweep GRID.toml --scheduler tcp://host:8786

\b
GRID.toml:
  dataset = "diabetes"                     # a value
  format = ["e4m3", "e5m2", "e6m9"]        # or several
  rounding = ["nearest", "stochastic"]
  seed = "0:30"                            # a text is read as on the command line
  [[exclude]]                              # combinations to leave out: all have to agree
  format = "e6m9"
  rounding = ["stochastic"]
  [[override]]                             # what to set where others agree; a list multiplies
  when = {format = ["e4m3", "e5m2"]}
  set = {loss_scale = 64}
  [[grid]]                                 # several products, each with what stands above
  policy = ["full", "mixed"]
  [[grid]]
  policy = "hfp8"
  format = "float32\"""",
)
@click.argument(
    "grid", metavar="[GRID.toml]", required=False, type=click.Path(path_type=Path, dir_okay=False)
)
@sweep_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    grid: Path | None,
    jobs: int | None,
    threads: int | None,
    scheduler: str | None,
    events: bool,
    data_dir: Path | None,
    output: Path | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **options: tuple[str, ...],
) -> None:
    """Train every combination of the options that are listed, here or on a cluster.

    LIST is values with commas between them; for whole numbers also a range: 0:30 is 0, 1, ..., 29. An
    option can be given more than once. --hidden 64,32 is one network, as in 'emunum run'; 'true', 'false'
    and 'none' are values, too. In GRID.toml options are keys, such as learning_rate; those of the command
    line replace its lists. Options that are not listed have the values of 'emunum run'.

    OUTPUT/records.jsonl gets a line for each run when it ends: its record, as 'emunum run' makes it, and
    its history. A run that is there is not repeated, so the same command goes on with a sweep that was
    stopped or killed. A run that fails is recorded with its error, and tried again by the next such
    command. The bits are the same wherever a run is computed.

    By default a process for every core, each with a run in one thread: small networks have no use for more.
    """
    from emunum.experiments.sweeps.schedule import Sweep, unfinished
    from emunum.experiments.sweeps.workers import WorkersError

    if scheduler is not None and jobs is not None:
        raise click.UsageError(
            f"--jobs {jobs} is for this machine: the workers of --scheduler are the cluster's."
        )
    plan = _planned(grid, {option: texts for option, texts in options.items() if texts})
    directory = output or Path("runs") / (grid.stem if grid else "sweep")
    console = Console(stderr=True, quiet=quiet)
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    for remark in plan.remarks:
        say(remark)
    known = _known(directory)
    todo = unfinished(plan.configs, known, events)
    if dry_run:
        count = None if scheduler else _shared_out(jobs, threads, len(todo))[0]
        print_plan(plan, todo, known, count, as_json)
        return
    sweep = Sweep(total=len(plan.configs), todo=len(todo))
    if todo:
        asked = {"events": events, "data_dir": data_dir}
        workers = _workers(scheduler, jobs, threads, len(todo), asked)
        try:
            known = _swept(plan, sweep, workers, directory, events, quiet)
        except KeyboardInterrupt as stop:
            by = str(stop) or "Ctrl-C"
            left = len(unfinished(plan.configs, _known(directory), events))
            kept = f"{sweep.total - left} of {sweep.total} runs are recorded"
            say(f"Stopped by {by}: {kept}. To go on: {_again(ctx)}")
            raise click.exceptions.Exit(143 if by == "SIGTERM" else 130) from None
        except WorkersError as error:
            kept = f" {sweep.done} runs are recorded. To go on: {_again(ctx)}" if sweep.done else ""
            raise click.ClickException(f"{error}.{kept}") from None
    records = [known[config.run_id] for config in plan.configs]
    if as_json:
        click.echo(json.dumps(_summary(directory, sweep, records), indent=2))
    elif not quiet:
        print_results(records)
        now = f"{sweep.done} runs in {clock(sweep.wall_s)}" if sweep.done else "Nothing was left to do"
        before = sweep.total - sweep.todo
        click.echo(f"{now}{f', {before} were there' if before else ''}: {directory / 'records.jsonl'}")
    if sweep.failed:
        raise click.ClickException(
            f"{sweep.failed} of {sweep.total} runs failed, the last with {sweep.last_reason}. The same "
            "command tries them again."
        )


def _swept(
    plan: Plan, sweep: Sweep, workers: Workers, directory: Path, events: bool, quiet: bool
) -> dict[str, dict[str, Any]]:
    """Run what is left, and return the records of the directory by run_id."""
    from emunum.experiments.sweeps.ledger import Ledger
    from emunum.experiments.sweeps.schedule import unfinished

    console = Console(stderr=True, quiet=quiet)
    with terminable(), workers, Ledger(directory) as ledger:
        todo = unfinished(plan.configs, ledger.records, events)
        sweep.todo = len(todo)
        if ledger.dropped:
            cut = f"{ledger.path}: the last line was cut short. It is taken out, and its run repeated."
            console.print(cut, markup=False, highlight=False, soft_wrap=True)
        names = names_of(plan.configs, plan.varied)
        with SweepProgress(console, sweep, workers, names, quiet) as progress:
            for record in sweep.run(todo, workers, ledger):
                progress.on_record(record)
        return ledger.records


def _known(directory: Path) -> dict[str, dict[str, Any]]:
    """The records of a directory by run_id."""
    from emunum.experiments.sweeps.ledger import read

    try:
        return {record["run_id"]: record for record in read(directory)}
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def _planned(path: Path | None, options: Mapping[str, Sequence[str]]) -> Plan:
    from emunum.experiments.sweeps.grid import from_options, lists_of
    from emunum.experiments.sweeps.grid_file import read_grid

    if path is None and not options:
        raise click.UsageError(
            "nothing to sweep: give options with lists, such as --seed 0:30, or GRID.toml."
        )
    try:
        grid = from_options(options) if path is None else read_grid(path).with_options(lists_of(options))
        return grid.plan()
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _shared_out(jobs: int | None, threads: int | None, runs: int) -> tuple[int, int]:
    """Processes, and threads of each: no more processes than runs, and no more threads than cores."""
    from emunum.kernels.cpu.threads import available_threads

    cores = available_threads()
    jobs = min(jobs or max(1, cores // (threads or 1)), max(runs, 1))
    return jobs, threads or max(1, cores // jobs)


def _workers(
    scheduler: str | None, jobs: int | None, threads: int | None, runs: int, asked: dict[str, Any]
) -> Workers:
    from emunum.experiments.sweeps.workers import Job, ThisProcess

    if scheduler is not None:
        from emunum.experiments.sweeps.cluster import DaskCluster

        return DaskCluster(scheduler, Job(threads=threads or 1, **asked))
    jobs, threads = _shared_out(jobs, threads, runs)
    job = Job(threads=threads, **asked)
    if jobs == 1:
        return ThisProcess(job)
    from emunum.experiments.sweeps.local import LocalProcesses

    return LocalProcesses(jobs, job)


def _again(ctx: click.Context) -> str:
    """The command as it was given."""
    words = ["emunum", "sweep"]
    for param in ctx.command.params:
        name = param.name or ""
        if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = ctx.params[name]
        if isinstance(param, click.Argument):
            words.append(str(value))
        elif isinstance(value, bool):
            words.append(param.opts[0])
        else:
            for text in value if isinstance(value, tuple) else [value]:
                words += [param.opts[0], str(text)]
    return shlex.join(words)


def _summary(directory: Path, sweep: Sweep, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    statuses = [record["status"] for record in records]
    return {
        "records": str(directory / "records.jsonl"),
        "runs": sweep.total,
        "done_before": sweep.total - sweep.todo,
        "done_now": sweep.done,
        **{status: statuses.count(status) for status in ("completed", "diverged", "failed")},
        "wall_s": round(sweep.wall_s, 3) if sweep.todo else 0.0,
        "rows": result_rows(records),
    }
