"""Figures inside a page: SVG that takes the page's colours, and a link that saves it as it was drawn."""

from __future__ import annotations

import base64
import re

from emunum.report.sweep.markup import Markup, element, joined

_OPENING = re.compile(r"<svg\b[^>]*>")
_VIEW = re.compile(r'viewBox="([\d. -]+)"')
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_IDENTIFIERS = (
    (re.compile(r'\bid="([^"]+)"'), 'id="{0}-{1}"'),
    (re.compile(r'\bxlink:href="#([^"]+)"'), 'href="#{0}-{1}"'),
    (re.compile(r"url\(#([^)]+)\)"), "url(#{0}-{1})"),
)
_COLORS = {
    "#000000": "currentColor",
    "#ffffff": "var(--paper)",
    "#0072b2": "var(--blue)",
    "#e69f00": "var(--orange)",
    "#009e73": "var(--green)",
    "#d55e00": "var(--vermilion)",
    "#cc79a7": "var(--purple)",
    "#56b4e9": "var(--sky)",
    "#b0b0b0": "var(--rule)",
}
"""What the page's style sheet has a name for."""
_COLOR = re.compile("|".join(_COLORS))


def inlined(svg: bytes, name: str, alternative: str) -> Markup:
    """Return a figure drawn by `figures.drawn` as an element of a page.

    Its colours become the page's, light or dark; identifiers get `name` in front, since a page has many
    figures; `alternative` is what a screen reader says.
    """
    text = svg.decode()
    text = _METADATA.sub("", text[text.index("<svg") :]).rstrip()
    found = _VIEW.search(text)
    assert found is not None
    width, height = found[1].split()[2:]
    text = _OPENING.sub("", text, count=1).removesuffix("</svg>")
    for pattern, form in _IDENTIFIERS:
        text = pattern.sub(lambda match, form=form: form.format(name, match[1]), text)  # type: ignore[misc]
    text = _COLOR.sub(lambda match: _COLORS[match[0]], text)
    # SVG says nothing of a black filling, which is its default: what is inherited is the page's ink.
    return element(
        "svg",
        Markup(text),
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=alternative,
        class_="plot",
        fill="currentColor",
    )


def save_link(svg: bytes, file_name: str) -> Markup:
    """Return a link that saves the figure's own file, from the page itself."""
    address = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    return element("a", joined("Save SVG"), href=address, download=file_name, class_="save")
