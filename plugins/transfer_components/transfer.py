"""Transfers, one after the other, each with a Job that moves."""

import json
import logging
import os
import queue
import socket
import threading
import time

import ftrack_api

logger = logging.getLogger("ftrackd.plugins.transfer_components")

#: Seconds between two updates of a job; every update is a request.
UPDATE_INTERVAL_S = 2.0

#: Seconds that a transfer is given to end when its plugin does.
END_TIMEOUT_S = 30.0


class TransferCancelledError(Exception):
    """The plugin ends, and its transfers with it."""


class TransferQueue:
    """Runs transfers in one thread, in the order in which they were asked for."""

    def __init__(self, session):
        self.session = session
        self.waiting = queue.Queue()
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.thread = None

    def add(self, components, source, target, user):
        """Make a job for the transfer and start it when its turn comes; returns the job.

        Without a source each component is taken from the best location that has it.
        """
        description = f"Transfer of {count_components(components)} to {target['name']} is waiting"
        job = self.session.create(
            "Job", {"user": user, "status": "queued", "data": describe_job(description)}
        )
        self.session.commit()
        self.waiting.put(Transfer(self.session, job, components, source, target, self.ending))
        with self.lock:
            if self.thread is None:
                # A daemon: the process can end although a transfer is under way, which is then abandoned.
                self.thread = threading.Thread(target=self.run, name="transfer-components", daemon=True)
                self.thread.start()
        return job

    def run(self):
        """Run what waits until the queue is closed."""
        while (transfer := self.waiting.get()) is not None:
            # Its own unit of work: neither the callbacks' pending changes nor ours meet in one commit.
            with self.session.unit_of_work("transfer components"):
                transfer.run()

    def close(self):
        """End the running transfer between two chunks; those that wait end too."""
        self.ending.set()
        self.waiting.put(None)
        with self.lock:
            thread = self.thread
        if thread is not None:
            # A request that hangs may keep it longer; it is a daemon, and its job is found at the next start.
            thread.join(END_TIMEOUT_S)

    def close_abandoned_jobs(self):
        """Mark jobs of processes of this machine that are gone as failed, so that nobody waits for them."""
        jobs = self.session.query(
            "select data from Job where status in ('queued', 'running') and data like '%transfer_components%'"
        ).all()
        abandoned = [job for job in jobs if is_abandoned(job["data"])]
        for job in abandoned:
            job["status"] = "failed"
            job["data"] = describe_job("Transfer was interrupted; launch it again to continue")
        if abandoned:
            self.session.commit()
            logger.warning("%d interrupted transfers marked as failed", len(abandoned))


class Transfer:
    """One transfer."""

    def __init__(self, session, job, components, source, target, ending):
        self.session = session
        self.job = job
        self.components = components
        self.source = source
        self.target = target
        self.ending = ending
        self.total = sum(component["size"] or 0 for component in components)
        self.done = 0
        self.counts = {"transferred": 0, "already there": 0}
        self.failures = []
        self.updated_at = float("-inf")

    def run(self):
        """Transfer every component that can be, and tell the job how it went."""
        try:
            self.update("running", f"Transfer to {self.target['name']} begins")
            sources = self.pick_sources()
            for number, (component, source) in enumerate(zip(self.components, sources, strict=True), 1):
                self.transfer(component, source, number)
            self.update("failed" if self.failures else "done", self.summary())
        except TransferCancelledError:
            self.session.rollback()
            self.update("failed", "Transfer was ended; launch it again to continue")
        except Exception as error:
            # Whatever it is, it must not end the thread that the next transfers run in.
            logger.exception("Transfer to %s failed", self.target["name"])
            self.session.rollback()
            self.report_failure(error)

    def pick_sources(self):
        """Return for each component the location to take it from, or None."""
        if self.source is not None:
            return [self.source] * len(self.components)
        locations = [location for location in self.session.query("Location") if location.accessor]
        locations.sort(key=lambda location: location.priority)
        locations = [location for location in locations if location != self.target]
        availabilities = self.session.get_component_availabilities(self.components, locations=locations)
        return [
            next((location for location in locations if availability[location["id"]] == 100.0), None)
            for availability in availabilities
        ]

    def transfer(self, component, source, number):
        """Transfer one component; a failure is remembered and the others follow."""
        before = self.done
        expected = component["size"] or 0

        def on_progress(done, total):
            nonlocal expected
            if self.ending.is_set():
                raise TransferCancelledError
            # Of a container only the location, which looks at the members, knows how much it is.
            self.total += total - expected
            expected = total
            self.done = before + done
            self.update_now_and_then(number)

        try:
            if source is None:
                raise ftrack_api.exception.ComponentNotInAnyLocationError(
                    "It is in no location that can be reached from here."
                )
            self.target.add_component(component, source, on_progress=on_progress)
            self.counts["transferred"] += 1
        except ftrack_api.exception.ComponentInLocationError:
            self.counts["already there"] += 1
        except ftrack_api.exception.LocationError as error:
            if self.ending.is_set():
                raise TransferCancelledError from error
            logger.warning("Component %s: %s", component["id"], error)
            self.failures.append(f"{component['name']}: {error}")
        self.done = before + expected

    def update_now_and_then(self, number):
        """Tell the job how far the transfer is, when it was not told just now."""
        if time.monotonic() - self.updated_at < UPDATE_INTERVAL_S:
            return
        percentage = f"{100 * self.done // self.total} %" if self.total else "0 %"
        try:
            self.update(
                "running",
                f"Transfer to {self.target['name']}: {percentage} of {format_size(self.total)}, "
                f"component {number} of {len(self.components)}",
            )
        except ftrack_api.exception.Error as error:
            # The data goes on; the next update may get through.
            logger.warning("Job %s could not be updated: %s", self.job["id"], error)
            self.session.rollback()

    def update(self, status, description):
        """Write status and description into the job."""
        self.updated_at = time.monotonic()
        self.job["status"] = status
        self.job["data"] = describe_job(description)
        self.session.commit()

    def report_failure(self, error):
        """Tell the job that the transfer failed, if the server can still be told."""
        try:
            self.update("failed", f"Transfer failed ({error}); launch it again to continue")
        except ftrack_api.exception.Error:
            logger.exception("Job %s could not be told that its transfer failed", self.job["id"])

    def summary(self):
        """Return what became of the components."""
        parts = [f"{count} {what}" for what, count in self.counts.items() if count]
        if self.failures:
            parts.append(f"{len(self.failures)} failed ({self.failures[0]})")
        return f"Transfer to {self.target['name']}: {', '.join(parts)}"


def describe_job(description):
    """Return the data of a job: what people read, and whose it is."""
    owner = {"host": socket.gethostname(), "pid": os.getpid()}
    return json.dumps({"description": description, "transfer_components": owner})


def is_abandoned(data):
    """Return whether the job with this data belongs to a process of this machine that is gone."""
    owner = json.loads(data)["transfer_components"]
    if owner["host"] != socket.gethostname() or owner["pid"] == os.getpid():
        return False
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def count_components(components):
    """Return how many components there are, as people write it."""
    return "1 component" if len(components) == 1 else f"{len(components)} components"


def format_size(count):
    """Return the bytes as people write them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
