"""Plans what to read for the projections of a query: one node for each relation on their paths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ftrackd.sandbox.query.errors import UnsupportedQueryError
from ftrackd.sandbox.query.resolution import (
    Meaning,
    Relation,
    as_relation,
    find_meanings,
    find_target,
    refuse_cast,
    try_meanings,
)
from ftrackd.sandbox.query.tree import Path, Step
from ftrackd.sandbox.schema.model import Computed, EntityType, Mapped, Scalar, Schema


@dataclass(slots=True)
class Branch:
    """A relation to follow from the entities of a node."""

    meaning: Meaning
    relation: Relation
    node: Node


@dataclass(slots=True)
class Node:
    """What to read of the entities of one type, found in one place of the answer."""

    entity_type: EntityType
    #: Scalars and computed values, by the name of the type that declares them and their own.
    values: dict[tuple[str, str], Meaning] = field(default_factory=dict)
    #: Relations, by the same names.
    branches: dict[tuple[str, str], Branch] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """Number of relations on the longest path."""
        return max((branch.node.depth + 1 for branch in self.branches.values()), default=0)

    @property
    def relation_names(self) -> frozenset[str]:
        """Names of all relations on all paths."""
        names = {branch.relation.name for branch in self.branches.values()}
        return frozenset(names.union(*(branch.node.relation_names for branch in self.branches.values())))


def make_plan(schema: Schema, entity_type: EntityType, projections: Iterable[Path]) -> Node:
    """Return the plan for *projections* of *entity_type*.

    Primary keys, and what the type always projects, are part of each node.

    Raises:
        QueryAttributeError: A projection names nothing.
        UnsupportedQueryError: A projection is restricted, or leads through an attribute that is no relation.
    """
    node = _make_node(schema, entity_type)
    for path in projections:
        _add(schema, node, entity_type, path, path.steps)
    return node


def _make_node(schema: Schema, entity_type: EntityType) -> Node:
    node = Node(entity_type)
    for member in (entity_type, *schema.subtypes(entity_type.name)):
        for name in (*member.primary_key, *member.always_projected):
            _add_value(schema, node, name)
    return node


def _add(schema: Schema, node: Node, view: EntityType, path: Path, steps: tuple[Step, ...]) -> None:
    """Add what *steps* name; they are looked up in *view*, to which the entities of *node* may be cast."""
    step, rest = steps[0], steps[1:]

    def add_meaning(meaning: Meaning) -> None:
        attribute = meaning.attribute
        if not schema.is_a(node.entity_type.name, meaning.owner.name):
            meaning = replace(meaning, is_narrower=True)
        if attribute.is_restricted:
            raise UnsupportedQueryError(
                f"'{step.name}' of {meaning.owner.name} can be used in criteria only", path.position
            )
        if not rest and isinstance(attribute, Scalar | Computed):
            refuse_cast(path, step)
            node.values.setdefault((meaning.owner.name, step.name), meaning)
            return
        relation = as_relation(meaning, step, path.position)
        target = find_target(schema, relation, step, path.position)
        branch = _enter(schema, node, meaning, relation)
        if rest:
            _add(schema, branch.node, target, path, rest)

    meanings = find_meanings(schema, view, step.name, path.position, is_followed=bool(rest))
    try_meanings(meanings, add_meaning)


def _enter(schema: Schema, node: Node, meaning: Meaning, relation: Relation) -> Branch:
    key = (meaning.owner.name, relation.name)
    branch = node.branches.get(key)
    if branch is None:
        branch = Branch(meaning, relation, _make_node(schema, schema[relation.target]))
        node.branches[key] = branch
        if isinstance(relation, Mapped):
            target = branch.node.entity_type
            for name in (*target.default_projections, relation.key_attribute, relation.value_attribute):
                if name is not None:
                    _add_value(schema, branch.node, name)
    return branch


def _add_value(schema: Schema, node: Node, name: str) -> None:
    for owner, attribute in schema.find(node.entity_type, name):
        meaning = Meaning(owner, attribute, owner is not node.entity_type)
        node.values.setdefault((owner.name, name), meaning)
