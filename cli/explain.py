"""emunum explain"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from emunum.formats.explain import Explanation, Outcome, code_of, explain, fields, shown, significand
from emunum.formats.rounding import Cast

DIGITS = 60


@click.command(
    "explain",
    context_settings={"show_default": True, "ignore_unknown_options": True},  # -0.3 is a value
    epilog="""\b
Examples:
  emunum explain 0.3 --format e4m3
  emunum explain -0.3 --format e4m3 --rounding stochastic --random-bits 4 --draw 9
  emunum explain 500 --format e4m3 --overflow ieee
  emunum explain 0x1.8p-10 --format bfloat16 --rounding up --json""",
)
@click.argument("value")
@click.option("--format", "format_name", metavar="NAME", required=True, help="Number format: a name or eXmY.")
@click.option("--rounding", default="nearest", help="nearest, toward_zero, up, stochastic, ...")
@click.option("--overflow", default="auto", help="ieee, saturate, propagate, wrap (fixed point) or auto.")
@click.option("--random-bits", type=int, default=16, help="Random bits N of stochastic rounding, 1..32.")
@click.option(
    "--draw", type=int, show_default="all of them", help="The random integer R of stochastic rounding."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    value: str,
    format_name: str,
    rounding: str,
    overflow: str,
    random_bits: int,
    draw: int | None,
    as_json: bool,
) -> None:
    """Round VALUE into a format and show every step: where it lies, what the mode says, what comes out.

    VALUE is a decimal number, a hexadecimal one such as 0x1.8p-3, inf or nan. It becomes the nearest
    float64 first; from there on everything is exact.
    """
    try:
        number = parse(value)
        to = Cast.from_names(format_name, rounding, overflow, random_bits)
        explanation = explain(number, to, draw)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(json.dumps(facts(value, explanation), indent=2, allow_nan=False))
    else:
        _print(value, explanation)


def parse(text: str) -> float:
    """Return the float64 that a number's text stands for."""
    plain = text.strip().lower()
    if re.fullmatch(r"[+-]?0x[0-9a-f]*\.?[0-9a-f]*p[+-]?\d+", plain):
        return _within(text, lambda: float.fromhex(plain))
    if re.match(r"[+-]?0[xb]", plain):
        raise ValueError(f"{text!r} looks like a code: explain takes values, such as 0.3 or 0x1.8p-3.")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?|[+-]?nan", plain):
        raise ValueError(
            f"{text!r} is no number: give a decimal, a hexadecimal such as 0x1.8p-3, inf or nan."
        )
    return _within(text, lambda: float(plain))


def _within(text: str, convert: Any) -> float:
    try:
        number: float = convert()
    except OverflowError:
        number = math.inf
    except ValueError:
        raise ValueError(f"{text!r} is no number: a hexadecimal one looks like 0x1.8p-3.") from None
    if math.isinf(number) and "inf" not in text.lower():
        raise ValueError(f"{text!r} is beyond float64, where values come from: write inf for infinity.")
    return number


def is_exact(text: str, number: float) -> bool:
    """Whether the text's number is the float64 itself."""
    try:
        return not math.isfinite(number) or Decimal(text.strip()) == Decimal(number)
    except InvalidOperation:  # hexadecimal: 53 bits or fewer
        digits = re.sub(r"[^0-9a-f]", "", text.lower().split("x")[1].split("p")[0]).strip("0")
        return int(digits or "0", 16).bit_length() <= 53


def facts(text: str, explanation: Explanation) -> dict[str, Any]:
    """The explanation as JSON: numbers as they are or, where JSON has none, as text."""
    to, place = explanation.to, explanation.place
    found: dict[str, Any] = {
        "given": text,
        "value": _plain(explanation.value),
        "given_is_exact": is_exact(text, explanation.value),
        "format": to.format.name,
        "rounding": to.mode.name,
        "overflow": str(to.overflow),
        "overflow_applied": str(to.rule),
        "random_bits": to.random_bits if to.stochastic else None,
    }
    if place is not None:
        found |= {
            "hex": explanation.value.hex(),
            "fraction": str(Fraction(explanation.value)),
            "sign": "-" if place.negative else "+",
            "exponent": place.exponent,
            "quantum_exponent": place.quantum_exponent,
            "s": place.s,
            "tail": str(place.tail),
            "significand": significand(place, to.format),
            "lower": _neighbour(explanation, min),
            "upper": _neighbour(explanation, max),
        }
    return found | {
        "rule": explanation.rule,
        "decision": explanation.decision,
        "remark": explanation.remark,
        "result": None if explanation.result is None else _plain(explanation.result),
        "outcomes": [_outcome(outcome, explanation) for outcome in explanation.outcomes],
    }


def _neighbour(explanation: Explanation, choose: Any) -> dict[str, Any]:
    assert explanation.place is not None
    exact = choose(explanation.place.neighbour(False), explanation.place.neighbour(True))
    if abs(exact) >= Fraction(2) ** 1024:
        return {"value": shown(exact), "code": None}
    value = float(exact)
    if value == 0 and explanation.place.negative and explanation.to.format.has_negative_zero:
        value = -0.0
    code = code_of(value, explanation.to.format)
    return {"value": _plain(value), "code": None if code is None else hexadecimal(code, explanation)}


