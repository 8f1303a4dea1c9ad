"""Custom attribute values: one stored row where a value was set, written through both views of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ftrackd.sandbox import json_text
from ftrackd.sandbox.errors import EntityNotFoundError, IntegrityError, ValidationError
from ftrackd.sandbox.schema import EntityType, table
from ftrackd.sandbox.store.values import (
    id_text,
    load_variable,
    normalise_datetime,
    plain,
    store_variable,
    untag,
    variable_text,
)

if TYPE_CHECKING:
    from ftrackd.sandbox.store.rows import Row
    from ftrackd.sandbox.store.transaction import Transaction

TEXT: Final = "6268aef0-381c-11e0-acff-0019bb49847a"
BOOLEAN: Final = "ad1034d8-15e2-11e1-b21a-0019bb4983d8"
DATE: Final = "79968e9e-381c-11e0-acff-0019bb49847a"
NUMBER: Final = "92009b00-381c-11e0-acff-0019bb49847a"
ENUMERATOR: Final = "6ff9c812-ead3-11e2-846c-f23c91dfaa16"
DYNAMIC_ENUMERATOR: Final = "882e4aee-fae6-11e3-b623-20c9d0831e59"
URL: Final = "ec616dcd-56e2-4147-99f8-7e4a4f040cf9"
EXPRESSION: Final = "d2e6a530-357f-11e2-bd73-0019bb4985b8"

#: The typed end of a custom attribute link, by the root of the entity type.
_LINK_ENDS: Final = {
    "Context": "context",
    "AssetVersion": "asset_version",
    "Asset": "asset",
    "List": "list",
    "Component": "component",
}


def is_value_type(kind: EntityType) -> bool:
    """Whether entities of *kind* are custom attribute values, sparse or dense."""
    return kind.name.endswith("CustomAttributeValue")


def create(transaction: Transaction, kind: EntityType, data: Mapping[str, Any]) -> list[Any]:
    """Set a value; the same as an update, so that a client that read a while ago is not refused."""
    key = [data.get(name) for name in ("configuration_id", "entity_id")]
    if not all(isinstance(part, str) for part in key):
        raise ValidationError(f"{kind.name} cannot be created without configuration_id and entity_id.")
    return update(transaction, kind, key, {"value": None, **data})


def update(
    transaction: Transaction, kind: EntityType, key: Sequence[Any], data: Mapping[str, Any]
) -> list[Any]:
    """Set the value of one entity for one configuration."""
    unknown = [name for name in data if not name.startswith("__") and name not in kind.attributes]
    if unknown:
        kind.attribute(unknown[0])
    if "value" in data:
        _write(transaction, str(key[0]), str(key[1]), data["value"])
    return list(key)


def delete(transaction: Transaction, kind: EntityType, key: Sequence[Any]) -> None:
    """Take a value back: the entity has the inherited or default one again."""
    if _stored(transaction, key[0], key[1]) is None:
        raise EntityNotFoundError(f"There is no {kind.name} with key {key[0]}, {key[1]}.")
    _write(transaction, key[0], key[1], None, removes=True)


def write_members(transaction: Transaction, kind: EntityType, entity_id: str, members: Iterable[Any]) -> None:
    """Take the values that members of a ``custom_attributes`` list carry; bare references change nothing."""
    for member in members:
        if isinstance(member, Mapping) and "value" in member and "configuration_id" in member:
            _write(transaction, str(member["configuration_id"]), entity_id, member["value"])


def settle_default(transaction: Transaction, kind: EntityType, values: dict[str, Any]) -> None:
    """Give the default of a configuration the type of its values: an empty text is no number."""
    values["kind"] = "link" if kind.name == "CustomAttributeLinkConfiguration" else "attribute"
    if values["kind"] == "link":
        return
    value = load_variable(values.get("default"))
    if value == "" and values.get("type_id") != TEXT:
        value = _EMPTY.get(values.get("type_id") or "")
    elif values.get("type_id") != EXPRESSION:
        value = convert(values, value)
    values.update(store_variable("default", value))


def settle_link(transaction: Transaction, values: dict[str, Any]) -> None:
    """Note what kinds of entities a custom attribute link connects."""
    for side in ("from", "to"):
        entity_type = _link_end(transaction, side, values)
        values[f"{side}_entity_type"] = entity_type.name
        values[f"{side}_kind"] = _LINK_ENDS.get(entity_type.root, entity_type.name.lower())


def link_type(transaction: Transaction, kind: EntityType, data: Mapping[str, Any]) -> EntityType:
    """The very type of a custom attribute link, which its typed end decides: clients create base types."""
    side = "from" if kind.root == "CustomAttributeLinkFrom" else "to"
    entity_type = _link_end(transaction, side, data)
    end = _LINK_ENDS.get(entity_type.root, entity_type.name.lower())
    name = transaction.schema.concrete_type(transaction.schema[kind.root], (end,))
    if name == kind.root:
        raise ValidationError(f"{kind.name} cannot connect a {entity_type.name}.")
    return transaction.schema[name]


def _link_end(transaction: Transaction, side: str, values: Mapping[str, Any]) -> EntityType:
    entity_id = id_text(f"CustomAttributeLink.{side}_id", values.get(f"{side}_id"))
    hint = values.get(f"{side}_entity_type")
    found = transaction.rows.find(entity_id, hint if isinstance(hint, str) else None) if entity_id else None
    if found is None:
        raise transaction.missing_reference("CustomAttributeLink", f"{side}_id", entity_id)
    return found[0]


def convert(configuration: Mapping[str, Any], value: Any) -> Any:
    """*value* in the type of *configuration*, date-times tagged.

    Raises :class:`ValidationError` that names the attribute.
    """
    if value is None:
        return None
    function = _CONVERT.get(configuration.get("type_id") or "", plain)
    try:
        return function(value)
    except (ValueError, TypeError) as error:
        raise ValidationError(
            f"Custom attribute {configuration.get('key')!r} cannot be {value!r}: {error} is needed."
        ) from error


def _write(
    transaction: Transaction, configuration_id: str, entity_id: str, value: Any, *, removes: bool = False
) -> None:
    configuration = transaction.configuration(configuration_id)
    if configuration is None or configuration["kind"] != "attribute":
        raise IntegrityError(f"There is no CustomAttributeConfiguration {configuration_id}.")
    if configuration["type_id"] == EXPRESSION and not removes:
        raise ValidationError(
            f"Custom attribute {configuration['key']!r} is an expression and cannot be set."
        )
    found = transaction.rows.find(entity_id, configuration["entity_type"])
    if found is None:
        raise IntegrityError(
            f"Custom attribute {configuration['key']!r} cannot be set on {entity_id!r}, which does not exist."
        )
    kind, row = found
    if not removes and not applies(configuration, kind, row):
        raise ValidationError(f"Custom attribute {configuration['key']!r} does not apply to {kind.name}.")
    if removes:
        _remove(transaction, configuration, kind, row)
    else:
        store(transaction, configuration, kind, row, store_variable("value", convert(configuration, value)))


def store(
    transaction: Transaction, configuration: Row, kind: EntityType, row: Row, columns: Mapping[str, Any]
) -> None:
    """Write the stored form of a value for the entity in *row*, and announce it."""
    earlier = _stored(transaction, configuration["id"], row["id"])
    source = table("custom_attribute_value")
    if earlier is None:
        identity = {"configuration_id": configuration["id"], "entity_id": row["id"]}
        transaction.connection.execute(source.insert(), {**identity, **columns})
    else:
        matches = (source.c.configuration_id == configuration["id"], source.c.entity_id == row["id"])
        transaction.connection.execute(source.update().where(*matches).values(columns))
    _announce(transaction, configuration, kind, row, earlier, columns["value"])


def _remove(transaction: Transaction, configuration: Row, kind: EntityType, row: Row) -> None:
    earlier = _stored(transaction, configuration["id"], row["id"])
    source = table("custom_attribute_value")
    matches = (source.c.configuration_id == configuration["id"], source.c.entity_id == row["id"])
    transaction.connection.execute(source.delete().where(*matches))
    _announce(transaction, configuration, kind, row, earlier, None)


def _announce(
    transaction: Transaction,
    configuration: Row,
    kind: EntityType,
    row: Row,
    earlier: Row | None,
    stored: str | None,
) -> None:
    """A change of the entity, under the key of the configuration and with text values."""
    old = variable_text(load_variable(earlier["value"])) if earlier is not None else None
    if old is None and not configuration["is_hierarchical"] and earlier is None:
        old = variable_text(load_variable(configuration["default"]))
    new = variable_text(load_variable(stored))
    if old == new:
        return
    key = configuration["key"]
    transaction.record("update", kind, row, {key: {"old": old, "new": new}}, custom_keys={key})


def applies(configuration: Mapping[str, Any], kind: EntityType, row: Mapping[str, Any]) -> bool:
    """Whether entities like the one in *row* have the custom attribute."""
    project_id = configuration["project_id"]
    if project_id is not None and row.get("project_id") != project_id:
        return False
    entity_type = configuration["entity_type"]
    if configuration["is_hierarchical"]:
        return kind.root in ("Context", "Asset", "AssetVersion")
    if kind.name == "Project":
        return bool(entity_type == "show")
    if kind.root == "Context":
        return bool(entity_type == "task" and configuration["object_type_id"] == row["object_type_id"])
    return bool(entity_type == kind.root.lower() or (kind.name == "User" and entity_type == "user"))


def _stored(transaction: Transaction, configuration_id: str, entity_id: str) -> Row | None:
    kind = transaction.schema["CustomAttributeValue"]
    return transaction.rows.get(kind, (configuration_id, entity_id))


def _to_number(value: Any) -> Any:
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            pass
        try:
            value = float(text)
        except ValueError:
            raise ValueError("a number") from None
    if not isinstance(value, float):
        raise ValueError("a number")
    return plain(value)


def _to_boolean(value: Any) -> bool:
    if isinstance(value, str):
        lowered = value.strip().lower()
        if lowered in ("true", "1", "yes"):
            return True
        if lowered in ("false", "0", "no", ""):
            return False
    elif isinstance(value, int | float):
        return bool(value)
    raise ValueError("true or false")


def _to_date(value: Any) -> Any:
    text = untag(value)
    if text == "":
        return None
    try:
        return {"__type__": "datetime", "value": normalise_datetime(text)}
    except ValidationError as error:
        raise ValueError("a date-time in ISO 8601 form") from error


def _to_list(value: Any) -> list[str]:
    """The members of an enumerator; clients also write one member, or several in one text."""
    if isinstance(value, str):
        return [member.strip() for member in value.split(",") if member.strip()]
    if isinstance(value, list | tuple):
        return [str(untag(member)) for member in value]
    raise ValueError("a list of texts")


def _to_text(value: Any) -> str:
    value = untag(value)
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping | list | tuple | bool):
        return json_text.encode(value).decode("utf-8")
    return str(value)


_CONVERT: Final[Mapping[str, Callable[[Any], Any]]] = {
    TEXT: _to_text,
    URL: _to_text,
    EXPRESSION: _to_text,
    BOOLEAN: _to_boolean,
    DATE: _to_date,
    NUMBER: _to_number,
    ENUMERATOR: _to_list,
    DYNAMIC_ENUMERATOR: _to_list,
}
#: What an empty default means.
_EMPTY: Final[Mapping[str, Any]] = {BOOLEAN: False, ENUMERATOR: [], DYNAMIC_ENUMERATOR: []}
