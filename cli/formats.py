"""emunum formats"""

from __future__ import annotations

import json
import math

import click
from rich.console import Console
from rich.table import Table

from emunum.formats import NAMED, Format
from emunum.formats.blocks import BLOCK_FORMATS, BlockFormat
from emunum.formats.exact import decode_exact
from emunum.formats.facts import block_facts, facts

MOST_VALUES = 256


@click.command(
    "formats",
    epilog="Examples: emunum formats; emunum formats e4m3; emunum formats e6m9 --json; emunum formats q4.4",
)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def command(name: str | None, as_json: bool) -> None:
    """List the formats, or print the facts of NAME and, up to 8 bits, all its values.

    Besides the listed names: eXmY, X = 2..8 exponent bits and Y = 0..23 mantissa bits, IEEE-like;
    binaryKpP{s,u}{e,f}, K = 3..16, IEEE P3109; qI.F, fixed point with I bits before and F after the point;
    intN, N = 2..16; and the ending _ftz, which flushes the subnormals of any float. Block formats, such as
    mxfp8_e4m3, are elements that share a scale.
    """
    if name is None:
        listing, blocks = list(NAMED.values()), list(BLOCK_FORMATS.values())
        if as_json:
            click.echo(json.dumps([*map(facts, listing), *map(block_facts, blocks)], indent=2))
        else:
            _print_listing(listing)
            _print_blocks(blocks)
        return
    if name in BLOCK_FORMATS:
        if as_json:
            click.echo(json.dumps(block_facts(BLOCK_FORMATS[name]), indent=2))
        else:
            _print_blocks([BLOCK_FORMATS[name]])
        return
    try:
        format = Format.from_name(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(json.dumps(facts(format) | {"values": _values(format)}, indent=2))
    else:
        _print_facts(format)


def _values(format: Format) -> list[float | str] | None:
    """The value of every code, exactly; NaN and Inf as text, which JSON has no numbers for."""
    if format.code_count > MOST_VALUES:
        return None
    values = [decode_exact(code, format) for code in range(format.code_count)]
    return [value if math.isfinite(value) else str(value) for value in values]


def _print_listing(listing: list[Format]) -> None:
    table = Table(title="Formats (and eXmY, binaryKpP{s,u}{e,f}, qI.F, intN, NAME_ftz: see --help)")
    for column in ("name", "aliases"):
        table.add_column(column)
    for column in ("bits", "p", "emin", "emax", "max", "min normal", "min subnormal", "Inf", "NaN"):
        table.add_column(column, justify="right")
    for format in listing:
        entry = facts(format)
        table.add_row(
            format.name,
            " ".join(entry["aliases"]),
            *(str(entry[key]) for key in ("bits", "precision", "emin", "emax")),
            f"{format.max:.6g}",
            _power(format.smallest_normal),
            _power(format.smallest_subnormal),
            "yes" if format.has_infinity else "no",
            "yes" if format.has_nan else "no",
        )
    Console(width=None if Console().is_terminal else 130).print(table)


def _print_blocks(listing: list[BlockFormat]) -> None:
    table = Table(title="Block formats (quantize_blocks, matmul_blocks): elements that share a scale")
    for column in block_facts(listing[0]):
        table.add_column(column.replace("_", " "))
    for format in listing:
        cells = block_facts(format).values()
        table.add_row(
            *(", ".join(c) if isinstance(c, list) else "-" if c is None else f"{c:g}" if isinstance(c, float)
              else str(c) for c in cells)
        )  # fmt: skip
    Console(width=None if Console().is_terminal else 130).print(table)


def _print_facts(format: Format) -> None:
    console = Console(width=None if Console().is_terminal else 130)
    table = Table(title=format.name, show_header=False)
    for key, value in facts(format).items():
        if isinstance(value, list):
            value = " ".join(value) or "-"
        elif key.endswith("_code") and value is not None:
            value = f"0x{value:02x}"
        elif key in ("smallest_normal", "smallest_subnormal", "eps", "unit_roundoff"):
            value = f"{_power(value)}" + (f" = {value:.6g}" if value is not None else "")
        table.add_row(key.replace("_", " "), "-" if value is None else str(value))
    console.print(table)
    values = _values(format)
    if values is None:
        return
    shown = len(values) // 2 if format.signed else len(values)
    grid = Table(title="Values: code = row + column, hexadecimal", show_lines=False)
    grid.add_column("")
    texts = [str(value).removesuffix(".0") for value in values[:shown]]
    columns = min(8 if max(map(len, texts)) <= 9 else 4, shown)
    for column in range(columns):
        grid.add_column(f"{column:x}", justify="right")
    for row in range(0, shown, columns):
        grid.add_row(f"{row:02x}", *texts[row : row + columns])
    console.print(grid)
    if format.fixed_point:
        console.print(f"Codes from 0x{shown:02x} on are negative: two's complement, from {format.min:g} up.")
    elif format.signed:
        zero = f" 0x{shown:02x} is the NaN, not -0." if format.nan_code == shown else ""
        console.print(f"Codes from 0x{shown:02x} on are the same values with a minus sign.{zero}")


def _power(value: float | None) -> str:
    """A power of two as 2^e."""
    return (
        "-"
        if value is None
        else f"2^{value.hex().split('p')[1].lstrip('+')}"
        if value >= 2.0**-1022
        else str(value)
    )
