"""Text for HTML, LaTeX and Markdown: what comes from a record is escaped on its way in."""

from __future__ import annotations

import html
import re

from emunum.report.latex import escaped

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")


class Markup(str):
    """HTML that is finished: it is put in as it stands, where plain text is escaped."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str | float | bool | None) -> Markup:
    """Return an HTML element around its children, of which those that are no Markup are escaped.

    Attributes lose a trailing underscore, and get hyphens for the others; True stands for a bare name, False
    and None for no attribute.
    """
    words = [name]
    for key, value in attributes.items():
        if value is not None and value is not False:
            bare = key.rstrip("_").replace("_", "-")
            words.append(bare if value is True else f'{bare}="{html.escape(str(value))}"')
    opening = f"<{' '.join(words)}>"
    return Markup(opening if name in ("br", "col") else f"{opening}{joined(*children)}</{name}>")


def joined(*children: str) -> Markup:
    """Return HTML of one after the other, those that are no Markup escaped."""
    return Markup("".join(child if isinstance(child, Markup) else html.escape(child) for child in children))


def latex(text: str) -> str:
    """Return a text that LaTeX sets as it stands, on one line."""
    return escaped(_one_line(text))


def markdown(text: str) -> str:
    """Return a text that Markdown shows as it stands, on one line, also in a cell of a table."""
    return _MARKDOWN.sub(r"\\\1", _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())
