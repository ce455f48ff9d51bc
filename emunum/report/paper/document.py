"""The paper: a section for each study, as Markdown and as LaTeX, which pandoc and pdflatex turn into PDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emunum import __version__
from emunum.experiments.studies import Study
from emunum.report import latex
from emunum.report.paper.files import Files, files_of
from emunum.report.paper.sections import Section, introduction, section
from emunum.report.paper.studies import Table, shown
from emunum.report.tables import to_markdown

AUTHOR = "The emunum developers"
_MADE = f"Made by `emunum reproduce all`, version {__version__}."
_PREAMBLE = r"""\documentclass[11pt,a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{lmodern}
\usepackage{textcomp}
\usepackage[margin=2.2cm]{geometry}
\usepackage{graphicx}
\usepackage{booktabs}
\usepackage[hidelinks]{hyperref}
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.6em}
\emergencystretch=3em
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """What the paper says and shows about a study; `figure` is a file below the paper's folder."""

    command: str
    said: Section
    tables: list[Table]
    notes: list[str]
    figure: str | None
    caption: str


def document(studies: Sequence[Study], records: Mapping[str, Sequence[dict[str, Any]]]) -> Files:
    """Return paper.md, paper.tex, and the records, tables and figures that they show."""
    files: Files = {}
    chapters = []
    for study in studies:
        own = files_of(study, records[study.name])
        files |= own
        chapters.append(_chapter(study, records[study.name], f"figures/{study.name}.png" in own))
    return files | {"paper.md": in_markdown(chapters), "paper.tex": in_latex(chapters)}


def _chapter(study: Study, records: Sequence[dict[str, Any]], has_figure: bool) -> Chapter:
    show, rows = shown(study.name), study.rows(records)
    return Chapter(
        command=f"emunum reproduce {study.name}",
        said=section(study.name),
        tables=[table for table in show.tables(rows) if table.cells],
        notes=show.notes(rows) if rows else ["No records yet."],
        figure=f"figures/{study.name}.png" if has_figure else None,
        caption=show.caption,
    )


def in_markdown(chapters: Sequence[Chapter]) -> str:
    """Return the paper as Markdown with a title block for pandoc."""
    title, text = introduction()
    front = f'---\ntitle: "{title}"\nauthor: "{AUTHOR}"\nfontsize: 10pt\ngeometry: margin=1.8cm\n---\n'
    return "\n".join([front, f"{text}\n", f"{_MADE}\n", *map(_chapter_in_markdown, chapters)])


def in_latex(chapters: Sequence[Chapter]) -> str:
    """Return the paper as LaTeX."""
    title, text = introduction()
    parts = [
        f"{_PREAMBLE}\\title{{{latex.inline(title)}}}\n\\author{{{AUTHOR}}}\n\\date{{}}",
        "\\begin{document}\n\\maketitle\n",
        f"{latex.blocks(text)}\n\n{latex.inline(_MADE)}\n",
        *map(_chapter_in_latex, chapters),
        "\\end{document}\n",
    ]
    return "\n".join(parts)


def _chapter_in_markdown(chapter: Chapter) -> str:
    parts = [f"## {chapter.said.title}\n"]
    for part, text in chapter.said.texts.items():
        parts.append(f"### {part}\n\n{text}\n")
        if part == "Claim":
            parts.append(f"### Command\n\n    {chapter.command}\n")
        if part == "Obtained":
            parts += [f"**{t.title}**\n\n{_pipe_table(t)}" for t in chapter.tables]
            parts += [f"{note}\n" for note in chapter.notes]
            if chapter.figure:
                parts.append(f"![{chapter.caption}]({chapter.figure})\n")
    return "\n".join(parts)


def _pipe_table(table: Table) -> str:
    """A pipe table whose columns pandoc makes as wide as their cells, in proportion."""
    widths = [max(map(len, column)) for column in zip(table.header, *table.cells, strict=True)]
    lines = to_markdown(table.header, table.cells).splitlines()
    ends = [":" if at >= table.left else "-" for at in range(len(widths))]
    rule = "|".join("-" * (width + 3) + end for width, end in zip(widths, ends, strict=True))
    return "\n".join([lines[0], f"|{rule}|", *lines[2:], ""])


def _chapter_in_latex(chapter: Chapter) -> str:
    parts = [f"\\section{{{latex.inline(chapter.said.title)}}}\n"]
    for part, text in chapter.said.texts.items():
        parts.append(f"\\subsection*{{{part}}}\n{latex.blocks(text)}\n")
        if part == "Claim":
            parts.append(
                f"\\subsection*{{Command}}\n\\begin{{verbatim}}\n{chapter.command}\n\\end{{verbatim}}\n"
            )
        if part == "Obtained":
            parts += [_floating("table", latex.inline(t.title), _small(t)) for t in chapter.tables]
            parts += [f"{latex.inline(note)}\n" for note in chapter.notes]
            if chapter.figure:
                image = f"\\includegraphics[width=0.85\\textwidth]{{{chapter.figure}}}"
                parts.append(_floating("figure", latex.inline(chapter.caption), image))
    return "\n".join([*parts, "\\clearpage\n"])


def _small(table: Table) -> str:
    return f"\\small\n{latex.tabular(table.header, table.cells, table.left)}"


def _floating(kind: str, caption: str, body: str) -> str:
    """A float; a table's caption stands above it, a figure's below."""
    inner = f"\\caption{{{caption}}}\n{body}" if kind == "table" else f"{body}\n\\caption{{{caption}}}"
    return f"\\begin{{{kind}}}[htbp]\n\\centering\n{inner}\n\\end{{{kind}}}\n"
