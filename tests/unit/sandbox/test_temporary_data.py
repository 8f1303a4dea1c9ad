"""Texts that clients leave for a while."""

from ftrackd.sandbox.services import TemporaryData


def test_when_put_then_read_under_its_id():
    data = TemporaryData()
    first, second = data.put("a"), data.put("b")
    assert (data.get(first), data.get(second), data.get("none")) == ("a", "b", None)


def test_when_too_many_then_the_oldest_go(monkeypatch):
    monkeypatch.setattr(TemporaryData, "LIMIT", 3)
    data = TemporaryData()
    keys = [data.put(str(number)) for number in range(5)]
    assert [data.get(key) for key in keys] == [None, None, "2", "3", "4"]


def test_when_its_time_is_over_then_gone(monkeypatch):
    monkeypatch.setattr(TemporaryData, "LIFETIME_S", 0.0)
    data = TemporaryData()
    assert data.get(data.put("a")) is None
