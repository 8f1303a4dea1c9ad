"""Catching up against a real server: the sandbox in a process of its own."""

import json
import threading

import pytest

from ftrackd.api.session import Session
from ftrackd.delivery import CatchUp, Recipient, SqliteJournal
from ftrackd.testing.sandbox import SandboxProcess
from tests.unit.delivery.running import RunningDelivery, eventually


@pytest.fixture(scope="module")
def server():
    with SandboxProcess(seed="minimal") as process:
        yield process


@pytest.fixture
def session(server):
    session = Session(
        server.url, server.api_key, server.api_user, auto_connect_event_hub=False, plugin_paths=[]
    )
    yield session
    session.close()


class Daemon:
    """One life of what a daemon does between hub and journal, with one plugin that takes every update."""

    def __init__(self, folder, session):
        self.session = session
        self.running = RunningDelivery(SqliteJournal(folder / "journal.sqlite"), automatic=True)
        self.catch_up = CatchUp(self.running.delivery, self.running.settings, self.query, self.deliver)

    def query(self, expression):
        return self.session.call([{"action": "query", "expression": expression}])[0]["data"]

    def deliver(self, raw, event):
        self.running.delivery.receive(raw, event, [Recipient("p")], replayed=True)

    def __enter__(self):
        self.running.__enter__()
        self.running.delivery.plugin_ready("p", 1)
        self.catch_up.start()
        self.catch_up.connected()
        eventually(
            lambda: self.catch_up.report.state == "done", f"caught up, it is {self.catch_up.report}", 30
        )
        return self

    def __exit__(self, *_):
        self.catch_up.stop()
        self.running.__exit__()

    def names(self):
        """The new names that the handled events tell of, in the order in which they were handled."""
        names = []
        for _, delivery in self.running.runner.given:
            for entity in json.loads(delivery.payload)["data"]["entities"]:
                name = (entity.get("changes") or {}).get("name")
                if name and entity["entityType"] == "task":
                    names.append(name["new"])
        return names


def folders(session, project, names):
    for name in names:
        session.create("Folder", {"name": name, "parent": project})
    session.commit()


def test_when_a_thousand_things_change_while_away_then_each_is_seen_once_in_order(tmp_path, session):
    project = session.query("Project").first()
    with Daemon(tmp_path, session) as daemon:
        assert daemon.names() == [], "the first start has nothing to catch up with"
    expected = []
    for batch in range(40):
        names = [f"away_{batch:02d}_{number:02d}" for number in range(25)]
        folders(session, project, names)
        expected += names
    with Daemon(tmp_path, session) as daemon:
        eventually(lambda: len(daemon.names()) >= 1000, "all handled", 30)
        assert daemon.names() == expected
        assert all(delivery.replayed for _, delivery in daemon.running.runner.given)
        daemon.catch_up.disconnected()
        folders(session, project, ["later"])
        daemon.catch_up.connected()
        eventually(lambda: daemon.names()[1000:] == ["later"])
    with Daemon(tmp_path, session) as daemon:
        daemon.running.delivery.flush()
        assert daemon.names() == [], "a restart brings nothing again"


def test_when_live_events_and_log_overlap_then_each_event_comes_once(tmp_path, server, session):
    project = session.query("Project").first()
    with Daemon(tmp_path, session):
        pass
    folders(session, project, ["overlap_before"])
    watching = Session(
        server.url, server.api_key, server.api_user, auto_connect_event_hub=False, plugin_paths=[]
    )
    daemon = Daemon(tmp_path, session)

    def live(event):
        raw = {"topic": event["topic"], "id": event["id"], "data": event["data"]}
        daemon.running.delivery.receive(json.dumps(raw).encode(), raw, [Recipient("p")])

    watching.event_hub.connect()
    watching.event_hub.subscribe("topic=ftrack.update", live)
    listening = threading.Thread(target=watching.event_hub.wait)
    listening.start()
    try:
        real_query = daemon.query

        def query_while_things_happen(expression):
            folders(session, project, [f"overlap_{len(daemon.running.listener.calls)}"])
            return real_query(expression)

        daemon.catch_up._query = query_while_things_happen
        with daemon:
            folders(session, project, ["overlap_after"])
            eventually(lambda: "overlap_after" in daemon.names())
            names = [name for name in daemon.names() if name.startswith("overlap")]
            assert names[0] == "overlap_before"
            assert names[-1] == "overlap_after"
            assert len(names) == len(set(names)) == 3
    finally:
        watching.event_hub.disconnect()
        listening.join()
        watching.close()
