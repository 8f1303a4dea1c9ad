"""The rows of the table: which measurements make a row, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Values = Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """One line: what is measured, how it is written, and the target."""

    group: str
    name: str
    #: Makes the row's number of a client's measurements.
    number: Callable[[Values], float]
    #: Writes the number.
    written: Callable[[float], str]
    target: str
    #: Whether the target is met, given the official client's number (None when it has none) and ours; None
    #: when that cannot be told.
    is_met: Callable[[float | None, float], bool | None]


def seconds(value: float) -> str:
    """Write a duration with a fitting unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def times(value: float) -> str:
    """Write a ratio."""
    return f"{value:.2g}x" if value < 10 else f"{value:.0f}x"


def count(value: float) -> str:
    """Write a whole number."""
    return f"{value:.0f}"


def kilobytes(value: float) -> str:
    """Write a size of about a kilobyte."""
    return f"{value / 1000:.2f} kB"


def percent(value: float) -> str:
    """Write a share."""
    return f"{value:.2f} %"


def megabytes(value: float) -> str:
    """Write a size of about a megabyte."""
    return f"{value / 1e6:.1f} MB"


def per_second(value: float) -> str:
    """Write a rate."""
    return f"{value:.0f}/s"


def _faster(factor: float) -> Callable[[float | None, float], bool | None]:
    return lambda official, ours: None if official is None else ours * factor <= official


def _at_most(limit: float) -> Callable[[float | None, float], bool]:
    return lambda official, ours: ours <= limit


def _of(name: str) -> Callable[[Values], float]:
    return lambda values: values[name]


def _quotient(name: str, base: str) -> Callable[[Values], float]:
    return lambda values: values[name] / values[base]


def _query(name: str, label: str, factor: float, limit: float) -> list[Row]:
    return [
        Row(
            "queries",
            f"query {label}",
            _of(f"query_{name}"),
            seconds,
            f"{factor:.0f}x faster",
            _faster(factor),
        ),
        Row(
            "queries",
            f"query {label}, of decoding its JSON",
            _quotient(f"query_{name}", f"decode_{name}"),
            times,
            f"<= {limit:g}x",
            _at_most(limit),
        ),
    ]


EXPRESSIONS = (
    "one condition",
    "two conditions",
    "three conditions, quoted",
    "parentheses and not",
    "nested parentheses",
)

CLIENT_ROWS: tuple[Row, ...] = (
    Row("import", "import, net of bare Python", _of("import"), seconds, "<= 0.6 of it", _faster(1 / 0.6)),
    Row(
        "start",
        "import and first Session of a process",
        _of("first"),
        seconds,
        "",
        lambda official, ours: True,
    ),
    Row("start", "Session start, warm schema cache", _of("start"), seconds, "", lambda official, ours: True),
    Row(
        "start",
        "the same, of decoding the schemas",
        _quotient("start", "decode"),
        times,
        "<= 3x",
        _at_most(3),
    ),
    *_query("5", "5,000 Tasks, 5 attributes", 30, 5),
    *_query("20", "5,000 Tasks, 20 attributes", 30, 2.5),
    *_query("nested", "5,000 Tasks, nested names", 50, 5),
    Row(
        "queries",
        "the same rows again, of the first query",
        _quotient("again_5", "query_5"),
        times,
        "<= 1x (and noise)",
        _at_most(1.15),
    ),
    Row(
        "queries",
        "20,000 Tasks, of 4 times 5,000",
        lambda values: values["query_5_more"] / (4 * values["query_5"]),
        times,
        "linear (<= 1.25x)",
        _at_most(1.25),
    ),
    Row("queries", "read one loaded attribute", _of("read"), seconds, "<= 250 ns", _at_most(250e-9)),
    Row(
        "queries",
        "memory per Task, 5 attributes",
        _of("memory_5"),
        kilobytes,
        "",
        lambda official, ours: True,
    ),
    Row(
        "queries",
        "memory per Task, 5 attributes, of plain dicts",
        _quotient("memory_5", "plain_5"),
        times,
        "<= 1.5x",
        _at_most(1.5),
    ),
    Row(
        "queries",
        "memory per Task, 20 attributes",
        _of("memory_20"),
        kilobytes,
        "",
        lambda official, ours: True,
    ),
    Row(
        "queries",
        "memory per Task, 20 attributes, of plain dicts",
        _quotient("memory_20", "plain_20"),
        times,
        "<= 1.5x",
        _at_most(1.5),
    ),
    Row("loops", "calls to read status.name of 100 tasks", _of("calls"), count, "<= 3", _at_most(3)),
    Row("commits", "create and commit 1,000 Tasks", _of("create"), seconds, "10x faster", _faster(10)),
    Row("commits", "commit one update, 1 cached", _of("update_1"), seconds, "", lambda official, ours: True),
    Row(
        "commits",
        "commit one update, 20,000 cached",
        _of("update_20000"),
        seconds,
        "",
        lambda official, ours: True,
    ),
    Row(
        "commits",
        "the same, of 1 cached",
        _quotient("update_20000", "update_1"),
        times,
        "the same (<= 1.3x)",
        _at_most(1.3),
    ),
    *(
        Row("expressions", f"parse: {label}", _of(f"parse_{number}"), seconds, "20x faster", _faster(20))
        for number, label in enumerate(EXPRESSIONS, 1)
    ),
    Row(
        "expressions",
        "match, 200 subscriptions, 2 match",
        _of("match_few"),
        seconds,
        "15x faster",
        _faster(15),
    ),
    Row(
        "expressions",
        "match, 200 subscriptions, 51 match",
        _of("match_many"),
        seconds,
        "15x faster",
        _faster(15),
    ),
    *(
        Row(
            "packets",
            f"decode a packet of {size}, of json.loads",
            _quotient(f"decode_{name}", f"loads_{name}"),
            times,
            "<= 0.8x",
            _at_most(0.8),
        )
        for name, size in (("one", "1 kB"), ("ten", "8 kB"))
    ),
    Row(
        "packets",
        "a packet of 1 kB to an Event, of json.loads",
        _quotient("event_one", "loads_one"),
        times,
        "",
        lambda official, ours: True,
    ),
)
