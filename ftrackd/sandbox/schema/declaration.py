"""Reading the declarations: text in, plain records out. The language is described in ``declarations``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final

from ftrackd.sandbox.errors import SandboxError
from ftrackd.sandbox.schema.model import NO_DEFAULT, ValueType

SCALAR_TYPES: Final = {
    "string": (ValueType.STRING, None),
    "integer": (ValueType.INTEGER, None),
    "number": (ValueType.NUMBER, None),
    "boolean": (ValueType.BOOLEAN, None),
    "datetime": (ValueType.DATETIME, None),
    "variable": (ValueType.VARIABLE, None),
    "object": (ValueType.OBJECT, None),
    "json": (ValueType.STRING, "json"),
    "integer-text": (ValueType.STRING, "integer"),
    "entity-type": (ValueType.STRING, None),
    "uid": (ValueType.STRING, None),
    "key": (ValueType.STRING, None),
}
#: What happens to a row when the row that its foreign key names is deleted.
DELETE_POLICIES: Final = frozenset(["cascade", "clear", "restrict", "free"])
UID: Final = "{uid}"

_DEFAULT = re.compile(r' = ("(?:[^"\\]|\\.)*"|\S+)')
_THROUGH = re.compile(r"through (\w+)\((\w+), (\w+)\)")
_RELATION = re.compile(r"(->) (\w+)|([\[{])(\w+)(?: as (\w+))?[\]}]")


class DeclarationError(SandboxError):
    """A line of the declarations cannot be understood."""


@dataclass(slots=True)
class Property:
    """One attribute line."""

    name: str
    #: ``scalar``, ``reference``, ``collection``, ``mapped`` or ``computed``.
    kind: str
    value_type: ValueType = ValueType.STRING
    format: str | None = None
    is_entity_type: bool = False
    is_required: bool = False
    is_immutable: bool = False
    is_computed: bool = False
    legacy_name: str | None = None
    default: Any = NO_DEFAULT
    choices: tuple[str, ...] = ()
    foreign_key: str | None = None
    on_delete: str | None = None
    column: str | None = None
    builder: str | None = None
    target: str = ""
    #: Target as the schema JSON names it, when rows of a wider type may be members.
    stated_target: str = ""
    local: str | None = None
    remote: str | None = None
    through: tuple[str, str, str] | None = None
    through_type: str | None = None
    where: tuple[str, str] | None = None


@dataclass(slots=True)
class Declaration:
    """One type, without what it inherits."""

    name: str
    base: str | None = None
    properties: dict[str, Property] = field(default_factory=dict)
    directives: dict[str, list[str]] = field(default_factory=dict)

    def words(self, directive: str) -> tuple[str, ...] | None:
        """The words after *directive*, or ``None`` when it is not given."""
        lines = self.directives.get(directive)
        return tuple(lines[0].split()) if lines else None

    def has(self, directive: str) -> bool:
        """Whether *directive* is given."""
        return directive in self.directives


@cache
def declarations() -> dict[str, Declaration]:
    """All declared types by name, bases before the types that specialise them. Read once; do not change."""
    found: dict[str, Declaration] = {}
    directory = resources.files(f"{__package__}.declarations")
    for file in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".txt"):
            for declaration in parse(file.read_text(encoding="utf-8"), file.name):
                found[declaration.name] = declaration
    ordered: dict[str, Declaration] = {}
    for name in found:
        _order(name, found, ordered)
    return ordered


def _order(name: str, found: dict[str, Declaration], ordered: dict[str, Declaration]) -> None:
    base = found[name].base
    if base is not None and base not in ordered:
        _order(base, found, ordered)
    ordered[name] = found[name]


def lineage(name: str) -> list[Declaration]:
    """The declaration of *name* and of everything it specialises, the root first."""
    line: list[Declaration] = []
    current: str | None = name
    while current is not None:
        line.append(declarations()[current])
        current = line[-1].base
    return line[::-1]


def parse(text: str, source: str) -> Iterator[Declaration]:
    """The types that *text* declares; *source* names it in a :class:`DeclarationError`."""
    declaration: Declaration | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if not line.startswith(" "):
            if declaration is not None:
                yield declaration
            name, _, base = stripped.partition(" < ")
            declaration = Declaration(name, base or None)
            continue
        if declaration is None:
            raise DeclarationError(f"{source}:{number}: an attribute stands before any type")
        try:
            _read_line(declaration, stripped)
        except (ValueError, KeyError) as error:
            raise DeclarationError(f"{source}:{number}: cannot read {stripped!r}: {error}") from error
    if declaration is not None:
        yield declaration


def _read_line(declaration: Declaration, line: str) -> None:
    if line.startswith("@"):
        directive, _, rest = line[1:].partition(" ")
        declaration.directives.setdefault(directive, []).append(rest)
        return
    name, rest = line.split(None, 1)
    declaration.properties[name] = _read_property(name, rest)


def _read_property(name: str, text: str) -> Property:
    default: Any = NO_DEFAULT
    if found := _DEFAULT.search(text):
        default = json.loads(found[1])
        text = text[: found.start()] + text[found.end() :]
    attribute = Property(name, "scalar", default=default)
    if relation := _RELATION.match(text):
        text = _read_relation(attribute, relation, text[relation.end() :])
    words = iter(text.split())
    for word in words:
        _read_word(attribute, word, words)
    return attribute


def _read_relation(attribute: Property, relation: re.Match[str], rest: str) -> str:
    if relation[1]:
        attribute.kind, attribute.target = "reference", relation[2]
        attribute.local = f"{attribute.name}_id"
    else:
        attribute.kind = "collection" if relation[3] == "[" else "mapped"
        attribute.stated_target = relation[4]
        attribute.target = relation[5] or relation[4]
        attribute.local = "id"
    if through := _THROUGH.search(rest):
        attribute.through = (through[1], through[2], through[3])
        attribute.remote = "id"
        rest = rest[: through.start()] + rest[through.end() :]
    return rest


def _read_word(attribute: Property, word: str, words: Iterator[str]) -> None:
    if word[0] == "~":
        attribute.legacy_name = word[1:]
    elif set(word) <= set("*!^"):
        attribute.is_required = "*" in word
        attribute.is_immutable = "!" in word
        attribute.is_computed = "^" in word
    elif word == "optional":
        attribute.is_required = False
    elif word in DELETE_POLICIES:
        attribute.on_delete = word
    elif word == "computed":
        attribute.builder = next(words)
        if attribute.kind == "scalar":
            attribute.kind = "computed"
    elif word in SCALAR_TYPES:
        _read_scalar(attribute, word, words)
    elif word in _WORDS:
        _WORDS[word](attribute, next(words))
    else:
        raise ValueError(f"unknown word {word!r}")


def _read_scalar(attribute: Property, word: str, words: Iterator[str]) -> None:
    attribute.value_type, attribute.format = SCALAR_TYPES[word]
    if word == "uid":
        attribute.default = UID
        attribute.is_required = attribute.is_immutable = True
    elif word == "entity-type":
        attribute.is_entity_type = True
    elif word == "key":
        attribute.foreign_key = next(words)
        attribute.format = "foreign_key"


def _set_on(attribute: Property, word: str) -> None:
    if attribute.kind == "reference":
        attribute.local, attribute.remote = word, "id"
    else:
        attribute.remote = word


def _set_where(attribute: Property, word: str) -> None:
    column, _, value = word.partition("=")
    attribute.where = (column, value)


def _set_column(attribute: Property, word: str) -> None:
    attribute.column = word


def _set_to(attribute: Property, word: str) -> None:
    attribute.remote = word


def _set_of(attribute: Property, word: str) -> None:
    attribute.local = word


def _set_as(attribute: Property, word: str) -> None:
    attribute.through_type = word


def _set_choices(attribute: Property, word: str) -> None:
    attribute.choices = tuple(word.split("|"))


_WORDS: Final = {
    "on": _set_on,
    "to": _set_to,
    "of": _set_of,
    "as": _set_as,
    "where": _set_where,
    "column": _set_column,
    "choices": _set_choices,
}
