"""Plugins that speak with a server: the sandbox, as anybody's."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from pydantic import SecretStr

from ftrackd.hosting import Bootstrap, ServerAccess

from .recording import running_host

PLUGINS = {
    # Sessions opened inside callbacks, as in dozens of public plugins; one at import.
    "sessions.py": """
        import json
        import threading
        import ftrack_api

        at_import = ftrack_api.Session()

        def register(session, **kw):
            def job(event):
                user = session.query('User where username is "{0}"'.format(session.api_user)).one()
                job = session.create(
                    "Job", {"user": user, "status": "running", "data": json.dumps({"description": "x"})}
                )
                session.commit()
                job["status"] = "done"
                session.commit()
                return {"job": job["id"]}

            def nested(event):
                own = ftrack_api.Session()
                try:
                    name = own.query("Project").first()["name"]
                    return {
                        "project": name,
                        "same_class": type(own) is ftrack_api.session.Session,
                        "subscribers": len(own.event_hub._subscribers),
                        "at_import": at_import.query("Project").first()["name"] == name,
                    }
                finally:
                    own.close()

            def in_thread(event):
                def work():
                    job = session.get("Job", event["data"]["job"])
                    job["data"] = "from a thread"
                    session.commit()
                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
                return {"data": session.query("Job where id is " + event["data"]["job"]).one()["data"]}

            session.event_hub.subscribe("topic=test.job", job)
            session.event_hub.subscribe("topic=test.nested", nested)
            session.event_hub.subscribe("topic=test.thread", in_thread)
    """,
    # What one callback leaves uncommitted must not be sent by the next one's commit.
    "careless.py": """
        def register(session):
            def leave(event):
                job = session.get("Job", event["data"]["job"])
                job["data"] = "never committed"
            def commit(event):
                job = session.get("Job", event["data"]["job"])
                job["status"] = "failed"
                session.commit()
                return {"data": job["data"], "status": job["status"]}
            session.event_hub.subscribe("topic=test.leave", leave)
            session.event_hub.subscribe("topic=test.commit", commit)
    """,
    # A value that an event announces as changed is read afresh.
    "fresh.py": """
        def register(session):
            def read(event):
                return {"status": session.get("Job", event["data"]["job"])["status"]}
            session.event_hub.subscribe("topic=test.read", read)
            session.event_hub.subscribe("topic=ftrack.update", lambda event: None)
    """,
}


@pytest.fixture
def running(tmp_path: Path, sandbox, sandbox_session):
    for name, text in PLUGINS.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    server = ServerAccess(sandbox.url, sandbox.api_user, SecretStr(sandbox.api_key))
    bootstrap = Bootstrap(sandbox_session.server_information, sandbox_session.schemas)
    with running_host(tmp_path, server=server, bootstrap=bootstrap) as host:
        host.wait_ready("sessions", "careless", "fresh")
        yield host


def ask(running, plugin: str, topic: str, **data):
    running.listener.published.clear()
    outcome = running.run(plugin, topic, **data)
    assert outcome.status == "returned", outcome.error
    return running.replies()


def test_when_plugins_use_the_server_then_the_idioms_work(running, sandbox_session) -> None:
    ((made,),) = [ask(running, "sessions", "test.job")]
    job = sandbox_session.query(f"Job where id is {made['job']}").one()
    assert job["status"] == "done"

    (nested,) = ask(running, "sessions", "test.nested")
    assert nested["same_class"]
    assert nested["at_import"]
    assert nested["subscribers"] <= 3, "only the Session's own: no plugin was loaded again"

    assert ask(running, "sessions", "test.thread", job=made["job"]) == [{"data": "from a thread"}]

    assert ask(running, "careless", "test.leave", job=made["job"]) == []
    assert running.status("careless").counters["uncommitted"] == 1
    assert ask(running, "careless", "test.commit", job=made["job"]) == [
        {"data": "from a thread", "status": "failed"}
    ]


def test_when_an_event_announces_a_change_then_the_new_value_is_read(running, sandbox_session) -> None:
    (made,) = ask(running, "sessions", "test.job")
    assert ask(running, "fresh", "test.read", job=made["job"]) == [{"status": "done"}]
    job = sandbox_session.query(f"Job where id is {made['job']}").one()
    job["status"] = "failed"
    sandbox_session.commit()
    change = {
        "entities": [
            {
                "entityType": "job",
                "entity_type": "Job",
                "entityId": made["job"],
                "action": "update",
                "keys": ["status"],
                "changes": {"status": {"old": "done", "new": "failed"}},
            }
        ]
    }
    running.run("fresh", "ftrack.update", **change)
    assert ask(running, "fresh", "test.read", job=made["job"]) == [{"status": "failed"}]
