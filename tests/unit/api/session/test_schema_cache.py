import logging
import os
from pathlib import Path
from typing import Any

import pytest

from ftrackd.api import _schema_cache
from ftrackd.api.session import Session

from .canned_server import CannedServer, schemas

_SCHEMAS: list[dict[str, Any]] = [{"id": "Task", "properties": {"name": {"type": "string", "default": "ä"}}}]
_HASH = _schema_cache.schema_hash(_SCHEMAS)


def _actions(server: CannedServer) -> list[str]:
    return [request["action"] for batch in server.calls for request in batch]


def _open(server: CannedServer, folder: Path | bool | None) -> None:
    Session(server.url, "key", "jane", plugin_paths=[], schema_cache_path=folder).close()  # type: ignore[arg-type]


def test_when_the_hash_is_made_then_it_is_that_of_the_server() -> None:
    """MD5 of json.dumps(schemas, sort_keys=True): the order of keys does not count, that of schemas does."""
    assert _schema_cache.schema_hash([{"b": 1, "a": "ä"}]) == _schema_cache.schema_hash([{"a": "ä", "b": 1}])
    assert _schema_cache.schema_hash([{"a": 1}, {"b": 1}]) != _schema_cache.schema_hash([{"b": 1}, {"a": 1}])
    assert _schema_cache.schema_hash([]) == "d751713988987e9331980363e24189ce"


def test_when_schemas_are_kept_then_the_next_session_asks_no_more(
    server: CannedServer, tmp_path: Path
) -> None:
    server.information["schema_hash"] = _schema_cache.schema_hash(schemas())
    _open(server, tmp_path)
    server.calls.clear()
    _open(server, tmp_path)
    assert "query_schemas" not in _actions(server)
    server.information["schema_hash"] = "changed"
    _open(server, tmp_path)
    assert "query_schemas" in _actions(server)


def test_when_two_servers_are_used_then_each_has_a_file(tmp_path: Path) -> None:
    first = _schema_cache.file_for(tmp_path, "https://north.example.com")
    second = _schema_cache.file_for(tmp_path, "https://north.example.com:8080")
    assert first != second
    assert first.parent == tmp_path
    assert "north.example.com" in first.name


def test_when_the_file_is_written_then_it_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "schemas.json"
    _schema_cache.write(path, _SCHEMAS, _HASH)
    assert _schema_cache.read(path, _HASH) == _SCHEMAS
    assert _schema_cache.read(path, "other") is None
    assert _schema_cache.read(path, None) is None
    assert os.listdir(path.parent) == ["schemas.json"]


def test_when_the_schemas_are_not_those_announced_then_they_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "schemas.json"
    _schema_cache.write(path, _SCHEMAS, "hash of what came before")
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b'{"schema_hash": "', b"[]", b'{"schema_hash": "x"}', b"\xff"])
def test_when_the_file_is_damaged_then_schemas_are_fetched(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "schemas.json"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, logger="ftrack_api"):
        assert _schema_cache.read(path, "y") is None
    _schema_cache.write(path, _SCHEMAS, _HASH)
    assert _schema_cache.read(path, _HASH) == _SCHEMAS


def test_when_the_folder_cannot_be_written_then_a_warning_is_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    _schema_cache.write(blocked / "schemas.json", _SCHEMAS, _HASH)
    assert "will fetch them again" in caplog.text
    taken = tmp_path / "taken.json"
    taken.mkdir()
    _schema_cache.write(taken, _SCHEMAS, _HASH)
    assert sorted(os.listdir(tmp_path)) == ["file", "taken.json"]


def test_when_the_cache_is_off_then_nothing_is_written(
    server: CannedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTRACK_API_SCHEMA_CACHE_PATH", str(tmp_path))
    server.information["schema_hash"] = _schema_cache.schema_hash(schemas())
    _open(server, False)
    assert os.listdir(tmp_path) == []
    _open(server, None)
    assert len(os.listdir(tmp_path)) == 1


def test_when_nothing_is_configured_then_the_folder_is_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FTRACK_API_SCHEMA_CACHE_PATH", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _schema_cache.default_folder().name == "ftrackd"
