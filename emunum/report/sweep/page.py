"""A study as one HTML page that needs nothing beside it, as Markdown, LaTeX and CSV, and its figures.

The same records give the same bytes. Nothing in the page loads anything: its content security policy
forbids it, and any script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from string import Template

import emunum
from emunum.experiments.config import RunConfig
from emunum.experiments.results.grouping import is_float32
from emunum.ops.events import EVENTS
from emunum.report.sweep.figures import MOST, Figure, event_shares, figures_of
from emunum.report.sweep.inline_svg import inlined, save_link
from emunum.report.sweep.markup import Markup, element, joined
from emunum.report.sweep.study import (
    Record,
    Study,
    seeds_of,
    settled,
    studies,
    title_of,
)
from emunum.report.sweep.tables import Cell, StudyTable, study_table
from emunum.report.sweep.text import (
    caption_of,
    commands,
    failures,
    latex_file,
    lead,
    markdown_page,
    method,
    values_of,
)
from emunum.report.tables import to_csv

_LONG = 40
"""Characters from which on a cell is broken into lines."""


def study_files(
    records: Iterable[Record],
    *,
    title: str | None = None,
    metric: str | None = None,
    is_baseline: Callable[[Record], bool] | None = None,
) -> dict[str, bytes]:
    """Return the files of a report on many runs, by name: the page, tables, and each figure in three forms.

    report.html; summary.md, summary.tex, summary.csv; results, curves, bits, events as .png, .svg and .pdf.
    Where there are several data sets, names begin with theirs. `is_baseline` tells of a configuration's
    options whether differences are taken to it; by default, whether its format is float32.
    Raises ValueError where no run was completed.
    """
    parts = studies(records, metric, is_baseline or is_float32)
    heading = title_of(parts) if title is None else title
    baseline = "float32" if is_baseline is None else "baseline"
    tables = [study_table(part.rows(), part.metric, baseline) for part in parts]
    drawn = [figures_of(part) for part in parts]
    prefixes = [f"{part.dataset}-" if len(parts) > 1 else "" for part in parts]
    texts = {
        "report.html": _page(heading, parts, tables, drawn, prefixes),
        "summary.md": markdown_page(heading, parts, tables, drawn, prefixes),
        "summary.tex": latex_file(parts, tables),
    }
    for prefix, part in zip(prefixes, parts, strict=True):
        texts[f"{prefix}summary.csv"] = to_csv(part.rows())
    return {name: text.encode() for name, text in texts.items()} | {
        f"{prefix}{name}.{kind}": content
        for prefix, figures in zip(prefixes, drawn, strict=True)
        for name, figure in figures.items()
        for kind, content in figure.items()
    }


# ------------------------------------------------------------------------------------------------------
# The page
# ------------------------------------------------------------------------------------------------------


def _page(
    title: str,
    parts: Sequence[Study],
    tables: Sequence[StudyTable],
    drawn: Sequence[Mapping[str, Figure]],
    prefixes: Sequence[str],
) -> str:
    script = _asset("page.js").rstrip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    sections = [
        _section(part, table, figures, prefix, alone=len(parts) == 1)
        for part, table, figures, prefix in zip(parts, tables, drawn, prefixes, strict=True)
    ]
    body = joined(_head(title, parts), *sections, _foot(parts))
    return Template(_asset("page.html")).substitute(
        title=joined(title),
        generator=f"emunum {emunum.__version__}",
        style=_asset("page.css").rstrip(),
        script=script,
        script_digest=f"sha256-{digest}",
        body=body,
    )


def _asset(name: str) -> str:
    return files("emunum.report.sweep").joinpath(name).read_text(encoding="utf-8")


def _head(title: str, parts: Sequence[Study]) -> Markup:
    button = element("button", "Theme", class_="theme", type="button", hidden=True)
    words = element("div", element("h1", title), element("p", lead(parts), class_="lead"))
    return element("header", words, button, class_="head")


def _section(
    part: Study, table: StudyTable, figures: Mapping[str, Figure], prefix: str, *, alone: bool
) -> Markup:
    plots = [
        _figure(name, figure, caption_of(part, name), f"{prefix}{name}") for name, figure in figures.items()
    ]
    if len(part.groups) > MOST:
        text = f"A figure has room for {MOST} configurations, and there are {len(part.groups)}: see --where."
        plots.append(element("p", text, class_="note"))
    level = "h2" if alone else "h3"
    blocks = [
        _facts(part),
        element(level, "Summary"),
        _table(table),
        element("p", method(part), class_="note"),
        *([element(level, "Figures"), *plots] if plots else []),
        *_events(part, level),
        *_failures(part, level),
        *_commands(part, level),
    ]
    heading = Markup("") if alone else element("h2", part.dataset)
    return element("section", heading, *blocks)


def _facts(part: Study) -> Markup:
    rows = [(key.replace("_", " "), values_of(part, key)) for key in part.varied]
    rows.append(("seeds", seeds_of(part.runs)))
    usual, default = {}, RunConfig().as_dict()
    for key, value in part.fixed.items():
        if key in ("dataset", "model", "policy", "epochs") or value != default.get(key):
            usual[key] = value
    kept = ", ".join(f"{key.replace('_', ' ')} {settled(key, value)}" for key, value in usual.items())
    rest = [
        (key.replace("_", " "), settled(key, value)) for key, value in part.fixed.items() if key not in usual
    ]
    listing = element("dl", *_terms([*rows, ("the same in all", kept)]), class_="facts")
    if not rest:
        return listing
    summary = element("summary", f"{len(rest)} further options, the same in all")
    return joined(listing, element("details", summary, element("dl", *_terms(rest), class_="facts")))


def _terms(rows: Iterable[tuple[str, str]]) -> list[Markup]:
    return [joined(element("dt", name), element("dd", value)) for name, value in rows]


def _table(table: StudyTable) -> Markup:
    numeric = [index >= table.texts for index in range(len(table.header))]
    head = [
        element("th", name, scope="col", class_="number" if right else None)
        for name, right in zip(table.header, numeric, strict=True)
    ]
    lines = [
        element("tr", *(_cell(cell, right) for cell, right in zip(line, numeric, strict=True)))
        for line in table.lines
    ]
    content = (element("thead", element("tr", *head)), element("tbody", *lines))
    return element("div", element("table", *content, class_="sortable"), class_="wide")


def _cell(cell: Cell, right: bool) -> Markup:
    kinds = {"number": right, "clear": cell.clear, "text": not right and len(cell.text) > _LONG}
    names = " ".join(name for name, holds in kinds.items() if holds)
    value = None if cell.value is None else repr(cell.value) if right else str(cell.value)
    return element("td", cell.text, class_=names or None, data_value=value)


def _figure(name: str, figure: Figure, caption: str, file_name: str) -> Markup:
    plot = element("div", inlined(figure["svg"], file_name, caption), class_="wide")
    link = save_link(figure["svg"], f"{file_name}.svg")
    return element("figure", plot, element("figcaption", caption, " ", link), id=file_name)


def _events(part: Study, level: str) -> list[Markup]:
    shares = [event_shares(group) for group in part.groups]
    if not any(shares):
        return []
    names = [name for name in EVENTS[1:] if any(own.get(name) for own in shares)]
    lines = []
    for group, own in zip(part.groups, shares, strict=True):
        cells = [Cell(text=f"{own[n]:.3g}" if n in own else "-", value=own.get(n)) for n in names]
        lines.append((Cell(text=part.label(group), value=part.label(group)), *cells))
    header = ("configuration", *(name.replace("_", " ") for name in names))
    note = "Counts of all runs of a configuration, divided by the number of their roundings."
    table = StudyTable(header=header, texts=1, lines=tuple(lines))
    return [element(level, "Events"), _table(table), element("p", note, class_="note")]


def _failures(part: Study, level: str) -> list[Markup]:
    lines = failures(part)
    if not lines:
        return []
    header = ("configuration", "seeds", "status", "reason")
    cells = tuple(tuple(Cell(text=text, value=text) for text in line) for line in lines)
    table = _table(StudyTable(header=header, texts=len(header), lines=cells))
    return [element(level, "Runs that were not completed"), table]


def _commands(part: Study, level: str) -> list[Markup]:
    listed = commands(part)
    if not listed:
        return []
    items = [
        element("li", element("span", label), element("pre", element("code", command)))
        for label, command in listed
    ]
    note = "Each command repeats a configuration's first seed, to the same weights; --seed gives the others."
    return [
        element(level, "Commands"),
        element("p", note, class_="note"),
        element("ol", *items, class_="commands"),
    ]


def _foot(parts: Sequence[Study]) -> Markup:
    runs = [run for part in parts for run in part.runs]
    versions = sorted({str(run["emunum_version"]) for run in runs if run.get("emunum_version")})
    made = f"The runs are of emunum {', '.join(versions)}." if versions else ""
    beside = "Every figure lies beside this page as PNG, SVG and PDF, the table as Markdown, LaTeX and CSV."
    return element("footer", element("p", f"{made} {beside}".strip()))
