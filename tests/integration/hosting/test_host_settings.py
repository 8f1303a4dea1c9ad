"""Trust, entry points, polling, stopping, and a plain Session in somebody's script."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from ftrackd.settings import GroupSettings, PluginSettings

from .recording import SERVER, running_host

PLAIN = """
def register(session):
    session.event_hub.subscribe("topic=test.event", lambda event: {"version": 1})
"""


def test_when_others_may_write_a_plugin_then_it_is_refused_until_that_is_mended(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLAIN)
    plugin.chmod(0o666)
    (tmp_path / "good.py").write_text(PLAIN)
    library = tmp_path / f"compiled{EXTENSION_SUFFIXES[0]}"
    library.touch()
    library.chmod(0o666)
    (tmp_path / "uses_compiled.py").write_text("import compiled\n" + PLAIN)
    with running_host(tmp_path, allow_unsafe_paths=False, watch=True) as running:
        running.wait_ready("good")
        failed = running.wait_status("uses_compiled", lambda status: status.error)
        assert f"UntrustedPathError: {library} may be written by others" in failed.error
        status = running.status("plugin")
        assert status.state == "refused"
        assert str(plugin) in status.reason
        assert "0666" in status.reason
        plugin.chmod(0o644)
        running.host.reload()
        running.wait_ready("plugin")


def test_when_a_helper_becomes_unsafe_then_the_new_version_is_refused_and_the_old_goes_on(
    tmp_path: Path,
) -> None:
    """Checked again on each load, on the file that is read."""
    folder = tmp_path / "thing-1.0.0"
    (folder / "hook").mkdir(parents=True)
    (folder / "dependencies").mkdir()
    (folder / "hook" / "thing.py").write_text("import library\n" + PLAIN)
    (folder / "dependencies" / "library.py").write_text("VALUE = 1\n")
    with running_host(tmp_path, allow_unsafe_paths=False) as running:
        running.wait_ready("thing")
        pid = running.status("thing").pid
        (folder / "dependencies" / "library.py").chmod(0o666)
        running.host.reload()
        status = running.status("thing")
        assert "library.py" in status.error
        assert "0666" in status.error
        assert (status.state, status.pid) == ("running", pid)


def test_when_the_working_directory_has_modules_then_none_of_them_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code is loaded from configured paths only; one may stand where everybody can write."""
    plugins, here = tmp_path / "plugins", tmp_path / "here"
    plugins.mkdir()
    here.mkdir()
    for name in ("arrow", "requests", "ftrackd"):
        (here / f"{name}.py").write_text("import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch()")
    (plugins / "plugin.py").write_text("import arrow, requests\n" + PLAIN)
    monkeypatch.chdir(here)
    with running_host(plugins) as running:
        running.wait_ready("plugin")
    assert not list(here.glob("*.ran"))


def test_when_a_plugin_is_disabled_then_it_is_shown_and_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "off.py").write_text(PLAIN)
    (tmp_path / "on.py").write_text(PLAIN)
    settings = {"off": PluginSettings(enabled=False), "onn": PluginSettings(concurrency=2)}
    groups = [GroupSettings(name="all", plugins=["on", "ofn"])]
    with capture_logs() as logs, running_host(tmp_path, plugins=settings, groups=groups) as running:
        running.wait_ready("on")
        misspelt = [entry["plugin"] for entry in logs if entry["event"].startswith("settings name a plugin")]
        assert misspelt == ["ofn", "onn"]
        status = running.status("off")
        assert (status.state, status.pid) == ("disabled", None)


