"""What authors build for their tests is what the server announces."""

from ftrackd.testing.events import selection_of, update_data

from .conftest import RawHub, new_id

CHANGES = {
    "Task": ("description", "changed"),
    "Shot": ("description", "changed"),
    "Asset": ("name", "changed"),
    "AssetVersion": ("comment", "changed"),
    "FileComponent": ("name", "changed"),
    "Note": ("content", "changed"),
    "TypedContextList": ("name", "changed"),
    "AssetVersionList": ("name", "changed"),
    "ReviewSession": ("name", "changed"),
    "ReviewSessionObject": ("description", "changed"),
    "TypedContextLink": ("lag", 2),
    "Timelog": ("comment", "changed"),
    "Project": ("full_name", "changed"),
}


def test_when_something_is_built_then_it_is_what_the_server_sends(sandbox, sandbox_session):
    task = sandbox_session.query("Task where project.name is hare").first()
    user = sandbox_session.query(f"User where username is {sandbox.api_user}").one()
    made = {"context": task, "resource": user, "type": "assignment"}
    appointment = sandbox_session.create("Appointment", made)
    sandbox_session.commit()
    hub = RawHub(sandbox)
    try:
        hub.subscribe("topic=ftrack.update")
        built, olds = [], {}
        for entity_type, (name, value) in CHANGES.items():
            entity = sandbox_session.query(f"{entity_type} where id is_not none").first()
            olds[entity["id"]] = (entity, name, entity[name])
            entity[name] = f"{value} {new_id()}" if isinstance(value, str) else value
            built += update_data([entity], {name: (olds[entity["id"]][2], entity[name])})["entities"]
        sandbox_session.commit()
        data = hub.receive_event()["data"]
        sandbox_session.delete(appointment)
        values = {name: (appointment[name], None) for name in ("id", "type", "resource_id", "context_id")}
        removed = update_data([appointment], values, "remove")["entities"]
        sandbox_session.commit()
        (announced,) = hub.receive_event()["data"]["entities"]
    finally:
        hub.close()
        for entity, name, old in olds.values():
            entity[name] = old
        sandbox_session.commit()
    by_id = {entity["entityId"]: entity for entity in data["entities"]}
    assert [by_id[entity["entityId"]] for entity in built] == built
    assert data["user"] == update_data([task])["user"]
    assert {**announced, "keys": sorted(announced["keys"])} == removed[0]


def test_when_selected_then_named_as_the_web_interface_does(sandbox_session):
    kinds = {"Project": "show", "Task": "task", "AssetVersion": "assetversion", "FileComponent": "component"}
    entities = [sandbox_session.query(entity_type).first() for entity_type in kinds]
    selection = selection_of(entities)
    assert [item["entityType"] for item in selection] == list(kinds.values())
    assert [item["entityId"] for item in selection] == [entity["id"] for entity in entities]
