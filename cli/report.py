"""emunum report"""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console


@click.command(
    "report",
    context_settings={"show_default": True},
    epilog="""\b
Examples:
  emunum report runs/mine
  emunum report runs/mine --errors --seed 7
  emunum report runs/mine --output figures --json""",
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
def command(
    runs: tuple[Path, ...],
    output: Path | None,
    seed: int | None,
    errors: bool,
    threads: int | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Draw what each RUN did, a directory that 'emunum run' made: figures as PNG and SVG, and summary.md.

    curves: loss, validation, learning rate and loss scale by epoch. confusion and gallery: test samples by
    true and predicted class, and 30 of the images. scatter, of a regression: predicted and true values.
    summary.md: results, configuration, bytes, times, and events where they were counted.

    The trained network predicts the test set again in the run's own arithmetic, and has to come to the
    record's accuracy and loss. Nothing is trained. The same run gives the same bytes.
    """
    if threads is not None and threads < 1:
        raise click.UsageError(f"--threads {threads} is out of range: at least one is needed.")
    if output is not None and len(runs) > 1:
        raise click.UsageError(f"--output {output} is for one RUN, and there are {len(runs)}.")

    from emunum.experiments.records import write_atomically
    from emunum.kernels.cpu import set_threads
    from emunum.report.run_page import report_files
    from emunum.report.runs import predict, read_run

    set_threads(threads)
    console, written = Console(stderr=True), []
    for path in runs:
        folder = path / "report" if output is None else output
        try:
            run = read_run(path)
            with console.status(f"predicting the test set of {run.config.dataset}"):
                files = report_files(run, predict(run, data_dir), seed=seed, errors=errors)
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomically(folder / name, content)
            written.append(str(folder / name))
            if not as_json:
                click.echo(written[-1])
    if as_json:
        click.echo(json.dumps(written, indent=2))
