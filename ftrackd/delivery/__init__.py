"""How an event reaches a plugin: intake, journal, order, retries, dead letters, replay.

An event that was received is an event that is handled: see ``docs/delivery.md`` for what is promised and
how it is kept.
"""

from ftrackd.delivery.catch_up import CatchUp, CatchUpReport
from ftrackd.delivery.classification import Classification, Lane
from ftrackd.delivery.engine import Delivery
from ftrackd.delivery.journal import (
    DeadLetter,
    Journal,
    JournalStats,
    JournalTransaction,
    PluginBacklog,
    Replay,
    Replayed,
)
from ftrackd.delivery.loop_guard import Loop
from ftrackd.delivery.memory_journal import MemoryJournal
from ftrackd.delivery.ports import DeliveryListener, Handover, Health, Outcome, Recipient, Runner
from ftrackd.delivery.sqlite_journal import SqliteJournal

__all__ = [
    "CatchUp",
    "CatchUpReport",
    "Classification",
    "DeadLetter",
    "Delivery",
    "DeliveryListener",
    "Handover",
    "Health",
    "Journal",
    "JournalStats",
    "JournalTransaction",
    "Lane",
    "Loop",
    "MemoryJournal",
    "Outcome",
    "PluginBacklog",
    "Recipient",
    "Replay",
    "Replayed",
    "Runner",
    "SqliteJournal",
]
