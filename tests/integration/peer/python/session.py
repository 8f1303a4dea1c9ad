"""Sessions, schemas and queries."""

import ftrack_api

session = ftrack_api.Session(auto_connect_event_hub=False, plugin_paths=[], schema_cache_path=False)
assert session.server_information["version"]
assert len(session.schemas) >= 130
assert {"Task", "Shot", "AssetVersion", "FileComponent", "Note", "User"} <= set(session.types)

user = session.query(f"User where username is {session.api_user}").one()
assert user["id"] and user.entity_type == "User"

schema = session.query("ProjectSchema").first()
assert schema["name"]
assert len(session.query("Status").all()) >= 4
assert session.query("Status where name is 'no such status'").first() is None

locations = {location["name"]: location["id"] for location in session.query("Location")}
assert locations["ftrack.server"] == "3a372bde-05bc-11e4-8908-20c9d081909b"
assert session.pick_location() is not None

# Lazily loaded attributes and nested projections.
status = session.query("select name, state.short from Status where name is 'Not started'").first()
assert status["state"]["short"] == "NOT_STARTED"
priority = session.query("select name from Priority order by sort descending").first()
assert isinstance(priority["sort"], (int, float))

# Paging.
pages = session.query("select id from Status order by name", page_size=2).all()
assert len({row["id"] for row in pages}) == len(session.query("Status").all())

# Errors.
for expression in ("Nonsense", "select nonsense from Task", "Task where nonsense is 1", "Task where ("):
    try:
        session.call([{"action": "query", "expression": expression}])
    except ftrack_api.exception.ServerError as error:
        assert str(error).startswith("Server reported error: "), error
    else:
        raise AssertionError(expression)

for strict in (True, False):
    try:
        ftrack_api.Session(api_key="wrong", strict_api=strict, plugin_paths=[])
    except ftrack_api.exception.ServerError as error:
        assert "InvalidCredentialsError" in str(error), error
    else:
        raise AssertionError("A wrong key was accepted.")

# A second start takes the schemas from the cache.
session.close()
