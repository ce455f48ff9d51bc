"""What a sweep is going to do, and what came out of it, as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from emunum_cli.sweep_progress import clock
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from emunum.experiments.config import RunConfig
    from emunum.experiments.sweeps.grid import Plan

_FIRST = 12
"""Runs that a dry run lists."""


def print_plan(
    plan: Plan,
    todo: Sequence[RunConfig],
    known: Mapping[str, Mapping[str, Any]],
    jobs: int | None,
    as_json: bool,
) -> None:
    """Say what would run, and how long it would take; `jobs` at a time, or on a cluster if that is None."""
    from emunum.experiments.sweeps.estimate import estimate

    expected = estimate(todo, known.values())
    if as_json:
        numbers = {
            "combinations": plan.combinations,
            "excluded": plan.excluded,
            "repeated": plan.repeated,
            "runs": len(plan.configs),
            "finished": len(plan.configs) - len(todo),
            "jobs": jobs,
            "estimate_s": None if expected is None else round(expected.run_s / (jobs or 1), 3),
            "estimated_from": 0 if expected is None else expected.records,
            "todo": [{"run_id": config.run_id, **config.as_dict()} for config in todo],
        }
        click.echo(json.dumps(numbers, indent=2))
        return
    columns = plan.varied or ("dataset", "format", "rounding")
    if todo:
        table = Table()
        for column in ("run_id", *columns):
            table.add_column(column)
        for config in todo[:_FIRST]:
            table.add_row(config.run_id, *(_shown(getattr(config, column)) for column in columns))
        if len(todo) > _FIRST:
            table.add_row(f"and {len(todo) - _FIRST:,} more", *("" for _ in columns))
        Console(width=None if Console().is_terminal else 150).print(table)
    click.echo(
        f"{len(plan.configs):,} runs of {plan.combinations:,} combinations"
        + (f", {plan.excluded:,} excluded" if plan.excluded else "")
        + (f", {plan.repeated:,} the same as another" if plan.repeated else "")
        + f": {len(plan.configs) - len(todo):,} finished, {len(todo):,} to do."
    )
    if not todo:
        return
    if expected is None:
        click.echo("No estimate: there is no record of such a run yet.")
        return
    some = f", for {expected.known:,} of these runs" if expected.known < len(todo) else ""
    where = "on one worker" if jobs is None else f"{jobs} at a time"
    click.echo(
        f"Estimate: {clock(expected.run_s / (jobs or 1))} {where}, from the times of {expected.records:,} "
        f"recorded runs{some}."
    )


def result_rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each configuration: what varies, counts, the metric, its mean and 95 % interval."""
    from emunum.experiments.results.grouping import SEEDS, grouped, metric_of, varied

    groups = grouped(records)
    columns = varied(groups) or ["dataset", "format", "rounding"]
    rows = []
    for group in groups:
        try:
            metric = metric_of(group.runs)
        except ValueError:  # no run was completed
            metric = None
        mean = None if metric is None else group.mean(metric)
        rows.append(
            {column: group.options.get(column) for column in columns}
            | {"runs": len(group.runs)}
            | {status: group.count(status) for status in ("diverged", "failed")}
            | {
                "metric": metric,
                "mean": None if mean is None else mean.mean,
                "ci_low": None if mean is None else mean.low,
                "ci_high": None if mean is None else mean.high,
            }
        )
    assert not set(SEEDS) & set(columns)
    return rows


def print_results(records: Sequence[Mapping[str, Any]]) -> None:
    """Print those rows, the interval as +- its half width."""
    rows = result_rows(records)
    measured = ("runs", "diverged", "failed", "metric", "mean", "ci_low", "ci_high")
    options = [key for key in rows[0] if key not in measured]
    counts = [key for key in ("runs", "diverged", "failed") if key == "runs" or any(row[key] for row in rows)]
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    name = metrics[0] if len(metrics) == 1 and metrics[0] else "result"
    table = Table()
    for key in options:
        table.add_column(key)
    for key in (*counts, name, "+-"):
        table.add_column(key, justify="right")
    for row in rows:
        mean, low, high = row["mean"], row["ci_low"], row["ci_high"]
        value = "-" if mean is None else f"{mean:.5g}"
        if len(metrics) > 1 and mean is not None:
            value = f"{row['metric']} {value}"
        half = "-" if low is None else f"{(high - low) / 2:.2g}"
        table.add_row(*(_shown(row[key]) for key in options), *(str(row[key]) for key in counts), value, half)
    click.echo("Means over seeds, with their 95 % intervals (Student t):")
    Console(width=None if Console().is_terminal else 150).print(table)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
