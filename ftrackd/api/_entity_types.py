"""The entity classes of a session, made on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ftrackd.api import exception


class EntityTypes(dict[str, Any]):
    """Maps names of entity types to their classes.

    A class is made when it is first asked for. Assigning one replaces it for everything decoded afterwards.
    """

    def __init__(self, schemas: list[dict[str, Any]], build: Callable[[dict[str, Any]], type[Any]]) -> None:
        super().__init__()
        self._schemas = {str(schema["id"]): schema for schema in schemas}
        self._build = build

    def __missing__(self, name: str) -> type[Any]:
        schema = self._schemas.get(name)
        if schema is None:
            raise KeyError(name)
        built = self._build(schema)
        # Another thread may have been faster; everybody must see one class.
        return dict.setdefault(self, name, built)  # type: ignore[no-any-return]

    def recognised(self, name: str) -> type[Any]:
        """Return the class called `name`; UnrecognisedEntityTypeError when there is none."""
        try:
            found: type[Any] = self[name]
        except KeyError:
            raise exception.UnrecognisedEntityTypeError(name) from None
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._schemas or dict.__contains__(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._schemas, *dict.keys(self)]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the class called `name`, or `default`."""
        try:
            return self[name]
        except KeyError:
            return default

    def keys(self) -> Any:
        """Return the names of all types."""
        return dict.fromkeys(self).keys()

    def values(self) -> Any:
        """Return the classes of all types, making those that were not used yet."""
        return {name: self[name] for name in self}.values()

    def items(self) -> Any:
        """Return names and classes of all types, making those that were not used yet."""
        return {name: self[name] for name in self}.items()

    def copy(self) -> dict[str, Any]:
        """Return a plain dictionary of all types."""
        return dict(self.items())
