"""The hub's connection: one thread that connects, reads and connects again, one that writes."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from ftrackd.api.event import codec
from ftrackd.api.event._connection_rules import (
    Backoff,
    ConnectionState,
    Liveness,
    ReconnectPolicy,
    StateChange,
)
from ftrackd.api.event._queues import Outbox, PacketFate
from ftrackd.api.event.transport import (
    FrameRefused,
    FrameTooLarge,
    Transport,
    TransportClosed,
    TransportError,
    TransportFactory,
    TransportRefused,
)

_logger = logging.getLogger("ftrack_api.event.hub.EventHub")

#: Seconds that a stop waits for a thread that may be in a callback of somebody else.
_JOIN_S: Final = 1.0
#: Seconds within which a frame follows whose beginning was read.
_AT_ONCE_S: Final = 0.001
_HEARTBEAT: Final = codec.encode_heartbeat()


class ConnectionListener(Protocol):
    """Who hears of the connection; called from its threads, except for `state_changed` (any thread)."""

    def connection_opened(self, transport: Transport) -> None:
        """Attach `transport` to the outbox, with the packets that a new connection begins with."""

    def connection_given_up(self, reason: str) -> None:
        """Take note that no more attempts follow."""

    def frame_received(self, frame: bytes | str) -> None:
        """Handle a frame."""

    def frame_skipped(self, error: FrameTooLarge) -> None:
        """Take note of a frame above the limit."""

    def frame_refused(self) -> None:
        """Take note that the peer ends the connection for the size of a frame that it was sent."""

    def housekeeping(self) -> None:
        """Do what is due from time to time."""

    def heartbeat_due(self) -> None:
        """Send a heartbeat, although none of the server's was read for long."""

    def state_changed(self, change: StateChange) -> None:
        """Take note of a new state."""


