"""A session on the sandbox, and a production of its own for each test."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from ftrackd.api.session import Session
from ftrackd.testing.sandbox import SandboxProcess


@pytest.fixture
def session(sandbox: SandboxProcess) -> Iterator[Session]:
    """A session without plugins and without kept schemas."""
    with Session(
        sandbox.url, sandbox.api_key, sandbox.api_user, plugin_paths=[], schema_cache_path=False
    ) as made:
        yield made
        made.rollback()


@pytest.fixture
def calls(session: Session) -> list[Any]:
    """The calls that `session` makes from now on."""
    made: list[Any] = []
    original = session.call

    def call(data: Any) -> Any:
        made.append(data)
        return original(data)

    session.call = call  # type: ignore[method-assign]
    return made


def unique(prefix: str) -> str:
    """Return a name that no other test has."""
    return f"{prefix}_{uuid.uuid4().hex[:10]}"


@pytest.fixture
def project(session: Session) -> Any:
    """A new, committed project."""
    schema = session.query("ProjectSchema").first()
    name = unique("project")
    made = session.create("Project", {"name": name, "full_name": name, "project_schema": schema})
    session.commit()
    return made


@pytest.fixture
def task(session: Session, project: Any) -> Any:
    """A new, committed task in the project."""
    made = session.create("Task", {"name": unique("task"), "parent": project})
    session.commit()
    return made


@pytest.fixture
def user(session: Session) -> Any:
    """The user that the session acts for."""
    return session.query(f'User where username is "{session.api_user}"').one()
