"""Reads the words of a query.

There is no separate list of tokens, because what a run of characters means depends on where it stands:
``order`` may be an attribute, ``3f2a-...`` a value and ``id=x`` three words. The parser asks the scanner
for the kind of word that may come next, so keywords need not be reserved.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from ftrackd.sandbox.query.errors import QuerySyntaxError
from ftrackd.sandbox.query.tree import Operator, Value

_SPACE: Final = re.compile(r"\s*+")
_NAME: Final = re.compile(r"[^\W\d]\w*+")
#: Entity types are called as studios call their object types: ``2DElement``.
_TYPE_NAME: Final = re.compile(r"\w++")
_SYMBOLS: Final = re.compile(r"[=!<>]++")
_STRING: Final = re.compile(r"\"((?:[^\"\\]++|\\[\"']?)*+)\"|'((?:[^'\\]++|\\[\"']?)*+)'")
_BARE: Final = re.compile(r"[^\s,()\"']++")
_TYPOGRAPHIC_QUOTES: Final = frozenset("\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb")
_FOUND: Final = re.compile(r"[\w.@:%+-]+|\S")
_LIST_ITEM: Final = re.compile(
    r"\s*+(?:([^\s,()\"']++)|\"((?:[^\"\\]++|\\[\"']?)*+)\"|'((?:[^'\\]++|\\[\"']?)*+)')\s*+([,)])"
)
_ESCAPED_QUOTE: Final = re.compile(r"\\([\"'])")

_OPERATOR_SYMBOLS: Final = {
    "=": Operator.EQUAL,
    "!=": Operator.NOT_EQUAL,
    ">": Operator.GREATER,
    "<": Operator.LESS,
    ">=": Operator.GREATER_OR_EQUAL,
    "<=": Operator.LESS_OR_EQUAL,
}
_OPERATOR_WORDS: Final = {
    "is": Operator.EQUAL,
    "is_not": Operator.NOT_EQUAL,
    "like": Operator.LIKE,
    "not_like": Operator.NOT_LIKE,
    "after": Operator.GREATER,
    "before": Operator.LESS,
    "greater_than": Operator.GREATER,
    "less_than": Operator.LESS,
}


class Scanner:
    """A position in a query text and the questions that can be asked there.

    Each ``read_*`` method skips white space, and moves only when it finds what it is asked for.
    """

    __slots__ = ("position", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def skip_space(self) -> None:
        """Move to the next character that is not white space."""
        match = _SPACE.match(self.text, self.position)
        if match is not None:
            self.position = match.end()

    def at_end(self) -> bool:
        """Tell whether only white space is left."""
        self.skip_space()
        return self.position >= len(self.text)

    def read_character(self, character: str) -> bool:
        """Move past *character* when it comes next."""
        self.skip_space()
        if not self.text.startswith(character, self.position):
            return False
        self.position += len(character)
        return True

    def peek_character(self) -> str:
        """Return the next character that is not white space, or an empty string at the end."""
        self.skip_space()
        return self.text[self.position : self.position + 1]

    def peek_name(self) -> str | None:
        """Return the next name without moving past it."""
        self.skip_space()
        match = _NAME.match(self.text, self.position)
        return None if match is None else match.group()

    def read_name(self) -> str | None:
        """Move past a name (letters, digits and underscores) and return it."""
        name = self.peek_name()
        if name is not None:
            self.position += len(name)
        return name

    def read_type_name(self) -> str | None:
        """Move past the name of an entity type, which may begin with a digit, and return it."""
        self.skip_space()
        match = _TYPE_NAME.match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        return match.group()

    def read_word(self, word: str) -> bool:
        """Move past *word* when exactly that name comes next."""
        if self.peek_name() != word:
            return False
        self.position += len(word)
        return True

    def read_operator(self) -> Operator | None:
        """Move past a comparison operator, in signs or as a word, and return it."""
        self.skip_space()
        symbols = _SYMBOLS.match(self.text, self.position)
        if symbols is not None:
            found = _OPERATOR_SYMBOLS.get(symbols.group())
            if found is not None:
                self.position = symbols.end()
            return found
        word = self.peek_name()
        if word is None or word not in _OPERATOR_WORDS:
            return None
        self.position += len(word)
        return _OPERATOR_WORDS[word]

    def read_value(self) -> Value | None:
        """Move past a quoted or a bare value and return it.

        Raises:
            QuerySyntaxError: When a quote is opened and never closed.
        """
        self.skip_space()
        start = self.position
        bare = _BARE.match(self.text, start)
        if bare is not None:
            self._refuse_typographic_quote(start)
            self.position = bare.end()
            return Value(bare.group(), is_quoted=False, position=start)
        if self.peek_character() not in ('"', "'"):
            return None
        string = _STRING.match(self.text, start)
        if string is None:
            self.fail("a string is opened here and never closed; a backslash keeps a quote inside it")
        self.position = string.end()
        body = string.group(1) if string.group(1) is not None else string.group(2)
        return Value(unescape(body), position=start)

    def read_list_item(self) -> tuple[Value, bool] | None:
        """Move past a value and the comma or parenthesis behind it.

        This is :meth:`read_value` in a single match, for lists of many thousand identifiers.

        Returns:
            The value, and whether the list ends with it; ``None`` when something else comes next.
        """
        match = _LIST_ITEM.match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        bare, double, single, follower = match.groups()
        if bare is not None:
            self._refuse_typographic_quote(match.start(1))
            return Value(bare, False, match.start(1)), follower == ")"
        if double is not None:
            return Value(unescape(double), True, match.start(2) - 1), follower == ")"
        return Value(unescape(single), True, match.start(3) - 1), follower == ")"

    def _refuse_typographic_quote(self, position: int) -> None:
        """Raise for the quotes of word processors, which would become part of a bare value."""
        if self.text[position] in _TYPOGRAPHIC_QUOTES:
            self.fail(f"{self.text[position]} is a typographic quote; write \" or '", position)

    def fail(self, message: str, position: int | None = None) -> NoReturn:
        """Raise a syntax error about *position*, by default the current one."""
        raise QuerySyntaxError(message, self.position if position is None else position, self.text)

    def fail_expecting(self, expected: str, hint: str = "") -> NoReturn:
        """Raise a syntax error that names what was expected here and what was found."""
        self.skip_space()
        match = _FOUND.match(self.text, self.position)
        found = "the end of the query" if match is None else f"'{match.group()[:40]}'"
        self.fail(f"expected {expected}, found {found}{hint}")


def unescape(body: str) -> str:
    """Return the text between quotes with ``\\"`` and ``\\'`` resolved.

    A backslash before any other character stands for itself, as clients do not escape backslashes.
    """
    return body if "\\" not in body else _ESCAPED_QUOTE.sub(r"\1", body)
