"""How far the server's Event log is known to have been seen live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ftrackd.api import _json


@dataclass(frozen=True, slots=True)
class Sighting:
    """At this time (seconds since 1970) this was the newest row of the log."""

    at: float
    row_id: int


class Cursor:
    """The newest rows of the log at a few times while everything was received live.

    Reading begins at a row that was the newest some time before the last sighting: rows may be committed a
    little later than their numbers say, and the live stream may lag behind the log. What is read twice is
    recognised by its id.

    Args:
        overlap_s: how long before.
        sightings: oldest first.
    """

    def __init__(self, overlap_s: float, sightings: list[Sighting] | None = None) -> None:
        self._overlap_s = overlap_s
        self._sightings = sightings or []

    @classmethod
    def loads(cls, text: str | None, overlap_s: float) -> Self:
        """A cursor from its text; an empty one from no or unreadable text."""
        try:
            pairs = _json.loads(text) if text else []
            return cls(overlap_s, [Sighting(float(at), int(row_id)) for at, row_id in pairs])
        except (ValueError, TypeError):
            return cls(overlap_s)

    def dumps(self) -> str:
        """The cursor as text."""
        return _json.dumps([[sighting.at, sighting.row_id] for sighting in self._sightings]).decode("ascii")

    @property
    def last(self) -> Sighting | None:
        """The last sighting."""
        return self._sightings[-1] if self._sightings else None

    def sight(self, at: float, row_id: int) -> None:
        """Everything up to this row has been received, live or from the log."""
        if self._sightings and at < self._sightings[-1].at:
            # The machine's clock was set back: older times mean nothing any more.
            self._sightings = self._sightings[-1:]
        self._sightings.append(Sighting(at, row_id))
        while len(self._sightings) > 2 and self._sightings[1].at <= at - self._overlap_s:
            del self._sightings[0]
        if len(self._sightings) > 8:
            del self._sightings[4]

    def start(self) -> int | None:
        """The row after which to read; None when nothing was ever seen."""
        last = self.last
        if last is None:
            return None
        early = [sighting for sighting in self._sightings if sighting.at <= last.at - self._overlap_s]
        return min(sighting.row_id for sighting in early[-1:] or self._sightings[:1])