class Connection:
    """One wish to be connected, from `open` or `open_in_background` to `stop`."""

    def __init__(
        self,
        transport_factory: TransportFactory,
        policy: ReconnectPolicy,
        outbox: Outbox,
        listener: ConnectionListener,
        heartbeat_timeout_s: float | None = None,
        housekeeping_s: float = 1.0,
    ) -> None:
        """Prepare; `heartbeat_timeout_s` replaces what the transport negotiates, `housekeeping_s` is the
        longest pause between two times of housekeeping while nothing comes.
        """
        self._transport_factory = transport_factory
        self._outbox = outbox
        self._listener = listener
        self._heartbeat_timeout_s = heartbeat_timeout_s
        self._housekeeping_s = housekeeping_s
        self._backoff = Backoff(policy, random.random)
        # Guards the fields below; notified when one of them changes.
        self._changed = threading.Condition()
        self._state = ConnectionState.CLOSED
        self._transport: Transport | None = None
        self._is_open = False
        self._stopping = False
        self._drop_reason: str | None = None
        self._hurry = False
        self._fixed_delay_s: float | None = None
        self._failures = 0
        self._opened_count = 0
        self._opened_at = 0.0
        self._last_error: BaseException | None = None
        self._threads: list[threading.Thread] = []
        #: When the reader had last read all that was there, by the monotonic clock.
        self._caught_up_at = 0.0
        # Seconds after which the server should hear a heartbeat again, and when it did; None for never.
        self._heartbeat_pause_s: float | None = None
        self._heartbeat_at = 0.0
        #: Wall clock time of the last packet, seconds since the epoch.
        self.last_packet_at: float | None = None

    @property
    def state(self) -> ConnectionState:
        """Return what the connection is at."""
        return self._state

    @property
    def is_open(self) -> bool:
        """Return whether there is a transport that packets can travel on."""
        return self._is_open

    @property
    def opened_count(self) -> int:
        """Return how many times a transport was opened."""
        return self._opened_count

    @property
    def failure_count(self) -> int:
        """Return how many attempts have failed altogether."""
        return self._failures

    @property
    def last_error(self) -> BaseException | None:
        """Return why the last attempt failed, None when it did not."""
        return self._last_error

    @property
    def behind_s(self) -> float:
        """Return for how many seconds the reader has not come to read all that was there; to the second."""
        return time.monotonic() - self._caught_up_at if self._is_open else 0.0

    def open(self) -> None:
        """Connect now; afterwards the connection is kept.

        Raises:
            TransportError: when that fails. Nothing is left running.
        """
        self._change_state(ConnectionState.CONNECTING, "Connecting.")
        try:
            self._start(self._open_transport())
        except BaseException as error:
            self._change_state(ConnectionState.CLOSED, str(error) or type(error).__name__)
            raise

    def open_in_background(self) -> threading.Thread:
        """Connect in a thread of its own, trying again as the policy says; return the thread."""
        self._change_state(ConnectionState.CONNECTING, "Connecting.")
        return self._start(None)

    def drop(self, reason: str, *, at_once: bool = False) -> None:
        """End the transport at hand; the connection is sought again, without any delay when `at_once`."""
        with self._changed:
            self._drop_reason = reason
            self._hurry = at_once
            transport = self._transport
            self._changed.notify_all()
        if transport is not None:
            transport.close()

    def use_delay(self, delay_s: float | None) -> None:
        """Wait `delay_s` between attempts instead of what the policy says; None ends that."""
        with self._changed:
            self._fixed_delay_s = delay_s

    def wait_until(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until `condition`, looked at whenever something changes; return whether it came true."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    @property
    def is_stopping(self) -> bool:
        """Return whether `stop` was called or the attempts are used up."""
        return self._stopping

    def stop(self, reason: str) -> None:
        """End for good."""
        with self._changed:
            self._stopping = True
            transport = self._transport
            self._changed.notify_all()
        self._outbox.stop()
        if transport is not None:
            transport.close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(_JOIN_S)
        self._change_state(ConnectionState.CLOSED, reason)

    def forget(self) -> None:
        """Let go of the transport, in a process that was forked from the one that uses it."""
        forget = getattr(self._transport, "forget", None)
        if forget is not None:
            forget()

    def may_be_waited_for(self) -> bool:
        """Return whether threads other than the caller's serve the connection: who is one cannot wait."""
        return bool(self._threads) and threading.current_thread() not in self._threads

    def _start(self, transport: Transport | None) -> threading.Thread:
        with self._changed:
            if self._stopping:
                raise TransportClosed("Disconnected while connecting.")
            turn = self._outbox.restart()
            reader = threading.Thread(
                target=self._run, args=(transport,), name="ftrack-event-hub-reader", daemon=True
            )
            writer = threading.Thread(
                target=self._write, args=(turn,), name="ftrack-event-hub-writer", daemon=True
            )
            self._threads = [reader, writer]
            for thread in self._threads:
                thread.start()
            return reader

    def _change_state(self, state: ConnectionState, reason: str) -> None:
        with self._changed:
            # A thread that ends late must not revive what was closed.
            if state is self._state or (self._stopping and state is not ConnectionState.CLOSED):
                return
            change = StateChange(self._state, state, reason)
            self._state = state
            self._changed.notify_all()
        self._listener.state_changed(change)

    def _open_transport(self) -> Transport:
        transport = self._transport_factory()
        with self._changed:
            if self._stopping:
                raise TransportClosed("Disconnected while connecting.")
            self._transport = transport
        try:
            self._open_aside(transport)
            self._opened(transport)
        except BaseException as error:
            transport.close()
            with self._changed:
                self._transport = None
                self._is_open = False
                self._last_error = error
                self._failures += 1
                self._changed.notify_all()
            raise
        return transport

    def _open_aside(self, transport: Transport) -> None:
        """Open `transport` in a thread of its own.

        A server that accepts and does not answer can hold a handshake up for a minute; neither the
        housekeeping nor a stop must wait for that.
        """
        outcome: list[BaseException | None] = []

        def open_it() -> None:
            error: BaseException | None = None
            try:
                transport.open()
            except BaseException as caught:  # noqa: BLE001  (raised again in the thread that waits for it)
                error = caught
            with self._changed:
                outcome.append(error)
                is_too_late = self._stopping
                self._changed.notify_all()
            if is_too_late:
                transport.close()

        threading.Thread(target=open_it, name="ftrack-event-hub-opening", daemon=True).start()
        while not self.wait_until(lambda: bool(outcome) or self._stopping, self._housekeeping_s):
            self._listener.housekeeping()
        error = outcome[0] if outcome else None
        # Its socket was closed for the same reason, and may have said so first.
        if not outcome or (self._stopping and isinstance(error, TransportClosed)):
            raise TransportClosed("Disconnected while connecting.") from error
        if error is not None:
            raise error

    def _opened(self, transport: Transport) -> None:
        with self._changed:
            if self._stopping:
                transport.close()
                raise TransportClosed("Disconnected while connecting.")
            self._opened_at = time.monotonic()
            self._opened_count += 1
            self._is_open = True
            self._drop_reason = None
            self._hurry = False
            self._last_error = None
            self._fixed_delay_s = None
            self._caught_up_at = self._opened_at
        timeout_s: float | None = getattr(transport, "heartbeat_timeout_s", None)
        self._heartbeat_pause_s = None if timeout_s is None else timeout_s / 2
        self._heartbeat_at = self._opened_at
        self._listener.connection_opened(transport)
        self._change_state(ConnectionState.LIVE, "Connected.")

    def _run(self, transport: Transport | None) -> None:
        while not self._stopping:
            try:
                current = transport or self._attempt()
                transport = None
                if current is not None:
                    self._serve(current)
            # Contains a transport that breaks its promise, and mistakes of ours; whatever it is, without this
            # thread the hub would be deaf and nobody would know.
            except BaseException:
                _logger.critical(
                    "The event hub's connection ended by a mistake in it, connecting again.", exc_info=True
                )
                self._change_state(ConnectionState.CONNECTING, "A mistake ended the connection, see the log.")
                self._pause(self._backoff.after_loss_s(0.0))

    def _attempt(self) -> Transport | None:
        """Return an open transport, after as many attempts as it takes; None when stopped or given up."""
        while not self._stopping:
            try:
                return self._open_transport()
            except TransportError as error:
                if not self._wait_after(error):
                    break
        return None

    def _wait_after(self, error: TransportError) -> bool:
        if self._stopping:
            return False
        refused = isinstance(error, TransportRefused)
        delay_s = self._backoff.after_failure_s(refused=refused)
        if delay_s is None:
            self._give_up(f"Gave up after {self._backoff.failures} attempts to connect: {error}")
            return False
        if self._fixed_delay_s is not None:
            delay_s = self._fixed_delay_s
        _logger.log(
            logging.ERROR if refused else logging.WARNING,
            "Event hub not connected (attempt %d failed, next one in %.1f s): %s",
            self._backoff.failures,
            delay_s,
            error,
        )
        self._pause(delay_s)
        return True

    def _pause(self, delay_s: float) -> None:
        """Wait, doing the housekeeping, until the time is over or something calls for haste."""
        deadline = time.monotonic() + delay_s
        while (remaining := deadline - time.monotonic()) > 0:
            with self._changed:
                if self._changed.wait_for(
                    lambda: self._stopping or self._hurry, min(remaining, self._housekeeping_s)
                ):
                    break
            self._listener.housekeeping()
        with self._changed:
            self._hurry = False

    def _give_up(self, reason: str) -> None:
        _logger.critical("Event hub disconnected for good: %s", reason)
        with self._changed:
            self._stopping = True
        self._outbox.stop()
        self._change_state(ConnectionState.CLOSED, reason)
        self._listener.connection_given_up(reason)

    def _serve(self, transport: Transport) -> None:
        """Live with an open transport until it ends."""
        try:
            reason = self._read(transport)
        finally:
            with self._changed:
                self._is_open = False
                self._transport = None
            self._outbox.detach(transport)
            transport.close()
        if self._stopping:
            return
        lasted_s = time.monotonic() - self._opened_at
        reason = self._drop_reason or reason
        _logger.warning("Event hub connection lost after %.1f s, connecting again: %s", lasted_s, reason)
        self._change_state(ConnectionState.CONNECTING, reason)
        # Even the first wait is random: the clients of a server that restarts must not come back all at once.
        self._pause(self._backoff.after_loss_s(lasted_s))

    def _read(self, transport: Transport) -> str:
        """Receive until the connection ends; return why it did."""
        timeout_s = self._heartbeat_timeout_s
        if timeout_s is None:
            timeout_s = getattr(transport, "heartbeat_timeout_s", None)
        liveness = Liveness(timeout_s, time.monotonic())
        housekeeping_at = time.monotonic() + self._housekeeping_s
        while True:
            now = time.monotonic()
            if now >= housekeeping_at:
                self._listener.housekeeping()
                housekeeping_at = now + self._housekeeping_s
            check_s = liveness.next_check_s(now)
            wait_s = housekeeping_at - now if check_s is None else min(check_s, housekeeping_at - now)
            try:
                frame = transport.receive(0.0)
                if frame is None:
                    frame = self._wait_for_frame(transport, wait_s)
            except FrameTooLarge as error:
                liveness.packet_received(time.monotonic())
                self._listener.frame_skipped(error)
                continue
            except TransportError as error:
                if isinstance(error, FrameRefused):
                    self._listener.frame_refused()
                return str(error)
            now = time.monotonic()
            if frame is not None:
                self._heard(liveness, now)
                self._listener.frame_received(frame)
                # What somebody's callback took is not the server's silence.
                liveness.packet_received(time.monotonic())
            # Only when nothing was there to be read: after a callback that took long, much may be waiting.
            elif liveness.is_dead(now):
                return f"The server has been silent for {liveness.silence_s(now):.1f} s."
            elif liveness.is_stale(now):
                silence = f"The server has been silent for {liveness.silence_s(now):.1f} s."
                self._change_state(ConnectionState.STALE, silence)

    def _wait_for_frame(self, transport: Transport, wait_s: float) -> str | bytes | None:
        asked_at = time.monotonic()
        frame = transport.receive(wait_s)
        # A frame that comes at once had begun to come: it is a large one, and much may lie behind it.
        if frame is None or time.monotonic() - asked_at > _AT_ONCE_S:
            self._caught_up_at = time.monotonic()
        return frame

    def _heard(self, liveness: Liveness, now: float) -> None:
        liveness.packet_received(now)
        self.last_packet_at = time.time()
        if self._state is ConnectionState.STALE:
            self._change_state(ConnectionState.LIVE, "The server is heard again.")

    def _write(self, turn: int) -> None:
        while True:
            pause_s = self._heartbeat_pause_s
            # While a callback takes long, the server's heartbeats lie behind what was not read yet.
            if pause_s is not None and self._is_open and time.monotonic() - self._heartbeat_at >= pause_s:
                self._listener.heartbeat_due()
            try:
                taken = self._outbox.take(turn, pause_s)
            except queue.Empty:
                continue
            if taken is None:
                return
            packet, transport = taken
            if packet.frame == _HEARTBEAT:
                self._heartbeat_at = time.monotonic()
            fate = PacketFate.SENT
            try:
                transport.send(packet.frame)
            except TransportError as error:
                fate = PacketFate.WAITS
                if not packet.is_announcement:
                    _logger.warning(
                        "Could not send %s, it waits for the next connection: %s", packet.description, error
                    )
            except Exception:  # contains what no transport can send: it would fail again and again
                fate = PacketFate.LOST
                _logger.critical("%s cannot be sent, it is lost.", packet.description, exc_info=True)
            if fate is not PacketFate.SENT:
                transport.close()
            self._outbox.taken(packet, transport, fate)
