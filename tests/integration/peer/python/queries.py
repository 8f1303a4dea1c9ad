"""Every form of query, as plugins write them, through the client's own paging, decoding and merging."""

import uuid

import ftrack_api
import ftrack_api.exception

session = ftrack_api.Session(auto_connect_event_hub=False, plugin_paths=[], schema_cache_path=False)
name = f"query_{uuid.uuid4().hex[:8]}"
user = session.query(f"User where username is {session.api_user}").one()
project = session.create(
    "Project",
    {"name": name, "full_name": name, "project_schema": session.query("ProjectSchema").first()},
)
sequence = session.create("Sequence", {"name": "sq010", "parent": project})
shots = [session.create("Shot", {"name": f"sh{number:03d}", "parent": sequence}) for number in range(3)]
task_type = project["project_schema"].get_types("Task")[0]
tasks = [
    session.create("Task", {"name": f"task{number}", "parent": shot, "type": task_type, "bid": 60.0 * number})
    for number, shot in enumerate(shots)
]
asset = session.create(
    "Asset", {"name": "plate", "parent": shots[0], "type": session.query("AssetType").first()}
)
versions = [session.create("AssetVersion", {"asset": asset, "task": tasks[0]}) for _ in range(3)]
component = session.create("Component", {"name": "main", "version": versions[2], "file_type": ".exr"})
session.create("Appointment", {"context": tasks[0], "resource": user, "type": "assignment"})
session.create("Timelog", {"context": tasks[1], "user": user, "duration": 60, "name": "x"})
session.commit()
tasks[0]["metadata"]["k"] = "v"
tasks[1]["metadata"]["k"] = "w"
tasks[2]["description"] = 'say "hi"'
session.commit()

here = f'project_id is "{project["id"]}"'
ids = [task["id"] for task in tasks]


def names(expression, reader=session):
    return sorted(entity["name"] for entity in reader.query(expression).all())


def numbers(expression):
    return sorted(version["version"] for version in session.query(expression))


assert names(f"Task where {here}") == ["task0", "task1", "task2"]
assert names(f"select name from Task where id in ({','.join(ids)})") == ["task0", "task1", "task2"]
assert names(f"Task where id in {tuple(ids[:2])!r}") == ["task0", "task1"]
assert names(f"Task where ({here}) and (name = task1 or name='task2')") == ["task1", "task2"]
assert names(f'Task where {here} and name is "task1"and bid is "60"') == ["task1"]
assert names(f"Task where {here} and name != task1 and not name is task2") == ["task0"]
assert names(f"Task where {here} and bid > 0 and bid less_than 100") == ["task1"]
assert names(f"Task where {here} and name like '%2'") == ["task2"]
assert names(f"Task where {here} and name not_like '%2' and name not in (task0)") == ["task1"]
assert names(f'Task where {here} and description is "say \\"hi\\""') == ["task2"]
assert names(f"Task where {here} and description is None and thumbnail is none") in (
    [],
    ["task0", "task1"],
)
assert names(f"Task where {here} and parent.name is sh001") == ["task1"]
assert names(f"Task where {here} and parent[Shot] has (name is sh002 and parent has (name is sq010))") == [
    "task2"
]
assert names(f'Task where ancestors any(id="{shots[1]["id"]}")') == ["task1"]
assert names(f"TypedContext where ancestors.id in ({sequence['id']}) and name like 'sh%'") == [
    "sh000",
    "sh001",
    "sh002",
]
assert names(f"Project where children.children.children.id is {ids[0]}") == [name]
assert names(f"Project where descendants any (id is {ids[0]})") == [name]
assert names(f"Task where {here} and assignments any (resource.username = '{session.api_user}')") == ["task0"]
assert names(f"Task where {here} and not timelogs any ()") == ["task0", "task2"]
assert names(f"Task where {here} and metadata any (key=k and value=v)") == ["task0"]
assert names(f"Task where {here} and metadata.key is k") == ["task0", "task1"]
assert names(f"Task where {here} and id in (select task_id from AssetVersion where version is 3)") == [
    "task0"
]
assert names(
    f"Task where {here} and created_at > 2020-01-01 and created_at before '2999-01-01T00:00:00+02:00'"
)
assert numbers(f"AssetVersion where asset.parent.{here}") == [1, 2, 3]
assert numbers(f"AssetVersion where {here} and is_latest_version is True") == [3]
assert numbers(f'AssetVersion where {here} and version is "2"') == [2]
assert numbers(f"AssetVersion where {here} and components any (file_type is '.exr')") == [3]
assert names(f"Component where version.asset.parent.{here}") == ["main"]

ordered = session.query(f"select version from AssetVersion where {here} order by version descending")
assert [version["version"] for version in ordered] == [3, 2, 1]
assert session.query(f"AssetVersion where {here} order by version desc").first()["version"] == 3
assert [task["name"] for task in session.query(f"Task where {here} order by name limit 1 offset 1")] == [
    "task1"
]
assert len(session.query(f"Task where {here} limit 2").all()) == 2
paged = session.query(f"TypedContext where {here}", page_size=2)
assert len(paged.all()) == 7

for failing, error in [
    (f"Task where {here} and naem is x", "naem"),
    (f"Task where {here} and name is “x”", "typographic"),
    (f"Task where {here} and bid is many", "number"),
    (f"Task where {here} and", "expected"),
]:
    try:
        session.query(failing).all()
    except ftrack_api.exception.ServerError as raised:
        assert error in str(raised), raised
    else:
        raise AssertionError(failing)
try:
    session.query(f"Task where {here}").one()
except ftrack_api.exception.MultipleResultsFoundError:
    pass
else:
    raise AssertionError("one() of three")

# What a projection fetched is read without another request.
other = ftrack_api.Session(auto_connect_event_hub=False, plugin_paths=[], schema_cache_path=False)
fetched = other.query(
    "select name, link, status.state.short, parent.parent.name, project.full_name, "
    "assignments.resource.username, custom_attributes, metadata, notes, thumbnail_url, bid, end_date "
    f"from Task where {here} order by name"
).all()
with other.auto_populating(False):
    for number, task in enumerate(fetched):
        assert task["name"] == f"task{number}"
        assert [item["name"] for item in task["link"]] == [name, "sq010", f"sh{number:03d}", f"task{number}"]
        assert task["status"]["state"]["short"]
        assert task["parent"].entity_type == "Shot" and task["parent"]["parent"]["name"] == "sq010"
        assert task["project"]["full_name"] == name
        assert task["thumbnail_url"] is None and task["end_date"] is None
        assert list(task["notes"]) == []
        assert "customNumber" in task["custom_attributes"]
    assert [item["resource"]["username"] for item in fetched[0]["assignments"]] == [session.api_user]
    assert dict(fetched[1]["metadata"]) == {"k": "w"}
    parents = {task["parent"]["parent"] for task in fetched}
    assert len(parents) == 1

# Composite keys, as populate chains them.
values = other.query("select configuration_id, entity_id from ContextCustomAttributeValue limit 300").all()
other.populate(values, "value, configuration.key")
with other.auto_populating(False):
    assert all(value["configuration"]["key"] for value in values)
assert other.get("Context", ids[0])["name"] == "task0"

(groups,) = other.call(
    [
        {
            "action": "query",
            "expression": f"select count(id), max(bid) from Task where {here} group by type.name",
        }
    ]
)
assert groups["data"] == [{"type.name": task_type["name"], "count_id": 3, "max_bid": 120.0}], groups

session.delete(project)
session.commit()
