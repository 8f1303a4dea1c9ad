"""Custom attribute values as every entity has them: set, inherited or the default of the configuration.

``CustomAttributeValue`` has a row only where a value was set. ``<X>CustomAttributeValue`` has one for each
entity and each configuration that applies to it; its value is what the entity effectively has.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ftrackd.sandbox.schema.tables import table

#: ``entity_type`` of the configurations that apply to the entities of a table.
CONFIGURED_AS = {
    "asset": "asset",
    "asset_version": "assetversion",
    "list": "list",
    "list_object": "listobject",
    "resource": "user",
}
_HIERARCHICAL = frozenset(["context", "asset", "asset_version"])


def dense_values(owner: str) -> sa.Subquery:
    """The dense values of the entities in table *owner*.

    Columns: configuration_id, entity_id, key, value, value_text, value_number, project_id.
    """
    entity = table(owner).alias("entity")
    configuration = table("custom_attribute_configuration").alias("configuration")
    value = table("custom_attribute_value").alias("stored")
    holder = _holder(owner, entity, configuration)
    is_set = value.c.configuration_id.is_not(None)
    project_id = entity.c.project_id if "project_id" in entity.c else sa.null()
    joined = entity.join(configuration, _applies(owner, entity, configuration)).outerjoin(
        value, sa.and_(value.c.configuration_id == configuration.c.id, value.c.entity_id == holder)
    )

    def effective(name: str, default: str) -> sa.ColumnElement[Any]:
        return sa.case((is_set, value.c[name]), else_=configuration.c[default])

    return (
        sa.select(
            configuration.c.id.label("configuration_id"),
            entity.c.id.label("entity_id"),
            configuration.c.key.label("key"),
            effective("value", "default").label("value"),
            effective("value_text", "default_text").label("value_text"),
            effective("value_number", "default_number").label("value_number"),
            project_id.label("project_id"),
        )
        .select_from(joined)
        .subquery(f"{owner}_custom_attribute_value")
    )


def _applies(owner: str, entity: sa.FromClause, configuration: sa.FromClause) -> sa.ColumnElement[bool]:
    conditions = [configuration.c.kind == "attribute", _matches_type(owner, entity, configuration)]
    if "project_id" in entity.c:
        conditions.append(_matches_project(entity, configuration))
    else:
        conditions.append(configuration.c.project_id.is_(None))
    return sa.and_(*conditions)


def _matches_type(owner: str, entity: sa.FromClause, configuration: sa.FromClause) -> sa.ColumnElement[bool]:
    hierarchical = configuration.c.is_hierarchical.is_(sa.true())
    if owner == "context":
        of_project = sa.and_(entity.c.context_type == "show", configuration.c.entity_type == "show")
        of_object = sa.and_(
            configuration.c.entity_type == "task", configuration.c.object_type_id == entity.c.object_type_id
        )
        return sa.or_(hierarchical, of_project, of_object)
    own = configuration.c.entity_type == CONFIGURED_AS[owner]
    if owner == "resource":
        own = sa.and_(own, entity.c.resource_type == "user")
    if owner in _HIERARCHICAL:
        return sa.or_(hierarchical, own)
    return sa.and_(own, sa.not_(sa.func.coalesce(configuration.c.is_hierarchical, sa.false())))


def _matches_project(entity: sa.FromClause, configuration: sa.FromClause) -> sa.ColumnElement[bool]:
    """A configuration of the entity's project hides a global one of the same key."""
    other = table("custom_attribute_configuration").alias("other")
    is_hidden = (
        sa.select(sa.literal(1))
        .where(
            other.c.kind == "attribute",
            other.c.key == configuration.c.key,
            other.c.project_id == entity.c.project_id,
            sa.func.coalesce(other.c.entity_type, "") == sa.func.coalesce(configuration.c.entity_type, ""),
            sa.func.coalesce(other.c.object_type_id, "")
            == sa.func.coalesce(configuration.c.object_type_id, ""),
        )
        .correlate_except(other)
        .exists()
    )
    return sa.or_(
        configuration.c.project_id == entity.c.project_id,
        sa.and_(configuration.c.project_id.is_(None), ~is_hidden),
    )


def _holder(owner: str, entity: sa.FromClause, configuration: sa.FromClause) -> sa.ColumnElement[Any]:
    """Id of the entity whose stored value counts: itself, or the nearest above that has one."""
    if owner not in _HIERARCHICAL:
        return entity.c.id
    candidates = [_nearest_context(owner, entity, configuration)]
    if owner == "asset_version":
        candidates.insert(0, _own(entity.c.asset_id, configuration))
    if owner != "context":
        candidates.insert(0, _own(entity.c.id, configuration))
    nearest = candidates[0] if len(candidates) == 1 else sa.func.coalesce(*candidates)
    return sa.case((configuration.c.is_hierarchical.is_(sa.true()), nearest), else_=entity.c.id)


def _own(entity_id: sa.ColumnElement[Any], configuration: sa.FromClause) -> sa.ColumnElement[Any]:
    value = table("custom_attribute_value").alias("own")
    return (
        sa.select(value.c.entity_id)
        .where(
            value.c.configuration_id == configuration.c.id,
            value.c.entity_id == entity_id,
            value.c.value.is_not(None),
        )
        .correlate_except(value)
        .scalar_subquery()
    )


def _nearest_context(
    owner: str, entity: sa.FromClause, configuration: sa.FromClause
) -> sa.ColumnElement[Any]:
    above = table("lineage").alias("above")
    value = table("custom_attribute_value").alias("inherited")
    start: sa.ColumnElement[Any] = entity.c.id
    if owner == "asset":
        start = entity.c.context_id
    elif owner == "asset_version":
        asset = table("asset").alias("holding_asset")
        context_id = sa.select(asset.c.context_id).where(asset.c.id == entity.c.asset_id)
        start = context_id.correlate_except(asset).scalar_subquery()
    # As a scalar, which no planner turns into a join: the few lines of the lineage lead, not the many values.
    stored = (
        sa.select(value.c.value)
        .where(value.c.configuration_id == configuration.c.id, value.c.entity_id == above.c.ancestor_id)
        .correlate_except(value)
        .scalar_subquery()
    )
    return (
        sa.select(above.c.ancestor_id)
        .where(above.c.context_id == start, stored.is_not(None))
        .correlate_except(above)
        .order_by(above.c.depth)
        .limit(1)
        .scalar_subquery()
    )
