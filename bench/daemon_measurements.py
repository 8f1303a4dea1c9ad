"""The daemon and the sandbox, measured from outside as their users meet them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import rows
from rows import Row

from ftrackd.api.event.base import Event
from ftrackd.api.event.hub import EventHub, OutgoingQueueFull
from ftrackd.daemon.control_client import ControlClient
from ftrackd.daemon.errors import ControlError
from ftrackd.testing.sandbox import SandboxProcess

HERE = Path(__file__).resolve().parent
DEADLINE_S = 120.0
EVENTS_PER_S = 200
LATENCY_EVENTS = 2000
THROUGHPUT_EVENTS = 10_000
STREAM_EVENTS = 100_000
STREAM_CHUNK = 1000
FAN_OUT_EVENTS = 2000
IDLE_S = 10.0
MENU_PLUGINS = 200
MENUS = 200

EMPTY_PLUGIN = """
def register(session, **kwargs):
    session.event_hub.subscribe("topic=bench.event", lambda event: None)
"""

MENU_PLUGIN = """
def register(session, **kwargs):
    session.event_hub.subscribe("topic=ftrack.action.discover", lambda event: {"items": []})
"""

BUSY_PLUGIN = """
import time

def work(event):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        time.sleep(0.001)

def register(session, **kwargs):
    session.event_hub.subscribe("topic=bench.busy", work)
"""

LATENCY_PLUGIN = """
import json, pathlib, time

latencies = []

def report(event):
    partial = pathlib.Path(event["data"]["path"] + ".partial")
    partial.write_text(json.dumps(latencies))
    partial.rename(event["data"]["path"])

def register(session, **kwargs):
    hub = session.event_hub
    hub.subscribe("topic=bench.event", lambda event: latencies.append(time.time() - event["data"]["sent"]))
    hub.subscribe("topic=bench.report", report)
"""

Values = dict[str, dict[str, float]]


class MeasurementError(Exception):
    """Something could not be measured."""


ROWS = (
    Row(
        "latency",
        "packet to callback, 200 events/s, p50",
        lambda v: v["p50"],
        rows.seconds,
        "<= 3 ms",
        rows._at_most(3e-3),
    ),
    Row(
        "latency",
        "packet to callback, 200 events/s, p99",
        lambda v: v["p99"],
        rows.seconds,
        "<= 15 ms",
        rows._at_most(15e-3),
    ),
    Row(
        "menu",
        "discover answered, 1 plugin",
        lambda v: v["menu_1"],
        rows.seconds,
        "",
        lambda official, ours: True,
    ),
    Row(
        "menu",
        "discover answered, 200 idle plugins and a busy one",
        lambda v: v["menu_200"],
        rows.seconds,
        "<= 50 ms",
        rows._at_most(50e-3),
    ),
    Row(
        "throughput",
        "durable events through 10 plugins",
        lambda v: v["throughput"],
        rows.per_second,
        ">= 1500/s",
        lambda official, ours: ours >= 1500,
    ),
    Row(
        "throughput",
        "the same, deliveries (each event goes to all ten)",
        lambda v: 10 * v["throughput"],
        rows.per_second,
        "",
        lambda official, ours: True,
    ),
    Row(
        "throughput",
        "processor time of the main process for a delivery",
        lambda v: v["main_used"],
        rows.seconds,
        "",
        lambda official, ours: True,
    ),
    Row(
        "throughput",
        "processor time of a plugin process for a delivery",
        lambda v: v["plugins_used"],
        rows.seconds,
        "",
        lambda official, ours: True,
    ),
    Row(
        "starting",
        "start to live, 1 plugin",
        lambda v: v["start_1"],
        rows.seconds,
        "<= 1.5 s",
        rows._at_most(1.5),
    ),
    Row(
        "starting",
        "start to live, 30 plugins",
        lambda v: v["start_30"],
        rows.seconds,
        "<= 4 s",
        rows._at_most(4),
    ),
    Row(
        "starting",
        "private memory per plugin process",
        lambda v: v["memory"],
        rows.megabytes,
        "<= 15 MB",
        rows._at_most(15e6),
    ),
    Row(
        "starting",
        "idle, 30 plugins, of a core",
        lambda v: v["idle"],
        rows.percent,
        "< 1 %",
        rows._at_most(1),
    ),
    Row(
        "starting",
        "save to new version live, 30 plugins",
        lambda v: v["reload"],
        rows.seconds,
        "<= 1 s",
        rows._at_most(1),
    ),
    Row(
        "stream",
        "memory of the daemon after 100,000 events, of after 40,000",
        lambda v: v["stream_end"] / v["stream_begin"],
        rows.times,
        "flat (<= 1.05x)",
        rows._at_most(1.05),
    ),
    Row(
        "sandbox",
        "query 500 Tasks, 20 projections",
        lambda v: v["sandbox_query"],
        rows.seconds,
        "<= 40 ms",
        rows._at_most(40e-3),
    ),
    Row(
        "sandbox",
        "commit 100 creates",
        lambda v: v["sandbox_commit"],
        rows.seconds,
        "<= 60 ms",
        rows._at_most(60e-3),
    ),
    Row(
        "sandbox",
        "deliveries to 10 listeners",
        lambda v: v["sandbox_fan_out"],
        rows.per_second,
        ">= 5000/s",
        lambda official, ours: ours >= 5000,
    ),
)


def environment() -> dict[str, str]:
    """Return an environment without plugins or settings of the person who measures.

    Compiled modules are kept, as they are wherever software is installed.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("FTRACK") and name != "PYTHONDONTWRITEBYTECODE"
    }


