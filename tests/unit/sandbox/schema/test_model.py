"""What the query compiler asks the schema."""

import pytest

from ftrackd.sandbox.errors import UnknownAttributeError, UnknownEntityTypeError
from ftrackd.sandbox.schema import Collection, ObjectType, Reference, Scalar, build_schema, metadata
from ftrackd.sandbox.schema.build import MILESTONE_ID
from ftrackd.sandbox.store import Store


@pytest.fixture(scope="module")
def schema():
    with Store.open(seed="minimal") as store:
        return store.schema


def test_when_an_attribute_is_on_subtypes_only_then_each_that_has_it_is_found(schema):
    found = [(kind.name, attribute.name) for kind, attribute in schema.find(schema["Resource"], "username")]
    assert found == [("User", "username")]
    found = [kind.name for kind, _ in schema.find(schema["Context"], "bid")]
    assert found == ["TypedContext"], "the object types below it are covered"
    assert [kind.name for kind, _ in schema.find(schema["Context"], "name")] == ["Context"]
    assert {kind.name for kind, _ in schema.find(schema["Context"], "status")} == {"Project", "TypedContext"}
    assert list(schema.find(schema["Context"], "nothing")) == []


def test_when_types_are_asked_for_what_they_are_then_bases_count(schema):
    assert schema.is_a("Shot", "Context") and schema.is_a("Shot", "Shot")
    assert not schema.is_a("Context", "Shot") and not schema.is_a("User", "Context")
    assert {"User", "Group", "Collaborator", "BaseUser"} == {
        kind.name for kind in schema.subtypes("Resource")
    }


@pytest.mark.parametrize(
    ("base", "values", "expected"),
    [
        ("Context", ("show", None), "Project"),
        ("Context", ("task", "bad911de-3bd6-47b9-8b46-3476e237cb36"), "Shot"),
        ("Component", ("container",), "ContainerComponent"),
        ("Component", ("component",), "Component"),
        ("ContainerComponent", ("sequence",), "SequenceComponent"),
        ("Resource", ("group",), "Group"),
        ("List", ("assetversion",), "AssetVersionList"),
        ("StatusChange", ("task",), "TypedContextStatusChange"),
        ("CustomConfigurationBase", ("link",), "CustomAttributeLinkConfiguration"),
        ("NoteComponent", ("annotation",), "NoteAnnotationComponent"),
        ("CustomAttributeLink", ("user",), "UserCustomAttributeLink"),
        ("CustomAttributeLinkFrom", ("user",), "UserCustomAttributeLinkFrom"),
        ("Context", ("task", "an object type that is gone"), "Context"),
    ],
)
def test_when_a_row_is_read_as_a_base_type_then_its_columns_tell_the_concrete_one(
    schema, base, values, expected
):
    assert schema.concrete_type(schema[base], values) == expected


def test_when_a_name_is_unknown_then_the_error_suggests_others(schema):
    with pytest.raises(UnknownEntityTypeError, match="Did you mean AssetVersion"):
        schema["AssetVersoin"]
    with pytest.raises(UnknownAttributeError, match=r"Did you mean .*description"):
        schema["Task"].attribute("descripton")
    with pytest.raises(UnknownAttributeError):
        schema["Task"].scalar("children")


def test_when_joins_are_followed_then_their_columns_exist(schema):
    """A typing mistake in the declarations would surface here and not in somebody's query."""
    for kind in schema.types.values():
        for attribute in kind.attributes.values():
            where = f"{kind.name}.{attribute.name}"
            if isinstance(attribute, Scalar):
                assert attribute.column in kind.table.c, where
            elif isinstance(attribute, Reference | Collection):
                join, target = attribute.join, schema[attribute.target]
                assert getattr(attribute, "build", None) or join.local in kind.table.c, where
                assert join.remote in target.table.c, where
                for criterion in join.where:
                    assert criterion.column in target.table.c, where
                if join.through is not None:
                    assert {join.through.local, join.through.remote} <= set(join.through.table.c.keys()), (
                        where
                    )


def test_when_a_table_is_searched_by_reference_then_there_is_an_index():
    """100,000 tasks stay usable: every foreign key is indexed."""
    for source in metadata().tables.values():
        leading = {next(iter(index.columns)).name for index in source.indexes}
        leading |= {column.name for column in list(source.primary_key.columns)[:1]}
        for column in source.columns:
            if column.foreign_keys:
                assert column.name in leading, f"{source.name}.{column.name}"


def test_when_an_object_type_is_named_oddly_then_the_schema_stays_sound():
    schema = build_schema(
        [
            ObjectType("1", "Set Piece"),
            ObjectType("2", "Project"),
            ObjectType("3", "  "),
            ObjectType("4", "Über-Shot"),
            ObjectType("5", "Set  Piece"),
        ]
    )
    assert schema["SetPiece"].object_type_id == "1"
    assert schema["Project"].object_type_id is None
    assert "ÜberShot" in schema and "" not in schema
    assert len(schema.to_json()) == 122


def test_when_flags_are_off_then_the_attributes_are_immutable():
    names = {
        attribute.name
        for attribute in build_schema([ObjectType("1", "X", is_typeable=False, is_statusable=False)])["X"]
        .attributes.values()
        if attribute.is_immutable
    }  # fmt: skip
    assert {
        "type",
        "type_id",
        "status",
        "status_id",
        "start_date",
        "end_date",
        "bid",
        "object_type_id",
    } <= names
    assert "priority_id" not in names
    milestone = build_schema([ObjectType(MILESTONE_ID, "Milestone", is_schedulable=True)])["Milestone"]
    assert (
        milestone.attributes["start_date"].is_immutable and not milestone.attributes["end_date"].is_immutable
    )
