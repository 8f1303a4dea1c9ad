"""What docs/locations.md shows is true."""

import pathlib
import re
import types
from typing import Any

from ftrackd.api import alias, symbol
from ftrackd.api._built_in_locations import _describe
from ftrackd.api.accessor import _server_request
from ftrackd.api.accessor._atomic_file import PARTIAL_SUFFIX
from ftrackd.api.accessor.disk import DiskAccessor
from ftrackd.api.structure.standard import StandardStructure

ROOT = pathlib.Path(__file__).parents[4]
TEXT = (ROOT / "docs" / "locations.md").read_text(encoding="utf-8")


def test_when_built_in_locations_are_listed_then_with_their_priorities() -> None:
    session: Any = types.SimpleNamespace(server_url="http://127.0.0.1")
    listed = dict(re.findall(r"^\| `(ftrack\.\w+)` \|.*?\| (\d+) \|", TEXT, re.MULTILINE))
    described = {location.name: str(location.priority) for location in _describe(session)}
    assert listed == described


def test_when_the_plugin_is_copied_then_it_configures_the_location() -> None:
    (example,) = [
        code for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "def register" in code
    ]
    alias.install()
    try:
        import ftrack_api

        subscribed: list[Any] = []

        class Session(ftrack_api.Session):
            def __init__(self) -> None:
                hub = types.SimpleNamespace(subscribe=lambda *arguments: subscribed.append(arguments))
                self._event_hub = hub

        namespace: dict[str, Any] = {}
        exec(example, namespace)
        namespace["register"](Session())
    finally:
        alias.uninstall()
    ((expression, callback),) = subscribed
    assert expression == "topic=ftrack.api.session.configure-location"
    location = types.SimpleNamespace()
    session = types.SimpleNamespace(ensure=lambda entity_type, data: location)
    callback({"data": {"session": session}})
    assert isinstance(location.accessor, DiskAccessor)
    assert isinstance(location.structure, StandardStructure)
    assert location.priority == 10


def test_when_numbers_are_named_then_they_are_those_of_the_code() -> None:
    assert f".name{PARTIAL_SUFFIX}" in TEXT
    assert f"some {round(sum(_server_request.RETRY_DELAYS_S))} seconds" in TEXT
    listed = set(re.search(r"answered with ([\d, ]+) or 5xx", TEXT)[1].replace(" ", "").split(","))
    assert {int(status) for status in listed} == {s for s in _server_request.RETRIED_STATUSES if s < 500}
    assert "(default 1 MiB)" in TEXT and symbol.CHUNK_SIZE == 1024 * 1024


def test_when_files_are_named_then_they_exist() -> None:
    for path in re.findall(r"`(plugins/\w+(?:\.py)?)`", TEXT):
        assert (ROOT / path).exists(), path
