"""One HTTP request's operations: a single transaction, results in order.

What creates and updates answer is read back when every operation has been carried out, together for each
entity type, so that a commit of a hundred creates costs a handful of statements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ftrackd.sandbox.auth import Actor
from ftrackd.sandbox.files.links import SignedLinks
from ftrackd.sandbox.query import load_entities
from ftrackd.sandbox.schema.model import Collection, EntityType, Reference, Scalar, Schema
from ftrackd.sandbox.store import Transaction

if TYPE_CHECKING:
    from ftrackd.sandbox.services import Services


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What the headers of a request ask for.

    ``server_url`` is the address under which the client reaches this server, without a trailing slash.
    """

    server_url: str
    client_token: str | None = None
    push_token: str | None = None
    denormalize: bool = False
    only_requested: bool = False

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], server_url: str) -> RequestOptions:
        """Read the ``ftrack-*`` headers; options without a meaning here are ignored.

        Some fetch implementations send the literal text ``undefined`` for a token that was not given.
        """
        options: dict[str, str] = {}
        for part in headers.get("ftrack-api-options", "").split(";"):
            name, _, value = part.replace("=", ":", 1).partition(":")
            options[name.strip().lower()] = value.strip().lower()
        return cls(
            server_url=server_url,
            client_token=_token(headers, "ftrack-clienttoken"),
            push_token=_token(headers, "ftrack-pushtoken"),
            denormalize=options.get("denormalize") in ("1", "true"),
            only_requested=options.get("strict") in ("1", "true"),
        )


def _token(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name, "")
    return None if value in ("", "undefined", "null") else value


@dataclass(frozen=True, slots=True)
class _Written:
    """A row whose values the answer *result* still lacks."""

    result: dict[str, Any]
    entity_type: str
    key: tuple[Any, ...]
    relations: tuple[str, ...]


@dataclass(eq=False)
class Batch:
    """What the actions of one request share: who asks, how, and the open transaction."""

    services: Services
    actor: Actor
    options: RequestOptions
    reader: sa.Connection | None = None
    open_transaction: Transaction | None = None
    after_commit: list[Callable[[], None]] = field(default_factory=list)
    _written: list[_Written] = field(default_factory=list)

    @property
    def transaction(self) -> Transaction:
        """The transaction of a batch that changes rows; :attr:`connection` sees what it has written."""
        assert self.open_transaction is not None, "An action that writes is listed as reading."
        return self.open_transaction

    @property
    def connection(self) -> sa.Connection:
        """What to read through."""
        return self.reader if self.reader is not None else self.transaction.connection

    @property
    def schema(self) -> Schema:
        """The entity types as the batch sees them, with those it made."""
        if self.open_transaction is not None:
            return self.open_transaction.schema
        return self.services.store.schema

    @property
    def links(self) -> SignedLinks:
        """Makes addresses of files for the client of this request."""
        return self.services.links(self.options.server_url)

    def answer_written(
        self, action: str, entity_type: str, key: Sequence[Any], data: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Return the result of a create or update; its entity is filled in by :meth:`finish`.

        It holds all stored values, and the relations among the attributes in *data*: clients drop what they
        set themselves and keep what the answer says.
        """
        result: dict[str, Any] = {"action": action, "data": None}
        self._written.append(
            _Written(result, entity_type, tuple(key), _relations(self.schema[entity_type], data))
        )
        return result

    def finish(self) -> None:
        """Read back every row that was written and complete the results."""
        alike: dict[tuple[str, tuple[str, ...]], list[_Written]] = {}
        for written in self._written:
            alike.setdefault((written.entity_type, written.relations), []).append(written)
        for (name, relations), rows in alike.items():
            entity_type = self.schema[name]
            keys = list(dict.fromkeys(written.key for written in rows))
            loaded = self.load(name, keys, [*_stored(entity_type), *relations])
            for written in rows:
                written.result["data"] = loaded.get(written.key) or _reference(entity_type, written.key)

    def load(
        self, entity_type: str, keys: Sequence[Sequence[Any]], projections: Sequence[str]
    ) -> dict[tuple[Any, ...], dict[str, Any]]:
        """Return the entities with these *keys* that exist, ready for JSON, by key."""
        names = self.schema[entity_type].primary_key
        entities = load_entities(
            self.connection,
            self.schema,
            entity_type,
            keys,
            projections,
            links=self.links,
        )
        return {tuple(entity[name] for name in names): entity for entity in entities}


def _stored(entity_type: EntityType) -> list[str]:
    """Return the stored attributes of *entity_type*."""
    return [
        name
        for name, attribute in entity_type.attributes.items()
        if isinstance(attribute, Scalar) and not attribute.is_restricted
    ]


def _relations(entity_type: EntityType, names: Iterable[str]) -> tuple[str, ...]:
    """Return the relations among *names*, and where the bytes are for a component."""
    found = {
        name
        for name in names
        if isinstance(attribute := entity_type.attributes.get(name), (Reference, Collection))
        and not attribute.is_restricted
    }
    if "component_locations" in entity_type.attributes:
        found.add("component_locations")
    return tuple(sorted(found))


def _reference(entity_type: EntityType, key: Sequence[Any]) -> dict[str, Any]:
    """Return a bare reference, for a row that a later operation of the batch deleted."""
    return {"__entity_type__": entity_type.name, **dict(zip(entity_type.primary_key, key, strict=True))}
