"""How the studies of the paper are shown, by name: their tables, notes and figures."""

from __future__ import annotations

from importlib import import_module

from emunum.report.paper.studies.shown import Shown, Table

__all__ = ["Shown", "Table", "shown"]


def shown(name: str) -> Shown:
    """Return how the study of a name is shown: the constant SHOWN of the module of that name."""
    found = import_module(f"emunum.report.paper.studies.{name}").SHOWN
    assert isinstance(found, Shown)
    return found
