"""Writes a query tree as text.

The text is canonical (one spelling for each operator, single blanks, parentheses only where they are
needed) and parses to an equal tree.
"""

from __future__ import annotations

import re
from typing import Final, assert_never

from ftrackd.sandbox.query.tree import (
    Aggregate,
    And,
    Comparison,
    Criteria,
    Membership,
    Not,
    Or,
    Order,
    Projection,
    Quantified,
    Query,
    QueryMembership,
    Value,
)

_BARE: Final = re.compile(r"[^\s,()\"']+")
_AMBIGUOUS_QUOTE: Final = re.compile(r"\"|(?<=\\)'")


def print_query(query: Query) -> str:
    """Return the text of *query*; parsing it gives an equal tree.

    Raises:
        ValueError: When a value cannot be written: a bare one with blanks or punctuation, or a quoted
            one that ends with a backslash (the language has no escape for it).
    """
    parts: list[str] = []
    if query.projections:
        parts += ["select", ", ".join(map(_print_projection, query.projections)), "from"]
    parts.append(query.entity_type)
    if query.criteria is not None:
        parts += ["where", _print_criteria(query.criteria)]
    if query.group_by:
        parts += ["group by", ", ".join(map(str, query.group_by))]
    if query.order_by:
        parts += ["order by", ", ".join(map(_print_order, query.order_by))]
    if query.offset is not None:
        parts += ["offset", str(query.offset)]
    if query.limit is not None:
        parts += ["limit", str(query.limit)]
    return " ".join(parts)


def _print_projection(projection: Projection) -> str:
    if isinstance(projection, Aggregate):
        return f"{projection.function}({projection.path})"
    return str(projection)


def _print_order(order: Order) -> str:
    return f"{order.path} descending" if order.is_descending else str(order.path)


def _print_criteria(criteria: Criteria) -> str:
    match criteria:
        case Comparison(path, operator, value):
            return f"{path} {operator.value} {_print_value(value)}"
        case Membership(path, values, is_negated):
            return f"{path} {_membership(is_negated)} ({', '.join(map(_print_value, values))})"
        case QueryMembership(path, query, is_negated):
            return f"{path} {_membership(is_negated)} ({print_query(query)})"
        case Quantified(path, quantifier, inner):
            return f"{path} {quantifier} ({'' if inner is None else _print_criteria(inner)})"
        case Not(operand):
            return f"not {_print_operand(operand)}"
        case And(operands):
            return " and ".join(map(_print_operand, operands))
        case Or(operands):
            return " or ".join(map(_print_operand, operands))
        case _:  # pragma: no cover
            assert_never(criteria)


def _print_operand(criteria: Criteria) -> str:
    text = _print_criteria(criteria)
    return f"({text})" if isinstance(criteria, And | Or) else text


def _membership(is_negated: bool) -> str:
    return "not_in" if is_negated else "in"


def _print_value(value: Value) -> str:
    if not value.is_quoted:
        if _BARE.fullmatch(value.text) is None:
            raise ValueError(f"{value.text!r} cannot be written without quotes")
        return value.text
    if value.text.endswith("\\"):
        raise ValueError(f"{value.text!r} ends with a backslash, which would escape the closing quote")
    return '"' + _AMBIGUOUS_QUOTE.sub(r"\\\g<0>", value.text) + '"'
