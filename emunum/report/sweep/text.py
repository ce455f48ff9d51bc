"""A study in words: what every form of its report says, and its Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emunum.experiments.results.grouping import SEEDS, Group
from emunum.experiments.spelling import command_of
from emunum.report.sweep.figures import Figure, reference_means
from emunum.report.sweep.markup import latex, markdown
from emunum.report.sweep.study import Record, Study, config_of, metric_label, seeds_of, settled, title_of
from emunum.report.sweep.tables import StudyTable, to_latex, to_markdown_table
from emunum.report.tables import to_markdown

_CAPTIONS = {
    "results": "{metric} of each configuration: mean and 95 % interval, every seed below it.{dotted}",
    "curves": "Learning curves: mean over the completed runs, and its 95 % interval as a band.",
    "bits": "{metric} against the bits of the format: mean and 95 % interval.",
    "events": "What the roundings of all runs did, as shares of their number, on a logarithmic scale.",
}
_MEANS = (
    "Means are over the completed runs, one for each seed; runs that diverged or failed are counted, not "
    "averaged. Intervals are 95 % intervals of the mean (Student's t)."
)
_DIFFERENCES = (
    " A difference is taken seed by seed, over the seeds that both configurations completed, and averaged; "
    "it is bold where its interval excludes zero, which for one comparison in twenty happens by chance."
)


def lead(parts: Sequence[Study]) -> str:
    """Return how many configurations and runs there are."""
    runs = [run for part in parts for run in part.runs]
    configurations = sum(len(part.groups) for part in parts)
    others = sum(run["status"] != "completed" for run in runs)
    lost = f", {others} of them not completed" if others else ""
    return f"{_counted(configurations, 'configuration')}, {_counted(len(runs), 'run')}{lost}"


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def method(part: Study) -> str:
    """Return how means, intervals and differences were taken."""
    return _MEANS + (_DIFFERENCES if any(part.bases) else "")


def values_of(part: Study, key: str) -> str:
    """Return the values of an option, as a list in words."""
    return ", ".join(dict.fromkeys(settled(key, group.options.get(key)) for group in part.groups))


def caption_of(part: Study, name: str) -> str:
    """Return what stands below a figure."""
    label = metric_label(part.metric)
    dotted = " Dotted: the means that differences are taken to." if reference_means(part) else ""
    return _CAPTIONS[name].format(metric=label[0].upper() + label[1:], dotted=dotted)


def failures(part: Study) -> list[tuple[str, str, str, str]]:
    """Return (configuration, seeds, status, reason) of what was not completed, equal reasons together."""
    found: dict[tuple[str, str, str], list[Record]] = {}
    for group in part.groups:
        for run in group.runs:
            if run["status"] != "completed":
                reason = str(run.get("reason") or "-")
                found.setdefault((part.label(group), str(run["status"]), reason), []).append(run)
    return [(label, seeds_of(runs), status, why) for (label, status, why), runs in found.items()]


def commands(part: Study) -> list[tuple[str, str]]:
    """Return (configuration, command) where records say enough for a command."""
    return [(part.label(group), command) for group in part.groups if (command := _command(group))]


def _command(group: Group) -> str | None:
    try:
        config = config_of(min(group.runs, key=lambda run: [run.get(key) or 0 for key in SEEDS]))
        return None if config is None else command_of(config)
    except ValueError:  # options of another version
        return None


def markdown_page(
    title: str,
    parts: Sequence[Study],
    tables: Sequence[StudyTable],
    drawn: Sequence[Mapping[str, Figure]],
    prefixes: Sequence[str],
) -> str:
    """Return summary.md: tables, figures, failures, commands and options."""
    blocks = [f"# {markdown(title)}\n", f"{lead(parts)}.\n"]
    for part, table, figures, prefix in zip(parts, tables, drawn, prefixes, strict=True):
        level = "##" if len(parts) == 1 else "###"
        blocks += [f"## {markdown(part.dataset)}\n"] if len(parts) > 1 else []
        facts: list[tuple[str, Any]] = [(key, values_of(part, key)) for key in part.varied]
        facts += [("seeds", seeds_of(part.runs))]
        facts += [(key, settled(key, value)) for key, value in part.fixed.items()]
        blocks += [f"{level} Summary\n", to_markdown_table(table), f"{method(part)}\n"]
        for name in figures:
            blocks.append(f"![{name}]({prefix}{name}.png)\n\n{markdown(caption_of(part, name))}\n")
        if lines := failures(part):
            header = ("configuration", "seeds", "status", "reason")
            cells = [[markdown(text) for text in line] for line in lines]
            blocks += [f"{level} Runs that were not completed\n", to_markdown(header, cells)]
        if listed := commands(part):
            shown = "\n".join(f"    {command}" for _, command in listed)
            blocks += [f"{level} Commands\n", f"{shown}\n"]
        cells = [[markdown(key.replace("_", " ")), markdown(value)] for key, value in facts]
        blocks += [f"{level} Options\n", to_markdown(("option", "value"), cells)]
    return "\n".join(blocks)


def latex_file(parts: Sequence[Study], tables: Sequence[StudyTable]) -> str:
    """Return summary.tex: a table for each data set."""
    blocks = [r"% needs \usepackage{booktabs}"]
    for part, table in zip(parts, tables, strict=True):
        blocks.append(f"% {latex(title_of([part]))}\n{to_latex(table)}")
    return "\n".join(blocks)
