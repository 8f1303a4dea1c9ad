"""A small production."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftrackd.sandbox.store.transaction import Transaction


def plant(transaction: Transaction) -> None:
    """Write it."""
