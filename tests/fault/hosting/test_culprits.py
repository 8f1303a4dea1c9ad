"""Each way in which a plugin can misbehave: it alone is affected, it is named, and it comes back."""

from __future__ import annotations

import logging
import os
import signal
import statistics
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import structlog
from integration.hosting.recording import RunningHost, running_host
from structlog.testing import capture_logs

from ftrackd.hosting import PluginNotRunningError, host, supervision
from ftrackd.settings import PluginSettings

NEIGHBOUR = """
def register(session):
    session.event_hub.subscribe("topic=test.event", lambda event: {"seen": event["data"]})
"""


def write(folder: Path, name: str, body: str) -> None:
    """Write a plugin whose callback is *body*."""
    text = (
        "import ftrack_api, os, sys, time, threading, signal, ctypes, re, subprocess, logging\n"
        "def handle(event):\n"
        + textwrap.indent(textwrap.dedent(body).strip(), "    ")
        + "\ndef register(session):\n    session.event_hub.subscribe('topic=test.event', handle)\n"
        "    session.event_hub.subscribe('topic=test.well', lambda event: None)\n"
    )
    (folder / f"{name}.py").write_text(text)


def neighbour_latency(running: RunningHost, count: int = 20) -> float:
    """The time in which the plugin beside the culprit usually answers; a single one says little."""
    seconds = []
    for _ in range(count):
        began = time.monotonic()
        assert running.run("neighbour").status == "returned"
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


HANGING = {
    "loops": "while True: pass",
    "sleeps": "time.sleep(1e6)",
    "deadlocks": "threading.Lock().acquire() and threading.Event().wait()",
    # A C function that never gives the interpreter back.
    "blocks_in_c": "ctypes.PyDLL(None).sleep(1000)",
    "backtracks": "re.match(r'(a+)+$', 'a' * 60 + 'b')",
}


def test_when_callbacks_never_return_then_each_is_named_with_its_stack_and_ended(tmp_path: Path) -> None:
    for name, body in HANGING.items():
        write(tmp_path, name, body)
    (tmp_path / "neighbour.py").write_text(NEIGHBOUR)
    limits = PluginSettings(soft_limit_s=0.3, hard_limit_s=2.0)
    with running_host(tmp_path, plugins=dict.fromkeys(HANGING, limits)) as running:
        running.wait_ready(*HANGING, "neighbour")
        pids = {name: running.status(name).pid for name in HANGING}
        deliveries = {name: running.send(name) for name in HANGING}
        for name in HANGING:
            slow = running.wait_status(name, lambda status: status.counters.get("slow"))
            assert "in handle" in slow.stack
            assert f"{name}.py" in slow.stack
            if slow.running:
                assert (slow.running[0].topic, slow.running[0].is_slow) == ("test.event", True)
        # Two of them burn the two cores of a small machine, so this is no measurement.
        assert running.run("neighbour").status == "returned"
        for name, delivery in deliveries.items():
            outcome = running.listener.wait_for(lambda: running.listener.outcome(delivery))
            assert outcome.status == "timed_out"
            assert "a callback for test.event ran longer than 2 s" in outcome.error
            assert "in handle" in outcome.error
            running.wait_status(name, lambda status: status.state == "running" and status.pid != pids[name])
            assert running.run(name, "test.well").status == "returned"
        gone = {plugin for plugin, _ in running.listener.gone}
        assert gone == set(HANGING)


