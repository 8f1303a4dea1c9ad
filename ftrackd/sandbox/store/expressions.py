"""Custom attributes of the type expression: ``{self.fend - self.fstart + 1}``.

The value is worked out when something it may depend on was written and is stored like any other, so that
queries can compare it. ``self`` has the custom attributes and the stored attributes of the entity. An
expression that cannot be worked out (a missing value, a division by zero, a mistake) has no value.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from ftrackd.sandbox.schema import Scalar, table
from ftrackd.sandbox.store import custom_values
from ftrackd.sandbox.store.values import load_variable, store_variable, untag, variable_text

if TYPE_CHECKING:
    from ftrackd.sandbox.store.changes import Change
    from ftrackd.sandbox.store.rows import Row
    from ftrackd.sandbox.store.transaction import Transaction

#: Roots of the types that have custom attributes, and their dense values.
_VIEWS: Final = {
    "Context": "ContextCustomAttributeValue",
    "Asset": "AssetCustomAttributeValue",
    "AssetVersion": "AssetVersionCustomAttributeValue",
    "List": "ListCustomAttributeValue",
    "Resource": "UserCustomAttributeValue",
}
_OPERATORS: Final[Mapping[type[ast.AST], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_LONGEST: Final = 2_000
_CHUNK: Final = 500


class _NoValueError(Exception):
    """The expression has no value for this entity."""


def evaluate(text: str, names: Mapping[str, Any]) -> Any:
    """The value of expression *text* for an entity whose ``self`` has *names*; ``None`` when there is none.

    One pair of braces around everything gives the value itself, otherwise the result is text.
    """
    if len(text) > _LONGEST:
        return None
    try:
        whole = _BRACES.fullmatch(text.strip())
        if whole is not None:
            return _value(_parse(whole[1]), names)
        return _BRACES.sub(lambda found: variable_text(_value(_parse(found[1]), names)) or "", text)
    except _NoValueError:
        return None


@lru_cache(maxsize=256)
def _parse(source: str) -> ast.expr:
    try:
        return ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _NoValueError from None


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str):
        return node.value
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        value = untag(names.get(node.attr))
        if value is None:
            raise _NoValueError
        return value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _number(_value(node.operand, names))
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _combine(node.op, _value(node.left, names), _value(node.right, names))
    raise _NoValueError


def _combine(kind: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(kind, ast.Add) and isinstance(left, str) and isinstance(right, str):
        return left + right
    try:
        result = _OPERATORS[type(kind)](_number(left), _number(right))
    except (ArithmeticError, ValueError):
        raise _NoValueError from None
    # Whole numbers stay whole; what grows without bound is no value.
    if abs(result) > 1e300:
        raise _NoValueError
    return result


def _number(value: Any) -> Any:
    if isinstance(value, bool | int) and abs(value) < 2**63:
        return int(value)
    if isinstance(value, float):
        return value
    raise _NoValueError


def refresh(transaction: Transaction) -> None:
    """Work out the expressions of everything that *transaction* changed so far."""
    configurations = _configurations(transaction.connection)
    if not configurations:
        return
    changes = transaction.recorder.finish()
    is_configured_anew = any(change.entity_type == "CustomAttributeConfiguration" for change in changes)
    for root, view in _VIEWS.items():
        ids = set(_changed_entities(transaction, root, changes))
        if is_configured_anew:
            ids.update(_configured_entities(transaction, view, configurations))
        ordered = sorted(ids)
        for start in range(0, len(ordered), _CHUNK):
            _refresh_entities(transaction, root, view, ordered[start : start + _CHUNK], configurations)


def _configurations(connection: sa.Connection) -> dict[str, Row]:
    source = table("custom_attribute_configuration")
    rows = connection.execute(
        sa.select(source).where(source.c.type_id == custom_values.EXPRESSION)
    ).mappings()
    return {row["id"]: dict(row) for row in rows}


def _changed_entities(transaction: Transaction, root: str, recorded: Iterable[Change]) -> Iterable[str]:
    changes = [
        change
        for change in recorded
        if change.action in ("add", "update", "move") and transaction.schema[change.entity_type].root == root
    ]
    yield from (change.entity_id for change in changes)
    if root == "Context":
        # What they set or where they moved, everything below inherits.
        above = [change.entity_id for change in changes if change.custom_keys or change.action == "move"]
        lineage = table("lineage")
        for start in range(0, len(above), _CHUNK):
            chunk = above[start : start + _CHUNK]
            yield from transaction.connection.execute(
                sa.select(lineage.c.context_id).where(lineage.c.ancestor_id.in_(chunk))
            ).scalars()


def _configured_entities(
    transaction: Transaction, view: str, configurations: Mapping[str, Row]
) -> Iterable[str]:
    dense = transaction.schema[view].table
    return transaction.connection.execute(
        sa.select(dense.c.entity_id).where(dense.c.configuration_id.in_(list(configurations)))
    ).scalars()


def _refresh_entities(
    transaction: Transaction, root: str, view: str, ids: Sequence[str], configurations: Mapping[str, Row]
) -> None:
    dense, kind = transaction.schema[view].table, transaction.schema[root]
    expressed = transaction.connection.execute(
        sa.select(dense.c.entity_id, dense.c.configuration_id, dense.c.value).where(
            dense.c.entity_id.in_(ids), dense.c.configuration_id.in_(list(configurations))
        )
    ).all()
    if not expressed:
        return
    having = list({entity_id for entity_id, _, _ in expressed})
    rows = {
        row["id"]: dict(row)
        for row in transaction.connection.execute(
            sa.select(kind.table).where(kind.table.c.id.in_(having))
        ).mappings()
    }
    values: dict[str, dict[str, Any]] = {}
    for entity_id, key, value in transaction.connection.execute(
        sa.select(dense.c.entity_id, dense.c.key, dense.c.value).where(
            dense.c.entity_id.in_(having), dense.c.configuration_id.not_in(list(configurations))
        )
    ):
        values.setdefault(entity_id, {})[key] = load_variable(value)
    for entity_id, configuration_id, stored in expressed:
        concrete = transaction.rows.concrete_type(kind, rows[entity_id])
        names = {
            attribute.name: rows[entity_id].get(attribute.column)
            for attribute in concrete.attributes.values()
            if isinstance(attribute, Scalar)
        } | values.get(entity_id, {})
        text = str(load_variable(configurations[configuration_id]["default"]) or "")
        value = evaluate(text, names)
        columns = store_variable("value", value)
        if columns["value"] != stored:
            custom_values.store(
                transaction, configurations[configuration_id], concrete, rows[entity_id], columns
            )
