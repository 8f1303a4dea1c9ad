"""The language of the declarations."""

import pytest

from ftrackd.sandbox.schema import NO_DEFAULT, ValueType
from ftrackd.sandbox.schema.declaration import DeclarationError, declarations, parse


def _one(text: str):
    (declaration,) = parse(text, "test.txt")
    return declaration


def test_when_a_type_is_declared_then_its_attributes_are_read():
    declaration = _one(
        """
Leaf < Branch
    @default id name
    id        uid ~leafid
    name      string * = ""
    branch_id key Branch.id cascade !
    branch    -> Branch
    twigs     [Twig] on leaf_id where kind=small
    scopes    [Scope] through leaf_scope(leaf_id, scope_id) as LeafScope
    metadata  {Metadata} on parent_id ~meta
    link      computed link !^
    mood      string = "a \\"b\\" c" choices x|y
"""
    )
    assert (declaration.name, declaration.base) == ("Leaf", "Branch")
    assert declaration.words("default") == ("id", "name")
    attributes = declaration.properties
    assert attributes["id"].default == "{uid}"
    assert attributes["id"].is_required and attributes["id"].is_immutable
    assert attributes["id"].legacy_name == "leafid"
    assert attributes["name"].default == ""
    assert attributes["name"].is_required and not attributes["name"].is_immutable
    assert attributes["branch_id"].foreign_key == "Branch.id"
    assert attributes["branch_id"].on_delete == "cascade"
    assert (attributes["branch"].target, attributes["branch"].local) == ("Branch", "branch_id")
    assert attributes["twigs"].remote == "leaf_id"
    assert attributes["twigs"].where == ("kind", "small")
    assert attributes["scopes"].through == ("leaf_scope", "leaf_id", "scope_id")
    assert attributes["scopes"].through_type == "LeafScope"
    assert attributes["metadata"].kind == "mapped"
    assert (attributes["link"].kind, attributes["link"].builder) == ("computed", "link")
    assert attributes["mood"].default == 'a "b" c'
    assert attributes["mood"].choices == ("x", "y")
    assert attributes["branch_id"].default is NO_DEFAULT
    assert attributes["name"].value_type is ValueType.STRING


@pytest.mark.parametrize(
    "text",
    ["    name string\n", "Leaf\n    name strnig\n", "Leaf\n    name\n", 'Leaf\n    name string = "open\n'],
)
def test_when_a_line_makes_no_sense_then_the_error_names_file_and_line(text):
    with pytest.raises(DeclarationError, match=r"test\.txt:\d+:"):
        list(parse(text, "test.txt"))


def test_when_all_declarations_are_read_then_bases_come_first():
    seen = set()
    for declaration in declarations().values():
        assert declaration.base is None or declaration.base in seen
        seen.add(declaration.name)
    assert len(seen) == 120
