"""The rows of a sandbox and everything that changes them."""

from __future__ import annotations

from ftrackd.sandbox.auth import Actor
from ftrackd.sandbox.store.changes import Announcement, Change, event_data
from ftrackd.sandbox.store.store import Store
from ftrackd.sandbox.store.transaction import Transaction

__all__ = ["Actor", "Announcement", "Change", "Store", "Transaction", "event_data"]
