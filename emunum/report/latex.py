r"""LaTeX from the paper's Markdown, and from tables: what no package but booktabs and graphicx is needed for.

Understood are paragraphs, pipe tables, lists of one level, code blocks indented by four spaces and, within a
line, **bold**, `code`, [links](to) and powers such as 2^-10. Everything else is set as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "×": r"$\times$", "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$", "−": "$-$", "·": r"$\cdot$",
} | {character: f"\\{character}" for character in "&%$#_{}"}  # fmt: skip
_INLINE = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<bold>.+?)\*\*|!?\[(?P<label>[^\]]*)\]\((?P<to>[^)]+)\)"
    r"|(?<=[\w)])\^(?P<power>-?\w+|\([^)]*\))",
    re.DOTALL,
)
_BLOCK = re.compile(r"\n\s*\n")
_WIDE = 80  # characters that fit on a line of a table in small type


def escaped(text: str) -> str:
    """Return a text that LaTeX sets as it stands."""
    plain = "".join(_SPECIAL.get(character, character) for character in text)
    return plain.replace("--", "-{}-")  # not a dash


def inline(text: str) -> str:
    """Return the Markdown within a line as LaTeX."""
    done, at = [], 0
    for found in _INLINE.finditer(text):
        done.append(escaped(text[at : found.start()]))
        at = found.end()
        if found["code"] is not None:
            done.append(rf"\texttt{{{escaped(found['code'])}}}")
        elif found["bold"] is not None:
            done.append(rf"\textbf{{{inline(found['bold'])}}}")
        elif found["power"] is not None:
            done.append(rf"\textsuperscript{{{escaped(found['power'].strip('()'))}}}")
        else:
            done.append(_link(inline(found["label"]), found["to"]))
    return "".join(done) + escaped(text[at:])


def blocks(text: str) -> str:
    """Return paragraphs, tables, lists and code blocks as LaTeX."""
    return "\n\n".join(_block(block) for block in _merged(_BLOCK.split(text.strip("\n"))))


def tabular(header: Sequence[str], cells: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a table with rules of booktabs, the first `left` columns flush left; wide ones are scaled."""
    lines = [" & ".join(map(inline, line)) + r" \\" for line in (header, *cells)]
    columns = "l" * left + "r" * (len(header) - left)
    body = "\n".join([lines[0], r"\midrule", *lines[1:]])
    table = f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}"
    widths = [max(map(len, column)) + 2 for column in zip(header, *cells, strict=True)]
    return f"\\resizebox{{\\textwidth}}{{!}}{{%\n{table}}}" if sum(widths) > _WIDE else table


def _block(text: str) -> str:
    lines = text.split("\n")
    if all(line.startswith("    ") for line in lines if line.strip()):
        code = "\n".join(line[4:] for line in lines)
        return f"\\begin{{verbatim}}\n{code}\n\\end{{verbatim}}"
    if lines[0].startswith("|"):
        header, _, *rest = ([cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines)
        small = "{\\small\n" + tabular(header, rest, left=len(header)) + "}"
        return f"\\begin{{center}}\n{small}\n\\end{{center}}"
    if lines[0].startswith("- "):
        items = re.split(r"(?:^|\n)- ", text)[1:]
        body = "\n".join(rf"\item {inline(item)}" for item in items)
        return f"\\begin{{itemize}}\n{body}\n\\end{{itemize}}"
    return inline(text)


def _merged(parts: Sequence[str]) -> Iterator[str]:
    """The blocks; code on both sides of a blank line is one."""
    code: list[str] = []
    for part in parts:
        if part.startswith("    "):
            code.append(part.rstrip())
            continue
        if code:
            yield "\n\n".join(code)
            code = []
        yield part.strip()
    if code:
        yield "\n\n".join(code)


def _link(label: str, to: str) -> str:
    if "://" not in to:
        return label
    address = re.sub(r"([%#])", r"\\\1", to)
    return rf"\href{{{address}}}{{{label}}}"
