"""The paper's words about a study: paper/sections/NAME.md, which the command line and the paper share."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

PARTS = ("Claim", "Published", "Obtained", "Why they differ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A title, and for each of PARTS its text in Markdown."""

    title: str
    texts: dict[str, str]


def section(name: str) -> Section:
    """Read the section of a study."""
    file = files("emunum_paper").joinpath("sections", f"{name}.md")
    return parse(file.read_text(encoding="utf-8"), f"paper/sections/{name}.md")


def parse(text: str, source: str) -> Section:
    """Return the section in a text: `# title`, and below it `## part` for each of PARTS, in order.

    Raises ValueError, which names the source, where the headings are others or a part has no text.
    """
    first, _, rest = text.partition("\n")
    parts = [part.partition("\n") for part in f"\n{rest}".split("\n## ")[1:]]
    texts = {heading.strip(): body.strip() for heading, _, body in parts}
    if not first.startswith("# ") or tuple(texts) != PARTS or not all(texts.values()):
        wanted = ", ".join(f"## {part}" for part in PARTS)
        raise ValueError(f"{source} is no section: '# title', then {wanted}, each with its text.")
    return Section(title=first[2:].strip(), texts=texts)


def introduction() -> tuple[str, str]:
    """Return the paper's title and what it says before the first study."""
    file = files("emunum_paper").joinpath("sections", "introduction.md")
    first, _, rest = file.read_text(encoding="utf-8").partition("\n")
    return first.removeprefix("# ").strip(), rest.strip()
