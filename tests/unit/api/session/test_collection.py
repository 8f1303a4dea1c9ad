import copy
import itertools
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ftrackd.api import attribute, exception, operation
from ftrackd.api.collection import Collection
from ftrackd.api.session import Session

from .canned_server import CannedServer, rows


class Member(dict[str, Any]):
    """As little of an entity as a collection needs."""

    entity_type = "Task"
    primary_key_attributes = ("id",)

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(self["id"])


def _collection(*ids: int, mutable: bool = True) -> Collection:
    return Collection(MagicMock(), MagicMock(), mutable, [Member(id=number) for number in ids])


def _ids(collection: Collection) -> list[int]:
    return [member["id"] for member in collection]


@given(st.lists(st.integers(0, 5), unique=True), st.integers(-8, 8), st.integers(6, 9))
def test_when_an_item_is_inserted_then_it_is_where_a_list_puts_it(
    ids: list[int], index: int, new: int
) -> None:
    collection = _collection(*ids)
    collection.insert(index, Member(id=new))
    ids.insert(index, new)
    assert _ids(collection) == ids
    assert Member(id=new) in collection


@given(st.lists(st.integers(0, 9), unique=True, min_size=1), st.data())
def test_when_items_are_set_and_deleted_then_it_is_what_a_list_does(
    ids: list[int], data: st.DataObject
) -> None:
    collection = _collection(*ids)
    index = data.draw(st.integers(-len(ids), len(ids) - 1))
    collection[index] = Member(id=99)
    ids[index] = 99
    assert _ids(collection) == ids
    chosen = data.draw(st.slices(len(ids)))
    del collection[chosen]
    del ids[chosen]
    assert _ids(collection) == ids


def test_when_an_item_is_there_already_then_it_is_refused() -> None:
    collection = _collection(1, 2)
    for change in (
        lambda: collection.append(Member(id=2)),
        lambda: collection.__setitem__(0, Member(id=2)),
        lambda: collection.__setitem__(slice(0, 1), [Member(id=3), Member(id=3)]),
        lambda: _collection(1, 1),
    ):
        with pytest.raises(exception.DuplicateItemInCollectionError, match="already exists"):
            change()
    collection[0] = Member(id=1)
    assert _ids(collection) == [1, 2]


def test_when_a_collection_is_immutable_then_every_change_is_refused() -> None:
    collection = _collection(1, 2, mutable=False)
    for change in (
        lambda: collection.append(Member(id=3)),
        lambda: collection.__setitem__(0, Member(id=3)),
        lambda: collection.__delitem__(0),
        lambda: collection.clear(),
    ):
        with pytest.raises(exception.ImmutableCollectionError):
            change()


def test_when_collections_are_compared_then_their_members_count_and_not_their_order() -> None:
    assert _collection(1, 2) == _collection(2, 1)
    assert _collection(1, 2) != _collection(1)
    assert _collection(1) != [Member(id=1)]
    assert "1" not in _collection(1)
    assert None not in _collection(1)


def test_when_a_collection_is_copied_then_the_copy_is_independent() -> None:
    original = _collection(1)
    duplicate = copy.copy(original)
    duplicate.append(Member(id=2))
    assert _ids(original) == [1]
    assert _ids(duplicate) == [1, 2]
    assert Member(id=2) not in original


