"""The subscription: which events somebody wants."""

from __future__ import annotations

from typing import Any

from ftrackd.api.event.expression import Parser


class Subscription:
    """An expression on events, such as ``topic=ftrack.update and source.user.username=anna``."""

    parser = Parser()

    def __init__(self, subscription: str) -> None:
        """Read the expression *subscription*.

        Raises:
            ftrackd.api.exception.ParseError: when it is not an expression.
        """
        self._subscription = subscription
        self.expression = self.parser.parse(subscription)

    def __str__(self) -> str:
        return self._subscription

    def includes(self, event: Any) -> bool:
        """Return whether *event*, an event or a mapping like one, satisfies the subscription."""
        return self.expression.match(event)