DYING = {
    "exits": ("os._exit(3)", "code 3"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    "segfault": ("ctypes.string_at(0)", "SIGSEGV"),
    "aborts": ("os.abort()", "SIGABRT"),
}


def test_when_callbacks_end_their_process_then_the_deliveries_died_and_the_plugins_return(
    tmp_path: Path,
) -> None:
    for name, (body, _) in DYING.items():
        write(tmp_path, name, body)
    (tmp_path / "neighbour.py").write_text(NEIGHBOUR)
    with running_host(tmp_path) as running:
        running.wait_ready(*DYING, "neighbour")
        for name, (_, reason) in DYING.items():
            outcome = running.run(name)
            assert outcome.status == "died"
            assert reason in outcome.error
            assert not outcome.transient, "the event may be the reason"
            if reason in ("SIGSEGV", "SIGABRT"):
                assert "in handle" in outcome.error
            running.listener.wait_for(
                lambda: [plugin for plugin, _ in running.listener.ready].count(name) == 2
            )
            assert running.run(name, "test.well").status == "returned"
            assert "topic=test.event" in running.listener.expressions(name)
        assert neighbour_latency(running) < 0.5
        assert {plugin for plugin, _ in running.listener.gone} == set(DYING)


def test_when_a_callback_raises_what_is_no_exception_then_only_the_delivery_fails(tmp_path: Path) -> None:
    raised = {
        "SystemExit: left": "sys.exit('left')",
        "asyncio.exceptions.CancelledError": "import asyncio\nraise asyncio.CancelledError",
        "KeyboardInterrupt": "raise KeyboardInterrupt",
    }
    for number, body in enumerate(raised.values()):
        write(tmp_path, f"culprit{number}", body)
    with capture_logs() as logs, running_host(tmp_path) as running:
        running.wait_ready("culprit0", "culprit1", "culprit2")
        for number, error in enumerate(raised):
            pid = running.status(f"culprit{number}").pid
            outcome = running.run(f"culprit{number}")
            assert outcome.status == "raised"
            assert error in outcome.error
            running.listener.wait_for(
                lambda: any(error in entry.get("traceback", "") for entry in list(logs)), what="its traceback"
            )
            assert running.run(f"culprit{number}", "test.well").status == "returned"
            assert running.status(f"culprit{number}").pid == pid


def test_when_a_launched_action_kills_its_process_then_the_artist_gets_an_answer(tmp_path: Path) -> None:
    (tmp_path / "action.py").write_text(
        "import os\n"
        "def register(session):\n"
        "    session.event_hub.subscribe('topic=ftrack.action.launch', lambda event: os._exit(1))\n"
    )
    (tmp_path / "leaver.py").write_text(
        "import sys\n"
        "def register(session):\n"
        "    session.event_hub.subscribe('topic=ftrack.action.launch', lambda event: sys.exit())\n"
    )
    with running_host(tmp_path) as running:
        running.wait_ready("action", "leaver")
        for number, plugin in enumerate(("action", "leaver"), start=1):
            running.send(plugin, "ftrack.action.launch", lane="interactive")
            replies = running.listener.wait_for(lambda: len(found := running.replies()) == number and found)
            assert replies[-1]["success"] is False


def test_when_an_action_waits_behind_one_that_kills_the_process_then_both_artists_get_an_answer(
    tmp_path: Path,
) -> None:
    (tmp_path / "action.py").write_text(
        "import os, time\n"
        "def launch(event):\n"
        "    time.sleep(0.3)\n"
        "    os._exit(1)\n"
        "def register(session):\n"
        "    session.event_hub.subscribe('topic=ftrack.action.launch', launch)\n"
    )
    with running_host(tmp_path) as running:
        running.wait_ready("action")
        running.send("action", "ftrack.action.launch", lane="interactive")
        running.send("action", "ftrack.action.launch", lane="interactive")
        replies = running.listener.wait_for(
            lambda: (found := running.replies()) and len(found) == 2 and found
        )
        assert [reply["success"] for reply in replies] == [False, False]


def test_when_a_plugin_crashes_again_and_again_then_its_circuit_opens_until_it_is_mended(
    tmp_path: Path,
) -> None:
    write(tmp_path, "culprit", "os._exit(3)")
    with running_host(
        tmp_path, watch=True, disable_after_failures=3, restart_delay_s=0.05, restart_delay_cap_s=60
    ) as running:
        for _ in range(2):
            running.wait_status("culprit", lambda status: status.state == "running")
            running.run("culprit")
        running.wait_status("culprit", lambda status: status.state == "running")
        running.send("culprit")
        status = running.wait_status("culprit", lambda status: status.state == "disabled")
        assert "3 failures in a row" in status.reason
        assert "code 3" in status.reason
        assert status.retry_in_s is not None
        with pytest.raises(PluginNotRunningError):
            running.send("culprit")
        write(tmp_path, "culprit", "pass")
        running.wait_status("culprit", lambda status: status.state == "running")
        assert running.run("culprit").status == "returned"
        assert running.status("culprit").failures == 0


def test_when_import_never_returns_then_the_others_start_and_it_is_reported(tmp_path: Path) -> None:
    (tmp_path / "culprit.py").write_text("import time\ntime.sleep(1e6)\ndef register(session): pass\n")
    (tmp_path / "neighbour.py").write_text(NEIGHBOUR)
    with running_host(tmp_path, start_timeout_s=3, restart_delay_s=30) as running:
        running.wait_ready("neighbour")
        assert neighbour_latency(running) < 0.5
        status = running.wait_status("culprit", lambda status: status.state == "failed")
        assert "did not return within 3 s" in status.error
        assert "culprit.py" in status.error, "its stack"


def test_when_memory_runs_away_then_the_process_is_ended_or_the_allocation_fails(tmp_path: Path) -> None:
    write(tmp_path, "culprit", "hoard = []\nwhile True: hoard.append(bytearray(50_000_000))")
    (tmp_path / "neighbour.py").write_text(NEIGHBOUR)
    with running_host(tmp_path, plugins={"culprit": PluginSettings(memory_limit_mb=200)}) as running:
        running.wait_ready("culprit", "neighbour")
        outcome = running.run("culprit", timeout_s=20)
        assert outcome.status in ("raised", "died")
        assert "Memory" in outcome.error or "MB" in outcome.error
        assert neighbour_latency(running) < 0.5
        running.wait_status("culprit", lambda status: status.state == "running")


def test_when_memory_grows_over_the_limit_then_the_process_is_replaced_between_deliveries(
    tmp_path: Path,
) -> None:
    (tmp_path / "culprit.py").write_text(
        "hoard = []\n"
        "def register(session):\n"
        "    session.event_hub.subscribe('topic=test.event', lambda event: hoard.append(b'x' * 30_000_000))\n"
    )
    with running_host(tmp_path, plugins={"culprit": PluginSettings(memory_limit_mb=150)}) as running:
        running.wait_ready("culprit")
        first = running.status("culprit").pid
        outcomes = []
        deadline = time.monotonic() + 20
        while running.status("culprit").pid == first and time.monotonic() < deadline:
            if len(outcomes) < 5:
                outcomes.append(running.run("culprit").status)
            time.sleep(0.05)
        assert running.status("culprit").pid != first
        assert set(outcomes) == {"returned"}
        assert running.listener.gone == []
        assert running.status("culprit").counters["memory_replacements"] >= 1


def test_when_a_plugin_floods_its_log_then_it_is_limited_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "HEARTBEAT_S", 0.5)
    write(
        tmp_path,
        "culprit",
        """
        for number in range(20_000):
            print("line", number)
            logging.getLogger("flood").warning("record %d", number)
        for number in range(20_000):
            os.write(1, b"raw line\\n")
        """,
    )
    (tmp_path / "neighbour.py").write_text(NEIGHBOUR)
    with capture_logs() as logs, running_host(tmp_path, log_lines_per_s=100) as running:
        running.wait_ready("culprit", "neighbour")
        delivery = running.send("culprit")
        assert neighbour_latency(running) < 0.5
        running.listener.wait_for(lambda: running.listener.outcome(delivery), 20)
        status = running.wait_status("culprit", lambda status: status.counters["dropped_lines"] > 50_000, 15)
        assert status.state == "running"
        told = "plugin says too much, lines were left out"
        running.listener.wait_for(
            lambda: sum(entry["lines"] for entry in list(logs) if entry["event"] == told) > 50_000
        )
    lines = [entry["event"] for entry in logs if entry.get("plugin") == "culprit"]
    assert "line 0" in lines
    assert "raw line" in lines
    assert len(lines) < 5_000


