"""emunum records"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

_SHORT = {"weights_sha256": 12, "data_sha256": 12}


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()] if value else []


def _print_schema(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from importlib.resources import files

        path = files("emunum.experiments").joinpath("record.schema.json")
        click.echo(path.read_text(encoding="utf-8"), nl=False)
        ctx.exit()


@click.command(
    "records",
    epilog="""\b
Examples:
  emunum records runs
  emunum records sweep --where "format == 'e4m3' and seed < 5" --sort test_mse
  emunum records sweep --columns seed,format,test_mse,weights_sha256 --csv
  emunum records sweep --group --baseline "format == 'bfloat16'"
  emunum records sweep --parquet sweep.parquet""",
)
@click.argument(
    "paths", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True)
)
@click.option(
    "--where", metavar="CONDITION", help="Only records that meet it: \"format == 'e4m3' and seed < 5\"."
)
@click.option(
    "--columns", metavar="KEY,...", callback=_names, help="Keys to show, instead of the usual ones."
)
@click.option("--sort", metavar="KEY", help="Order by this key; records without it come last.")
@click.option("--descending", is_flag=True, help="With --sort: the largest first.")
@click.option(
    "--group", is_flag=True, help="One row for each configuration: means over its seeds, 95 % intervals."
)
@click.option("--metric", metavar="KEY", help="The result that --group is about.  [default: as they have it]")
@click.option(
    "--baseline",
    metavar="CONDITION",
    help="What --group takes differences to, seed by seed.  [default: \"format == 'float32'\"]",
)
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON Schema of records, and stop.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, every key, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, every key, and nothing else.")
@click.option(
    "--parquet",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a Parquet file, every key (pip install 'emunum[parquet]').",
)
def command(
    paths: tuple[Path, ...],
    where: str | None,
    columns: list[str],
    sort: str | None,
    descending: bool,
    group: bool,
    metric: str | None,
    baseline: str | None,
    as_csv: bool,
    as_json: bool,
    parquet: Path | None,
) -> None:
    """List the records of runs: a sweep's directory, a folder of runs, a run, or a .jsonl file.

    CONDITION compares keys with values (== != < <= > >=, in, not in), joined by and, or, not. A key that
    a record lacks is None. Keys are the options of 'emunum run', results such as test_mse, and what
    --json shows; events that were counted are events_overflow and the like.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json are two forms of the same records: give one of them.")
    for name, value in (("--metric", metric), ("--baseline", baseline)):
        if value is not None and not group:
            raise click.UsageError(f"{name} {value} is for --group.")
    if descending and sort is None:
        raise click.UsageError("--descending is for --sort KEY.")
    from emunum.experiments.results.collection import columns_of, flat, read_collection

    try:
        records = [flat(record) for path in paths for record in read_collection(path)]
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    keys = columns_of(records)
    rows: Sequence[Mapping[str, Any]] = _where(where, records, keys)
    usual = _usual_columns(rows)
    if group:
        metric, rows = _grouped(rows, metric, baseline, keys)
        keys = usual = columns_of(rows)
    if sort is not None:
        rows = _sorted(rows, _known(sort, keys), descending)
    chosen = [_known(name, keys) for name in columns]
    if parquet is not None:
        _write_parquet(parquet, rows, chosen or keys)
        if not (as_csv or as_json):
            click.echo(str(parquet))
            return
    if as_csv:
        from emunum.report.tables import to_csv

        click.echo(to_csv(rows, chosen or keys), nl=False)
    elif as_json:
        shown = [{key: row.get(key) for key in chosen} if chosen else row for row in rows]
        click.echo(json.dumps(shown, indent=2))
    elif metric and not chosen:
        _print_groups(rows, metric, "float32" if baseline is None else "baseline")
    else:
        _print(rows, chosen or usual)


def _where(
    where: str | None, records: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> list[Mapping[str, Any]]:
    if where is None:
        return list(records)
    from emunum.experiments.results.filtering import parse_where

    try:
        condition = parse_where(where, keys)
        return [record for record in records if condition(record)]
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _known(name: str, keys: Sequence[str]) -> str:
    from emunum.formats.names import unknown

    if name not in keys:
        raise click.UsageError(str(unknown("key", name, keys)))
    return name


def _usual_columns(records: Sequence[Mapping[str, Any]]) -> list[str]:
    from emunum.experiments.results.grouping import PREFERRED, SEEDS, grouped, varied

    names = dict.fromkeys(varied(grouped(records)) if records else [])
    names = names or dict.fromkeys(("dataset", "format", "rounding"))
    seeds = [key for key in SEEDS if len({record.get(key) for record in records}) > 1]
    results = [key for key in PREFERRED if any(record.get(key) is not None for record in records)]
    if {"test_mse", "test_loss"} <= {*results}:  # they are the same number
        results.remove("test_loss")
    return ["run_id", *names, *seeds, "status", *results, "wall_s", "weights_sha256"]


def _grouped(
    records: Sequence[Mapping[str, Any]], metric: str | None, baseline: str | None, keys: Sequence[str]
) -> tuple[str, list[dict[str, Any]]]:
    from emunum.experiments.results.filtering import parse_where
    from emunum.experiments.results.grouping import OPTIONS, baselines, grouped, is_float32, metric_of, rows

    if not records:
        return "", []
    try:
        metric = metric_of(records) if metric is None else _known(metric, keys)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    try:
        is_baseline = is_float32 if baseline is None else parse_where(baseline, OPTIONS, "--baseline")
        groups = grouped(records)
        return metric, rows(groups, [metric], baselines(groups, is_baseline))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _sorted(rows: Sequence[Mapping[str, Any]], key: str, descending: bool) -> list[Mapping[str, Any]]:
    known = [row for row in rows if row.get(key) is not None]
    numbers = all(isinstance(row[key], int | float) for row in known)
    ordered = sorted(known, key=lambda row: row[key] if numbers else str(row[key]), reverse=descending)
    return ordered + [row for row in rows if row.get(key) is None]


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from emunum.experiments.records import write_atomically
    from emunum.report.sweep.parquet import to_parquet

    try:
        content = to_parquet(rows, columns)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    write_atomically(path, content)


def _print(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    cells = [[_shown(key, row.get(key)) for key in columns] for row in rows]
    right = [any(isinstance(row.get(key), int | float) for row in rows) for key in columns]
    _print_cells(f"{len(rows)} records", [key.replace("_", " ") for key in columns], cells, right)


def _print_groups(rows: Sequence[Mapping[str, Any]], metric: str, baseline: str) -> None:
    from emunum.report.sweep.tables import study_table

    table = study_table(rows, metric, baseline)
    right = [index >= table.texts for index in range(len(table.header))]
    cells = [[cell.text for cell in line] for line in table.lines]
    _print_cells(f"{len(rows)} configurations", table.header, cells, right)


def _print_cells(
    title: str, header: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]
) -> None:
    table = Table(title=title)
    for name, is_right in zip(header, right, strict=True):
        table.add_column(name, justify="right" if is_right else "left")
    for line in cells:
        table.add_row(*(cell.replace("[", r"\[") for cell in line))
    Console(width=None if Console().is_terminal else 10_000).print(table)


def _shown(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)[: _SHORT.get(key)]
