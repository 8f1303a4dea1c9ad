import itertools
import threading
from typing import Any

import pytest

from ftrackd.api import operation


def _update(key: str, name: str = "name") -> operation.UpdateEntityOperation:
    return operation.UpdateEntityOperation("Task", {"id": key}, name, None, "x")


def test_when_operations_are_pushed_then_they_stack() -> None:
    operations = operation.Operations()
    first, second = _update("1"), _update("2")
    operations.push(first)
    operations.push(second)
    assert list(operations) == [first, second]
    assert operations.pop() is second
    assert len(operations) == 1
    operations.clear()
    assert len(operations) == 0
    with pytest.raises(IndexError):
        operations.pop()


def test_when_values_change_after_recording_then_the_operation_does_not() -> None:
    labels = ["a"]
    update = operation.UpdateEntityOperation("Task", {"id": "1"}, "labels", None, labels)
    create = operation.CreateEntityOperation("Task", {"id": "1"}, {"labels": labels})
    labels.append("b")
    assert update.new_value == ["a"]
    assert create.entity_data == {"labels": ["a"]}


def test_when_operations_are_handed_over_then_they_are_seen_until_they_arrived() -> None:
    operations = operation.Operations()
    sent, later = _update("1"), _update("1", "bid")
    operations.push(sent)
    handed = operations.hand_over()
    operations.push(later)
    assert list(operations) == [sent, later]
    assert operations.of(("Task", ("1",))) == [sent, later]
    assert operations.waiting_attributes(("Task", ("1",))) == {"bid"}
    operations.arrived(handed)
    assert list(operations) == [later]
    assert operations.of(("Task", ("1",))) == [later]


def test_when_operations_come_back_then_they_stand_before_newer_ones() -> None:
    operations = operation.Operations()
    sent, later = _update("1"), _update("2")
    operations.push(sent)
    handed = operations.hand_over()
    operations.push(later)
    operations.came_back(handed)
    assert list(operations) == [sent, later]
    assert operations.hand_over() == [sent, later]


def test_when_plain_dictionaries_are_keys_then_the_order_of_their_values_counts() -> None:
    """Studios push operations with a plain dictionary as key."""
    key: dict[str, Any] = {"configuration_id": "c", "entity_id": 7}
    pushed = operation.UpdateEntityOperation("CustomAttributeValue", key, "value", None, 1)
    assert pushed.address == ("CustomAttributeValue", ("c", "7"))
    assert repr(pushed) == "<UpdateEntityOperation CustomAttributeValue(c, 7)>"


def test_when_threads_push_during_commits_then_each_operation_is_handed_over_once(frantic: None) -> None:
    """Code pushes operations by hand, from any thread; each is known from then on until it is sent."""
    operations = operation.Operations()
    threads, count = 4, 2000
    ended = [False] * threads
    unknown = []

    def push(number: int) -> None:
        for turn in range(count):
            pushed = operation.DeleteEntityOperation("Task", {"id": f"{number}-{turn}"})
            operations.push(pushed)
            if not operations.of(pushed.address) and pushed not in sent:
                unknown.append(pushed)
        ended[number] = True

    sent: list[Any] = []

    workers = [threading.Thread(target=push, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for turn in itertools.count():
        last = all(ended)
        taken = operations.hand_over()
        if turn % 3 == 0:
            operations.came_back(taken)
        else:
            sent.extend(taken)
            operations.arrived(taken)
        if last and turn % 3:
            break
    for worker in workers:
        worker.join(30)
    assert len(sent) == len({each.address for each in sent}) == threads * count
    assert len(operations) == 0
    assert unknown == []
