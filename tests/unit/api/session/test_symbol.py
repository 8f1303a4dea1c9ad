import copy
import pickle

import pytest

from ftrackd.api import symbol


@pytest.mark.parametrize("value", [symbol.NOT_SET, symbol.CREATED, symbol.MODIFIED, symbol.DELETED])
def test_when_a_symbol_is_copied_in_any_way_then_it_stays_itself(value: symbol.Symbol) -> None:
    assert copy.copy(value) is value
    assert copy.deepcopy([value])[0] is value
    assert pickle.loads(pickle.dumps(value)) is value


def test_when_nothing_is_set_then_it_is_falsy_and_none_is_another_thing() -> None:
    assert not symbol.NOT_SET
    assert symbol.CREATED
    assert symbol.NOT_SET is not None
    assert repr(symbol.NOT_SET) == "Symbol(NOT_SET)"


def test_when_a_symbol_is_none_of_ours_then_a_copy_through_pickle_has_its_name() -> None:
    made = pickle.loads(pickle.dumps(symbol.Symbol("OTHER", False)))
    assert (made.name, made.value) == ("OTHER", False)
