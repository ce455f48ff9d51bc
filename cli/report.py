"""emunum report"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

_OF_A_RUN = ("seed", "errors", "threads", "data_dir")
_OF_A_STUDY = ("where", "baseline", "metric", "title")


@click.command(
    "report",
    context_settings={"show_default": True},
    epilog="""\b
Examples:
  emunum report runs/mine
  emunum report runs/mine --errors --seed 7
  emunum report runs/mine --output figures --json
  emunum report sweep --title "Eight bits on diabetes"
  emunum report sweep --where "rounding == 'stochastic'" --baseline "format == 'bfloat16'" --output talk""",
)
@click.argument(
    "runs",
    metavar="RUN...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    show_default="RUN/report",
    help="Where the files go, of one RUN.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    show_default="the first 30",
    help="Draw the gallery's images at random.",
)
@click.option("--errors", is_flag=True, help="Only images that were taken for another class in the gallery.")
@click.option("--where", metavar="CONDITION", help="Of many runs: only those that meet it, as in 'records'.")
@click.option(
    "--baseline",
    metavar="CONDITION",
    show_default="format == 'float32'",
    help="Of many runs: the configurations that differences are taken to, seed by seed.",
)
@click.option(
    "--metric",
    metavar="KEY",
    show_default="test accuracy or MSE",
    help="Of many runs: the result that the report is about, such as test_f1.",
)
@click.option("--title", show_default="what was varied", help="Of many runs: the page's title.")
@click.option(
    "--threads", type=int, show_default="all cores", help="Threads to use; no result depends on it."
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="EMUNUM_DATA, then the cache",
    help="Folder with the data sets that do not come with the package; 'emunum data' fetches them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the paths written as JSON, and nothing else.")
@click.pass_context
def command(
    ctx: click.Context, /, runs: tuple[Path, ...], output: Path | None, as_json: bool, **options: Any
) -> None:
    """Draw what each RUN did, a directory that 'emunum run' made: figures as PNG and SVG, and summary.md.

    curves: loss, validation, learning rate and loss scale by epoch. confusion and gallery: test samples by
    true and predicted class, and 30 of the images. scatter, of a regression: predicted and true values.
    summary.md: results, configuration, bytes, times, and events where they were counted.

    The trained network predicts the test set again in the run's own arithmetic, and has to come to the
    record's accuracy and loss. Nothing is trained. The same run gives the same bytes.

    Where RUN holds many, as a sweep's directory and the folder of runs do, report.html tells of all of them:
    one page that needs no network and no other file. Beside it lie its table (summary.md, .tex, .csv) and
    its figures (PNG, SVG, PDF): results with 95 % intervals over seeds, learning curves, results against
    bits, and events.
    """
    if options["threads"] is not None and options["threads"] < 1:
        raise click.UsageError(f"--threads {options['threads']} is out of range: at least one is needed.")
    if output is not None and len(runs) > 1:
        raise click.UsageError(f"--output {output} is for one RUN, and there are {len(runs)}.")

    from emunum.experiments.results.collection import is_collection

    many = {path: is_collection(path) for path in runs}
    for path, holds_many in many.items():
        _refuse(ctx, path, holds_many)
    if not all(many.values()):
        from emunum.kernels.cpu import set_threads

        set_threads(options["threads"])
    console, written = Console(stderr=True), []
    for path in runs:
        folder = path / "report" if output is None else output
        files_of: Callable[..., Mapping[str, bytes]] = _files_of_study if many[path] else _files_of_run
        try:
            files = files_of(console, path, options)
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        written += _written(folder, files, quiet=as_json)
    if as_json:
        click.echo(json.dumps(written, indent=2))


def _refuse(ctx: click.Context, path: Path, many: bool) -> None:
    """Complain of an option that says nothing about what is at `path`."""
    for param in ctx.command.params:
        name = param.name or ""
        given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name in (_OF_A_RUN if many else _OF_A_STUDY):
            holds = "holds many runs" if many else "is a single run"
            other = "a single one" if many else "many"
            raise click.UsageError(f"{param.opts[0]} is for {other}, and {path} {holds}.")


def _files_of_run(console: Console, path: Path, options: dict[str, Any]) -> dict[str, bytes]:
    from emunum.report.run.page import report_files
    from emunum.report.run.reading import predict, read_run

    run = read_run(path)
    with console.status(f"predicting the test set of {run.config.dataset}"):
        predictions = predict(run, options["data_dir"])
        return report_files(run, predictions, seed=options["seed"], errors=options["errors"])


def _files_of_study(console: Console, path: Path, options: dict[str, Any]) -> dict[str, bytes]:
    from emunum.experiments.results.collection import columns_of, flat, read_collection
    from emunum.experiments.results.filtering import parse_where
    from emunum.experiments.results.grouping import OPTIONS
    from emunum.formats.names import unknown
    from emunum.report.sweep.page import study_files

    records = read_collection(path)
    where, baseline, metric = options["where"], options["baseline"], options["metric"]
    keys = columns_of(map(flat, records))
    try:
        if where is not None:
            condition = parse_where(where, keys)
            records = [record for record in records if condition(flat(record))]
        is_baseline = None if baseline is None else parse_where(baseline, OPTIONS, "--baseline")
        if metric is not None and metric not in keys:
            raise unknown("key", metric, keys)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not records:
        raise click.ClickException(f"no run in {path} meets --where {where!r}.")
    with console.status(f"drawing {len(records)} runs"):
        return study_files(records, title=options["title"], metric=metric, is_baseline=is_baseline)


def _written(folder: Path, files: Mapping[str, bytes], *, quiet: bool) -> list[str]:
    from emunum.experiments.records import write_atomically

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in files.items():
        write_atomically(folder / name, content)
        written.append(str(folder / name))
        if not quiet:
            click.echo(written[-1])
    return written