def test_when_a_plugin_says_something_then_it_is_in_the_log_under_its_name(tmp_path: Path) -> None:
    """print, its own logger, standard error, a descriptor: whatever way it takes."""
    write(
        tmp_path,
        "speaker",
        """
        print("printed")
        logging.getLogger("studio.tools").error("logged %s", "properly")
        sys.stderr.write("written to stderr\\n")
        os.write(1, b"written to descriptor 1\\n")
        subprocess.run(["echo", "from a program"])
        try:
            1 / 0
        except ZeroDivisionError:
            logging.getLogger("studio.tools").exception("with traceback")
        """,
    )
    with capture_logs() as logs, running_host(tmp_path) as running:
        running.wait_ready("speaker")
        assert running.run("speaker").status == "returned"
        wanted = {
            "printed",
            "logged properly",
            "written to stderr",
            "written to descriptor 1",
            "from a program",
            "with traceback",
        }
        running.listener.wait_for(
            lambda: wanted <= {entry["event"] for entry in logs if entry.get("plugin") == "speaker"}
        )
    (record,) = [entry for entry in logs if entry["event"] == "with traceback"]
    assert "ZeroDivisionError" in record["traceback"]
    assert record["logger_name"] == "studio.tools"


def test_when_a_plugin_patches_modules_and_environment_then_others_do_not_notice(tmp_path: Path) -> None:
    """Finding 6: PYTHONHOME set at import, basicConfig called, modules replaced."""
    (tmp_path / "culprit.py").write_text(
        "import os, sys, json, logging, socket\n"
        "os.environ['PYTHONHOME'] = 'C:/Python27'\n"
        "logging.basicConfig(level=logging.DEBUG, force=True)\n"
        "json.loads = None\n"
        "socket.socket = None\n"
        "sys.path[:] = []\n"
        "def register(session):\n"
        "    session.event_hub.publish = None\n"
    )
    (tmp_path / "neighbour.py").write_text(
        "import json, os, subprocess, sys\n"
        "def register(session):\n"
        "    def handle(event):\n"
        "        assert json.loads('1') == 1\n"
        "        assert 'PYTHONHOME' not in os.environ\n"
        "        subprocess.run([sys.executable, '-c', 'pass'], check=True)\n"
        "    session.event_hub.subscribe('topic=test.event', handle)\n"
    )
    with running_host(tmp_path) as running:
        running.wait_ready("neighbour")
        assert running.run("neighbour").status == "returned"


