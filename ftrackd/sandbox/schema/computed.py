"""The attributes that the sandbox computes, by the names that the declarations use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from ftrackd.sandbox.schema.model import Links
from ftrackd.sandbox.schema.tables import table

_CHUNK: Final = 500


def utc_now() -> str:
    """Now, in the form date-times are stored in."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0).isoformat()


def time_logged(source: sa.FromClause) -> sa.ColumnElement[Any]:
    """Seconds of all time logs on the context itself."""
    timelog = table("timelog").alias()
    logged = sa.select(sa.func.coalesce(sa.func.sum(timelog.c.duration), 0.0))
    return logged.where(timelog.c.context_id == source.c.id).scalar_subquery()


def bid_time_logged_difference(source: sa.FromClause) -> sa.ColumnElement[Any]:
    """Seconds of the bid that are not used yet."""
    return sa.func.coalesce(source.c.bid, 0.0) - time_logged(source)


def thumbnail_source_id(source: sa.FromClause) -> sa.ColumnElement[Any]:
    """The context that the thumbnail was set on: itself, when it has one."""
    return sa.case((source.c.thumbnail_id.is_not(None), source.c.id), else_=sa.null())


def latest_version(source: sa.FromClause) -> sa.ColumnElement[Any]:
    """Id of the version with the highest number."""
    version = table("asset_version").alias()
    newest = sa.select(version.c.id).where(version.c.asset_id == source.c.id)
    return newest.order_by(version.c.version.desc()).limit(1).scalar_subquery()


def is_latest_version(source: sa.FromClause) -> sa.ColumnElement[Any]:
    """Whether no version of the same asset has a higher number."""
    newer = table("asset_version").alias()
    return ~(
        sa.select(sa.literal(1))
        .where(newer.c.asset_id == source.c.asset_id, newer.c.version > source.c.version)
        .exists()
    )


def is_open(source: sa.FromClause) -> sa.ColumnElement[Any]:
    """Whether now is between start and end of the review session."""
    now = sa.bindparam(None, callable_=utc_now, type_=sa.Text(), unique=True)
    return sa.and_(
        sa.func.coalesce(source.c.start_date, "") <= now, sa.func.coalesce(source.c.end_date, "9999") >= now
    )


def review_thumbnail_id(source: sa.FromClause) -> sa.ColumnElement[Any]:
    """The thumbnail of the first version in the review session that has one."""
    item = table("review_session_object").alias()
    version = table("asset_version").alias()
    first = sa.select(version.c.thumbnail_id).join(item, item.c.version_id == version.c.id)
    first = first.where(item.c.review_session_id == source.c.id, version.c.thumbnail_id.is_not(None))
    return first.order_by(item.c.sort_order).limit(1).scalar_subquery()


def component_url(source: sa.FromClause) -> sa.ColumnElement[Any]:
    """The component that a ``url`` attribute leads to."""
    return source.c.component_id


def thumbnail_component(source: sa.FromClause) -> sa.ColumnElement[Any]:
    """The component that a ``thumbnail_url`` attribute leads to."""
    return source.c.thumbnail_id if "thumbnail_id" in source.c else source.c.component_id


def present_url(component_id: Any, links: Links | None) -> Any:
    """Where the file of a component is downloaded."""
    return {"url": links.download(component_id)} if component_id and links is not None else None


def present_thumbnail_url(component_id: Any, links: Links | None) -> Any:
    """Where a thumbnail is downloaded."""
    return {"url": links.thumbnail(component_id)} if component_id and links is not None else None


def load_link(
    table_name: str, connection: sa.Connection, ids: Sequence[str]
) -> Mapping[str, list[dict[str, str]]]:
    """``link`` of many entities: the items from the project down to the entity itself.

    Each item has id, type (``Project``, ``TypedContext``, ``AssetVersion`` or ``Group``) and name.
    """
    load = {"asset_version": _version_links, "resource": _group_links}.get(table_name, context_links)
    links: dict[str, list[dict[str, str]]] = {}
    for start in range(0, len(ids), _CHUNK):
        links.update(load(connection, ids[start : start + _CHUNK]))
    return links


def context_links(connection: sa.Connection, ids: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    """``link`` of at most some hundred contexts."""
    above, context = table("lineage"), table("context")
    rows = connection.execute(
        sa.select(above.c.context_id, context.c.id, context.c.context_type, context.c.name)
        .join(context, context.c.id == above.c.ancestor_id)
        .where(above.c.context_id.in_(ids))
        .order_by(above.c.context_id, above.c.depth.desc())
    )
    links: dict[str, list[dict[str, str]]] = {}
    for context_id, ancestor_id, context_type, name in rows:
        kind = "Project" if context_type == "show" else "TypedContext"
        links.setdefault(context_id, []).append({"id": ancestor_id, "type": kind, "name": name})
    return links


def _version_links(connection: sa.Connection, ids: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    version, asset = table("asset_version"), table("asset")
    rows = connection.execute(
        sa.select(version.c.id, version.c.version, asset.c.name, asset.c.context_id)
        .outerjoin(asset, asset.c.id == version.c.asset_id)
        .where(version.c.id.in_(ids))
    ).all()
    of_contexts = context_links(connection, list({row.context_id for row in rows if row.context_id}))
    return {
        row.id: [
            *of_contexts.get(row.context_id, ()),
            {
                "id": row.id,
                "type": "AssetVersion",
                "name": f"{row.name or ''} v{row.version or 0:03d}".strip(),
            },
        ]
        for row in rows
    }


def _group_links(connection: sa.Connection, ids: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    resource = table("resource")
    rows = connection.execute(
        sa.select(resource.c.id, resource.c.parent_id, resource.c.name).where(
            resource.c.resource_type == "group"
        )
    )
    groups = {row.id: row for row in rows}
    links: dict[str, list[dict[str, str]]] = {}
    for group_id in ids:
        line: list[dict[str, str]] = []
        current: str | None = group_id
        while current is not None and current in groups and len(line) <= len(groups):
            line.insert(0, {"id": current, "type": "Group", "name": groups[current].name or ""})
            current = groups[current].parent_id
        links[group_id] = line
    return links


#: SQL of computed scalars, and how the answer shows it where that differs.
BUILDERS: Final[
    Mapping[
        str,
        tuple[Callable[[sa.FromClause], sa.ColumnElement[Any]], Callable[[Any, Links | None], Any] | None],
    ]
] = {
    "time_logged": (time_logged, None),
    "bid_time_logged_difference": (bid_time_logged_difference, None),
    "thumbnail_source_id": (thumbnail_source_id, None),
    "latest_version": (latest_version, None),
    "is_latest_version": (is_latest_version, None),
    "is_open": (is_open, None),
    "review_thumbnail_id": (review_thumbnail_id, None),
    "review_thumbnail_url": (review_thumbnail_id, present_thumbnail_url),
    "url": (component_url, present_url),
    "thumbnail_url": (thumbnail_component, present_thumbnail_url),
}
