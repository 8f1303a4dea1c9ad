"""From where code may be loaded."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ftrackd.hosting import trust
from ftrackd.hosting.errors import UntrustedPathError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    folder = tmp_path / "studio" / "plugins"
    folder.mkdir(parents=True, mode=0o755)
    file = folder / "plugin.py"
    file.write_text("VALUE = 1\n")
    file.chmod(0o644)
    return file


def refusal(path: Path) -> UntrustedPathError:
    with pytest.raises(UntrustedPathError) as caught:
        trust.check_trusted(path)
    return caught.value


def test_when_nobody_else_may_write_then_it_is_trusted(plugin: Path) -> None:
    trust.check_trusted(plugin)
    trust.check_tree(plugin.parent)
    assert trust.read_trusted(str(plugin)) == b"VALUE = 1\n"


@pytest.mark.parametrize("mode", [0o666, 0o777, 0o646])
def test_when_others_may_write_the_file_then_path_and_mode_are_named(plugin: Path, mode: int) -> None:
    plugin.chmod(mode)
    error = refusal(plugin)
    assert error.path == plugin
    assert str(plugin) in str(error)
    assert f"{mode:04o}" in str(error)
    assert "allow_unsafe_paths" in str(error)


@pytest.mark.parametrize("levels_up", [0, 1])
def test_when_others_may_write_a_folder_above_then_that_folder_is_named(plugin: Path, levels_up: int) -> None:
    folder = plugin.parents[levels_up]
    folder.chmod(0o777)
    assert refusal(plugin).path == folder


def test_when_a_sticky_folder_is_above_then_an_entry_of_ours_is_safe(plugin: Path) -> None:
    """As in /tmp: others may add files there, but not replace ours."""
    plugin.parents[1].chmod(0o1777)
    trust.check_trusted(plugin)


@needs_root
def test_when_a_sticky_folder_holds_somebody_else_s_entry_then_it_is_refused(plugin: Path) -> None:
    plugin.parents[1].chmod(0o1777)
    os.chown(plugin.parent, 12345, 0)
    assert refusal(plugin).path in (plugin.parent, plugin.parents[1])


@needs_root
def test_when_somebody_else_owns_it_then_it_is_refused(plugin: Path) -> None:
    os.chown(plugin, 12345, 0)
    assert "user id 12345" in str(refusal(plugin))


@needs_root
def test_when_a_group_with_others_may_write_then_it_is_refused(plugin: Path) -> None:
    os.chown(plugin, 0, 54321)
    plugin.chmod(0o664)
    assert "group 54321" in str(refusal(plugin))


def test_when_a_link_leads_to_an_unsafe_place_then_it_is_refused(plugin: Path, tmp_path: Path) -> None:
    unsafe = tmp_path / "unsafe"
    unsafe.mkdir()
    target = unsafe / "target.py"
    target.write_text("")
    unsafe.chmod(0o777)
    link = plugin.with_name("link.py")
    link.symlink_to(target)
    assert refusal(link).path == unsafe
    with pytest.raises(UntrustedPathError):
        trust.check_tree(plugin.parent)


def test_when_a_helper_below_may_be_written_then_the_tree_is_refused(plugin: Path) -> None:
    helper = plugin.parent / "dependencies" / "library.py"
    helper.parent.mkdir()
    helper.write_text("")
    helper.chmod(0o666)
    with pytest.raises(UntrustedPathError) as caught:
        trust.check_tree(plugin.parent)
    assert caught.value.path == helper


def test_when_a_byte_code_cache_may_be_written_then_the_tree_is_refused(plugin: Path) -> None:
    cache = plugin.parent / "__pycache__"
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(UntrustedPathError) as caught:
        trust.check_tree(plugin.parent)
    assert caught.value.path == cache


def test_when_the_set_group_bit_is_set_then_only_writing_matters(plugin: Path) -> None:
    plugin.parent.chmod(0o2755)
    trust.check_trusted(plugin)
    assert plugin.parent.stat().st_mode & stat.S_ISGID


def test_when_a_file_is_made_unsafe_before_reading_then_reading_refuses(plugin: Path) -> None:
    """What was checked earlier is checked again on the very file that is read."""
    trust.check_tree(plugin.parent)
    plugin.chmod(0o666)
    with pytest.raises(UntrustedPathError):
        trust.read_trusted(str(plugin))
