"""Which records: expressions such as "format == 'e4m3' and seed < 5", read by a parser of a few forms.

    names of keys, numbers, 'text', True, False, None, lists of those
    == != < <= > >= in, not in, is, is not, chained as in Python; and, or, not; brackets

Nothing is ever evaluated as Python. What a record does not have is None, which equals None alone and is in
no order with anything. Formats and roundings may be called by any of their names.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

from emunum.formats import Format, parse_mode
from emunum.formats.names import unknown

Predicate = Callable[[Mapping[str, Any]], bool]
_Value = Callable[[Mapping[str, Any]], Any]

_LONGEST = 1000  # characters, which bounds how deep an expression can be
_ORDER = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
_CANONICAL: dict[str, Callable[[str], Any]] = {
    "format": Format.from_name,
    "accumulator": Format.from_name,
    "outer": Format.from_name,
    "rounding": parse_mode,
}
"""What turns a name that stands for a key's value into the spelling that records have."""


def parse_where(expression: str, names: Collection[str], option: str = "--where") -> Predicate:
    """Return the condition that an expression states about a record with keys among `names`.

    Raises ValueError, which names the option, where it is no such expression or names another key; the
    condition raises ValueError for a record whose value cannot be compared as it says.
    """
    if len(expression) > _LONGEST:
        raise ValueError(f"{option} is {len(expression)} characters long: {_LONGEST} are the most.")
    try:
        body = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(
            f"{option} {expression!r} is no condition. Write, for instance: "
            "\"format == 'float8_e4m3fn' and seed < 5\"."
        ) from None
    value = _Reader(option, expression, names).value(body)
    return lambda record: bool(value(record))


class _Reader:
    """Turns the nodes of one expression into functions of a record."""

    def __init__(self, option: str, expression: str, names: Collection[str]) -> None:
        self.option, self.expression, self.names = option, expression.strip(), names

    def value(self, node: ast.expr) -> _Value:
        match node:
            case ast.Name(id=name):
                if name not in self.names:
                    raise unknown("key", name, self.names)
                return lambda record: record.get(name)
            case ast.BoolOp(op=op, values=nodes):
                parts, join = [self.value(part) for part in nodes], all if isinstance(op, ast.And) else any
                return lambda record: join(part(record) for part in parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.value(operand)
                return lambda record: not inner(record)
            case ast.Compare(left=left, ops=ops, comparators=rest):
                return self._compared([left, *rest], ops)
        literal = self.literal(node)
        return lambda record: literal

    def _compared(self, nodes: list[ast.expr], ops: list[ast.cmpop]) -> _Value:
        key = next((node.id for node in nodes if isinstance(node, ast.Name) and node.id in _CANONICAL), None)
        values = [self.value(node) if key is None else self._canonical(key, node) for node in nodes]
        pairs = list(zip(values, ops, values[1:], strict=False))
        return lambda record: all(self._holds(op, left(record), right(record)) for left, op, right in pairs)

    def _canonical(self, key: str, node: ast.expr) -> _Value:
        if not isinstance(node, ast.Constant | ast.List | ast.Tuple | ast.Set):
            return self.value(node)
        literal = self.literal(node)
        named = [_named(key, x) for x in literal] if isinstance(literal, list) else _named(key, literal)
        return lambda record: named

    def literal(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value) if value is None or isinstance(value, str | bool | int | float):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
            case ast.List(elts=nodes) | ast.Tuple(elts=nodes) | ast.Set(elts=nodes):
                return [self.literal(one) for one in nodes]
        raise ValueError(
            f"{self.option} cannot say {ast.get_source_segment(self.expression, node)!r}: it knows keys, "
            "numbers, 'text', lists, comparisons, in, and, or, not."
        )

    def _holds(self, op: ast.cmpop, left: Any, right: Any) -> bool:
        match op:
            case ast.Eq() | ast.Is():
                return bool(left == right)
            case ast.NotEq() | ast.IsNot():
                return bool(left != right)
            case ast.In() | ast.NotIn():
                return self._contains(left, right) == isinstance(op, ast.In)
        if left is None or right is None:
            return False
        try:
            return bool(_ORDER[type(op)](left, right))
        except TypeError:
            raise ValueError(
                f"{self.option} compares {left!r} with {right!r}: they are in no order."
            ) from None

    def _contains(self, item: Any, among: Any) -> bool:
        if among is None:
            return False
        try:
            return bool(item in among)
        except TypeError:
            raise ValueError(
                f"{self.option} looks for {item!r} in {among!r}, which is no list and no text."
            ) from None


def _named(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return str(_CANONICAL[key](value))
    except ValueError:  # int8 sums have widths that are no formats, and a typing error matches nothing
        return value