def measure(group: str, pythons: dict[str, str]) -> Values:
    """Return the measurements of `group`, by client."""
    return _MEASURES[group](pythons)


def _until(condition: Callable[[], Any], pause_s: float = 0.01) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(pause_s)
    raise MeasurementError(f"{condition} did not come true in {DEADLINE_S:g} s.")


class Daemon:
    """A daemon with plugins of ours on a sandbox."""

    def __init__(self, sandbox: SandboxProcess, folder: Path, plugins: dict[str, str]) -> None:
        self.plugins = folder / "plugins"
        self.plugins.mkdir(exist_ok=True)
        for name, text in plugins.items():
            (self.plugins / f"{name}.py").write_text(textwrap.dedent(text))
        socket = folder / "control.sock"
        self._control = ControlClient(socket)
        variables = {
            **environment(),
            **sandbox.environment,
            "FTRACKD_DAEMON__STATE_DIR": str(folder / "state"),
            "FTRACKD_DAEMON__CONTROL_SOCKET": str(socket),
            "FTRACKD_DELIVERY__DURABLE_TOPICS": '["bench.*"]',
            # The busy plugin of the menu is slow on purpose; warnings of it would stand between the steps.
            "FTRACKD_LOGGING__LEVEL": "error",
        }
        self._begun = time.perf_counter()
        self._process = subprocess.Popen(
            [str(Path(sys.executable).parent / "ftrackd"), "run", "--plugins", str(self.plugins)],
            env=variables,
        )

    def live(self) -> float:
        """Wait until it is live; return the seconds since its start."""
        _until(lambda: self.status().get("state") == "live")
        return time.perf_counter() - self._begun

    def status(self) -> dict[str, Any]:
        """Return its status, empty while it does not answer."""
        if self._process.poll() is not None:
            raise MeasurementError(f"The daemon ended with exit code {self._process.returncode}.")
        try:
            answer: dict[str, Any] = self._control.get("/status")
        except ControlError:
            return {}
        return answer

    def plugin_statuses(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self._control.get("/plugins")
        return answer

    def processes(self) -> list[psutil.Process]:
        """Return the main process and all that descend from it."""
        main = psutil.Process(self._process.pid)
        return [main, *main.children(recursive=True)]

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def _daemon(plugins: dict[str, str]) -> Iterator[tuple[Daemon, SandboxProcess, Path]]:
    with (
        tempfile.TemporaryDirectory(prefix="ftrackd-bench-") as name,
        SandboxProcess(seed="minimal") as sandbox,
    ):
        daemon = Daemon(sandbox, Path(name), plugins)
        try:
            yield daemon, sandbox, Path(name)
        finally:
            daemon.stop()


@contextmanager
def _hub(sandbox: SandboxProcess) -> Iterator[EventHub]:
    hub = EventHub(sandbox.url, sandbox.api_user, sandbox.api_key)
    hub.connect()
    try:
        yield hub
    finally:
        hub.close()


def _publish_steadily(hub: EventHub) -> None:
    begun = time.perf_counter()
    for number in range(LATENCY_EVENTS):
        due = begun + number / EVENTS_PER_S
        while (remaining := due - time.perf_counter()) > 0:
            time.sleep(remaining)
        hub.publish(Event("bench.event", data={"sent": time.time(), "n": number}))


def _publish_fast(hub: EventHub, count: int) -> None:
    for number in range(count):
        event = Event("bench.event", data={"n": number})
        while True:
            try:
                hub.publish(event)
                break
            except OutgoingQueueFull:
                time.sleep(0.005)


def _percentiles(latencies: list[float]) -> dict[str, float]:
    ordered = sorted(latencies)
    return {"p50": statistics.median(ordered), "p99": ordered[int(len(ordered) * 0.99)]}


def _latency(pythons: dict[str, str]) -> Values:
    return {"official": _latency_of_wait_loop(pythons["official"]), "ours": _latency_of_daemon()}


def _latency_of_wait_loop(python: str) -> dict[str, float]:
    with SandboxProcess(seed="minimal") as sandbox, _hub(sandbox) as hub:
        listener = subprocess.Popen(
            [python, str(HERE / "measure" / "wait_loop.py")],
            env={**environment(), **sandbox.environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert listener.stdout is not None
        ready = threading.Event()

        def call() -> None:
            while not ready.wait(0.2):
                hub.publish(Event("bench.ready"))

        calling = threading.Thread(target=call)
        calling.start()
        listener.stdout.readline()
        ready.set()
        calling.join()
        _publish_steadily(hub)
        hub.publish(Event("bench.report"))
        lines = listener.communicate(timeout=DEADLINE_S)[0].splitlines()
    return _percentiles(json.loads(lines[-1]))


def _latency_of_daemon() -> dict[str, float]:
    with _daemon({"latency": LATENCY_PLUGIN}) as (daemon, sandbox, folder), _hub(sandbox) as hub:
        daemon.live()
        _publish_steadily(hub)
        report = folder / "latencies.json"
        hub.publish(Event("bench.report", data={"path": str(report)}))
        _until(report.exists)
        return _percentiles(json.loads(report.read_text()))


def _menu(pythons: dict[str, str]) -> Values:
    idle = {f"plugin_{number:03d}": EMPTY_PLUGIN for number in range(MENU_PLUGINS)}
    crowd = {"menu": MENU_PLUGIN, "busy": BUSY_PLUGIN, **idle}
    return {"ours": {"menu_1": _menu_opens({"menu": MENU_PLUGIN}), "menu_200": _menu_opens(crowd)}}


def _menu_opens(plugins: dict[str, str]) -> float:
    """Return the median of the seconds from publishing a discover to its answer."""
    with _daemon(plugins) as (daemon, sandbox, _), _hub(sandbox) as hub:
        daemon.live()
        for _ in range(50):
            hub.publish(Event("bench.busy"))
        time.sleep(2)
        passed = []
        for _ in range(MENUS):
            replies: list[Any] = []
            begun = time.perf_counter()
            hub.publish(Event("ftrack.action.discover", data={"selection": []}), on_reply=replies.append)
            _until(lambda replies=replies: hub.wait(0.0005) or replies, 0)
            passed.append(time.perf_counter() - begun)
        return statistics.median(passed)


def _handled(daemon: Daemon, count: int) -> bool:
    journal = daemon.status().get("journal", {})
    return journal.get("events", 0) >= count and journal.get("open") == 0


def _throughput(pythons: dict[str, str]) -> Values:
    plugins = {f"plugin_{number:02d}": EMPTY_PLUGIN for number in range(10)}
    with _daemon(plugins) as (daemon, sandbox, _), _hub(sandbox) as hub:
        daemon.live()
        main, *others = daemon.processes()
        main_before, others_before = _used([main]), _used(others)
        begun = time.perf_counter()
        _publish_fast(hub, THROUGHPUT_EVENTS)
        _until(lambda: _handled(daemon, THROUGHPUT_EVENTS), 0.1)
        passed = time.perf_counter() - begun
        deliveries = THROUGHPUT_EVENTS * len(plugins)
        values = {
            "throughput": THROUGHPUT_EVENTS / passed,
            "main_used": (_used([main]) - main_before) / deliveries,
            "plugins_used": (_used(others) - others_before) / deliveries,
        }
        return {"ours": values}


def _used(processes: list[psutil.Process]) -> float:
    """Return the processor time, user's and system's, that processes took so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _stream(pythons: dict[str, str]) -> Values:
    def size() -> float:
        return float(sum(process.memory_full_info().uss for process in daemon.processes()))

    with _daemon({"plugin": EMPTY_PLUGIN}) as (daemon, sandbox, _), _hub(sandbox) as hub:
        daemon.live()
        sizes = []
        for published in range(STREAM_CHUNK, STREAM_EVENTS + 1, STREAM_CHUNK):
            # A constant stream: as fast as it is handled.
            _publish_fast(hub, STREAM_CHUNK)
            _until(lambda published=published: _handled(daemon, published), 0.05)
            # Caches have their size after the first part.
            if published in (2 * STREAM_EVENTS // 5, STREAM_EVENTS):
                sizes.append(size())
            if published % (STREAM_EVENTS // 10) == 0:
                sys.stderr.write(f"daemon: stream, {published:,} of {STREAM_EVENTS:,} events\n")
        return {"ours": {"stream_begin": sizes[0], "stream_end": sizes[-1]}}


def _start(plugins: dict[str, str]) -> float:
    with _daemon(plugins) as (daemon, _, _):
        return daemon.live()


def _starting(pythons: dict[str, str]) -> Values:
    values = {"start_1": statistics.median(_start({"plugin": EMPTY_PLUGIN}) for _ in range(5))}
    plugins = {f"plugin_{number:02d}": EMPTY_PLUGIN for number in range(30)}
    with _daemon(plugins) as (daemon, _, _):
        values["start_30"] = daemon.live()
        sizes = [psutil.Process(status["pid"]).memory_full_info().uss for status in daemon.plugin_statuses()]
        values["memory"] = statistics.median(sizes)
        values["idle"] = _idle(daemon)
        values["reload"] = statistics.median(_reload(daemon, number) for number in range(5))
    return {"ours": values}


def _idle(daemon: Daemon) -> float:
    """Return the percentage of one core that the daemon takes when nothing happens."""
    time.sleep(2)
    processes = daemon.processes()
    before, begun = _used(processes), time.perf_counter()
    time.sleep(IDLE_S)
    return 100 * (_used(processes) - before) / (time.perf_counter() - begun)


def _reload(daemon: Daemon, number: int) -> float:
    def generation() -> int:
        (status,) = [status for status in daemon.plugin_statuses() if status["name"] == "plugin_07"]
        return int(status["generation"]) if status["state"] == "running" else 0

    before = generation()
    begun = time.perf_counter()
    (daemon.plugins / "plugin_07.py").write_text(f"{EMPTY_PLUGIN}\n# version {number}\n")
    _until(lambda: generation() > before, 0.02)
    passed = time.perf_counter() - begun
    time.sleep(0.5)
    return passed


def _sandbox(pythons: dict[str, str]) -> Values:
    with SandboxProcess(seed="demo") as sandbox:
        (answer,) = sandbox.call({"action": "query", "expression": "select id, project_id from Shot limit 1"})
        shot = answer["data"][0]

        def create(count: int, name: str) -> float:
            operations = [
                {
                    "action": "create",
                    "entity_type": "Task",
                    "entity_data": {
                        "__entity_type__": "Task",
                        "name": f"{name} {number}",
                        "parent_id": shot["id"],
                        "project_id": shot["project_id"],
                    },
                }
                for number in range(count)
            ]
            begun = time.perf_counter()
            sandbox.call(*operations)
            return time.perf_counter() - begun

        for number in range(5):
            create(100, f"filler {number}")
        expression = (
            "select name, bid, description, created_at, start_date, end_date, sort, status_id, type_id, "
            "priority_id, parent_id, context_type, object_type_id, thumbnail_id, status.name, type.name, "
            "priority.name, parent.name, project.name, created_by.username from Task limit 500"
        )

        def query() -> float:
            begun = time.perf_counter()
            (result,) = sandbox.call({"action": "query", "expression": expression})
            passed = time.perf_counter() - begun
            assert len(result["data"]) == 500
            return passed

        return {
            "ours": {
                "sandbox_query": statistics.median(query() for _ in range(9)),
                "sandbox_commit": statistics.median(create(100, f"timed {number}") for number in range(9)),
                "sandbox_fan_out": _fan_out(sandbox),
            }
        }


def _fan_out(sandbox: SandboxProcess) -> float:
    """Return how many deliveries a second reach ten listeners."""
    counts = [0] * 10
    hubs = [EventHub(sandbox.url, sandbox.api_user, sandbox.api_key) for _ in counts]
    try:
        for number, hub in enumerate(hubs):

            def tap(incoming: Any, number: int = number) -> None:
                counts[number] += incoming.event["topic"] == "bench.event"

            hub.tap(tap)
            hub.subscribe("topic=bench.event", lambda event: None)
            hub.connect()
        with _hub(sandbox) as publisher:
            # Events of one connection arrive in order: when this one is there, so are the subscriptions.
            _until(lambda: publisher.publish(Event("bench.event")) or all(counts), 0.1)
            time.sleep(0.5)
            before = sum(counts)
            begun = time.perf_counter()
            _publish_fast(publisher, FAN_OUT_EVENTS)
            _until(lambda: sum(counts) - before >= 10 * FAN_OUT_EVENTS, 0.005)
            return 10 * FAN_OUT_EVENTS / (time.perf_counter() - begun)
    finally:
        for hub in hubs:
            hub.close()


_MEASURES: dict[str, Callable[[dict[str, str]], Values]] = {
    "latency": _latency,
    "menu": _menu,
    "throughput": _throughput,
    "starting": _starting,
    "stream": _stream,
    "sandbox": _sandbox,
}
GROUPS = tuple(_MEASURES)
