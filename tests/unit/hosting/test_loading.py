"""How modules of plugins are executed, and registered by a plain Session's discovery."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftrackd.api import plugin
from ftrackd.api._plugin_discovery import find_plugins
from ftrackd.api._plugin_loading import module_name


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """Leave the interpreter as it was."""
    modules, path, hooks = set(sys.modules), list(sys.path), list(sys.path_hooks)
    yield
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    sys.path[:], sys.path_hooks[:] = path, hooks
    sys.path_importer_cache.clear()


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def registered(folder: Path, **arguments: object) -> list[object]:
    """What the plugins in *folder* put into the list that stands in for a session."""
    session: list[object] = []
    plugin.discover([folder], [session], arguments)
    return session


def test_when_a_module_is_loaded_then_it_has_a_stable_name_and_its_file(tmp_path: Path) -> None:
    file = write(tmp_path, "thing.py", "import sys\nHERE = __name__ in sys.modules\n")
    module = plugin.load_source("some_name", str(file))
    assert (module.__name__, module.__file__, module.HERE) == ("some_name", str(file), True)
    assert sys.modules["some_name"] is module


def test_when_execution_fails_then_the_module_is_not_kept(tmp_path: Path) -> None:
    file = write(tmp_path, "thing.py", "raise ValueError('no')\n")
    with pytest.raises(ValueError, match="no"):
        plugin.load_source("some_name", str(file))
    assert "some_name" not in sys.modules


def test_when_dataclasses_are_postponed_and_pickled_then_that_works(tmp_path: Path) -> None:
    write(
        tmp_path,
        "modern.py",
        """
        from __future__ import annotations
        import dataclasses

        @dataclasses.dataclass
        class Shot:
            name: str

        def register(session):
            session.append(Shot("a"))
        """,
    )
    (shot,) = registered(tmp_path)
    assert pickle.loads(pickle.dumps(shot)) == shot


def test_when_some_plugins_fail_then_the_others_register_and_each_failure_has_its_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "a_import.py", "import no_such_module\ndef register(session): pass\n")
    write(tmp_path, "b_register.py", "def register(session):\n    raise KeyError('AWS')\n")
    write(tmp_path, "c_exit.py", "import sys\nsys.exit(3)\ndef register(session): pass\n")
    write(tmp_path, "d_good.py", "def register(session):\n    session.append('good')\n")
    session: list[str] = []
    with caplog.at_level(logging.DEBUG, "ftrack_api.plugin.discover"):
        reports = plugin.discover([str(tmp_path)], [session], {})
    assert session == ["good"]
    assert [module.stage for report in reports for module in report.modules] == [
        "import failed",
        "register failed",
        "import failed",
        "registered",
    ]
    (failed,) = reports[1].errors
    assert "b_register.py" in failed.traceback
    assert "pluggy" not in failed.traceback, "only the plugin's own frames"
    assert "no_such_module" in caplog.text
    assert "AWS" in caplog.text


def test_when_arguments_are_dropped_then_one_warning_names_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "plain.py", "def register(session):\n    session.append(1)\n")
    with caplog.at_level(logging.WARNING, "ftrack_api.plugin.discover"):
        assert registered(tmp_path, colour="red", size=3) == [1]
    (record,) = caplog.records
    assert "'colour', 'size'" in record.getMessage()


def test_when_helpers_lie_beside_plugins_then_they_are_imported_and_never_run_by_themselves(
    tmp_path: Path,
) -> None:
    write(tmp_path, "helper.py", "VALUE = 7\n")
    write(tmp_path, "noisy.py", "raise RuntimeError('helpers are not run')\n")
    write(tmp_path, "user.py", "import helper\ndef register(session):\n    session.append(helper.VALUE)\n")
    assert registered(tmp_path) == [7]


def test_when_two_plugins_have_helpers_of_one_name_then_each_gets_its_own(tmp_path: Path) -> None:
    """Finding 5, in one process."""
    for name in ("one", "two"):
        write(
            tmp_path,
            f"{name}-1.0.0/hook/{name}.py",
            """
            import os, sys
            sys.path.append(os.path.join(os.path.dirname(__file__), "..", "location"))
            import structure
            def register(session):
                import later
                session.append((structure.NAME, later.NAME))
            """,
        )
        write(tmp_path, f"{name}-1.0.0/location/structure.py", f"NAME = '{name}'\n")
        write(tmp_path, f"{name}-1.0.0/location/later.py", f"NAME = '{name} later'\n")
    assert registered(tmp_path) == [("one", "one later"), ("two", "two later")]


def test_when_a_folder_s_modules_import_relatively_then_that_works(tmp_path: Path) -> None:
    write(tmp_path, "thing-1.0/hook/__init__.py", "")
    write(tmp_path, "thing-1.0/hook/names.py", "NAME = 'relative'\n")
    write(
        tmp_path,
        "thing-1.0/hook/thing.py",
        "from .names import NAME\ndef register(session):\n    session.append(NAME)\n",
    )
    assert registered(tmp_path) == ["relative"]


def test_when_names_are_no_identifiers_then_modules_still_get_one(tmp_path: Path) -> None:
    write(tmp_path, "my-tool.v2.py", "def register(session):\n    session.append(__name__)\n")
    assert registered(tmp_path) == ["ftrackd_plugins.my_tool_v2"]


def test_when_a_package_has_the_name_of_a_library_then_it_does_not_replace_it(tmp_path: Path) -> None:
    write(tmp_path, "json/__init__.py", "def register(session):\n    session.append(__name__)\n")
    import json

    assert registered(tmp_path) == ["ftrackd_plugins.json"]
    assert sys.modules["json"] is json


def test_when_the_name_is_asked_twice_then_it_is_the_same(tmp_path: Path) -> None:
    write(tmp_path, "thing-1.0.0/hook/sub/action.py", "def register(session): pass\n")
    (source,) = find_plugins([tmp_path])
    assert module_name(source, source.modules[0]) == "ftrackd_plugins.thing.hook.sub.action"


def test_when_a_path_variable_is_unset_then_nothing_is_discovered() -> None:
    assert plugin.discover(os.environ.get("NO_SUCH_VARIABLE", "").split(os.pathsep)) == []
