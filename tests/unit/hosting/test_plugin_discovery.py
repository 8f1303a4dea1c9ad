"""Which entries a plugin path holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ftrackd.api._plugin_discovery import binds_register, find_plugins

PLUGIN = "def register(session, **kw):\n    pass\n"


def write(folder: Path, *names: str, text: str = PLUGIN) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(*paths: Path | str) -> list[str]:
    return [source.name for source in find_plugins(paths)]


def test_when_files_register_then_they_are_plugins_in_sorted_order(tmp_path: Path) -> None:
    write(tmp_path, "zebra.py", "alpha.py", "mike.py")
    write(tmp_path, "helper.py", text="VALUE = 1\n")
    assert names(tmp_path) == ["alpha", "mike", "zebra"]


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take UTF-8 alone")
def test_when_a_name_is_no_utf8_then_the_plugin_has_one_that_can_be_shown_and_stored(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    write(tmp_path, f"{odd}.py", f"more/{odd}.py", f"x{odd}/__init__.py")
    assert names(tmp_path) == ["caf\\xe9", "more.caf\\xe9", "xcaf\\xe9"]


def test_when_paths_are_blank_or_missing_then_they_are_skipped(tmp_path: Path) -> None:
    write(tmp_path, "one.py")
    assert names("", "  ", tmp_path / "missing", f" {tmp_path} ") == ["one"]


@pytest.mark.parametrize(
    "name",
    [
        ".hidden/plugin.py",
        "tests/plugin.py",
        "test/plugin.py",
        "dependencies/plugin.py",
        "__pycache__/plugin.py",
        "node_modules/plugin.py",
        ".hidden.py",
        "setup.py",
        "conftest.py",
        "test_thing.py",
        "thing_test.py",
    ],
)
def test_when_not_meant_as_plugin_then_it_is_not_searched(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, "good.py")
    assert names(tmp_path) == ["good"]


def test_when_folder_is_a_virtual_environment_then_it_is_not_searched(tmp_path: Path) -> None:
    write(tmp_path, "environment/lib/plugin.py", "good.py")
    write(tmp_path, "environment/pyvenv.cfg", text="home = /usr/bin\n")
    assert names(tmp_path) == ["good"]


def test_when_build_output_lies_beside_setup_then_it_is_not_searched(tmp_path: Path) -> None:
    write(tmp_path, "project/setup.py", "project/build/lib/copy.py", "project/original.py")
    assert names(tmp_path) == ["original"]


def test_when_folder_is_laid_out_as_for_connect_then_it_is_one_plugin(tmp_path: Path) -> None:
    write(tmp_path, "cascade-status-1.2.3/hook/listener.py", "cascade-status-1.2.3/hook/sub/action.py")
    write(tmp_path, "cascade-status-1.2.3/location/custom_location.py")
    write(tmp_path, "cascade-status-1.2.3/dependencies/ftrack_api/plugin.py")
    (source,) = find_plugins([tmp_path])
    root = tmp_path / "cascade-status-1.2.3"
    assert (source.name, source.version, source.kind, source.root) == (
        "cascade-status",
        "1.2.3",
        "folder",
        root,
    )
    assert source.modules == (root / "hook/listener.py", root / "hook/sub/action.py")
    assert root / "dependencies" in source.search_paths
    assert root / "location" in source.search_paths


def test_when_no_hook_registers_then_the_location_is_loaded(tmp_path: Path) -> None:
    write(tmp_path, "disk-1.0.0/location/custom_location.py")
    write(tmp_path, "disk-1.0.0/hook/shared.py", text="VALUE = 1\n")
    (source,) = find_plugins([tmp_path])
    assert source.modules == (tmp_path / "disk-1.0.0/location/custom_location.py",)


def test_when_path_is_the_hook_folder_then_the_plugin_is_the_folder_around_it(tmp_path: Path) -> None:
    write(tmp_path, "thing-1.0.0/hook/listener.py")
    (inner,) = find_plugins([tmp_path / "thing-1.0.0" / "hook"])
    (outer,) = find_plugins([tmp_path])
    assert inner == outer


def test_when_two_versions_exist_then_the_newest_is_loaded(tmp_path: Path) -> None:
    write(tmp_path, "thing-1.9.0/hook/a.py", "thing-1.10.0/hook/a.py", "thing-0.1.0/hook/a.py")
    (source,) = find_plugins([tmp_path])
    assert source.version == "1.10.0"
    assert {path.name for path in source.shadowed} == {"thing-1.9.0", "thing-0.1.0"}


def test_when_folder_only_holds_other_folders_then_their_plugins_are_found(tmp_path: Path) -> None:
    """A checkout of recipes: `python/events/name-0.0.0/hook/file.py`, `python/actions/file.py`."""
    write(tmp_path, "events/cascade-0.0.0/hook/cascade.py", "actions/launch.py", "actions/open.py")
    assert names(tmp_path) == ["launch", "open", "cascade"]


def test_when_package_registers_in_its_initial_module_then_it_is_one_plugin(tmp_path: Path) -> None:
    write(tmp_path, "package/__init__.py", "package/other.py")
    (source,) = find_plugins([tmp_path])
    assert (source.kind, source.modules) == ("package", (tmp_path / "package/__init__.py",))


def test_when_two_plugins_share_a_name_then_both_load_under_different_names(tmp_path: Path) -> None:
    """One file hid the other in a host that keyed plugins by file name."""
    write(tmp_path, "one/thing.py", "two/thing.py")
    assert names(tmp_path / "one", tmp_path / "two") == ["thing", "two.thing"]


def test_when_reached_twice_then_it_is_loaded_once(tmp_path: Path) -> None:
    write(tmp_path, "plugins/thing.py")
    (tmp_path / "link").symlink_to(tmp_path / "plugins")
    assert names(tmp_path / "plugins", tmp_path / "link", tmp_path / "plugins" / "thing.py") == ["thing"]


def test_when_links_form_a_circle_then_the_search_ends(tmp_path: Path) -> None:
    write(tmp_path, "plugins/thing.py")
    (tmp_path / "plugins" / "again").symlink_to(tmp_path / "plugins")
    assert names(tmp_path / "plugins") == ["thing"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def register(session): pass", True),
        ("async def register(session): pass", True),
        ("register = print", True),
        ("a = register = print", True),
        ("from x import register", True),
        ("from x import y as register", True),
        ("from x import *", True),
        ("if True:\n    def register(s): pass", True),
        ("try:\n    import x\nexcept ImportError:\n    def register(s): pass", True),
        ("class A:\n    def register(self): pass", False),
        ("def outer():\n    def register(self): pass", False),
        ("register: int", False),
        ("x = 'def register'", False),
        ("if __name__ == '__main__':\n    def register(s): pass", False),
        ("", False),
        ("def register(session):\n    print 'Python 2'", True),
        ("print 'helper of Python 2, mentions register'", False),
    ],
)
def test_register_is_recognised_without_running_the_module(text: str, expected: bool) -> None:
    assert binds_register(text.encode()) is expected
