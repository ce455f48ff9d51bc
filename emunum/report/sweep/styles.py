"""How the configurations of a study are told apart: colour, marker, line and filling.

A configuration has its colour, marker and line from the option that varies first, and its filling from the
second. What only baselines have is black. Colours are Okabe and Ito's, without the yellow that white paper
swallows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emunum.report.sweep.study import Study, worded

_BLACK, _WHITE = "#000000", "#FFFFFF"
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
_FILLINGS = ("full", "none", "left", "top", "right", "bottom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a configuration is drawn."""

    color: str
    marker: str
    line: Any
    filling: str

    @property
    def marks(self) -> dict[str, Any]:
        """What matplotlib calls it."""
        empty = self.filling == "none"
        return {
            "color": self.color,
            "marker": self.marker,
            "fillstyle": "full" if empty else self.filling,
            "markerfacecolor": _WHITE if empty else self.color,
            "markerfacecoloralt": _WHITE,
        }


def styles_of(study: Study) -> list[Style]:
    """Return how each configuration is drawn: no two of a panel in the same way."""
    first, second = [*styled(study), "dataset", "dataset"][:2]
    firsts, seconds = _values(study, first), _values(study, second)
    compared = {
        worded(first, group.options.get(first))
        for group, base in zip(study.groups, study.bases, strict=True)
        if base is not None
    }
    black = set(firsts) - compared if compared else set()
    coloured = [value for value in firsts if value not in black]
    found = []
    for group in study.groups:
        one, other = (worded(key, group.options.get(key)) for key in (first, second))
        at, nth = firsts.index(one), seconds.index(other)
        color = _BLACK if one in black else _COLORS[coloured.index(one) % len(_COLORS)]
        found.append(
            Style(
                color=color,
                marker=_MARKERS[at % len(_MARKERS)],
                line=_LINES[at % len(_LINES)],
                filling=_FILLINGS[nth % len(_FILLINGS)],
            )
        )
    return found


def styled(study: Study) -> list[str]:
    """The options that a configuration's style tells: one or two, by how many values the second has."""
    names = study.varied
    return names[:2] if len(names) > 1 and len(_values(study, names[1])) <= len(_FILLINGS) else names[:1]


def _values(study: Study, key: str) -> list[str]:
    return list(dict.fromkeys(worded(key, group.options.get(key)) for group in study.groups))
