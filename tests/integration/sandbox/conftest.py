"""A sandbox for these tests, asked without any client library."""

import base64
import http.client
import json
import time
import urllib.error
import urllib.request
import uuid

import pytest
import websocket

from ftrackd.testing.sandbox import SandboxProcess

DEADLINE_S = 10
OTHER_USER = "second"
OTHER_KEY = "the key of the second user"


@pytest.fixture(scope="package")
def server():
    """Provide one sandbox for the tests that leave it as it was."""
    options = ["--also", f"{OTHER_USER}:{OTHER_KEY}", "--heartbeat", "0.2", "--link-lifetime", "600"]
    with SandboxProcess(seed="minimal", options=options) as process:
        yield process


@pytest.fixture
def open_hub(server):
    """Connect hubs to the server; they are closed at the end of the test."""
    opened = []

    def connect(process=server, **credentials):
        opened.append(RawHub(process, **credentials))
        return opened[-1]

    yield connect
    for hub in opened:
        hub.close()


@pytest.fixture
def hub(open_hub):
    return open_hub()


@pytest.fixture(scope="package")
def schema_id(server):
    return server.call(query("select id from ProjectSchema limit 1"))[0]["data"][0]["id"]


@pytest.fixture
def project(server, schema_id):
    """Provide the id of a project, which is deleted after the test."""
    project_id = new_id()
    name = f"project_{project_id[:8]}"
    data = {"id": project_id, "name": name, "full_name": name, "project_schema_id": schema_id}
    server.call(create("Project", data))
    yield project_id
    if server.call(query(f"select id from Project where id is {project_id}"))[0]["data"]:
        server.call(delete("Project", project_id))


def new_id():
    return str(uuid.uuid4())


def query(expression):
    return {"action": "query", "expression": expression}


def create(entity_type, data):
    return {
        "action": "create",
        "entity_type": entity_type,
        "entity_data": {"__entity_type__": entity_type, **data},
    }


def update(entity_type, key, data):
    return {
        "action": "update",
        "entity_type": entity_type,
        "entity_key": key if isinstance(key, list) else [key],
        "entity_data": {"__entity_type__": entity_type, **data},
    }


def delete(entity_type, key):
    return {
        "action": "delete",
        "entity_type": entity_type,
        "entity_key": key if isinstance(key, list) else [key],
    }


def credentials(process):
    return {"ftrack-user": process.api_user, "ftrack-api-key": process.api_key}


def request(process, path, *, method="GET", body=None, headers=None):
    """Return status, headers and body of one HTTP request; errors are answers like any other."""
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    address = path if path.startswith("http") else process.url + path
    asked = urllib.request.Request(address, data=content, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(asked, timeout=DEADLINE_S) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def upgrade_status(process, sid):
    """Return the HTTP status of a WebSocket handshake that is expected to be refused."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
    }
    connection = http.client.HTTPConnection(process.url.partition("//")[2], timeout=DEADLINE_S)
    try:
        connection.request("GET", f"/socket.io/1/websocket/{sid}", headers=headers)
        with connection.getresponse() as answer:
            return answer.status
    finally:
        connection.close()


def post(process, operations, **headers):
    """Return status and decoded answer of a batch sent with the process's credentials."""
    given = {**credentials(process), "Content-Type": "application/json"}
    given.update({name.replace("_", "-"): value for name, value in headers.items()})
    status, answered, body = request(process, "/api", method="POST", body=operations, headers=given)
    assert answered["content-type"].startswith("application/json")
    return status, json.loads(body)


def wait_for(condition, what):
    """Return the first true result of *condition*."""
    deadline = time.monotonic() + DEADLINE_S
    while not (result := condition()):
        assert time.monotonic() < deadline, f"Waited in vain for {what}."
        time.sleep(0.01)
    return result


class RawHub:
    """The event hub without a client library: frames as they are."""

    def __init__(self, process, *, user=None, key=None):
        headers = {"ftrack-user": user or process.api_user, "ftrack-api-key": key or process.api_key}
        status, _, body = request(process, "/socket.io/1/", headers=headers)
        assert status == 200, body
        self.handshake = body.decode()
        self.sid = self.handshake.split(":")[0]
        self.address = process.url.replace("http", "ws", 1) + "/socket.io/1/websocket/" + self.sid
        self.socket = websocket.create_connection(self.address, timeout=DEADLINE_S)
        self.identifier = new_id()
        self.counter = 0
        self.frames = []

    def receive(self):
        """Return the next frame that is no heartbeat; heartbeats are answered."""
        while (frame := self.socket.recv()) == "2::":
            self.socket.send("2:::")
        return frame

    def receive_event(self):
        """Return the next event."""
        while not (frame := self.receive()).startswith("5:::"):
            self.frames.append(frame)
        return json.loads(frame[4:])["args"][0]

    def receive_acknowledgement(self, number):
        """Return the argument of the acknowledgement of packet *number*; events before it are dropped."""
        while not (frame := self.receive()).startswith(f"6:::{number}+"):
            self.frames.append(frame)
        (argument,) = json.loads(frame.partition("+")[2])
        return argument

    def emit(self, event):
        """Send an event and return its packet number."""
        self.counter += 1
        body = json.dumps({"name": "ftrack.event", "args": [event]})
        self.socket.send(f"5:{self.counter}+::{body}")
        return self.counter

    def publish(self, event):
        """Send an event and return what it is acknowledged with."""
        return self.receive_acknowledgement(self.emit(event))

    def subscribe(self, expression, **metadata):
        """Subscribe and wait until it is in force; return the subscriber's id."""
        subscriber = {"id": new_id(), **metadata}
        answer = self.publish(
            {
                "topic": "ftrack.meta.subscribe",
                "data": {"subscriber": subscriber, "subscription": expression},
            }
        )
        assert answer == {"success": True}, answer
        return subscriber["id"]

    def close(self):
        self.socket.close()
        # After the server's close frame the library calls it closed and keeps the file descriptor.
        self.socket.shutdown()


PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAAAkCAIAAAC2bqvFAAAARklEQVR4nO3PMQ0AIADAMEAI/qUgCxEcDcmqYJtn7/GzpQNeNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oDWgNaA1oF19NwFMds8sdwAAAABJRU5ErkJggg=="
)
