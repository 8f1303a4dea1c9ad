"""The hub when its process ends, is interrupted, or forks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from .hub_server import HubServer, eventually

HEAD = """
import atexit, os, signal, sys, threading
from ftrackd.api.event.base import Event
from ftrackd.api.event.hub import EventHub
hub = EventHub(sys.argv[1], "anna", "key")
"""


@pytest.fixture
def server():
    with HubServer() as server:
        yield server


def _run(body, server, *, expected=0):
    """Run a script with a hub on `server` and return what it wrote."""
    finished = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(body), server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == expected, finished.stdout
    return finished.stdout


def test_when_a_script_ends_without_disconnecting_then_what_it_published_has_arrived():
    with HubServer() as server:
        script = """
            import sys
            from ftrackd.api.event.base import Event
            from ftrackd.api.event.hub import EventHub
            hub = EventHub(sys.argv[1], "anna", "key")
            hub.connect()
            for number in range(300):
                hub.publish(Event("a", data={"n": number, "ballast": "x" * 1000}))
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(script), server.url], check=True, timeout=60)
        eventually(lambda: len(server.peer.published("a")) == 300)


def test_when_interrupted_from_the_keyboard_then_wait_ends_at_once():
    with HubServer() as server:
        # A job in the background of a script begins with the signal ignored, and so does what it starts.
        script = """
            import signal
            import sys
            from ftrackd.api.event.hub import EventHub
            signal.signal(signal.SIGINT, signal.default_int_handler)
            hub = EventHub(sys.argv[1], "anna", "key")
            hub.connect()
            try:
                print("waiting", flush=True)
                hub.wait()
            except KeyboardInterrupt:
                hub.disconnect()
                print("interrupted", flush=True)
        """
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), server.url], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert output == "interrupted\n"
        assert process.returncode == 0


def test_when_a_signal_handler_disconnects_then_wait_returns_and_the_script_ends():
    with HubServer() as server:
        script = """
            import signal, sys
            from ftrackd.api.event.base import Event
            from ftrackd.api.event.hub import EventHub
            hub = EventHub(sys.argv[1], "anna", "key")
            hub.connect()
            signal.signal(signal.SIGTERM, lambda number, frame: hub.disconnect())
            hub.subscribe("topic=again", lambda event: hub.publish(Event("again")) and None)
            hub.publish(Event("again"))
            print("busy", flush=True)
            hub.wait()
            print(hub.state, flush=True)
        """
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), server.url], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        eventually(lambda: len(server.peer.published("again")) > 50)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        assert output == "closed\n"
        assert process.returncode == 0


def test_when_the_process_ends_before_there_is_a_connection_then_the_log_counts_what_is_lost():
    with HubServer() as server:
        output = _run("hub.init_connection(); hub.publish(Event('a')); hub.publish(Event('b'))", server)
    assert "2 published events were not sent before the process ended" in output


@pytest.mark.parametrize(
    "body",
    [
        "atexit.register(lambda: hub.publish(Event('a'))); hub.connect()",
        "hub.connect(); threading.Thread(target=hub.wait, daemon=True).start(); hub.publish(Event('a'))",
        """
        def late():
            threading.main_thread().join()
            hub.publish(Event("a"))
        hub.connect()
        threading.Thread(target=late).start()
        """,
    ],
    ids=["by an exit handler", "while a thread waits", "by the last thread"],
)
def test_when_something_is_published_at_the_very_end_then_it_arrives(body, server):
    assert _run(body, server) == ""
    eventually(lambda: server.peer.published("a"))


def test_when_a_signal_handler_publishes_and_subscribes_then_nothing_locks_up_and_nothing_is_lost(server):
    body = """
    handled = []
    def handle(number, frame):
        hub.unsubscribe(hub.subscribe("topic=none", print))
        hub.publish(Event("b"))
        handled.append(number)
    hub.connect()
    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    published = 0
    while len(handled) < 100:
        hub.unsubscribe(hub.subscribe("topic=none", print))
        hub.publish(Event("a"))
        published += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(published, len(handled))
    """
    published, handled = map(int, _run(body, server).split())
    eventually(lambda: len(server.peer.published("a")) == published)
    assert len(server.peer.published("b")) == handled


FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")


@FORKS
def test_when_a_process_forks_then_the_child_has_no_connection_and_the_parents_is_untouched(server):
    body = """
    hub.subscribe("topic=local", lambda event: "here")
    hub.connect()
    hub.publish(Event("a"))
    child = os.fork()
    if not child:
        print(hub.state, hub.publish(Event("local"), synchronous=True))
        try:
            hub.publish(Event("b"))
        except Exception as error:
            print(type(error).__name__, error)
        hub.close()
        sys.exit()
    os.waitpid(child, 0)
    hub.publish(Event("c"))
    hub.disconnect()
    print(hub.reconnect_count)
    """
    local, error, reconnects = _run(body, server).splitlines()
    assert local == "closed ['here']"
    assert error.startswith("EventHubConnectionError Cannot publish")
    assert error.endswith("This process was forked from the one that is connected; call connect().")
    assert reconnects == "0"
    assert [len(server.peer.published(topic)) for topic in "abc"] == [1, 0, 1]
    assert len(server.peers) == 1


@FORKS
def test_when_a_forked_process_connects_then_it_has_a_connection_of_its_own(server):
    body = """
    hub.connect()
    child = os.fork()
    if not child:
        hub.connect()
        hub.publish(Event("b"))
        sys.exit()
    os.waitpid(child, 0)
    hub.publish(Event("a"))
    """
    assert _run(body, server) == ""
    eventually(lambda: server.peers[0].published("a"))
    assert server.wait_for_peer(2).published("b")


@FORKS
def test_when_processes_fork_while_others_publish_then_no_child_hangs_on_a_lock(server):
    body = """
    hub.connect()
    is_over = threading.Event()
    def publish():
        while not is_over.is_set():
            hub.unsubscribe(hub.subscribe("topic=none", print))
            hub.publish(Event("a"))
            is_over.wait(0.0001)
    threading.Thread(target=publish).start()
    for _ in range(20):
        child = os.fork()
        if not child:
            signal.alarm(20)
            hub.unsubscribe(hub.subscribe("topic=none", print))
            hub.publish(Event("b"), on_error="ignore")
            hub.close()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0
    is_over.set()
    """
    assert _run(body, server) == ""
    assert len(server.peers) == 1
