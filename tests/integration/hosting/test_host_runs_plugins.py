"""Plugins in their own processes: loaded, subscribed, delivered to, answered."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import psutil
from structlog.testing import capture_logs

from .recording import Delivered, running_host

LISTENER = """
import os
import ftrack_api

def register(session, **kw):
    assert isinstance(session, ftrack_api.Session)
    assert isinstance(session, ftrack_api.session.Session)

    def handle(event):
        session.event_hub.publish(
            ftrack_api.event.base.Event(topic="test.handled", data={"pid": os.getpid(), **event["data"]})
        )

    session.event_hub.subscribe("topic=test.event", handle)
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def test_when_an_event_is_delivered_then_the_callback_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "listener.py", LISTENER)
    with running_host(tmp_path) as running:
        running.wait_ready("listener")
        assert "topic=test.event" in running.listener.expressions("listener")
        outcome = running.run("listener", number=1)
        assert (outcome.status, outcome.error) == ("returned", None)
        (handled,) = running.listener.wait_for(lambda: running.publish_data("test.handled"))
        status = running.status("listener")
        assert handled == {"pid": status.pid, "number": 1}
        assert status.pid not in (None, os.getpid())
        assert status.state == "running"
        pid = status.pid
    assert pid is not None
    assert not psutil.pid_exists(pid)


def test_when_a_callback_returns_something_then_it_is_the_reply(tmp_path: Path) -> None:
    write(
        tmp_path,
        "action.py",
        """
        def register(session):
            session.event_hub.subscribe("topic=ftrack.action.discover", lambda event: {"items": [1]})
        """,
    )
    with running_host(tmp_path) as running:
        running.wait_ready("action")
        identifier = running.send("action", "ftrack.action.discover", lane="interactive")
        running.listener.wait_for(lambda: running.listener.outcome(identifier))
        running.listener.wait_for(lambda: running.replies())
        (reply,) = [event for _, event in running.listener.published if event["topic"] == "ftrack.meta.reply"]
        assert reply["data"] == {"items": [1]}
        assert reply["inReplyToEvent"] == "e1"
        assert reply["target"] == "id=asker"


def test_when_a_callback_raises_then_the_outcome_carries_its_traceback(tmp_path: Path) -> None:
    write(
        tmp_path,
        "faulty.py",
        """
        def register(session):
            def fail(event):
                raise ValueError("wrong on purpose")
            session.event_hub.subscribe("topic=test.event", fail)

            def refuse(event):
                raise ConnectionRefusedError("no server")
            session.event_hub.subscribe("topic=test.transient", refuse)

            def leave(event):
                raise SystemExit(3)
            session.event_hub.subscribe("topic=test.exit", leave)
        """,
    )
    with running_host(tmp_path) as running:
        running.wait_ready("faulty")
        outcome = running.run("faulty")
        assert outcome.status == "raised"
        assert "wrong on purpose" in outcome.error
        assert "faulty.py" in outcome.error
        assert not outcome.transient
        assert outcome.error_id
        assert running.run("faulty", "test.transient").transient
        assert running.run("faulty", "test.exit").status == "raised"
        assert running.run("faulty").status == "raised"


def test_when_launching_an_action_raises_then_the_artist_gets_an_answer(tmp_path: Path) -> None:
    write(
        tmp_path,
        "action.py",
        """
        def register(session):
            session.event_hub.subscribe("topic=ftrack.action.launch", lambda event: 1 / 0)
        """,
    )
    with running_host(tmp_path) as running:
        running.wait_ready("action")
        identifier = running.send("action", "ftrack.action.launch", lane="interactive")
        outcome = running.listener.wait_for(lambda: running.listener.outcome(identifier))
        (reply,) = running.listener.wait_for(lambda: running.replies())
        assert reply["success"] is False
        assert outcome.error_id in reply["message"]


def test_when_a_reply_is_relayed_then_on_reply_is_called_while_a_callback_waits(tmp_path: Path) -> None:
    write(
        tmp_path,
        "asker.py",
        """
        import threading
        import ftrack_api

        def register(session):
            def ask(event):
                answered = threading.Event()
                answers = []
                def on_reply(reply):
                    answers.append(reply["data"])
                    answered.set()
                session.event_hub.publish(ftrack_api.event.base.Event("test.question"), on_reply=on_reply)
                assert answered.wait(30)
                session.event_hub.publish(ftrack_api.event.base.Event("test.answer", data=answers[0]))
            session.event_hub.subscribe("topic=test.event", ask)
        """,
    )
    with running_host(tmp_path) as running:
        running.wait_ready("asker")
        identifier = running.send("asker")
        question = running.listener.wait_for(
            lambda: [event for _, event in running.listener.published if event["topic"] == "test.question"]
        )[0]
        asker = question["source"]["id"]
        assert "topic=ftrack.meta.reply" in running.listener.expressions("asker")
        assert asker in running.listener.subscriptions["asker"]
        reply = (
            b'{"topic":"ftrack.meta.reply","id":"r1","data":{"answer":42},"sent":null,"source":{"id":"x"},'
            b'"target":"id=%s","inReplyToEvent":"%s"}' % (asker.encode(), question["id"].encode())
        )
        running.host.relay("asker", reply)
        assert running.listener.wait_for(lambda: running.publish_data("test.answer")) == [{"answer": 42}]
        assert running.listener.wait_for(lambda: running.listener.outcome(identifier)).status == "returned"


