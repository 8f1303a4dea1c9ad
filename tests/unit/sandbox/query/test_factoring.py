"""Folding chains of alternatives keeps their meaning."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ftrackd.sandbox.query.factoring import fold_alternatives
from ftrackd.sandbox.query.tree import And, Comparison, Criteria, Membership, Operator, Path, Step, Value

NAMES = ["a", "b", "c"]
TEXTS = ["1", "2", "3", "None"]
comparisons = st.builds(
    Comparison,
    st.sampled_from([Path((Step(name),)) for name in NAMES]),
    st.sampled_from([Operator.EQUAL, Operator.EQUAL, Operator.EQUAL, Operator.NOT_EQUAL]),
    st.builds(Value, st.sampled_from(TEXTS), st.booleans()),
)
pairs = st.lists(comparisons, min_size=2, max_size=3).map(lambda items: And(tuple(items)))
rows = st.fixed_dictionaries({name: st.sampled_from([None, *TEXTS]) for name in NAMES})


def holds(criteria: Criteria, row: dict[str, str | None]) -> bool:
    match criteria:
        case And(operands):
            return all(holds(operand, row) for operand in operands)
        case Membership(path, values, _):
            return row[str(path)] in [value.text for value in values]
        case Comparison(path, operator, value):
            expected = None if value.is_null else value.text
            return (row[str(path)] == expected) == (operator is Operator.EQUAL)
    raise AssertionError(criteria)


def any_holds(operands: Sequence[Criteria], row: dict[str, str | None]) -> bool:
    return any(holds(operand, row) for operand in operands)


@given(st.lists(comparisons | pairs, min_size=1, max_size=12), rows)
def test_when_alternatives_are_folded_then_the_same_rows_match(
    operands: list[Criteria], row: dict[str, str | None]
) -> None:
    assert any_holds(fold_alternatives(operands), row) == any_holds(operands, row)


def equal(name: str, text: str) -> Comparison:
    return Comparison(Path((Step(name),)), Operator.EQUAL, Value(text))


def test_when_composite_keys_are_chained_then_one_list_is_left() -> None:
    operands = [And((equal("parent_id", f"p{number}"), equal("key", "k"))) for number in range(100)]
    (folded,) = fold_alternatives(operands)
    assert folded == And(
        (
            equal("key", "k"),
            Membership(Path((Step("parent_id"),)), tuple(Value(f"p{number}") for number in range(100))),
        )
    )


def test_when_chain_is_short_then_it_stays_as_written() -> None:
    operands = [equal("a", "1"), equal("a", "2")]
    assert fold_alternatives(operands) == operands
