"""The manual's table of members and tests is what is there, and its examples do what they say."""

import ast
import functools
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from ftrackd.api import alias
from ftrackd.api import session as session_module
from ftrackd.api._session_storage import StorageMethods
from ftrackd.api.session import OperationPayload, Session
from ftrackd.testing.sandbox import SandboxProcess

from .conftest import unique

ROOT = Path(__file__).resolve().parents[3]
_DEFAULT_FILES = "tests/integration/session/test_specification_*.py"


def _table() -> dict[str, str]:
    text = (ROOT / "docs" / "session.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `([^`]+)` \| `(test[^`]*)` \|$", text, re.MULTILINE))


def _members() -> set[str]:
    """What the specification names, and what the session offers besides, as the table writes it."""
    arguments = list(inspect.signature(Session.__init__).parameters)[1:]
    members = {f"Session({name}=)" for name in arguments}
    members |= {f"Session.{name}" for name in dir(Session) if not name.startswith("_")}
    mapping = ("clear", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values")
    members |= {f"OperationPayload.{name}" for name in mapping if hasattr(OperationPayload, name)}
    return members | {name for name in session_module.__all__ if name != "Session"}


@functools.cache
def _functions(files: str) -> set[str]:
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in ROOT.glob(files)]
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


#: What locations need of the session besides the specification; documented with them.
_ELSEWHERE = {f"Session.{name}" for name in vars(StorageMethods)}


def test_when_the_session_has_a_member_then_the_manual_names_its_test() -> None:
    assert _members() - set(_table()) - _ELSEWHERE == set()


def test_when_the_manual_names_a_member_then_it_is_there() -> None:
    assert set(_table()) - _members() == set()


@pytest.mark.parametrize(("member", "test"), sorted(_table().items()))
def test_when_the_manual_names_a_test_then_it_exists(member: str, test: str) -> None:
    file, _, function = test.rpartition("::")
    assert function in _functions(file or _DEFAULT_FILES), member


def _blocks() -> list[str]:
    text = (ROOT / "docs" / "session.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_when_the_first_example_is_run_then_it_does_what_it_says(
    sandbox: SandboxProcess, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that the project has, and as many calls as the comment says."""
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FTRACK_EVENT_PLUGIN_PATH", raising=False)
    schema = session.query("ProjectSchema").first()
    project = session.ensure(
        "Project", {"name": "show", "full_name": "Show", "project_schema_id": schema["id"]}
    )
    tasks = [session.create("Task", {"name": unique("task"), "parent": project}) for _ in range(20)]
    session.commit()
    alias.install()
    made: list[str] = []
    call = Session.call

    def counted(self: Session, data: Any) -> Any:
        made.extend(f"{request['action']} {request.get('expression', '')}" for request in data)
        return call(self, data)

    monkeypatch.setattr(Session, "call", counted)
    try:
        exec(_blocks()[0], {})
    finally:
        alias.uninstall()
    end = next(number for number, request in enumerate(made) if "In progress" in request)
    start = next(number for number, request in enumerate(made) if "project.name" in request)
    assert end - start == int({"three": 3}[re.search(r"# (\w+) calls", _blocks()[0])[1]])  # type: ignore[index]
    assert made[-1].startswith("update")
    with session.auto_populating(True):
        session.populate(tasks, "status.name")
    assert [task["status"]["name"] for task in tasks].count("In progress") == 1


def test_when_the_example_of_a_unit_of_work_is_run_then_it_does_what_it_says(
    session: Session, task: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    version = session.query("AssetVersion").first()
    component = session.create("FileComponent", {"name": unique("thumbnail")})
    session.commit()
    task["name"] = "waiting"
    exec(_blocks()[1], {"session": session, "version": version, "component": component})
    (said,) = re.findall(r"# (.*)", _blocks()[1])
    assert capsys.readouterr().out.strip() == said
    assert version["thumbnail_id"] == component["id"]
    assert session.modified == [task]


def test_when_there_is_another_example_then_it_is_run_here_too() -> None:
    assert len(_blocks()) == 2