def _outcome(outcome: Outcome, explanation: Explanation) -> dict[str, Any]:
    format, code = explanation.to.format, outcome.code
    return {
        "probability": str(Fraction(outcome.draws, outcome.of)),
        "result": _plain(outcome.result),
        "code": None if code is None else hexadecimal(code, explanation),
        "fields": None if code is None else fields(code, format),
        **_error(outcome, explanation),
    }


def _error(outcome: Outcome, explanation: Explanation) -> dict[str, Any]:
    """Result less value, in quanta at the value and, for floats, relative to the value in units of u."""
    place = explanation.place
    if place is None or not math.isfinite(outcome.result):
        return {"error_ulps": None, "relative_error_u": None}
    error = Fraction(outcome.result) - Fraction(explanation.value)
    relative = abs(error / Fraction(explanation.value)) / Fraction(explanation.to.format.unit_roundoff)
    floating = not explanation.to.format.fixed_point
    return {
        "error_ulps": float(error / place.quantum),
        "relative_error_u": float(relative) if floating else None,
    }


def hexadecimal(code: int, explanation: Explanation) -> str:
    return f"0x{code:0{-(-explanation.to.format.bits // 4)}x}"


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _print(text: str, explanation: Explanation) -> None:
    to, place, value = explanation.to, explanation.place, explanation.value
    title = f"{text} in {to.format.name}, {to.mode.name}"
    title += f" with {to.random_bits} random bits" if to.stochastic else ""
    table = Table(title=f"{title}, overflow {to.rule}", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    if is_exact(text, value):
        table.add_row("value", f"{value!r}, as given: a float64")
    else:
        table.add_row("value", f"{text} is no float64; the nearest is taken: {_shortened(Decimal(value))}")
    if place is not None:
        _print_place(table, explanation)
        table.add_row("rule", explanation.rule)
    table.add_row("decision", explanation.decision)
    if explanation.remark:
        table.add_row("then", explanation.remark)
    for outcome in explanation.outcomes:
        share = Fraction(outcome.draws, outcome.of)
        several = len(explanation.outcomes) > 1
        table.add_row(f"result, {share}" if several else "result", _result(outcome, explanation))
    Console(width=None if Console().is_terminal else 110).print(table, markup=False)


def _print_place(table: Table, explanation: Explanation) -> None:
    place, format, value = explanation.place, explanation.to.format, explanation.value
    assert place is not None
    exact = Fraction(value)
    power = exact.denominator.bit_length() - 1
    table.add_row("exactly", f"{exact.numerator} / 2^{power}" if power else str(exact.numerator))
    table.add_row("", f"{value.hex()} = {_binary(value)}")
    sign = "-" if place.negative else "+"
    table.add_row("sign, exponent", f"{sign}, E = {place.exponent}{_below(explanation)}")
    table.add_row("quantum", f"q = 2^{place.quantum_exponent} = {_shortened(Decimal(float(place.quantum)))}")
    digits = significand(place, format)
    table.add_row("S | tail", f"{digits}: |x| = (S + nu) q, S = {place.s}, nu = {_fraction(place.tail)}")
    for name, choose in (("upper neighbour", max), ("lower neighbour", min)):
        neighbour = _neighbour(explanation, choose)
        code = neighbour["code"]
        table.add_row(name, str(neighbour["value"]) + (f", code {code}" if code else ", not in the format"))


def _below(explanation: Explanation) -> str:
    place, format = explanation.place, explanation.to.format
    assert place is not None
    if format.fixed_point or place.exponent >= format.emin:
        return ""
    return f", below emin = {format.emin}: the quantum is that of emin"


def _result(outcome: Outcome, explanation: Explanation) -> str:
    format, code = explanation.to.format, outcome.code
    parts = [repr(outcome.result)]
    if code is not None:
        parts.append(f"code {hexadecimal(code, explanation)} = {' '.join(fields(code, format))}")
    error = _error(outcome, explanation)
    if error["error_ulps"] is not None:
        relative = error["relative_error_u"]
        parts.append(
            f"error {error['error_ulps']:.6g} ulp"
            + ("" if relative is None else f", {relative:.6g} u relative")
        )
    return "; ".join(parts)


def _binary(value: float) -> str:
    """Binary scientific notation: -1.0011 x 2^-2."""
    fraction, exponent = math.frexp(abs(value))
    digits = f"{int(math.ldexp(fraction, 53)):b}".rstrip("0")
    return f"{'-' if value < 0 else ''}{digits[0]}.{digits[1:] or '0'} x 2^{exponent - 1}"


def _fraction(tail: Fraction) -> str:
    power = tail.denominator.bit_length() - 1
    if tail == 0:
        return "0"
    return f"{tail.numerator} / 2^{power}" if power <= 64 else f"about {float(tail):.6g}"


def _shortened(exact: Decimal) -> str:
    text = f"{exact:f}" if abs(exact.adjusted()) < DIGITS // 2 else str(exact)
    return text if len(text) <= DIGITS else f"{text[:DIGITS]}..."
