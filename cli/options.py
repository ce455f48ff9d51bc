"""Options that several commands share, options by topic, and completion of the names that options take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click

from emunum.kernels.backends import DEFAULT, NAMES


class TopicOption(click.Option):
    """An option that stands under a topic in the help of a TopicCommand."""

    def __init__(self, *args: Any, topic: str, **attrs: Any) -> None:
        self.topic = topic
        super().__init__(*args, **attrs)


class TopicCommand(click.Command):
    """A command whose help has a section for each topic of its options, in the order they first appear."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(param, "topic", "Help"), []).append(record)
        for topic, records in sections.items():
            with formatter.section(topic):
                formatter.write_dl(records)


def about(topic: str) -> Callable[..., Any]:
    """Return click.option for the options under a topic."""
    return partial(click.option, cls=TopicOption, topic=topic)


def completed_by(names: Callable[[], Iterable[str]]) -> Any:
    """Return what completes an option by names, which are looked up only when a shell asks."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


def _at_least_one(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise click.UsageError(f"--threads {value} is out of range: at least one is needed.")
    return value


def threads(option: Callable[..., Any] = click.option) -> Callable[[Any], Any]:
    """--threads, for a command that computes."""
    decorate: Callable[[Any], Any] = option(
        "--threads",
        type=int,
        callback=_at_least_one,
        show_default="all cores",
        help="Threads to use; no result depends on it.",
    )
    return decorate


def backend(option: Callable[..., Any] = click.option) -> Callable[[Any], Any]:
    """--backend, for a command that trains; None where it is not given."""
    decorate: Callable[[Any], Any] = option(
        "--backend",
        type=click.Choice(NAMES),
        show_default=DEFAULT,
        help="What computes; no result depends on it. auto is the cpu.",
    )
    return decorate


def data_dir(option: Callable[..., Any] = click.option) -> Callable[[Any], Any]:
    """--data-dir, for a command that reads data sets."""
    decorate: Callable[[Any], Any] = option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        show_default="EMUNUM_DATA, then the cache",
        help="Folder with the data sets that do not come with the package; 'emunum data' fetches them.",
    )
    return decorate


def json_only(what: str, option: Callable[..., Any] = click.option) -> Callable[[Any], Any]:
    """--json, for a command that prints something as JSON instead."""
    decorate: Callable[[Any], Any] = option(
        "--json", "as_json", is_flag=True, help=f"Print {what} as JSON, and nothing else."
    )
    return decorate
