"""emunum reproduce"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from emunum_cli import images
from rich.console import Console
from rich.progress import track
from rich.table import Table

TITLES = {
    "output": "As published: only layer outputs and errors are rounded (policy output)",
    "full": "The same rows with everything rounded (policy full)",
}
NOTE = (
    "train MSE: of the last step, before its update. test MSE / n: the published normalisation, the sum of "
    "batch means over the number of test samples; test MSE is the true one. Stochastic rows: mean over "
    "{seeds} seeds of the random bits and its 95 % interval (Student t); beside the published value, how "
    "many of the runs it exceeds. They agree where both published values lie where one more run would, "
    "95 times in 100."
)


@click.group("reproduce", epilog="Example: emunum reproduce regression --output paper")
def command() -> None:
    """Compute a published table again and print ours beside theirs."""


command.add_command(
    images.command(
        "images",
        "The image study: MNIST with only the input cast, then with all emulated.",
    )
)
command.add_command(
    images.command(
        "cifar10",
        "CIFAR-10 in the regression study's formats: e5m2, e6m9, float32.",
    )
)


@command.command(
    "regression",
    context_settings={"show_default": True},
    epilog="Example: emunum reproduce regression --output paper",
)
@click.option("--seeds", type=click.IntRange(2), default=30, help="Runs of each stochastic row.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write records/, tables/ and figures/ below this directory.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON, and nothing else.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV, and nothing else.")
def regression(seeds: int, output: Path | None, as_json: bool, as_csv: bool) -> None:
    """The regression study: toy, diabetes and boston in float8, float16 and float32.

    Trains the fifteen published configurations (nearest: once; stochastic: over seeds of the random bits)
    under the published policy, then with everything emulated. The nine deterministic rows agree with the
    published ones to every printed digit.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two forms of the same rows: give one of them.")
    from emunum.experiments import regression as study
    from emunum.report.tables import to_csv

    if output is not None:
        for folder in ("records", "tables", "figures"):
            (output / folder).mkdir(parents=True, exist_ok=True)
    configs = study.configurations(seeds=seeds)
    runs = track(
        study.run(configs),
        total=len(configs),
        description="training (kernels compile at first use)",
        console=Console(stderr=True),
        transient=True,
    )
    records = list(runs)
    rows = study.rows(records)
    if output is not None:
        _write(output, records, rows, seeds)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif as_csv:
        click.echo(to_csv(rows), nl=False)
    else:
        _print(rows, seeds)
        if output is not None:
            click.echo(f"Written below {output}: records, tables and figures of regression.")


def _print(rows: Sequence[dict[str, Any]], seeds: int) -> None:
    from emunum.report.tables import REGRESSION_HEADER, regression_cells

    console = Console(width=None if Console().is_terminal else 165)
    for policy, title in TITLES.items():
        own = [row for row in rows if row["policy"] == policy]
        table = Table(title=title)
        for index, column in enumerate(REGRESSION_HEADER):
            table.add_column(column, justify="right" if index > 2 else "left")
        for cells in regression_cells(own):
            table.add_row(*(cell.replace("[", r"\[") for cell in cells))
        console.print(table)
    console.print(NOTE.format(seeds=seeds), markup=False)
    deterministic = [row for row in rows if row["policy"] == "output" and row["runs"] == 1]
    stochastic = [row for row in rows if row["policy"] == "output" and row["runs"] > 1]
    console.print(
        f"Deterministic rows that agree to every printed digit: {_count(deterministic)}. "
        f"Stochastic rows whose published values lie where one more run would: {_count(stochastic)}."
    )


def _count(rows: Sequence[dict[str, Any]]) -> str:
    return f"{sum(row['agrees'] for row in rows)} of {len(rows)}"


def _write(
    output: Path, records: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], seeds: int
) -> None:
    from emunum.experiments.records import write_atomically
    from emunum.report.figures import regression_figure
    from emunum.report.tables import REGRESSION_HEADER, regression_cells, to_csv, to_markdown

    lines = "".join(json.dumps(record) + "\n" for record in records)
    write_atomically(output / "records" / "regression.jsonl", lines)
    write_atomically(output / "tables" / "regression.csv", to_csv(rows))
    sections = [
        f"## {title}\n\n"
        + to_markdown(REGRESSION_HEADER, regression_cells([row for row in rows if row["policy"] == policy]))
        for policy, title in TITLES.items()
    ]
    text = "\n".join(
        ["# Regression: `emunum reproduce regression`\n", *sections, NOTE.format(seeds=seeds) + "\n"]
    )
    write_atomically(output / "tables" / "regression.md", text)
    for kind, content in regression_figure(records).items():
        write_atomically(output / "figures" / f"regression.{kind}", content)
