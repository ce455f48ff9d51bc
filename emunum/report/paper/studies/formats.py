"""The formats: two tables, and a chart of their ranges and precisions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from emunum.report.figures import drawn
from emunum.report.paper.studies.shown import PALETTE, Shown, Table, count, number, verdict

HEADER = (
    "format", "also", "bits", "p", "bias", "largest", "least normal", "least subnormal", "Inf", "NaN",
    "source", "agrees",
)  # fmt: skip
BLOCK_HEADER = ("format", "elements", "scale", "block", "bits a value", "largest element")


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Formats of single values, and block formats."""
    single = [row for row in rows if row["kind"] != "block"]
    blocks = [row for row in rows if row["kind"] == "block"]
    return [
        Table(title="Formats", header=HEADER, cells=[_single(row) for row in single], left=2),
        Table(title="Block formats", header=BLOCK_HEADER, cells=[_block(row) for row in blocks], left=3),
    ]


def _single(row: dict[str, Any]) -> list[str]:
    return [
        row["format"],
        row["aliases"] or "-",
        number(row["bits"], "d"),
        number(row["precision"], "d"),
        number(row["precision"] and row["bias"], "d"),
        number(row["max"], ".6g"),
        _power(row["smallest_normal"]),
        _power(row["smallest_subnormal"]),
        "no" if row["infinity_code"] is None else f"0x{row['infinity_code']:x}",
        "no" if row["nan_code"] is None else f"0x{row['nan_code']:x}",
        row["source"] or "-",
        verdict(row["agrees"]),
    ]


def _block(row: dict[str, Any]) -> list[str]:
    return [
        row["format"],
        row["element"],
        row["scale"] + (f" and {row['tensor_scale']} a tensor" if row["tensor_scale"] else ""),
        number(row["block_size"], "d"),
        number(row["bits_per_value"], "g"),
        number(row["largest_element"], ".6g"),
    ]


def notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the columns are, and how many formats agree."""
    return [
        "p counts the hidden bit. Inf and NaN: the code of +Inf and of the canonical NaN. eXmY, binaryKpP, "
        "NAME_ftz, qI.F and intN are families, of which one each is shown.",
        f"Formats whose precision, bias, largest and least numbers are those of their source: {count(rows)}.",
    ]


def figure(records: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """A bar a float format from its least to its largest number, and its precision."""
    floats = [record for record in records if record.get("precision")]
    floats.sort(key=lambda record: (record["bits"], record["precision"]), reverse=True)

    def draw(canvas: Any) -> None:
        panel = canvas.subplots()
        for at, record in enumerate(floats):
            normal, top = math.log2(record["smallest_normal"]), math.log2(record["max"])
            panel.barh(at, top - normal, left=normal, height=0.6, color=PALETTE[0])
            if record["smallest_subnormal"]:
                least = math.log2(record["smallest_subnormal"])
                hatched = {"color": "white", "edgecolor": PALETTE[1], "hatch": "/////", "linewidth": 0.8}
                panel.barh(at, normal - least, left=least, height=0.6, **hatched)
            panel.annotate(
                f"p = {record['precision']}", (top, at), (4, 0), textcoords="offset points", va="center"
            )
        panel.set_yticks(range(len(floats)), [f"{r['format']} ({r['bits']} bits)" for r in floats])
        panel.set_xlim(-155, 170)
        panel.margins(y=0.01)
        panel.set_xlabel("log2 of positive numbers: subnormal (hatched) and normal (solid)")
        panel.grid(alpha=0.3, linewidth=0.5, axis="x")
        panel.set_axisbelow(True)

    return drawn(draw, (6.6, 0.26 * len(floats) + 0.7))


def _power(value: float | None) -> str:
    """A power of two as 2^e; a dash for null."""
    return "-" if value is None else f"2^{int(math.log2(value))}"


SHOWN = Shown(
    tables=tables,
    notes=notes,
    figure=figure,
    caption="The positive numbers of each float format, and its precision p.",
)
