"""Memory that a plugin process shares with the main one: which delivery returned last, reported or not."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from typing import Final

_NOTE: Final = struct.Struct("=qq")


class Tally:
    """One note for each plugin of a process. What it wrote stays readable whatever becomes of the process.

    Reports of deliveries that return one after the other travel together. Should the process die meanwhile,
    the note says which delivery it was at, so that none is blamed or run again for the fault of a later one.
    """

    def __init__(self, descriptor: int) -> None:
        """Map the memory that *descriptor* stands for, which can be closed afterwards."""
        self._memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)

    @staticmethod
    def create(plugins: int) -> int:
        """Make memory for so many plugins, and return a descriptor for it. Raises :class:`OSError`."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("ftrackd-tally")
        else:  # macOS
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, max(1, plugins) * _NOTE.size)
        return descriptor

    def note(self, place: int, delivery_id: int, token: int) -> None:
        """Note the latest delivery that returned of the plugin at *place*."""
        _NOTE.pack_into(self._memory, place * _NOTE.size, delivery_id, token)

    def latest(self, place: int) -> tuple[int, int]:
        """Return id and token of the latest delivery that returned of the plugin at *place*, zeros for none.

        While the process lives they may be of two deliveries, one of which was about to be noted.
        """
        delivery_id, token = _NOTE.unpack_from(self._memory, place * _NOTE.size)
        return delivery_id, token

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
