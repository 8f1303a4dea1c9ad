"""One plugin in its process: its Session, its lanes, and what happens to a delivery."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NoReturn

from ftrackd.api._plugin_discovery import PluginSource
from ftrackd.api._plugin_loading import forget_modules
from ftrackd.api._plugin_registration import (
    LoadedModule,
    LoadReport,
    load_modules,
    load_plugin,
    register_modules,
)
from ftrackd.api._plugin_registry import PluginRegistry
from ftrackd.api._unit_of_work import UnitOfWork
from ftrackd.api.event import codec
from ftrackd.api.event.base import Event
from ftrackd.hosting.child import failures
from ftrackd.hosting.child.delivery import Arrival, DeliverySequence, current_delivery
from ftrackd.hosting.child.event_hub import acting_as_guest
from ftrackd.hosting.child.lanes import Lane, Turnstile
from ftrackd.hosting.child.output import current_plugin
from ftrackd.hosting.child.reports import GatheredReports, Reports
from ftrackd.hosting.child.session import HostedSession
from ftrackd.hosting.child.specification import PluginSpecification, ProcessSpecification
from ftrackd.hosting.link import Frame, Link
from ftrackd.hosting.tally import Tally

_LAUNCH_TOPIC: Final = "ftrack.action.launch"
_logger = logging.getLogger("ftrackd.hosting.plugin")


class ImportedModules:
    """The modules of plugins in this process, imported once and registered with each Session."""

    def __init__(self) -> None:
        self._modules: dict[str, list[LoadedModule]] = {}

    def find(self, name: str) -> list[LoadedModule] | None:
        """Return the modules of a plugin that was imported, ``None`` for another one."""
        return self._modules.get(name)

    def adopt(self, name: str, modules: list[LoadedModule]) -> None:
        """Keep modules that were imported elsewhere."""
        self._modules[name] = modules

    def keep_only(self, names: Collection[str]) -> None:
        """Drop the modules of plugins that are gone: should one come back, it is imported anew."""
        self._modules = {name: modules for name, modules in self._modules.items() if name in names}

    def of(self, source: PluginSource) -> list[LoadedModule]:
        """Return the modules of *source*, importing them the first time."""
        if source.name not in self._modules:
            self._modules[source.name] = load_modules(source)
        return self._modules[source.name]

    def refresh(self, source: PluginSource) -> bool:
        """Import *source* anew; return whether that worked. The former modules stay when it did not."""
        forget_modules(source)
        modules = load_modules(source)
        if any(loaded.module is None for loaded in modules):
            return False
        self._modules[source.name] = modules
        return True


class PluginRuntime:
    """Runs one plugin: starts its Session and its lanes, and hands it what arrives."""

    def __init__(
        self,
        plugin: PluginSpecification,
        process: ProcessSpecification,
        bootstrap: Mapping[str, Any],
        link: Link,
        tally: Tally,
        place: int,
        imported: ImportedModules,
    ) -> None:
        self.plugin = plugin
        self.name = plugin.source.name
        self.report = LoadReport(plugin.source)
        self._pid = os.getpid()
        self._process = process
        self._bootstrap = bootstrap
        self._link = link
        self._imported = imported
        # One report for each delivery where somebody waits for it, or where several run side by side.
        self._reports = {"event": Reports(link, self.name), "interactive": Reports(link, self.name)}
        if plugin.concurrency == 1:
            self._reports["event"] = GatheredReports(link, self.name, tally, place)
        self._guests = tuple(guest for guest in process.guests if guest.source.name != self.name)
        self._guest_registries: dict[str, PluginRegistry] = {}
        self._registry = PluginRegistry()
        self._turnstile = Turnstile()
        self._lanes = {
            "event": Lane("event", plugin.concurrency),
            "interactive": Lane("interactive", 1),
            "reply": Lane("reply", 1),
        }
        # Changes when nothing more may begin of what was delivered to the event lane.
        self._recalls = 0
        self.session: HostedSession | None = None

    def start(self) -> None:
        """Make the Session, which loads and registers the plugin, and start the lanes."""
        current_plugin.set(self.name)
        self.session = HostedSession(
            server_url=self._process.server_url,
            api_user=self._process.api_user,
            api_key=self._process.api_key,
            bootstrap=self._bootstrap,
            link=self._link,
            plugin=self.name,
            load=self._load,
            plugin_arguments=self.plugin.arguments,
            identity_map_limit=self._process.identity_map_limit,
            connect_timeout_s=self._process.connect_timeout_s,
            read_timeout_s=self._process.read_timeout_s,
        )
        for lane in self._lanes.values():
            lane.start()

    def deliver(self, frame: Frame) -> None:
        """Queue deliveries on their lane."""
        sequence = DeliverySequence(frame, self._recalls)
        self._lanes[frame.header["lane"]].put(lambda: self._run(sequence))

    def recall(self) -> None:
        """Begin none of the event lane's deliveries that came before."""
        self._recalls += 1

    def reply(self, raw: bytes) -> None:
        """Hand a reply to whoever waits for it, while callbacks run."""
        self._lanes["reply"].put(lambda: self._dispatch_reply(raw))

    def acknowledge(self, number: str, arguments: bytes) -> None:
        """Tell the hub what the server said to its event packet *number*."""
        if self.session is not None:
            self.session.hosted_hub.link_transport.acknowledge(number, arguments)

    def reset(self) -> None:
        """Reset the Session between two deliveries."""
        if self.session is not None:
            with self._turnstile.alone():
                self.session.reset()

    def change_guests(self, guests: Sequence[PluginSpecification], changed: Sequence[str]) -> None:
        """Let *guests* shape the Session from now on; those named in *changed* have new code."""
        if self.session is None:
            return
        wanted = tuple(guest for guest in guests if guest.source.name != self.name)
        with self._turnstile.alone():
            before = {guest.source.name for guest in self._guests}
            after = {guest.source.name for guest in wanted}
            for name in (before - after) | (set(changed) & before):
                self._remove_guest(name)
            self._guests = wanted
            for guest in wanted:
                if guest.source.name not in before or guest.source.name in changed:
                    self._add_guest(self.session, guest)
            # What the former guests configured must not outlive them; those of today configure theirs below.
            self.session._configured_locations.clear()
            # Classes are built anew, because a session plugin may make them.
            self.session.types = self.session._build_entity_type_classes(self.session.schemas)
            self.session.reset()

    def finish(self, deadline: float) -> None:
        """Finish what runs until *deadline*, let the plugin clean up, close the Session."""
        self.recall()
        unfinished = [name for name, lane in self._lanes.items() if not lane.finish(deadline)]
        if unfinished:
            _logger.warning("Deliveries of %s did not end in time", self.name)
        if self.session is None:
            return
        for failure in self._registry.unregister_all((self.session,)):
            _logger.error("unregister of %s failed: %s\n%s", failure.module, failure.error, failure.traceback)
        self.session.hosted_hub.is_ending = True
        self.session.close()

    def _load(self, session: HostedSession, arguments: Mapping[str, Any]) -> None:
        for guest in self._guests:
            self._link.send("loading", {"plugin": self.name, "guest": guest.source.name})
            self._add_guest(session, guest)
        self._link.send("loading", {"plugin": self.name, "guest": ""})
        source = self.plugin.source
        imported = self._imported.find(self.name)
        if imported is not None:
            # Another Session of this process has it as a guest: a second copy of its classes would not do.
            self.report = register_modules(source, imported, self._registry, (session,), arguments)
            return
        modules: list[LoadedModule] = []
        self.report = load_plugin(source, self._registry, (session,), arguments, modules)
        self._imported.adopt(self.name, modules)

    def _add_guest(self, session: HostedSession, guest: PluginSpecification) -> None:
        registry = PluginRegistry()
        modules = self._imported.of(guest.source)
        with acting_as_guest(guest.source.name):
            report = register_modules(guest.source, modules, registry, (session,), guest.arguments)
        self._guest_registries[guest.source.name] = registry
        for failed in report.errors:
            _logger.warning(
                "Session plugin %s does not shape this Session: %s", guest.source.name, failed.error
            )

    def _remove_guest(self, name: str) -> None:
        registry = self._guest_registries.pop(name, None)
        if self.session is None or registry is None:
            return
        with acting_as_guest(name):
            registry.unregister_all((self.session,))
        self.session.hosted_hub.forget_guest(name)

    def _run(self, sequence: DeliverySequence) -> None:
        """Run deliveries in turn, each noted or reported before the next begins, until one did not return."""
        reports, is_patient = self._reports[sequence.lane], sequence.is_patient
        current_plugin.set(self.name)
        self._turnstile.enter(patient=is_patient)
        try:
            for arrival in sequence:
                self._turnstile.give_way(patient=is_patient)
                if is_patient and sequence.recalls != self._recalls:
                    reports.unbegun([arrival.delivery_id, *sequence.left_ids()])
                    return
                current_delivery.set(arrival)
                began = time.monotonic()
                more = self._outcome(arrival, is_answer_awaited=not is_patient)
                now = time.monotonic()
                if more is None:
                    reports.returned(arrival.delivery_id, arrival.token, now - began, now)
                    continue
                outcome = {"status": "returned", "seconds": now - began, **more}
                is_over = outcome["status"] != "returned"
                if is_over and (unbegun := sequence.left_ids()):
                    outcome["unbegun"] = unbegun
                reports.ended(arrival.delivery_id, outcome)
                if is_over:
                    return
            reports.flush()
        except OSError:
            # The main process is gone; whoever comes next finds them unfinished and runs them again.
            return
        finally:
            self._turnstile.leave()

    def _outcome(self, arrival: Arrival, *, is_answer_awaited: bool) -> dict[str, Any] | None:
        """Handle a delivery; return what is to be said of it besides that it returned, if anything."""
        if arrival.expires_at is not None and time.time() > arrival.expires_at:
            return {"error": "expired before it could run", "seconds": 0.0}
        event: Event | None = None
        errors: Sequence[BaseException] = ()
        escaped: BaseException | None = None
        more: dict[str, Any] = {}
        try:
            event = codec.event_from(codec.decode_event(arrival.raw))
            errors = self._dispatch(event, more, is_answer_awaited=is_answer_awaited)
        except BaseException as error:  # noqa: BLE001 - contains one delivery: sys.exit, a CancelledError
            errors = [escaped := error]
        if os.getpid() != self._pid:
            end_forked_process(errors)
        if escaped is not None:
            # What callbacks raise is logged by the hub, unless it is no Exception or no callback was reached.
            _logger.error("Delivery of an event failed", exc_info=escaped)
        if event is not None and event.is_stopped():
            more["stopped"] = True
        if errors:
            more.update(self._failure(event, errors))
        return more or None

    def _failure(self, event: Event | None, errors: Sequence[BaseException]) -> dict[str, Any]:
        error_id = uuid.uuid4().hex[:8]
        topic = event["topic"] if event is not None else ""
        _logger.error("Delivery %s of %s failed: %s", error_id, topic, errors[0])
        if event is not None and topic == _LAUNCH_TOPIC:
            self._answer_failed_launch(event, error_id)
        return {
            "status": "raised",
            "error": failures.describe(errors),
            "transient": all(failures.is_transient(error) for error in errors),
            "error_id": error_id,
        }

    def _answer_failed_launch(self, event: Event, error_id: str) -> None:
        if self.session is None:
            return
        message = f"The action failed. Tell your administrator this number: {error_id}"
        try:
            self.session.event_hub.publish_reply(event, {"success": False, "message": message})
        except Exception as error:  # noqa: BLE001 - contains what a plugin made of its hub
            _logger.warning("The failure of an action could not be answered: %s", error)

    def _dispatch(
        self, event: Event, more: dict[str, Any], *, is_answer_awaited: bool
    ) -> Sequence[BaseException]:
        """Call the callbacks and return what they raised; what they left uncommitted is counted in *more*.

        Where nobody waits for an answer, one that cannot be sent is no failure of a callback that has done
        its work: running it again would do that twice. The hub has logged it.
        """
        session = self.session
        if session is None:
            raise RuntimeError("the Session is not started")
        session.expire_changes(event)
        with session.unit_of_work(f"{event['topic']} {event['id']}") as unit:
            try:
                outcome = session.hosted_hub.dispatch(event)
            finally:
                if not unit.operations.is_empty:
                    more["uncommitted"] = unit.pending_count
                    self._roll_back(unit, event)
        if not outcome.failures:
            return ()
        done = {id(result.subscriber) for result in outcome.results}
        return [
            failure.exception
            for failure in outcome.failures
            if is_answer_awaited or id(failure.subscriber) not in done
        ]

    def _roll_back(self, unit: UnitOfWork, event: Event) -> None:
        _logger.warning(
            "Callback for %s left %d operations uncommitted, rolled back: %s",
            event["topic"],
            unit.pending_count,
            unit.describe(),
        )
        unit.rollback()

    def _dispatch_reply(self, raw: bytes) -> None:
        current_plugin.set(self.name)
        errors: Sequence[BaseException]
        try:
            event = codec.event_from(codec.decode_event(raw))
            errors = self._dispatch(event, {}, is_answer_awaited=False)
        except BaseException as raised:  # noqa: BLE001 - contains a reply's callback
            errors = [raised]
        if os.getpid() != self._pid:
            end_forked_process(errors)
        for error in errors:
            _logger.error("Callback for a reply failed: %s", error)


def end_forked_process(errors: Sequence[BaseException]) -> NoReturn:
    """End a process that a callback forked and whose code came back from the callback.

    Our own code must not go on in it: only the plugin's process has the link. It ends like a script would,
    with the code that ``sys.exit`` was given, 1 after another error, 0 otherwise.
    """
    code = 0
    for error in errors:
        if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
            code = error.code or 0
        else:
            code = 1
            traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def waiting_threads() -> list[threading.Thread]:
    """Return the threads that keep a process from ending: the plugin's own that are no daemons."""
    return [
        thread
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and thread.is_alive() and not thread.daemon
    ]