def test_when_the_event_lane_is_busy_then_the_interactive_lane_answers(tmp_path: Path) -> None:
    write(
        tmp_path,
        "busy.py",
        """
        import threading
        release = threading.Event()

        def register(session):
            session.event_hub.subscribe("topic=test.event", lambda event: release.wait(10) and None)
            session.event_hub.subscribe("topic=ftrack.action.discover", lambda event: {"items": []})
            session.event_hub.subscribe("topic=test.release", lambda event: release.set())
        """,
    )
    with running_host(tmp_path) as running:
        running.wait_ready("busy")
        long = running.send("busy")
        menu = running.send("busy", "ftrack.action.discover", lane="interactive")
        running.listener.wait_for(lambda: running.listener.outcome(menu))
        assert running.listener.outcome(long) is None
        running.send("busy", "test.release", lane="interactive")
        assert running.listener.wait_for(lambda: running.listener.outcome(long)).status == "returned"


def test_when_concurrency_is_two_then_two_events_run_side_by_side(tmp_path: Path) -> None:
    from ftrackd.settings import PluginSettings

    write(
        tmp_path,
        "pair.py",
        """
        import threading
        meeting = threading.Barrier(2, timeout=5)

        def register(session):
            session.event_hub.subscribe("topic=test.event", lambda event: meeting.wait() and None)
        """,
    )
    with running_host(tmp_path, plugins={"pair": PluginSettings(concurrency=2)}) as running:
        running.wait_ready("pair")
        assert ("pair", 2) in running.listener.ready
        deliveries = [running.send("pair"), running.send("pair")]
        outcomes = [running.listener.wait_for(lambda: running.listener.outcome(each)) for each in deliveries]
        assert [outcome.status for outcome in outcomes] == ["returned", "returned"]


def test_when_a_plugin_closes_its_session_then_it_is_said_that_it_falls_silent(tmp_path: Path) -> None:
    write(
        tmp_path,
        "closing.py",
        """
        def register(session):
            session.event_hub.subscribe("topic=test.event", lambda event: session.close())
        """,
    )
    with capture_logs() as logs, running_host(tmp_path) as running:
        running.wait_ready("closing")
        assert running.run("closing").status == "returned"
        running.listener.wait_for(lambda: "Plugin closing disconnected its event hub" in str(logs))
        assert not running.listener.expressions("closing")
        running.host.reload("closing")
        running.listener.wait_for(lambda: running.listener.expressions("closing"))
    assert str(logs).count("disconnected its event hub") == 1, "its process ended on its own twice"


def test_when_a_plugin_is_unknown_then_the_error_names_those_that_exist(tmp_path: Path) -> None:
    import pytest

    from ftrackd.hosting import UnknownPluginError

    write(tmp_path, "listener.py", LISTENER)
    with running_host(tmp_path) as running, pytest.raises(UnknownPluginError, match="listener"):
        running.host.reload("lisener")


def test_when_a_callback_asks_then_it_learns_which_attempt_it_runs_for(tmp_path: Path) -> None:
    import json

    write(
        tmp_path,
        "asking.py",
        """
        import dataclasses
        def register(session):
            assert session.delivery is None
            def answer(event):
                return dataclasses.asdict(session.delivery)
            session.event_hub.subscribe("topic=test.event", answer)
        """,
    )
    with running_host(tmp_path) as running:
        running.wait_ready("asking")
        raw = json.dumps({"topic": "test.event", "id": "e1", "source": {"id": "asker"}}).encode()
        running.host.deliver("asking", Delivered(7, 42, "event", raw, replayed=True, attempt=3))
        assert running.listener.wait_for(running.replies) == [
            {"id": "7", "token": 42, "attempt": 3, "is_replayed": True}
        ]


def test_when_an_interactive_event_is_too_old_then_it_is_dropped(tmp_path: Path) -> None:
    import time

    write(tmp_path, "listener.py", LISTENER)
    with running_host(tmp_path) as running:
        running.wait_ready("listener")
        raw = b'{"topic":"test.event","id":"e1","data":{"number":1},"source":{"id":"asker"}}'
        running.host.deliver("listener", Delivered(1, 1, "interactive", raw, expires_at=time.time() - 1))
        outcome = running.listener.wait_for(lambda: running.listener.outcome(1))
        assert "expired" in outcome.error
        assert running.publish_data("test.handled") == []


def test_when_an_event_is_no_json_then_only_its_delivery_fails(tmp_path: Path) -> None:

    write(tmp_path, "listener.py", LISTENER)
    with running_host(tmp_path) as running:
        running.wait_ready("listener")
        for number, raw in enumerate((b"{", b"[]", b"\xff", b'{"id": "no topic"}', b"")):
            running.host.deliver("listener", Delivered(100 + number, number, "event", raw))
            outcome = running.listener.wait_for(lambda: running.listener.outcome(100 + number))
            assert outcome.status == "raised"
        assert running.run("listener").status == "returned"


def test_when_the_host_stops_while_a_plugin_starts_then_the_plugin_has_not_failed(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    write(
        plugins,
        "slow.py",
        f"""
        import pathlib, time
        pathlib.Path({str(begun)!r}).touch()
        time.sleep(60)
        def register(session):
            pass
        """,
    )
    with running_host(plugins) as running:
        running.listener.wait_for(begun.exists, what="the import to begin")
    assert {status.state for status in running.listener.states if status.name == "slow"} <= {
        "starting",
        "stopping",
        "stopped",
    }
    assert running.listener.states[-1].state == "stopped"
