import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.api import exception
from ftrackd.api.query import QueryResult


class Pages:
    """Stands for a session: answers paged queries over `count` numbers and remembers what was asked."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked: list[str] = []

    def _query(self, expression: str) -> tuple[list[int], int | None]:
        self.asked.append(expression)
        offset, limit = (
            re.search(r"offset (\d+)(?: limit \d+)?$", expression),
            re.search(r"limit (\d+)$", expression),
        )
        start = int(offset.group(1)) if offset else 0
        assert limit is not None
        stop = start + int(limit.group(1))
        return list(range(start, min(stop, self.count))), stop if stop <= self.count else None


@given(st.integers(0, 30), st.integers(1, 9), st.slices(40))
def test_when_results_are_sliced_then_they_behave_like_a_list(count: int, page: int, chosen: slice) -> None:
    numbers = list(range(count))
    assert QueryResult(Pages(count), "Task", page)[chosen] == numbers[chosen]


@given(st.integers(1, 30), st.integers(1, 9), st.data())
def test_when_results_are_indexed_then_they_behave_like_a_list(
    count: int, page: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(-count, count - 1))
    assert QueryResult(Pages(count), "Task", page)[index] == list(range(count))[index]


@given(st.integers(0, 40), st.integers(1, 9), st.none() | st.integers(0, 50), st.none() | st.integers(0, 50))
def test_when_an_expression_has_paging_of_its_own_then_it_is_kept(
    count: int, page: int, limit: int | None, offset: int | None
) -> None:
    expression = "select name from Task"
    if offset is not None:
        expression += f" offset {offset}"
    if limit is not None:
        expression += f" limit {limit}"
    start = offset or 0
    expected = list(range(count))[start : None if limit is None else start + limit]
    assert QueryResult(Pages(count), expression, page).all() == expected
    assert len(QueryResult(Pages(count), expression, page)) == len(expected)


def test_when_results_are_read_then_only_the_pages_needed_are_fetched() -> None:
    pages = Pages(100)
    results = QueryResult(pages, "select name from Task", 10)
    assert pages.asked == []
    assert results[12] == 12
    assert len(pages.asked) == 2
    assert [number for number, _ in zip(results, range(25), strict=False)][-1] == 24
    assert len(pages.asked) == 3
    assert results[5:8] == [5, 6, 7]
    assert len(pages.asked) == 3


def test_when_asked_whether_there_are_any_then_one_page_answers() -> None:
    pages = Pages(100)
    assert QueryResult(pages, "select name from Task", 10)
    assert len(pages.asked) == 1
    assert not QueryResult(Pages(0), "select name from Task", 10)


@pytest.mark.parametrize(
    "condition",
    [
        'name is "speed limit 10 kmh"',
        "name is 'offset 3'",
        r'name is "a \" limit 4"',
        "id in (select id from Task order by sort limit 5)",
        "notes any (content is 'x (limit 2)' and (a is 1 or b is 2))",
    ],
)
def test_when_a_limit_is_text_or_belongs_to_a_part_then_it_is_no_paging(condition: str) -> None:
    pages = Pages(3)
    expression = f"select name from Task where {condition}"
    assert QueryResult(pages, expression).first() == 0
    assert QueryResult(pages, expression).all() == [0, 1, 2]
    assert pages.asked == [f"{expression} limit 1", f"{expression} offset 0 limit 500"]


def test_when_one_is_wanted_then_exactly_one_must_be_there() -> None:
    assert QueryResult(Pages(1), "Task").one() == 0
    with pytest.raises(exception.NoResultFoundError):
        QueryResult(Pages(0), "Task").one()
    with pytest.raises(exception.MultipleResultsFoundError):
        QueryResult(Pages(2), "Task").one()


def test_when_the_first_is_wanted_then_there_may_be_none() -> None:
    pages = Pages(5)
    assert QueryResult(pages, "Task offset 2").first() == 2
    assert pages.asked == ["Task offset 2 limit 1"]
    assert QueryResult(Pages(0), "Task").first() is None


@pytest.mark.parametrize("expression", ["Task limit 3", "Task offset 1"])
def test_when_an_expression_pages_itself_then_one_refuses(expression: str) -> None:
    with pytest.raises(ValueError, match="Cannot determine a single result"):
        QueryResult(Pages(5), expression).one()


def test_when_an_expression_limits_itself_then_first_refuses() -> None:
    with pytest.raises(ValueError, match="Cannot determine the first result"):
        QueryResult(Pages(5), "Task limit 3").first()


def test_when_results_are_iterated_again_then_they_are_not_fetched_again() -> None:
    pages = Pages(4)
    results: Any = QueryResult(pages, "Task")
    assert list(results) == list(results) == [0, 1, 2, 3]
    assert 3 in results
    assert len(pages.asked) == 1


@pytest.mark.parametrize("page_size", [0, -1, 1.5, None, "500"])
def test_when_the_page_size_is_no_number_of_rows_then_that_is_an_error_at_once(page_size: Any) -> None:
    pages = Pages(3)
    with pytest.raises(ValueError, match="page_size must be"):
        QueryResult(pages, "Task", page_size)
    assert pages.asked == []
