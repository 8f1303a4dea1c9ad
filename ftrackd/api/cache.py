"""Caches, the keys they use, and memoising.

A session keeps its entities in a :class:`LayeredCache` whose first layer is a :class:`MemoryCache` (the
identity map); scripts add further layers through ``Session(cache=...)``.
"""

from __future__ import annotations

import contextlib
import copy
import dbm
import functools
import inspect
import pickle
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])


class Cache(ABC):
    """What every cache can do: keep values under keys."""

    @abstractmethod
    def get(self, key: Any) -> Any:
        """Return the value under `key`; KeyError when there is none."""

    @abstractmethod
    def set(self, key: Any, value: Any) -> None:
        """Keep `value` under `key`."""

    @abstractmethod
    def remove(self, key: Any) -> None:
        """Forget `key`; KeyError when it is not there."""

    def keys(self) -> list[Any]:
        """Return the keys; a cache that cannot list them raises NotImplementedError."""
        raise NotImplementedError

    def values(self) -> list[Any]:
        """Return the values of the keys that are still there."""
        values = []
        for key in self.keys():
            # Another thread may have removed it since.
            with contextlib.suppress(KeyError):
                values.append(self.get(key))
        return values

    def clear(self, pattern: str | None = None) -> None:
        """Forget all keys, or those in which the regular expression `pattern` is found."""
        matches = re.compile(pattern).search if pattern is not None else None
        for key in self.keys():
            if matches is None or matches(_text(key)):
                with contextlib.suppress(KeyError):
                    self.remove(key)


def _text(key: Any) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else str(key)


class ProxyCache(Cache):
    """Hands everything on to another cache; the base for caches that change what passes through."""

    def __init__(self, proxied: Cache) -> None:
        self.proxied = proxied
        super().__init__()

    def get(self, key: Any) -> Any:
        """Return the value under `key`; KeyError when there is none."""
        return self.proxied.get(key)

    def set(self, key: Any, value: Any) -> None:
        """Keep `value` under `key`."""
        self.proxied.set(key, value)

    def remove(self, key: Any) -> None:
        """Forget `key`; KeyError when it is not there."""
        self.proxied.remove(key)

    def keys(self) -> list[Any]:
        """Return the keys."""
        return self.proxied.keys()


class LayeredCache(Cache):
    """Several caches, the fastest first; a value found in a deeper one is copied into those above it."""

    def __init__(self, caches: Iterable[Cache]) -> None:
        super().__init__()
        self.caches: list[Cache] = list(caches)

    def get(self, key: Any) -> Any:
        """Return the value under `key` from the first layer that has it; KeyError when none has."""
        for depth, cache in enumerate(self.caches):
            try:
                value = cache.get(key)
            except KeyError:
                continue
            for shallower in self.caches[:depth]:
                shallower.set(key, value)
            return value
        raise KeyError(key)

    def set(self, key: Any, value: Any) -> None:
        """Keep `value` under `key` in every layer."""
        for cache in self.caches:
            cache.set(key, value)

    def remove(self, key: Any) -> None:
        """Forget `key` in every layer; KeyError only when no layer had it."""
        found = False
        for cache in self.caches:
            try:
                cache.remove(key)
            except KeyError:
                continue
            found = True
        if not found:
            raise KeyError(key)

    def keys(self) -> list[Any]:
        """Return the keys of all layers, each once."""
        return list(dict.fromkeys(key for cache in self.caches for key in cache.keys()))  # noqa: SIM118


class MemoryCache(Cache):
    """Keeps values in memory."""

    def __init__(self) -> None:
        self._cache: dict[Any, Any] = {}
        super().__init__()

    def get(self, key: Any) -> Any:
        """Return the value under `key`; KeyError when there is none."""
        return self._cache[key]

    def set(self, key: Any, value: Any) -> None:
        """Keep `value` under `key`."""
        self._cache[key] = value

    def remove(self, key: Any) -> None:
        """Forget `key`; KeyError when it is not there."""
        del self._cache[key]

    def keys(self) -> list[Any]:
        """Return the keys."""
        return list(self._cache)


