"""What the session needs to know about an entity class on hot paths, gathered once from its attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ftrackd.api import attribute as _attribute
from ftrackd.api import exception
from ftrackd.api.symbol import NOT_SET

if TYPE_CHECKING:
    from ftrackd.api.entity.base import Entity

_STANDARD = frozenset(
    {
        _attribute.ScalarAttribute,
        _attribute.ReferenceAttribute,
        _attribute.CollectionAttribute,
        _attribute.KeyValueMappedCollectionAttribute,
        _attribute.CustomAttributeCollectionAttribute,
    }
)


def _base_class() -> type[Entity]:
    from ftrackd.api.entity.base import Entity

    return Entity


class Layout:
    """The attributes of one entity class, as one session handles their values."""

    def __init__(self, entity_class: type[Entity]) -> None:
        attributes = list(entity_class.attributes)
        self.entity_class = entity_class
        self.entity_type: str = entity_class.entity_type
        self.primary_key: tuple[str, ...] = tuple(entity_class.primary_key_attributes)
        #: The one primary key attribute, or None when there are several.
        self.single_key: str | None = self.primary_key[0] if len(self.primary_key) == 1 else None
        self.names = frozenset(attribute.name for attribute in attributes)
        #: Attributes whose values are entities.
        self.relations = frozenset(
            attribute.name
            for attribute in attributes
            if not isinstance(attribute, _attribute.ScalarAttribute)
        )
        self.collections = frozenset(
            attribute.name
            for attribute in attributes
            if isinstance(attribute, _attribute.AbstractCollectionAttribute)
        )
        #: Attributes that the server computes from others.
        self.computed = frozenset(attribute.name for attribute in attributes if attribute.computed) | (
            self.names & {"link", "_link"}
        )
        #: Attributes of classes that a plugin made: their own methods must be asked.
        self.foreign = frozenset(
            attribute.name for attribute in attributes if type(attribute) not in _STANDARD
        )
        #: Attributes whose values are kept as they are given.
        self.plain = self.names - self.relations - self.foreign
        self._maker: Callable[[dict[str, Any]], Entity] | None = None
        self._constants: dict[str, Any] = {}
        self._functions: list[tuple[str, Callable[[Any], Any]]] = []
        for attribute in attributes:
            default = attribute.default_value
            if callable(default) and default is not NOT_SET:
                self._functions.append((attribute.name, default))
            elif default is not NOT_SET:
                self._constants[attribute.name] = default

    def let_attributes_read(self) -> None:
        """Have the class ask its attributes for every value, if a plugin made some of them."""
        base = _base_class()
        if self.foreign and self.entity_class.__getitem__ is base.__getitem__:
            self.entity_class.__getitem__ = base._get_by_attribute  # type: ignore[method-assign]

    def maker(self, session: Any) -> Callable[[dict[str, Any]], Entity]:
        """Return a function that makes a detached entity of `session` from a row without its type.

        The row becomes the entity's own and loses what the schema does not know.
        """
        if self._maker is not None:
            return self._maker
        entity_class = self.entity_class
        names = self.names
        new = object.__new__
        # Classes that prepare their objects (locations), or attributes that prepare their values, must get
        # to do it.
        plain = entity_class.__init__ is _base_class().__init__ and not self.foreign

        def make(row: dict[str, Any]) -> Entity:
            if not names.issuperset(row):
                self.drop_unknown(row)
            if not plain:
                return self._make_with_care(session, row)
            entity = new(entity_class)
            entity.session = session
            entity._row = row
            entity._local = None
            entity._group = None
            return entity

        self._maker = make
        return make

    def _make_with_care(self, session: Any, row: dict[str, Any]) -> Entity:
        """Make an entity through its constructor, with foreign attributes taking their values themselves."""
        entity = self.entity_class(session, reconstructing=True)
        entity._row = row
        for name in self.foreign & row.keys():
            attribute = self.entity_class.attributes.get(name)
            assert attribute is not None
            attribute.set_remote_value(entity, row.pop(name))
        return entity

    def drop_unknown(self, row: dict[str, Any]) -> None:
        """Remove from `row` what is no attribute."""
        for name in row.keys() - self.names:
            del row[name]

    def key_of(self, row: dict[str, Any]) -> Any:
        """Return the key in the identity map of the entity with the values `row`.

        ServerError when the row, which came from the server, lacks its primary key.
        """
        single = self.single_key
        try:
            if single is None:
                return tuple([str(row[name]) for name in self.primary_key])
            key = row[single]
        except KeyError as error:
            raise exception.ServerError(
                f"The server sent an entity of type {self.entity_type} without its primary key {error}."
            ) from None
        return key if key.__class__ is str else str(key)

    def defaults(self, entity: Entity) -> dict[str, Any]:
        """Return the values that `entity`, a new one, has before anything is set."""
        values = self._constants.copy()
        for name, function in self._functions:
            value = function(entity)
            if value is not NOT_SET:
                values[name] = value
        return values
