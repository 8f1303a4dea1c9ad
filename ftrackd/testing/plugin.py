"""Fixtures that pytest finds when ftrackd is installed.

``sandbox`` is a server to develop against, ``sandbox_session`` a Session connected to it, ``run_plugins``
starts the daemon with plugins against it::

    def test_when_a_task_is_approved_then_its_shot_is_too(sandbox_session, run_plugins):
        run_plugins("plugins/cascade_status.py")
        ...change a task with sandbox_session, commit, wait for the shot...

``import ftrack_api`` gives our client in the process of the tests too, so that they can import plugins.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ftrackd.api.session import Session
    from ftrackd.testing.daemon import DaemonProcess
    from ftrackd.testing.sandbox import SandboxProcess


class _AliasOnDemand(MetaPathFinder):
    """Lets ``ftrack_api`` mean our client from its first import: pytest starts no slower where nobody does.

    Ours comes before an official client on the path, as in the daemon: a plugin's ``isinstance(session,
    ftrack_api.Session)`` has to hold for the session of the tests.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "ftrack_api":
            return None
        from ftrackd.api import alias

        sys.meta_path.remove(self)
        alias.install()
        return sys.meta_path[0].find_spec(fullname, path, target)


def pytest_configure() -> None:
    """Let tests import plugins."""
    if not any(isinstance(finder, _AliasOnDemand) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AliasOnDemand())


@pytest.fixture(scope="session")
def sandbox() -> Iterator[SandboxProcess]:
    """Provide a sandbox with the demo production, one for each test process.

    Tests share it, so they look at rows that they made themselves.
    """
    from ftrackd.testing.sandbox import SandboxProcess

    with SandboxProcess(seed="demo") as process:
        yield process


@pytest.fixture
def sandbox_session(sandbox: SandboxProcess) -> Iterator[Session]:
    """Provide a Session on the sandbox; its event hub connects on ``session.event_hub.connect()``."""
    from ftrackd.api.session import Session

    session = Session(
        server_url=sandbox.url,
        api_user=sandbox.api_user,
        api_key=sandbox.api_key,
        auto_connect_event_hub=False,
        plugin_paths=[],
        schema_cache_path=False,
    )
    try:
        yield session
    finally:
        session.close()


@pytest.fixture
def run_plugins(sandbox: SandboxProcess) -> Iterator[Callable[..., DaemonProcess]]:
    """Provide a function that starts the daemon with plugins and returns when they listen.

    It takes the paths of files or folders, and keyword arguments for
    :class:`ftrackd.testing.daemon.DaemonProcess`, which it returns; all are ended after the test. A plugin
    that cannot be loaded fails the test with the reason: nothing that is waited for would ever happen.
    """
    from ftrackd.testing.daemon import START_TIMEOUT_S, DaemonProcess, DaemonProcessError

    with ExitStack() as stack:

        def run(*paths: str | Path, **arguments: Any) -> DaemonProcess:
            plugins = [Path(path).resolve() for path in paths]
            daemon = stack.enter_context(DaemonProcess(sandbox, plugins=plugins, **arguments))
            # A live daemon may still wait for one that takes long to import.
            daemon.wait_for(
                lambda: all(plugin["state"] != "starting" for plugin in daemon.control.get("/plugins")),
                START_TIMEOUT_S,
                "loaded",
            )
            for plugin in daemon.control.get("/plugins"):
                if plugin["state"] in ("failed", "refused", "restarting"):
                    raise DaemonProcessError(f"{plugin['name']} was not loaded: {plugin['reason']}")
            return daemon

        yield run
