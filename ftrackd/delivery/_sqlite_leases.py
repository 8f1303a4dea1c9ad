"""Who has claimed which deliveries of the SQLite journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, repeat
from operator import attrgetter
from typing import Final, NamedTuple

from ftrackd.api import _json
from ftrackd.delivery.journal import Claim

CLAIMED: Final = "json_each(CASE WHEN json_valid(deliveries) THEN deliveries ELSE '[]' END)"
"""The deliveries of a row of ``lease``; none when the text is damaged, which costs an attempt less."""

_LOAD: Final = f"SELECT plugin, value FROM lease, {CLAIMED} WHERE type = 'integer'"  # noqa: S608
_STORE: Final = (
    "INSERT INTO lease VALUES (?, ?) ON CONFLICT (plugin) DO UPDATE SET deliveries = excluded.deliveries"
)


class Lease(NamedTuple):
    """Whose claims these are, and until when; ``until`` by the journal's clock."""

    owner: str
    until: float


Held = tuple[int, Lease]
"""A claim on a delivery: its token and its lease."""


class Leases:
    """The leases of a journal, in memory: whoever has the file's lock is the only one who claims.

    The file knows which deliveries they are, one text for each plugin, so that the next process counts an
    attempt for what this one had claimed when it was killed. In the table of deliveries a claimed one stays
    as it was. Changes belong to a transaction: they are stored with it, and undone when it fails.
    """

    def __init__(self) -> None:
        self._held: dict[str, dict[int, Held]] = {}
        self._frontiers: dict[str, int] = {}
        self._before: dict[str, tuple[dict[int, Held], int]] = {}  # of plugins that the transaction changed

    def load(self, connection: sqlite3.Connection) -> None:
        """Take over what an earlier process had claimed; these leases have run out."""
        for plugin, delivery_id in connection.execute(_LOAD):
            self._changing(plugin)[delivery_id] = (0, Lease("", 0.0))

    def store(self, connection: sqlite3.Connection) -> None:
        """Write what the transaction changed."""
        for plugin in self._before:
            connection.execute(_STORE, (plugin, _json.dumps(list(self._held[plugin])).decode()))

    def store_everything(self, connection: sqlite3.Connection) -> None:
        """Write all of it to a file that is new."""
        for plugin in self._held:
            self._changing(plugin)
        self.store(connection)

    def keep(self) -> None:
        """The transaction is committed."""
        self._before.clear()

    def undo(self) -> None:
        """The transaction is not."""
        for plugin, (held, frontier) in self._before.items():
            self._held[plugin], self._frontiers[plugin] = held, frontier
        self._before.clear()

    def _changing(self, plugin: str) -> dict[int, Held]:
        held = self._held.setdefault(plugin, {})
        if plugin not in self._before:
            self._before[plugin] = (held.copy(), self.frontier(plugin))
        return held

    def of(self, plugin: str) -> Mapping[int, Held]:
        """The claims on deliveries of a plugin, by the deliveries' ids."""
        return self._held.get(plugin, {})

    def has_others(self, plugin: str, owner: str) -> bool:
        """Whether somebody else has claimed deliveries of a plugin."""
        return any(lease.owner != owner for _, lease in self.of(plugin).values())

    def frontier(self, plugin: str) -> int:
        """An id up to which every delivery of the plugin that is ready in the table is claimed."""
        return self._frontiers.get(plugin, 0)

    def advance(self, plugin: str, delivery_id: int) -> None:
        """Everything ready up to this id is claimed."""
        self._changing(plugin)
        self._frontiers[plugin] = delivery_id

    def offered(self, plugin: str, delivery_id: int) -> None:
        """A delivery is ready again."""
        if delivery_id <= self.frontier(plugin):
            self._changing(plugin)
            self._frontiers[plugin] = delivery_id - 1

    def add(self, plugin: str, tokens: Mapping[int, int], lease: Lease) -> None:
        """Deliveries are claimed; the token of each by its id."""
        self._changing(plugin).update(zip(tokens, zip(tokens.values(), repeat(lease)), strict=False))

    def take(self, plugin: str, delivery_id: int, token: int) -> bool:
        """End a lease; False when there is none with this token."""
        held = self.of(plugin).get(delivery_id)
        if held is None or held[0] != token:
            return False
        del self._changing(plugin)[delivery_id]
        return True

    def take_all(self, claims: Iterable[Claim]) -> tuple[list[Claim], list[Claim]]:
        """End the leases of claims; returns those that had one, and those whose lease was lost."""
        own: list[Claim] = []
        lost: list[Claim] = []
        for plugin, of_plugin in groupby(claims, attrgetter("plugin")):
            held = self._changing(plugin)
            for claim in of_plugin:
                found = held.get(claim.delivery_id)
                if found is None or found[0] != claim.token:
                    lost.append(claim)
                else:
                    del held[claim.delivery_id]
                    own.append(claim)
        return own, lost

    def plugin_of(self, delivery_id: int) -> str | None:
        """The plugin whose delivery is claimed under this id."""
        return next((plugin for plugin, held in self._held.items() if delivery_id in held), None)

    def extend(self, owner: str, until: float) -> int:
        """Let everything an owner has last until then; returns how many."""
        count = 0
        for plugin in list(self._held):
            mine = {one: token for one, (token, lease) in self.of(plugin).items() if lease.owner == owner}
            if mine:
                self.add(plugin, mine, Lease(owner, until))
            count += len(mine)
        return count

    def take_expired(self, now: float) -> Iterator[tuple[int, str]]:
        """End the leases that ran out; gives the id and the plugin of each delivery, in the order of ids."""
        expired = [
            (one, plugin)
            for plugin, held in self._held.items()
            for one, (_, lease) in held.items()
            if lease.until <= now
        ]
        for one, plugin in sorted(expired):
            del self._changing(plugin)[one]
            yield one, plugin