class CollectionsThroughTime(RuleBasedStateMachine):
    """Changes a collection and copies taken of it at any time; each must be what a list of its own is."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[Collection, list[int]]] = [(_collection(1, 2, 3), [1, 2, 3])]
        self.numbers = itertools.count(4)

    def _pick(self, data: st.DataObject) -> tuple[Collection, list[int]]:
        return data.draw(st.sampled_from(self.pairs))

    @rule(data=st.data())
    def take_a_copy(self, data: st.DataObject) -> None:
        collection, ids = self._pick(data)
        self.pairs.append((copy.copy(collection), list(ids)))

    @rule(data=st.data(), count=st.integers(1, 40))
    def add(self, data: st.DataObject, count: int) -> None:
        collection, ids = self._pick(data)
        for number in itertools.islice(self.numbers, count):
            index = data.draw(st.integers(-len(ids) - 1, len(ids) + 1)) if count == 1 else len(ids)
            collection.insert(index, Member(id=number))
            ids.insert(index, number)
            assert Member(id=number) in collection

    @rule(data=st.data(), count=st.integers(1, 40))
    def take_away(self, data: st.DataObject, count: int) -> None:
        collection, ids = self._pick(data)
        for number in data.draw(st.permutations(ids))[:count]:
            member = next(each for each in collection if each["id"] == number)
            collection.remove(data.draw(st.sampled_from([member, Member(id=number)])))
            ids.remove(number)
            assert member not in collection

    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        collection, ids = self._pick(data)
        chosen = data.draw(st.slices(len(ids)))
        new = list(itertools.islice(self.numbers, len(ids[chosen])))
        collection[chosen] = [Member(id=number) for number in new]  # type: ignore[call-overload]
        ids[chosen] = new

    @invariant()
    def each_is_what_its_list_is(self) -> None:
        # Only some are read, so that others stay unread over many changes.
        collection, ids = self.pairs[next(self.numbers) % len(self.pairs)]
        assert _ids(collection) == ids

    def teardown(self) -> None:
        for collection, ids in self.pairs:
            assert _ids(collection) == ids
            assert collection == _collection(*ids)


CollectionsThroughTime.TestCase.settings = settings(max_examples=20, stateful_step_count=15)
TestCollectionsThroughTime = CollectionsThroughTime.TestCase


def test_when_a_loop_changes_the_collection_then_it_sees_what_was_there() -> None:
    collection = _collection(1, 2, 3)
    for member in collection:
        collection.remove(member)
    assert _ids(collection) == []


# As values of entities.


@pytest.fixture
def task(server: CannedServer, session: Session) -> Any:
    server.answer = lambda request: rows(
        "Task",
        {
            "id": "t1",
            "scopes": [{"__entity_type__": "Scope", "id": "s1"}, {"__entity_type__": "Scope", "id": "s2"}],
            "metadata": [
                {"__entity_type__": "Metadata", "parent_id": "t1", "key": key, "value": key.upper()}
                for key in "ab"
            ],
        },
    )
    return session.query("select scopes, metadata from Task").one()


def test_when_a_collection_is_read_then_it_is_one_object_and_no_change(task: Any, session: Session) -> None:
    assert task["scopes"] is task["scopes"]
    assert [scope["id"] for scope in task["scopes"]] == ["s1", "s2"]
    assert session.recorded_operations.__len__() == 0
    assert session.modified == []
    assert not task.attributes.get("scopes").is_modified(task)


def test_when_a_member_is_added_then_the_whole_attribute_is_updated(task: Any, session: Session) -> None:
    scope = session.create("Scope", {"id": "s3", "name": "x"})
    task["scopes"].append(scope)
    recorded = list(session.recorded_operations)[-1]
    assert isinstance(recorded, operation.UpdateEntityOperation)
    assert [member["id"] for member in recorded.old_value] == ["s1", "s2"]
    assert [member["id"] for member in recorded.new_value] == ["s1", "s2", "s3"]
    task["scopes"].clear()
    assert [member["id"] for member in recorded.new_value] == ["s1", "s2", "s3"]
    assert session.modified == [task]


def test_when_the_server_sends_other_members_then_an_unchanged_collection_follows(
    task: Any, server: CannedServer, session: Session
) -> None:
    assert len(task["scopes"]) == 2
    server.answer = lambda request: rows("Task", {"id": "t1", "scopes": []})
    session.populate(task, "scopes")
    assert len(task["scopes"]) == 0


def test_when_the_server_sends_other_members_then_a_changed_collection_stays(
    task: Any, server: CannedServer, session: Session
) -> None:
    del task["scopes"][0]
    server.answer = lambda request: rows("Task", {"id": "t1", "scopes": []})
    session.populate(task, "scopes")
    assert [scope["id"] for scope in task["scopes"]] == ["s2"]
    assert len(task.attributes.get("scopes").get_remote_value(task)) == 0


@pytest.mark.parametrize("value", [("a",), {"a"}, "a", 3])
def test_when_something_else_than_a_list_is_assigned_then_it_is_refused(task: Any, value: object) -> None:
    with pytest.raises(NotImplementedError, match="give a list"):
        task["scopes"] = value


def test_when_none_is_assigned_then_the_collection_is_empty(task: Any) -> None:
    task["scopes"] = None
    assert list(task["scopes"]) == []


def test_when_the_collection_of_another_attribute_is_assigned_then_it_is_refused(task: Any) -> None:
    with pytest.raises(exception.AttributeError, match="different attribute"):
        task["lists"] = task["scopes"]


def test_when_the_collection_of_another_entity_is_assigned_then_it_is_copied(
    task: Any, session: Session
) -> None:
    other = session.create("Task", {"name": "other", "scopes": task["scopes"]})
    other["scopes"].clear()
    assert len(task["scopes"]) == 2


def test_when_an_attribute_may_not_change_then_its_collection_reads_and_refuses(task: Any) -> None:
    """The official client reads every immutable collection as unset."""
    frozen = attribute.CollectionAttribute("scopes", mutable=False)
    value = frozen.get_value(task)
    assert [scope["id"] for scope in value] == ["s1", "s2"]
    with pytest.raises(exception.ImmutableCollectionError):
        value.clear()


def test_when_metadata_is_read_then_it_is_a_mapping(task: Any) -> None:
    assert dict(task["metadata"]) == {"a": "A", "b": "B"}
    assert task["metadata"].keys() == ["a", "b"]
    assert "c" not in task["metadata"]
    with pytest.raises(KeyError):
        task["metadata"]["c"]
    assert "Collection" in repr(task["metadata"])


def test_when_a_key_is_set_then_its_entity_is_updated_or_created(task: Any, session: Session) -> None:
    task["metadata"]["a"] = "new"
    task["metadata"]["c"] = "C"
    told = [
        (
            type(recorded).__name__,
            recorded.entity_type,
            recorded.entity_key.get("key", ""),
        )
        for recorded in session.recorded_operations
    ]
    assert told == [
        ("UpdateEntityOperation", "Metadata", "a"),
        ("CreateEntityOperation", "Metadata", "c"),
        ("UpdateEntityOperation", "Task", ""),
    ]


def test_when_many_keys_come_and_go_then_they_are_found_without_a_search(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = session.create("Task", {"name": "new"})
    metadata = task["metadata"]
    metadata["first"] = "1"
    reads = MagicMock(side_effect=Collection.__iter__, autospec=True)
    monkeypatch.setattr(Collection, "__iter__", lambda collection: reads(collection))
    for number in range(50):
        metadata[f"key {number}"] = str(number)
    del metadata["first"]
    assert [metadata[f"key {number}"] for number in range(50)] == [str(number) for number in range(50)]
    for number in range(25):
        del metadata[f"key {number}"]
    assert "key 7" not in metadata
    assert metadata["key 30"] == "30"
    assert reads.call_count == 0
    monkeypatch.undo()
    assert list(metadata) == [f"key {number}" for number in range(25, 50)]
    session.rollback()


def test_when_members_change_past_the_mapping_then_it_finds_what_is_there(
    session: Session, server: CannedServer
) -> None:
    def value(key: str, number: int) -> dict[str, Any]:
        return {
            "__entity_type__": "ContextCustomAttributeValue",
            "configuration_id": f"c{number}",
            "entity_id": "1",
            "key": key,
            "value": number,
        }

    server.answer = lambda request: rows(
        "Task", {"id": "1", "custom_attributes": [value("a", 1), value("b", 2)]}
    )
    task = session.query("select custom_attributes from Task").first()
    values = task["custom_attributes"]
    assert values["a"] == 1
    # The administrator gives an attribute another key, and a query of something else brings the news.
    server.answer = lambda request: {**rows("Task"), "data": [value("renamed", 1)]}
    session.query("ContextCustomAttributeValue").first()
    assert values["renamed"] == 1
    assert "a" not in values
    assert dict(values) == {"renamed": 1, "b": 2}


def test_when_a_mapping_is_assigned_then_missing_keys_are_deleted(task: Any, session: Session) -> None:
    task["metadata"] = {"b": "B2", "d": "D"}
    assert dict(task["metadata"]) == {"b": "B2", "d": "D"}
    assert [str(entity["key"]) for entity in session.deleted] == ["a"]
    assert sorted(entity["key"] for entity in session.created) == ["d"]


def test_when_a_mapping_is_copied_then_the_copy_is_independent(task: Any) -> None:
    duplicate = copy.copy(task["metadata"])
    del duplicate.collection[0]
    assert len(task["metadata"]) == 2
    assert task["metadata"].mutable
    assert task["metadata"].attribute is task.attributes.get("metadata")