class FileCache(Cache):
    """Keeps text in a dbm file at `path`, opened for each call.

    Keys and values are text; the file's format is that of the best dbm module of the Python that made it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        # Make the file, so that reading an empty cache is no error.
        dbm.open(self.path, "c").close()
        super().__init__()

    def get(self, key: Any) -> Any:
        """Return the text under `key`; KeyError when there is none."""
        with dbm.open(self.path, "r") as database:
            return database[_encoded(key)].decode("utf-8")

    def set(self, key: Any, value: Any) -> None:
        """Keep the text `value` under `key`."""
        with dbm.open(self.path, "w") as database:
            database[_encoded(key)] = _encoded(value)

    def remove(self, key: Any) -> None:
        """Forget `key`; KeyError when it is not there."""
        with dbm.open(self.path, "w") as database:
            encoded = _encoded(key)
            if encoded not in database:
                raise KeyError(key)
            del database[encoded]

    def keys(self) -> list[Any]:
        """Return the keys."""
        with dbm.open(self.path, "r") as database:
            return [_decoded(key) for key in database.keys()]  # noqa: SIM118 - dbm objects do not iterate


def _encoded(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("utf-8")


def _decoded(key: Any) -> str:
    return key.decode("utf-8") if isinstance(key, bytes) else str(key)


class SerialisedCache(ProxyCache):
    """Encodes values on their way into another cache and decodes them on their way out."""

    def __init__(
        self,
        proxied: Cache,
        encode: Callable[[Any], Any] | None = None,
        decode: Callable[[Any], Any] | None = None,
    ) -> None:
        self.encode = encode
        self.decode = decode
        super().__init__(proxied)

    def get(self, key: Any) -> Any:
        """Return the decoded value under `key`; KeyError when there is none."""
        value = super().get(key)
        return self.decode(value) if self.decode else value

    def set(self, key: Any, value: Any) -> None:
        """Keep the encoded `value` under `key`."""
        super().set(key, self.encode(value) if self.encode else value)


class KeyMaker(ABC):
    """Makes one key out of any number of items."""

    #: Stands between the keys of the items.
    item_separator: Any = ""

    def key(self, *items: Any) -> Any:
        """Return the key for `items`."""
        return self.item_separator.join(self._key(item) for item in items)

    @abstractmethod
    def _key(self, obj: Any) -> Any:
        """Return the key of one item."""


class StringKeyMaker(KeyMaker):
    """Makes keys of the items' text."""

    def _key(self, obj: Any) -> str:
        return str(obj)


class ObjectKeyMaker(KeyMaker):
    """Makes keys of bytes that are equal exactly for equal items, containers and instances included."""

    item_separator = b"\0"
    mapping_identifier = b"\1"
    mapping_pair_separator = b"\2"
    iterable_identifier = b"\3"
    name_identifier = b"\4"

    def _key(self, item: Any) -> bytes:
        if isinstance(item, dict):
            return self._mapping_key(item)
        if isinstance(item, (list, tuple, set, frozenset, bytes)):
            return self._iterable_key(item)
        if inspect.isclass(item) or inspect.isroutine(item):
            return self._name_key(item)
        return pickle.dumps(item, 2)

    def _mapping_key(self, item: dict[Any, Any]) -> bytes:
        pairs = sorted(self._key(key) + self.mapping_pair_separator + self._key(item[key]) for key in item)
        joined = self.item_separator.join(pairs)
        return self.mapping_identifier + joined + self.mapping_identifier

    def _iterable_key(self, item: Iterable[Any]) -> bytes:
        keys = [self._key(part) for part in item]
        if isinstance(item, (set, frozenset)):
            keys.sort()
        return self.iterable_identifier + self.item_separator.join(keys) + self.iterable_identifier

    def _name_key(self, item: Any) -> bytes:
        parts = [self.name_identifier, item.__name__.encode("utf-8")]
        module = getattr(item, "__module__", None)
        if module and module != "builtins":
            parts += [self.item_separator, str(module).encode("utf-8")]
        return b"".join(parts)


class Memoiser:
    """Remembers what calls returned.

    `cache` keeps the results (default a MemoryCache), `key_maker` makes the keys (default an
    ObjectKeyMaker), and with `return_copies` a caller gets a deep copy, so that changing it changes
    nothing here.
    """

    def __init__(
        self, cache: Cache | None = None, key_maker: KeyMaker | None = None, return_copies: bool = True
    ) -> None:
        self.cache = cache if cache is not None else MemoryCache()
        self.key_maker = key_maker if key_maker is not None else ObjectKeyMaker()
        self.return_copies = return_copies
        super().__init__()

    def call(
        self,
        function: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kw: dict[str, Any] | None = None,
    ) -> Any:
        """Return what `function` gives for the arguments, called only if the same call is not remembered."""
        args = tuple(args or ())
        keywords = dict(kw or {})
        bound = inspect.signature(function).bind(*args, **keywords)
        # f(1), f(x=1) and f() with a default of 1 are one call.
        bound.apply_defaults()
        key = self.key_maker.key(function, dict(bound.arguments))
        try:
            value = self.cache.get(key)
        except KeyError:
            value = function(*args, **keywords)
            self.cache.set(key, value)
        return copy.deepcopy(value) if self.return_copies else value


def memoise_decorator(memoiser: Memoiser) -> Callable[[_F], _F]:
    """Return a decorator that remembers results in `memoiser`."""

    def outer(function: _F) -> _F:
        @functools.wraps(function)
        def inner(*args: Any, **kw: Any) -> Any:
            return memoiser.call(function, args, kw)

        return inner  # type: ignore[return-value]  # the wrapper takes what the function takes

    return outer


#: The memoiser of the process, and its decorator.
memoiser = Memoiser()
memoise = memoise_decorator(memoiser)
