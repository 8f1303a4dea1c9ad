"""The threads that run a plugin's callbacks, and the moments between two of them."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

Job = Callable[[], None]
_END: Final = None


class Turnstile:
    """Lets deliveries through, and gives the room to one who must be alone in it.

    Whoever wants to be alone waits until nothing runs. Meanwhile no new delivery of a patient lane starts,
    but one of an impatient lane (somebody looks at a menu) does, until the room is really taken.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._condition = threading.Condition(self._lock)
        self._inside = 0
        self._waiting = 0
        self._taken = False

    def enter(self, *, patient: bool) -> None:
        """Begin to hold off whoever wants to be alone."""
        with self._lock:
            while self._taken or (patient and self._waiting):
                self._condition.wait()
            self._inside += 1

    def leave(self) -> None:
        """Hold off nobody any more."""
        with self._lock:
            self._inside -= 1
            if self._waiting:
                self._condition.notify_all()

    def give_way(self, *, patient: bool) -> None:
        """Between two deliveries, let whoever wants to be alone have the room; cheap when nobody does."""
        if self._waiting:
            self.leave()
            self.enter(patient=patient)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Run the body while no delivery does."""
        with self._condition:
            self._waiting += 1
            self._condition.wait_for(lambda: not self._taken and self._inside == 0)
            self._waiting -= 1
            self._taken = True
        try:
            yield
        finally:
            with self._condition:
                self._taken = False
                self._condition.notify_all()


class Lane:
    """Threads that run jobs in the order in which they came."""

    def __init__(self, name: str, workers: int) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}" if workers > 1 else name, daemon=True)
            for number in range(1, workers + 1)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def put(self, job: Job) -> None:
        """Run *job* after those that came before."""
        self._jobs.put(job)

    def finish(self, deadline: float) -> bool:
        """Run what was put, then end; return whether that was done by *deadline* (``time.monotonic()``)."""
        for _ in self._threads:
            self._jobs.put(_END)
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not _END:
            job()
            # A job holds its event: keep nothing alive while waiting for the next one.
            del job
