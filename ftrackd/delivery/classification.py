"""Which lane an event takes: durable, interactive, or none."""

from __future__ import annotations

import enum
from collections.abc import Sequence

META_PREFIX = "ftrack.meta."


class Lane(enum.StrEnum):
    """How an event travels to a plugin.

    DURABLE: on disk before any callback runs, in order, retried. INTERACTIVE: somebody waits; never on
    disk, expires. NONE: the hub's own business (``ftrack.meta.*``).
    """

    DURABLE = "event"
    INTERACTIVE = "interactive"
    NONE = "none"


class Classification:
    """Decides the lane of a topic; remembers its answers.

    A literal topic is stronger than a prefix, a longer prefix stronger than a shorter one, and durable
    stronger than interactive when both say the same. A topic that nothing names is interactive, because
    whether its sender waits for a reply cannot be read from an event, unless ``others`` says otherwise.

    Args:
        durable: topics, a trailing ``*`` for a prefix.
        interactive: the same for the interactive lane.
        others: the lane of a topic that neither names.
    """

    _MEMORY_LIMIT = 4096

    def __init__(
        self, durable: Sequence[str], interactive: Sequence[str], others: Lane = Lane.INTERACTIVE
    ) -> None:
        self._others = others
        rules = [(pattern, Lane.DURABLE) for pattern in durable]
        rules += [(pattern, Lane.INTERACTIVE) for pattern in interactive]
        self._literal: dict[str, Lane] = {}
        self._prefixes: list[tuple[str, Lane]] = []
        for pattern, lane in rules:
            if pattern.endswith("*"):
                self._prefixes.append((pattern[:-1], lane))
            else:
                self._literal.setdefault(pattern, lane)
        # Stable, so that durable stays before interactive among prefixes of one length.
        self._prefixes.sort(key=lambda rule: -len(rule[0]))
        self._known: dict[str, Lane] = {}

    def lane(self, topic: str) -> Lane:
        """The lane for events of this topic."""
        lane = self._known.get(topic)
        if lane is None:
            lane = self._decide(topic)
            # Topics come from the wire: an endless variety of them must not fill the memory.
            if len(self._known) >= self._MEMORY_LIMIT:
                self._known.clear()
            self._known[topic] = lane
        return lane

    def _decide(self, topic: str) -> Lane:
        if topic.startswith(META_PREFIX):
            return Lane.NONE
        literal = self._literal.get(topic)
        if literal is not None:
            return literal
        return next((lane for prefix, lane in self._prefixes if topic.startswith(prefix)), self._others)