def test_when_plugins_share_a_process_then_each_has_the_whole_time_to_start(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.py").write_text("import time\ntime.sleep(0.8)\ndef register(session): pass\n")
    groups = [GroupSettings(name="both", plugins=["first", "second"])]
    with running_host(tmp_path, groups=groups, start_timeout_s=1.3) as running:
        running.wait_ready("first", "second")
        assert running.status("second").counters.get("failed_loads") is None


def test_when_own_arguments_are_set_then_they_win(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(
        "def register(session, colour, size):\n"
        "    answer = {'colour': colour, 'size': size}\n"
        "    session.event_hub.subscribe('topic=test.event', lambda event: answer)\n"
    )
    own = PluginSettings(arguments={"colour": "own"})
    with running_host(tmp_path, plugins={"plugin": own}, arguments={"colour": "all", "size": 1}) as running:
        running.wait_ready("plugin")
        running.run("plugin")
        assert running.listener.wait_for(running.replies) == [{"colour": "own", "size": 1}]


def test_when_the_server_may_take_long_then_the_sessions_of_plugins_wait_as_long(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(
        "def register(session):\n"
        "    waits = {'limits': [session._connect_timeout_s, session.request_timeout]}\n"
        "    session.event_hub.subscribe('topic=test.event', lambda event: waits)\n"
    )
    patient = replace(SERVER, connect_timeout_s=3.0, read_timeout_s=120.0)
    with running_host(tmp_path, server=patient) as running:
        running.wait_ready("plugin")
        running.run("plugin")
        assert running.listener.wait_for(running.replies) == [{"limits": [3.0, 120.0]}]


def test_when_a_package_offers_an_entry_point_then_it_is_a_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, plugins = tmp_path / "site", tmp_path / "plugins"
    plugins.mkdir()
    (site / "studio_tools-1.0.dist-info").mkdir(parents=True)
    (site / "studio_tools-1.0.dist-info" / "METADATA").write_text("Name: studio-tools\nVersion: 1.0\n")
    (site / "studio_tools-1.0.dist-info" / "entry_points.txt").write_text(
        "[ftrackd.plugins]\nstudio = studio_tools\nfunction = studio_tools:other\n"
    )
    (site / "studio_tools.py").write_text(
        PLAIN + "def other(session):\n    session.event_hub.subscribe('topic=test.other', print)\n"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    with running_host(plugins, entry_points=True) as running:
        running.wait_ready("studio", "function")
        assert "topic=test.event" in running.listener.expressions("studio")
        assert "topic=test.other" in running.listener.expressions("function")


def test_when_the_file_system_reports_nothing_then_changes_are_found_by_polling(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(PLAIN)
    with running_host(tmp_path, watch=True, watch_polling=True) as running:
        running.wait_ready("plugin")
        (tmp_path / "plugin.py").write_text(PLAIN.replace("1", "2"))
        running.wait_status("plugin", lambda status: status.generation == 2)


@pytest.mark.parametrize("is_indirect", [False, True])
def test_when_a_link_is_pointed_to_another_release_then_its_code_is_loaded(
    tmp_path: Path, is_indirect: bool
) -> None:
    """How studios deploy: `current` is moved from one release folder to the next."""
    for number in (1, 2):
        release = tmp_path / f"release-{number}"
        release.mkdir()
        (release / "plugin.py").write_text(PLAIN.replace("1", str(number)))
    current = tmp_path / "current"
    current.symlink_to(tmp_path / "release-1")
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "tools").symlink_to("../current")
    with running_host(plugins if is_indirect else current, watch=True) as running:
        running.wait_ready("plugin")
        following = tmp_path / "next"
        following.symlink_to(tmp_path / "release-2")
        following.replace(current)
        running.wait_status("plugin", lambda status: status.generation == 2)
        running.run("plugin")
        assert running.listener.wait_for(running.replies) == [{"version": 2}]


def test_when_the_host_stops_then_running_callbacks_finish_first(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    (tmp_path / "plugin.py").write_text(
        "import pathlib, time\n"
        "def register(session):\n"
        "    def work(event):\n"
        f"        pathlib.Path({str(begun)!r}).touch()\n"
        "        time.sleep(event['data']['seconds'])\n"
        "    session.event_hub.subscribe('topic=test.event', work)\n"
    )
    with running_host(tmp_path) as running:
        running.wait_ready("plugin")
        delivery = running.send("plugin", seconds=0.5)
        running.listener.wait_for(begun.exists)
        running.host.stop(5.0)
        outcome = running.listener.outcome(delivery)
        assert outcome is not None
        assert outcome.status == "returned"
        assert running.listener.gone == [("plugin", "the daemon stops")]
        assert running.listener.states[-1].state == "stopped"


def test_when_a_callback_does_not_end_before_the_deadline_then_stopping_does_not_wait(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    (tmp_path / "plugin.py").write_text(
        "import pathlib, time\n"
        "def work(event):\n"
        f"    pathlib.Path({str(begun)!r}).touch()\n"
        "    time.sleep(1000)\n"
        "def register(session):\n"
        "    session.event_hub.subscribe('topic=test.event', work)\n"
    )
    with running_host(tmp_path) as running:
        running.wait_ready("plugin")
        delivery = running.send("plugin")
        running.listener.wait_for(begun.exists)
        pid = running.status("plugin").pid
        running.host.stop(0.3)
        outcome = running.listener.outcome(delivery)
        assert outcome is not None
        assert outcome.status == "died"
        assert pid is not None
        assert not psutil.pid_exists(pid)
        assert [thread.name for thread in threading.enumerate() if thread.name.startswith("ftrackd-")] == []


SCRIPT = """
import ftrack_api_alias
import ftrack_api
session = ftrack_api.Session(
    plugin_paths=[{folder!r}], plugin_arguments={{"colour": "red"}}, auto_connect_event_hub=True
)
answers = session.event_hub.publish(ftrack_api.event.base.Event("studio.question"), synchronous=True)
print(answers)
session.close()
"""


def test_when_a_script_makes_a_session_with_plugin_paths_then_the_same_code_loads_them(
    tmp_path: Path, sandbox
) -> None:
    """The way of the official client, against a real server."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "aa_bad.py").write_text("def register(session):\n    raise ValueError('missing key')\n")
    (plugins / "good.py").write_text(
        textwrap.dedent(
            """
            import ftrack_api
            import helper

            def register(session, colour=None):
                assert isinstance(session, ftrack_api.Session)
                session.event_hub.subscribe("topic=studio.question", lambda event: (colour, helper.VALUE))
            """
        )
    )
    (plugins / "helper.py").write_text("VALUE = 7\n")
    (tmp_path / "ftrack_api_alias.py").write_text("from ftrackd.api import alias\nalias.install()\n")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(plugins)))
    result = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            "FTRACK_SERVER": sandbox.url,
            "FTRACK_API_USER": sandbox.api_user,
            "FTRACK_API_KEY": sandbox.api_key,
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
        },
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[('red', 7)]"
    assert "missing key" in result.stderr
