"""What the Session's specification says of other requests, locations and components, against the sandbox.

`docs/session.md` maps each member to its test here or elsewhere; `test_documentation.py` keeps the two equal.
"""

import json
import urllib.request
from pathlib import Path
from typing import Any

import arrow
import pytest

from ftrackd.api import exception, symbol
from ftrackd.api.session import (
    Session,
)

from .conftest import unique

# Requests of other kinds.


def test_reset_remote(session: Session, project: Any) -> None:
    user = session.create("User", {"username": unique("robot"), "is_active": True})
    session.commit()
    first = session.reset_remote("api_key", entity=user)["api_key"]
    assert first
    assert user.reset_api_key() != first
    with pytest.raises(exception.ServerError):
        session.reset_remote("coffee")


def test_get_widget_url(session: Session, project: Any) -> None:
    url = session.get_widget_url("tasks", entity=project, theme="light")
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.status == 200
    assert session.get_widget_url("tasks_browser").startswith("http")


def test_send_user_invites(session: Session, user: Any, calls: list[Any]) -> None:
    other = session.create("User", {"username": unique("invited"), "email": "a@b.example"})
    session.commit()
    calls.clear()
    session.send_user_invites([other, user])
    session.send_user_invite(other)
    other.send_invite()
    session.send_user_invites([])
    assert [len(batch) for batch in calls] == [2, 1, 1]
    assert calls[0][0] == {"action": "send_user_invite", "user_id": other["id"]}


def test_send_review_session_invites(session: Session, project: Any, calls: list[Any]) -> None:
    now = arrow.utcnow()
    review = session.create(
        "ReviewSession",
        {"name": "dailies", "project": project, "start_date": now, "end_date": now.shift(days=1)},
    )
    invitees = [
        session.create(
            "ReviewSessionInvitee", {"name": name, "email": f"{name}@b.example", "review_session": review}
        )
        for name in "ab"
    ]
    session.commit()
    calls.clear()
    session.send_review_session_invites(invitees)
    session.send_review_session_invite(invitees[0])
    session.send_review_session_invites([])
    assert [len(batch) for batch in calls] == [2, 1]


def test_an_action_that_the_server_does_not_know(session: Session) -> None:
    def call(data: Any) -> Any:
        raise exception.ServerError("Server reported error: ValueError(Invalid action u'get_widget_url')")

    session.call = call  # type: ignore[method-assign]
    with pytest.raises(exception.ServerCompatibilityError, match="get_widget_url"):
        session.get_widget_url("tasks")


def test_get_upload_metadata(session: Session) -> None:
    component = session.create("FileComponent", {"name": "plate", "file_type": ".txt"})
    session.commit()
    metadata = session.get_upload_metadata(component["id"], "plate.txt", 4)
    assert metadata["url"].startswith("http")
    assert isinstance(metadata["headers"], dict)


# Locations and components; room for every case is in the tests of storage.


def test_pick_location(session: Session) -> None:
    location = session.pick_location()
    assert location is not None
    assert location.accessor


def test_pick_locations(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("data")
    component = session.create_component(str(path), {"name": unique("c")}, location=None)
    session.commit()
    assert session.pick_locations([component]) == [None]
    location = session.get("Location", symbol.SERVER_LOCATION_ID)
    location.add_component(component, session.get("Location", symbol.ORIGIN_LOCATION_ID))
    assert session.pick_locations([component]) == [location]
    assert session.pick_location(component) is location


def test_create_component(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "plate.0001.exr"
    path.write_bytes(b"pixels")
    server = session.get("Location", symbol.SERVER_LOCATION_ID)
    component = session.create_component(str(path), location=server)
    assert component["size"] == 6
    assert component["file_type"] == ".exr"
    assert server.get_component_availability(component) == 100.0


def test_get_component_availability(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("data")
    server = session.get("Location", symbol.SERVER_LOCATION_ID)
    component = session.create_component(str(path), location=server)
    availability = session.get_component_availability(component)
    assert availability[server["id"]] == 100.0
    assert session.get_component_availability(component, locations=[server]) == {server["id"]: 100.0}
    assert component.get_availability([server]) == {server["id"]: 100.0}


def test_get_component_availabilities(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("data")
    server = session.get("Location", symbol.SERVER_LOCATION_ID)
    stored = session.create_component(str(path), location=server)
    nowhere = session.create("FileComponent", {"name": "nowhere"})
    session.commit()
    assert session.get_component_availabilities([stored, nowhere], locations=[server]) == [
        {server["id"]: 100.0},
        {server["id"]: 0.0},
    ]


def test_encode_media(session: Session, tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "still.png"
    Image.new("RGB", (32, 16), "red").save(path)
    job = session.encode_media(str(path))
    assert job.entity_type == "Job"
    assert json.loads(job["data"])["output"]
    with pytest.raises(ValueError, match="Unable to encode"):
        session.encode_media(42)