def test_when_a_plugin_forks_and_starts_threads_then_nothing_of_it_stays_behind(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pids.mkdir()
    write(
        tmp_path,
        "culprit",
        f"""
        if os.fork() == 0:
            open({str(pids)!r} + "/" + str(os.getpid()), "w").close()
            time.sleep(1000)
        child = subprocess.Popen(["sleep", "1000"])
        open({str(pids)!r} + "/" + str(child.pid), "w").close()
        for _ in range(50):
            threading.Thread(target=time.sleep, args=(1000,)).start()
        """,
    )
    with running_host(tmp_path) as running:
        running.wait_ready("culprit")
        assert running.run("culprit").status == "returned"
        running.listener.wait_for(lambda: len(list(pids.iterdir())) == 2)
        assert running.run("culprit", "test.well").status == "returned"
    deadline = time.monotonic() + 30
    while (left := [path.name for path in pids.iterdir() if runs(int(path.name))]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.02)
    assert left == []


def test_when_a_callback_forks_then_the_child_ends_with_its_code_or_is_terminated(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        "forks",
        """
        import multiprocessing
        ends = {"sys.exit(3)": 3, "sys.exit()": 0, "None": 0, "1 / 0": 1}
        for code, expected in ends.items():
            pid = os.fork()
            if pid == 0:
                return eval(code)
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == expected, (code, status)
        # Leaving a pool ends its workers by SIGTERM and waits for them.
        with multiprocessing.get_context("fork").Pool(1) as pool:
            assert pool.map(abs, [-1]) == [1]
        """,
    )
    with running_host(tmp_path) as running:
        running.wait_ready("forks")
        outcome = running.run("forks")
        assert outcome.status == "returned", outcome.error


def test_when_the_template_is_killed_then_every_plugin_comes_back(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text(NEIGHBOUR)
    with running_host(tmp_path) as running:
        running.wait_ready("neighbour")
        pid = running.status("neighbour").pid
        template = psutil.Process(pid).parent()
        assert template is not None
        assert template.ppid() == os.getpid()
        template.kill()
        running.wait_status("neighbour", lambda status: status.state == "running" and status.pid != pid)
        assert running.run("neighbour").status == "returned"


MAIN = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from integration.hosting.recording import running_host
with running_host(Path({folder!r})) as running:
    running.wait_ready("hanging", "neighbour")
    running.send("hanging")
    time.sleep(0.2)
    print(*[status.pid for status in running.host.statuses()], flush=True)
    time.sleep(1000)
"""


def test_when_the_main_process_is_killed_then_no_process_is_left(tmp_path: Path) -> None:
    """Even one that hangs in C and cannot notice, and what it started."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    write(plugins, "hanging", "subprocess.Popen(['sleep', '999'])\nctypes.PyDLL(None).sleep(1000)")
    (plugins / "neighbour.py").write_text(NEIGHBOUR)
    tests = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", MAIN.format(tests=tests, folder=str(plugins))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as main:
        try:
            assert main.stdout is not None
            line = ""
            while not line.replace(" ", "").strip().isdigit():
                line = main.stdout.readline()
                assert line, "it ended early"
            family = [psutil.Process(main.pid), *psutil.Process(main.pid).children(recursive=True)]
            assert len(family) >= 5, "main, template, two plugins, sleep"
        finally:
            main.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_when_a_plugin_returns_what_cannot_be_sent_then_that_fails_where_somebody_waits_for_it(
    tmp_path: Path,
) -> None:
    """Handling the event was no failure: as a dead letter it would be handled twice."""
    write(tmp_path, "culprit", "return {'text': 'x' * 20_000_000 if event['data']['is_long'] else object()}")
    with capture_logs() as logs, running_host(tmp_path) as running:
        running.wait_ready("culprit")
        for is_long, reason in ((True, "over the limit of"), (False, "cannot be sent in an event")):
            assert running.run("culprit", is_long=is_long).status == "returned"
            running.listener.wait_for(lambda: reason in str(logs))
            delivery = running.send("culprit", lane="interactive", is_long=is_long)
            outcome = running.listener.wait_for(lambda: running.listener.outcome(delivery))
            assert outcome.status == "raised"
            assert reason in outcome.error


def test_when_crashes_are_far_apart_then_they_do_not_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three crashes in three days are no crash loop, also of a plugin that hardly gets an event."""
    monkeypatch.setattr(host, "_STABLE_S", 0.05)
    (tmp_path / "idle.py").write_text("def register(session): pass\n")
    with running_host(tmp_path, disable_after_failures=2) as running:
        for _ in range(4):
            status = running.wait_status("idle", lambda status: status.state == "running")
            assert status.failures <= 1
            running.wait_status("idle", lambda status: status.uptime_s > 0.1)
            assert status.pid is not None
            os.kill(status.pid, signal.SIGKILL)
            running.wait_status("idle", lambda now: now.state == "running" and now.pid != status.pid)


def test_when_a_thread_keeps_the_interpreter_then_the_process_is_seen_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No delivery runs, so no time limit applies: the missing heartbeat tells."""
    monkeypatch.setattr(supervision, "HEARTBEAT_S", 0.2)
    monkeypatch.setattr(supervision, "_IDLE_HEARTBEAT_S", 0.4)
    monkeypatch.setattr(supervision, "_SILENCE_S", 0.6)
    write(
        tmp_path,
        "culprit",
        "threading.Timer(0.3, lambda: ctypes.PyDLL(None).sleep(1000)).start()",
    )
    limits = PluginSettings(hard_limit_s=1.0)
    with running_host(tmp_path, plugins={"culprit": limits}) as running:
        running.wait_ready("culprit")
        pid = running.status("culprit").pid
        assert running.run("culprit").status == "returned"
        running.wait_status("culprit", lambda status: not status.is_responsive)
        running.wait_status("culprit", lambda status: status.state == "running" and status.pid != pid)
        assert any("did not answer" in reason for _, reason in running.listener.gone)
        assert running.run("culprit", "test.well").status == "returned"


def runs(pid: int) -> bool:
    """Whether the process is there and not only waiting to be reaped by somebody."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(autouse=True)
def quiet_log(monkeypatch):
    """Keep what plugins say out of the test's output."""
    monkeypatch.setattr(logging.getLogger(), "level", logging.INFO)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    yield
    structlog.reset_defaults()


def test_when_a_session_plugin_hangs_then_the_others_start_without_it_and_get_it_when_it_loads(
    tmp_path: Path,
) -> None:
    culprit = tmp_path / "culprit.py"
    shaping = (
        "def configure(event): event['data']['session'].shaped_by = 'culprit'\n"
        "def register(session):\n"
        "    session.event_hub.subscribe('topic=ftrack.api.session.configure-location', configure)\n"
    )
    culprit.write_text(f"import time\ntime.sleep(1e6)\n{shaping}")
    (tmp_path / "neighbour.py").write_text(
        "def register(session):\n"
        "    answer = lambda event: {'by': getattr(session, 'shaped_by', None)}\n"
        "    session.event_hub.subscribe('topic=test.event', answer)\n"
    )

    def shaped_by(running: RunningHost) -> str | None:
        running.listener.published.clear()
        running.run("neighbour")
        (reply,) = running.listener.wait_for(running.replies)
        return reply["by"]

    with capture_logs() as logs, running_host(tmp_path, start_timeout_s=2, restart_delay_s=60) as running:
        running.wait_ready("neighbour")
        status = running.status("neighbour")
        assert (status.failures, status.error, status.counters.get("failed_loads")) == (0, "", None)
        assert shaped_by(running) is None
        (warning,) = [log for log in logs if log["event"] == "plugins start without a session plugin"]
        assert warning["plugins"] == ("neighbour",)
        assert warning["reason"] == "session plugin culprit did not load within 2 s"
        culprit.write_text(shaping)
        running.host.reload()
        running.wait_ready("culprit")
        running.listener.wait_for(lambda: shaped_by(running) == "culprit")
