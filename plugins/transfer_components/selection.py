"""Which components a selection means."""

#: For each kind of entity that can be selected: how its components are found.
CONDITIONS = {
    "component": "id in ({ids})",
    "assetversion": "version_id in ({ids})",
    "task": (
        "version.task_id in ({ids}) or version.asset.context_id in ({ids}) "
        "or version.asset.parent.ancestors.id in ({ids})"
    ),
    "show": "version.asset.context_id in ({ids}) or version.asset.parent.project_id in ({ids})",
}

#: The web interface's name for each kind, and the ones that scripts use.
KINDS = {
    "component": "component",
    "filecomponent": "component",
    "sequencecomponent": "component",
    "containercomponent": "component",
    "assetversion": "assetversion",
    "task": "task",
    "typedcontext": "task",
    "show": "show",
    "project": "show",
}


def is_supported(item):
    """Return whether the selected item can have components."""
    return kind_of(item) is not None


def kind_of(item):
    """Return the kind of the selected item, or None."""
    return KINDS.get(str(item.get("entityType", "")).lower())


def find_components(session, selection):
    """Return the components of the selection; members of sequences and containers come with those."""
    ids_by_kind = {}
    for item in selection:
        if is_supported(item):
            ids_by_kind.setdefault(kind_of(item), []).append(item["entityId"])
    found = {}
    for kind, ids in ids_by_kind.items():
        listed = ", ".join(f'"{identifier}"' for identifier in ids)
        condition = CONDITIONS[kind].format(ids=listed)
        # A member is only transferred alone when it was selected itself.
        top_level = "" if kind == "component" else " and container_id is none"
        for component in session.query(
            f"select name, file_type, size, version_id from Component where ({condition}){top_level}"
        ):
            found[component["id"]] = component
    return list(found.values())
