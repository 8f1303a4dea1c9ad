"""Folds long chains of ``or`` into lists.

Clients that ask for entities by composite keys chain thousands of terms: ``(parent_id is "a" and key is "k")
or (parent_id is "b" and key is "k") or ...``. Written as ``key is "k" and parent_id in ("a", "b", ...)`` the
database answers through an index, and within its limits. The meaning is the same by the law of distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from ftrackd.sandbox.query.tree import And, Comparison, Criteria, Membership, Operator, Path, Value

#: Shorter chains are left as they are written.
_SHORTEST_CHAIN: Final = 4

_Pair: TypeAlias = tuple[Comparison, Comparison]


def fold_alternatives(operands: Sequence[Criteria]) -> list[Criteria]:
    """Return alternatives of which one holds exactly where one of *operands* does.

    Equalities of one attribute become a list, pairs of equalities of the same two attributes a list for each
    value of the attribute that has fewer of them. Anything else is kept.
    """
    if len(operands) < _SHORTEST_CHAIN:
        return list(operands)
    kept: list[Criteria] = []
    singles: dict[Path, list[Value]] = {}
    pairs: dict[tuple[Path, Path], list[_Pair]] = {}
    for operand in operands:
        if isinstance(operand, Comparison) and _is_plain(operand):
            singles.setdefault(operand.path, []).append(operand.value)
        elif (pair := _as_pair(operand)) is not None:
            pairs.setdefault((pair[0].path, pair[1].path), []).append(pair)
        else:
            kept.append(operand)
    for path, values in singles.items():
        kept.append(_one_of(path, values))
    for alike in pairs.values():
        kept += _fold_pairs(alike)
    return kept


def _fold_pairs(pairs: list[_Pair]) -> list[Criteria]:
    by_first: dict[Value, list[Value]] = {}
    by_second: dict[Value, list[Value]] = {}
    for first, second in pairs:
        by_first.setdefault(first.value, []).append(second.value)
        by_second.setdefault(second.value, []).append(first.value)
    first_path, second_path = pairs[0][0].path, pairs[0][1].path
    if len(by_first) < len(by_second):
        return [
            And((Comparison(first_path, Operator.EQUAL, value), _one_of(second_path, others)))
            for value, others in by_first.items()
        ]
    return [
        And((Comparison(second_path, Operator.EQUAL, value), _one_of(first_path, others)))
        for value, others in by_second.items()
    ]


def _one_of(path: Path, values: list[Value]) -> Criteria:
    if len(values) == 1:
        return Comparison(path, Operator.EQUAL, values[0])
    return Membership(path, tuple(values))


def _as_pair(criteria: Criteria) -> _Pair | None:
    if not isinstance(criteria, And) or len(criteria.operands) != 2:
        return None
    first, second = criteria.operands
    if isinstance(first, Comparison) and isinstance(second, Comparison):
        return (first, second) if _is_plain(first) and _is_plain(second) else None
    return None


def _is_plain(comparison: Comparison) -> bool:
    """Tell whether *comparison* is an equality with a value, not with null."""
    return comparison.operator is Operator.EQUAL and not comparison.value.is_null
