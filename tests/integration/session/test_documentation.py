"""The manual's table of members and tests is what is there."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from ftrackd.api import session as session_module
from ftrackd.api._session_storage import StorageMethods
from ftrackd.api.session import OperationPayload, Session

ROOT = Path(__file__).resolve().parents[3]
_DEFAULT_FILE = "tests/integration/session/test_specification.py"


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


def _functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


#: What locations need of the session besides the specification; documented with them.
_ELSEWHERE = {f"Session.{name}" for name in vars(StorageMethods)}


def test_when_the_session_has_a_member_then_the_manual_names_its_test() -> None:
    assert _members() - set(_table()) - _ELSEWHERE == set()


def test_when_the_manual_names_a_member_then_it_is_there() -> None:
    assert set(_table()) - _members() == set()


@pytest.mark.parametrize(("member", "test"), sorted(_table().items()))
def test_when_the_manual_names_a_test_then_it_exists(member: str, test: str) -> None:
    file, _, function = test.rpartition("::")
    assert function in _functions(file or _DEFAULT_FILE), member
