"""What an author is told about plugins that work, fail or stay silent."""

from __future__ import annotations

import textwrap
from pathlib import Path

import psutil
import pytest

from ftrackd.hosting import CheckResult, check

PLUGINS = {
    "good.py": """
        import ftrack_api
        def register(session, colour="blue"):
            if not isinstance(session, ftrack_api.session.Session):
                return
            session.event_hub.subscribe("topic=ftrack.update", print)
    """,
    "helper.py": "VALUE = 1\n",
    "python2.py": """
        def register(session):
            print "hello"
    """,
    "legacy.py": """
        import ftrack
        def register(registry, **kw):
            pass
    """,
    "lacking.py": """
        import studio_tools
        def register(session):
            pass
    """,
    "nowhere.py": """
        import no_such_module
        def register(session):
            pass
    """,
    "raising.py": """
        def register(session):
            raise KeyError("AWS_ACCESS_KEY_ID")
    """,
    "guarded.py": """
        class Session: pass
        def register(session, **kw):
            if not isinstance(session, Session):
                return
            session.event_hub.subscribe("topic=x", print)
    """,
    "own_user.py": """
        def register(session):
            session.event_hub.subscribe(
                "topic=ftrack.action.discover and source.user.username={0}".format(session.api_user), print
            )
    """,
    "twice.py": """
        def register(session):
            session.event_hub.subscribe("topic=a", print)
            session.event_hub.subscribe("topic=a", print)
    """,
    "actions.py": """
        class Action:
            def __init__(self, session, name):
                session.event_hub.subscribe("topic=ftrack.action.discover", self.discover)
                session.event_hub.subscribe(
                    f"topic=ftrack.action.launch and data.actionIdentifier={name}", self.discover
                )
            def discover(self, event): ...
        def register(session):
            Action(session, "one")
            Action(session, "two")
    """,
    "hooks-1.0.0/hook/a_speaks.py": """
        def register(session):
            session.event_hub.subscribe("topic=a", print)
            session.event_hub.subscribe(
                "topic=ftrack.api.session.ready",
                lambda event: session.event_hub.subscribe("topic=later", print)
            )
    """,
    "hooks-1.0.0/hook/b_silent.py": "def register(session): ...",
    "conditional.py": """
        if False:
            def register(session): ...
    """,
    "exiting.py": """
        import os
        def register(session):
            os._exit(4)
    """,
    "leaving.py": """
        import sys
        sys.exit("no licence")
        def register(session): pass
    """,
    "library/studio_tools.py": "",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CheckResult]:
    """One check over all of them, as the command does it."""
    # In a folder of its own: folders beside the one with the plugins are looked through for what is missing.
    folder = tmp_path_factory.mktemp("check") / "plugins"
    for name, text in PLUGINS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    copy = folder / "zz_copy"
    copy.mkdir()
    (copy / "good.py").write_text((folder / "good.py").read_text())
    before = set(psutil.Process().children(recursive=True))
    checked = check(
        [folder, folder / "missing"],
        arguments={"colour": "red", "size": 3},
        allow_unsafe_paths=True,
    )
    # Other tests of this process may have a sandbox running.
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [child for child in left if child.is_running()]
    return {str(Path(result.path).relative_to(folder)): result for result in checked}


def test_when_it_works_then_subscriptions_and_dropped_arguments_are_shown(
    results: dict[str, CheckResult],
) -> None:
    result = results["good.py"]
    assert (result.stage, result.is_ok) == ("registered", True)
    assert result.subscriptions == ("topic=ftrack.update",)
    assert "'size'" in result.dropped_arguments
    assert "'colour'" not in result.dropped_arguments


def test_when_several_actions_are_in_a_file_then_that_is_no_second_registration(
    results: dict[str, CheckResult],
) -> None:
    assert results["actions.py"].is_ok, results["actions.py"].problems
    assert len(results["actions.py"].subscriptions) == 4


def test_when_a_folder_has_several_files_then_each_has_its_own_subscriptions(
    results: dict[str, CheckResult],
) -> None:
    result = results["hooks-1.0.0/hook/a_speaks.py"]
    assert result.is_ok
    assert result.subscriptions == ("topic=a", "topic=ftrack.api.session.ready", "topic=later")


@pytest.mark.parametrize(
    ("name", "stage", "words"),
    [
        ("python2.py", "import failed", ["Python 2", "line 3"]),
        ("legacy.py", "import failed", ["legacy 'ftrack' module"]),
        ("lacking.py", "import failed", ["'studio_tools'", "library has it"]),
        ("nowhere.py", "import failed", ["'no_such_module'", "install it"]),
        ("raising.py", "register failed", ["KeyError", "AWS_ACCESS_KEY_ID"]),
        ("guarded.py", "registered", ["guard in line 4", "isinstance(session, Session)"]),
        ("twice.py", "registered", ["registered twice", "topic=a"]),
        ("leaving.py", "import failed", ["SystemExit", "no licence"]),
        ("exiting.py", "not started", ["while it was loaded", "code 4"]),
        ("conditional.py", "no register", ["under a condition"]),
        ("hooks-1.0.0/hook/b_silent.py", "registered", ["without subscribing"]),
        ("zz_copy/good.py", "registered", ["registered twice", "same contents"]),
        ("missing", "not started", ["no such file or folder"]),
    ],
)
def test_when_it_would_not_work_then_the_reason_is_named(
    results: dict[str, CheckResult], name: str, stage: str, words: list[str]
) -> None:
    result = results[name]
    assert result.stage == stage
    assert not result.is_ok
    for word in words:
        assert word in " ".join(result.problems)


def test_when_its_import_does_not_return_then_the_time_it_had_and_its_stack_are_shown(tmp_path: Path) -> None:
    (tmp_path / "hanging.py").write_text("import time\ntime.sleep(1000)\ndef register(session): pass\n")
    (result,) = check([tmp_path], allow_unsafe_paths=True, timeout_s=6.0)
    assert result.stage == "not started"
    assert not result.is_ok
    assert "did not return within 6 s" in " ".join(result.problems)
    assert "hanging.py" in result.traceback


def test_when_it_answers_its_own_user_only_then_that_is_noted(results: dict[str, CheckResult]) -> None:
    """Finding 8: written for the artist's machine, invisible to everybody under a service account."""
    result = results["own_user.py"]
    assert result.is_ok
    assert "ftrackd-check" in " ".join(result.notes)


def test_when_it_is_a_helper_then_it_is_called_one(results: dict[str, CheckResult]) -> None:
    assert (results["helper.py"].stage, results["helper.py"].is_ok) == ("helper", True)


def test_when_others_may_write_then_path_and_mode_are_named(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text("def register(session): pass\n")
    plugin.chmod(0o666)
    (result,) = check([tmp_path])
    assert result.stage == "refused"
    assert str(plugin) in result.problems[0]
    assert "0666" in result.problems[0]
