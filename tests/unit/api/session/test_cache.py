import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from ftrackd.api import cache


def _make_file_cache(folder: Path) -> cache.Cache:
    return cache.FileCache(str(folder / "cache.dbm"))


_CACHES: dict[str, Callable[[Path], cache.Cache]] = {
    "memory": lambda folder: cache.MemoryCache(),
    "file": _make_file_cache,
    "proxy": lambda folder: cache.ProxyCache(cache.MemoryCache()),
    "layered": lambda folder: cache.LayeredCache([cache.MemoryCache(), cache.MemoryCache()]),
    "serialised": lambda folder: cache.SerialisedCache(_make_file_cache(folder), encode=str, decode=str),
}


@pytest.fixture(params=_CACHES)
def any_cache(request: pytest.FixtureRequest, tmp_path: Path) -> cache.Cache:
    return _CACHES[request.param](tmp_path)


def test_when_a_value_is_set_then_it_is_there_until_it_is_removed(any_cache: cache.Cache) -> None:
    any_cache.set("a", "1")
    any_cache.set("a", "2")
    any_cache.set("käse", "ø")
    assert any_cache.get("a") == "2"
    assert sorted(any_cache.keys()) == ["a", "käse"]
    assert sorted(any_cache.values()) == ["2", "ø"]
    any_cache.remove("a")
    with pytest.raises(KeyError):
        any_cache.get("a")
    with pytest.raises(KeyError):
        any_cache.remove("a")


def test_when_a_pattern_is_given_then_only_matching_keys_are_cleared(any_cache: cache.Cache) -> None:
    for key in ("task-1", "task-2", "shot-1"):
        any_cache.set(key, key)
    any_cache.clear("task-.")
    assert any_cache.keys() == ["shot-1"]
    any_cache.clear()
    assert any_cache.keys() == []


def test_when_a_deeper_layer_has_a_value_then_it_is_copied_upwards() -> None:
    first, second = cache.MemoryCache(), cache.MemoryCache()
    layered = cache.LayeredCache([first, second])
    second.set("a", 1)
    assert layered.get("a") == 1
    assert first.get("a") == 1
    second.remove("a")
    layered.remove("a")
    assert layered.keys() == []


def test_when_a_cache_cannot_list_its_keys_then_it_says_so() -> None:
    class Blind(cache.MemoryCache):
        def keys(self) -> list[object]:
            return cache.Cache.keys(self)

    with pytest.raises(NotImplementedError):
        Blind().clear()


def test_when_a_key_vanishes_while_values_are_listed_then_it_is_left_out() -> None:
    class Vanishing(cache.MemoryCache):
        def keys(self) -> list[object]:
            return [*super().keys(), "gone"]

    vanishing = Vanishing()
    vanishing.set("a", 1)
    assert vanishing.values() == [1]
    vanishing.clear("gone|a")
    assert vanishing.values() == []


def test_when_strings_make_keys_then_they_are_the_text_of_the_items() -> None:
    assert cache.StringKeyMaker().key(("Task", ["1"])) == "('Task', ['1'])"
    assert cache.StringKeyMaker().key("a", 1) == "a1"


def _function() -> None:
    """Something with a name."""


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"a": 1, "b": [1, (2, 3)]}, {"b": [1, (2, 3)], "a": 1}, True),
        ({1, 2, 3}, {3, 2, 1}, True),
        ([1, 2], [2, 1], False),
        ({"a": 1}, {"a": 2}, False),
        (_function, _function, True),
        (_function, Path, False),
        ("1", 1, False),
    ],
)
def test_when_objects_make_keys_then_equal_items_have_equal_keys(
    first: object, second: object, same: bool
) -> None:
    keys = cache.ObjectKeyMaker()
    assert (keys.key(first) == keys.key(second)) is same


def test_when_an_object_is_simple_then_its_key_is_its_pickle() -> None:
    assert cache.ObjectKeyMaker().key("a", 1) == pickle.dumps("a", 2) + b"\0" + pickle.dumps(1, 2)


def test_when_the_same_call_comes_again_then_its_result_is_remembered() -> None:
    calls = []

    def describe(name: str, size: int = 3) -> list[str]:
        calls.append(name)
        return [name] * size

    memoiser = cache.Memoiser()
    first = memoiser.call(describe, ("a",))
    first.append("changed by the caller")
    assert memoiser.call(describe, (), {"size": 3, "name": "a"}) == ["a", "a", "a"]
    assert memoiser.call(describe, ("a", 2)) == ["a", "a"]
    assert calls == ["a", "a"]


def test_when_a_decorated_function_is_asked_for_the_object_itself_then_no_copy_is_made() -> None:
    decorate = cache.memoise_decorator(cache.Memoiser(return_copies=False))

    @decorate
    def build(name: str) -> list[str]:
        return [name]

    assert build("a") is build("a")
    assert build("a") is not build("b")
    assert cache.memoise(lambda: 1)() == 1


@pytest.mark.parametrize(
    ("item", "key"),
    [
        ("a", b"\x80\x02X\x01\x00\x00\x00aq\x00."),
        ([1, 2], b"\x03\x80\x02K\x01.\x00\x80\x02K\x02.\x03"),
        ({"a": 1}, b"\x01\x80\x02X\x01\x00\x00\x00aq\x00.\x02\x80\x02K\x01.\x01"),
        (b"x", b"\x03\x80\x02Kx.\x03"),
        (len, b"\x04len"),
    ],
)
def test_when_keys_are_kept_by_another_client_then_ours_are_the_same(item: object, key: bytes) -> None:
    """The bytes are those of the official client: a cache on disk outlives the one that wrote it."""
    assert cache.ObjectKeyMaker().key(item) == key
