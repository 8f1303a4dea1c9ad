"""Custom attributes that are worked out from others."""

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from ftrackd.sandbox import json_text
from ftrackd.sandbox.errors import ValidationError
from ftrackd.sandbox.seeds.ids import seed_id
from ftrackd.sandbox.seeds.installation import CUSTOM_ATTRIBUTE_TYPE_IDS, OBJECT_TYPE_IDS
from ftrackd.sandbox.store.expressions import evaluate

FSTART = seed_id("CustomAttributeConfiguration", "task", "Shot", "fstart")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{self.fend - self.fstart + 1}", 96),
        ("{(self.fend - self.fstart + 1) / 24}", 4.0),
        ("{self.fend // 100 * -2}", -20),
        ("{self.name + '_v1'}", "SH010_v1"),
        ("{self.name}: {self.fstart} to {self.fend}", "SH010: 1001 to 1096"),
        ("plain", "plain"),
        ("{self.missing + 1}", None),
        ("{self.empty + 1}", None),
        ("{self.fend / 0}", None),
        ("{self.fend +}", None),
        ("{__import__('os')}", None),
        ("{self.name.upper()}", None),
        ("{self.name * 1000000}", None),
        ("{9 ** 9 ** 9}", None),
        ("{" + "*".join(["999999999999"] * 40) + "}", None),
        ("{" + "(" * 500 + "1" + ")" * 500 + "}", None),
    ],
)
def test_when_an_expression_is_worked_out_then_it_has_a_value_or_none(text, value):
    names = {"fstart": 1001, "fend": 1096, "name": "SH010", "empty": None}
    assert evaluate(text, names) == value


@given(st.text(max_size=60) | st.text("{}self.ab+-*/%()'1 ", max_size=60))
def test_when_an_expression_is_nonsense_then_it_has_a_plain_value_or_none(text):
    assert isinstance(evaluate(text, {"a": 1, "b": "x"}), str | int | float | None)


def _values(world, entity_id):
    dense = world.store.schema["ContextCustomAttributeValue"].table
    with world.store.reader() as connection:
        rows = connection.execute(sa.select(dense.c.key, dense.c.value).where(dense.c.entity_id == entity_id))
        return {key: json_text.decode(value) if value is not None else None for key, value in rows}


@pytest.fixture
def length(world):
    """An expression of shots; returns the id of its configuration."""
    return world.create(
        "CustomAttributeConfiguration",
        key="length",
        type_id=CUSTOM_ATTRIBUTE_TYPE_IDS["expression"],
        entity_type="task",
        object_type_id=OBJECT_TYPE_IDS["Shot"],
        default="{1100 - self.fstart}",
    )


def test_when_an_expression_is_configured_then_entities_that_exist_have_its_value(world, length):
    assert _values(world, world.shot)["length"] == 1099
    assert "length" not in _values(world, world.task)


def test_when_a_value_it_uses_changes_then_it_follows_and_is_announced(world, length):
    world.update("ContextCustomAttributeValue", [FSTART, world.shot], value=1001)
    assert _values(world, world.shot)["length"] == 99
    assert world.change("task").values["length"] == {"old": "1099", "new": "99"}
    made = world.create("Shot", name="new", parent_id=world.project)
    assert _values(world, made)["length"] == 1099
    world.update("CustomAttributeConfiguration", length, default="{self.fstart * 2}")
    assert _values(world, world.shot)["length"] == 2002


def test_when_it_uses_an_inherited_value_then_it_follows_the_one_above(world):
    hierarchical = world.create(
        "CustomAttributeConfiguration",
        key="handles",
        type_id=CUSTOM_ATTRIBUTE_TYPE_IDS["number"],
        entity_type="show",
        is_hierarchical=True,
        default=8,
    )
    world.create(
        "CustomAttributeConfiguration",
        key="both_handles",
        type_id=CUSTOM_ATTRIBUTE_TYPE_IDS["expression"],
        entity_type="task",
        object_type_id=OBJECT_TYPE_IDS["Shot"],
        default="{self.handles * 2}",
    )
    assert _values(world, world.shot)["both_handles"] == 16
    world.update("ContextCustomAttributeValue", [hierarchical, world.project], value=12)
    assert _values(world, world.shot)["both_handles"] == 24


def test_when_somebody_sets_an_expression_then_it_is_refused(world, length):
    with pytest.raises(ValidationError, match="is an expression"):
        world.update("ContextCustomAttributeValue", [length, world.shot], value=5)
