"""What an author of plugins finds in pytest when ftrackd is installed."""

import time
import uuid

PLUGIN = """
def register(session):
    def describe(event):
        for change in event["data"]["entities"]:
            if change["entityType"] == "task" and "name" in (change["keys"] or ()):
                folder = session.get("Folder", change["entityId"])
                if folder is not None:
                    folder["description"] = f"renamed to {folder['name']}"
        session.commit()

    session.event_hub.subscribe("topic=ftrack.update", describe)
"""


def test_when_a_plugin_runs_then_its_effect_is_seen_through_the_session(
    sandbox_session, run_plugins, tmp_path
):
    (tmp_path / "describe.py").write_text(PLUGIN)
    run_plugins(tmp_path)
    project = sandbox_session.query("Project").first()
    folder = sandbox_session.create("Folder", {"name": uuid.uuid4().hex, "parent": project})
    sandbox_session.commit()
    folder["name"] = "other"
    sandbox_session.commit()
    deadline = time.monotonic() + 15
    query = f"select description from Folder where id is {folder['id']}"
    operation = {"action": "query", "expression": query}
    while (sandbox_session.call([operation])[0]["data"][0]["description"] or "") != "renamed to other":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    sandbox_session.delete(folder)
    sandbox_session.commit()
