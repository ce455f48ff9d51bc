"""What to say when a name is unknown: the name, a near one, and what is known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return "Did you mean 'x'? " for a near name, or nothing."""
    near = difflib.get_close_matches(str(name).lower(), [str(x) for x in known], n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}? " if near else ""


def unknown(what: str, name: str, known: Iterable[str]) -> ValueError:
    """Return the error that says `name` is no such thing and lists those there are."""
    names = [str(x) for x in known]
    return ValueError(f"unknown {what} {name!r}. {suggestion(name, names)}Known: {', '.join(names)}.")
