"""Do the loops that everything depends on move? Not "is the thread alive" but "did it do something lately".

The hub's reader shows it by its housekeeping; the engine's writer and the host's supervisor by answering
a question.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from ftrackd.errors import FtrackdError

log = structlog.stdlib.get_logger("ftrackd.daemon.progress")

ASK_EVERY_S = 5.0
STUCK_AFTER_S = 25.0
"""Below half of the units' WatchdogSec, and above the longest pause that is normal."""


class Progress:
    """Asks each loop again and again, in a thread of its own for each, and remembers when it last answered.

    ``questions`` maps the loop's name to something that returns once the loop has answered; it may block
    for as long as the loop is stuck, and a TimeoutError or FtrackdError counts as no answer.
    """

    def __init__(self, questions: Mapping[str, Callable[[], None]]) -> None:
        self._questions = dict(questions)
        self._answered = dict.fromkeys(self._questions, time.monotonic())
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to ask."""
        for name, question in self._questions.items():
            self._answered[name] = time.monotonic()
            thread = threading.Thread(
                target=self._run, args=(name, question), name=f"ftrackd-progress-{name}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Ask no more. A thread whose loop is stuck is left behind; it ends with the process."""
        self._stopping.set()

    def stuck(self, limit_s: float = STUCK_AFTER_S) -> list[str]:
        """Return the names of loops that have not answered for ``limit_s`` seconds."""
        now = time.monotonic()
        return sorted(name for name, at in self._answered.items() if now - at > limit_s)

    def _run(self, name: str, question: Callable[[], None]) -> None:
        was_stuck = False
        while not self._stopping.is_set():
            try:
                question()
            except (TimeoutError, FtrackdError) as error:
                if name in self.stuck() and not was_stuck:
                    was_stuck = True
                    log.error(
                        "a loop makes no progress", loop=name, reason=str(error) or type(error).__name__
                    )
            else:
                self._answered[name] = time.monotonic()
                was_stuck = False
            self._stopping.wait(ASK_EVERY_S)
