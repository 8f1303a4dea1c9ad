"""The sandbox as a process: start, end, options."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import websocket

from ftrackd.testing.sandbox import SandboxProcess, SandboxProcessError

from .conftest import RawHub, create, credentials, new_id, query, request, wait_for


def run(*options, **variables):
    """Return the finished process of the command line."""
    return subprocess.run(
        [sys.executable, "-m", "ftrackd.sandbox", *options],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **variables},
    )


def test_when_started_then_prints_what_clients_need_then_ready():
    process = subprocess.Popen(
        [sys.executable, "-m", "ftrackd.sandbox", "--port", "0", "--seed", "none", "--api-key", "given"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        lines = [process.stdout.readline().strip() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert re.fullmatch(r"FTRACK_SERVER=http://127\.0\.0\.1:\d+", lines[0])
    assert lines[1:3] == ["FTRACK_API_USER=demo", "FTRACK_API_KEY=given"]
    assert lines[3].startswith("sandbox ready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_when_signalled_with_clients_connected_then_ends_at_once_with_0(number):
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(SandboxProcess(seed="none"))
        for _ in range(3):
            stack.callback(RawHub(process).close)
        process.call({"action": "query_schemas"})
        process.fault("freeze_sockets", user="nobody")
        started = time.monotonic()
        os.kill(process.pid, number)
        with pytest.raises(OSError):
            while True:
                socket.create_connection(("127.0.0.1", int(process.url.rpartition(":")[2])), 1).close()
                assert time.monotonic() - started < 20
        assert process.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_when_signalled_again_and_again_until_the_end_then_the_exit_code_is_0(number):
    """A supervisor and Ctrl+C in a terminal both signal more than once."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ftrackd.sandbox", "--port", "0", "--seed", "none"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        while not process.stdout.readline().startswith("sandbox ready"):
            assert process.poll() is None
        deadline = time.monotonic() + 30
        while process.poll() is None:
            assert time.monotonic() < deadline
            process.send_signal(number)
            time.sleep(0.001)
    assert process.returncode == 0


def test_when_sockets_are_frozen_then_the_end_does_not_wait_for_them():
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(SandboxProcess(seed="none"))
        stack.callback(RawHub(process).close)
        process.fault("freeze_sockets")
        started = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - started < 20


def test_when_a_user_is_named_in_another_case_then_the_key_is_good_for_the_user_there_is():
    names = {"demo": "second", "ANNA": "third"}
    also = [part for name, key in names.items() for part in ("--also", f"{name}:{key}")]
    with SandboxProcess(seed="minimal", user="DEMO", options=also) as process:
        names["DEMO"] = process.api_key
        for process.api_user, process.api_key in names.items():
            users = process.call(query("select username from User"))[0]["data"]
            assert sorted(row["username"] for row in users).count("demo") == 1


def test_when_database_is_a_file_then_rows_keys_and_bytes_survive_sigkill(tmp_path):
    database = f"sqlite:///{tmp_path}/studio.db"
    process = SandboxProcess(seed="minimal", database=database)
    with process:
        address = process.url
        name = f"type {new_id()}"
        process.call(create("Type", {"name": name}))
        user = process.call(create("User", {"username": "keeper"}))[0]["data"]["id"]
        reset = {"action": "reset_remote", "reset_type": "api_key", "entity_type": "User", "entity_key": user}
        key = process.call(reset)[0]["data"]["api_key"]
        component = process.call(create("FileComponent", {"name": "a", "file_type": ".txt"}))[0]["data"]["id"]
        asked = {"action": "get_upload_metadata", "component_id": component, "file_name": "a.txt"}
        (metadata,) = process.call({**asked, "file_size": 3})
        assert request(process, metadata["url"], method="PUT", body=b"abc")[0] == 200
        process.restart(kill=True)
        assert process.url == address
        downloaded = request(process, f"/component/get?id={component}", headers=credentials(process))
        assert downloaded[2] == b"abc"
        assert process.call(query(f'Type where name is "{name}"'))[0]["data"]
        process.api_user, process.api_key = "keeper", key
        assert process.call({"action": "query_server_information"})
    assert key.encode() not in (tmp_path / "studio.db").read_bytes()


def test_when_port_is_taken_then_says_so_and_what_to_do():
    with SandboxProcess(seed="none") as process:
        done = run("--port", process.url.rpartition(":")[2])
    assert done.returncode == 1
    assert "--port 0" in done.stderr
    assert "Traceback" not in done.stderr


#: Options, the exit code and a word of what is said.
WRONG_OPTIONS = [
    (["--seed", "nonsense"], 2, "demo"),
    (["--heartbeat", "20"], 2, "15 seconds"),
    (["--also", "nobody"], 2, "USER:KEY"),
    (["--database", "nonsense"], 1, "sqlite"),
    (["--database", "sqlite:////no/such/folder/a.db"], 1, "/no/such/folder"),
    (["--fault", "{"], 1, "JSON"),
    (["--fault", '{"fault": "nonsense"}'], 1, "delay_requests"),
    (["--fault", '{"fault": "freeze_sockets", "seconds": 1}'], 1, "freeze_sockets"),
    (["--port", "99999"], 2, "99999"),
    (["--host", "256.0.0.1"], 1, "--host"),
    (["--host", "two\nlines"], 1, "two lines"),
    (["--user", ""], 2, "--user"),
    (["--link-lifetime", "0"], 2, "--link-lifetime"),
    (["--files", "/dev/null"], 1, "--files"),
]

_RUN_EACH = """
import contextlib, io, json, sys
from ftrackd.sandbox.main import main
for options in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            code = main(options)
        except SystemExit as exit:
            code = exit.code
    print(json.dumps([code, said.getvalue()]))
"""


def test_when_an_option_is_wrong_then_one_line_says_so():
    """One process for all of them: what takes time is to start it."""
    given = [options + ["--port", "0"] * ("--port" not in options) for options, _, _ in WRONG_OPTIONS]
    done = subprocess.run(
        [sys.executable, "-c", _RUN_EACH, json.dumps(given)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    for (options, code, words), (ended_with, said) in zip(WRONG_OPTIONS, results, strict=True):
        assert ended_with == code, options
        assert words in said.splitlines()[-1], options
        if code == 1:
            assert len(said.splitlines()) == 1, options
        assert "Traceback" not in said, options


def own_address():
    """Return an address of this machine that others could use; skip the test when it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent: the address is for documentation
            address = probe.getsockname()[0]
        except OSError:
            address = "127.0.0.1"
    if address.startswith("127."):
        pytest.skip("This machine has the loopback interface alone.")
    return address


def test_when_not_on_loopback_then_warned_and_faults_are_for_this_machine_only():
    address = own_address()
    with SandboxProcess(seed="none", options=["--host", "0.0.0.0"]) as process:
        assert "other machines can reach it" in process.log
        port = process.url.rpartition(":")[2]
        outside = f"http://{address}:{port}"
        headers = {"ftrack-user": process.api_user, "ftrack-api-key": process.api_key}
        assert request(process, outside + "/api", method="POST", body=[], headers=headers)[0] == 200
        assert request(process, outside + "/sandbox/faults", headers=headers)[0] == 403
        assert request(process, f"http://127.0.0.1:{port}/sandbox/faults", headers=headers)[0] == 200


def test_when_on_ipv6_then_the_address_is_usable():
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("There is no IPv6 on this machine.")
    with SandboxProcess(seed="none", options=["--host", "::1"]) as process:
        assert process.url.startswith("http://[::1]:")
        assert process.call({"action": "query_server_information"})
        assert "other machines" not in process.log


def test_help_tells_of_output_databases_and_faults():
    done = run("--help")
    assert done.returncode == 0
    for words in (
        "FTRACK_SERVER",
        "sandbox ready",
        "sqlite:///",
        "postgresql://",
        "fail_requests",
        "SIGTERM",
    ):
        assert words in done.stdout


def test_when_log_is_verbose_then_no_secret_is_in_it():
    with SandboxProcess(seed="none", options=["--log-level", "debug"]) as process:
        process.call({"action": "query_server_information"})
        hub = RawHub(process)
        hub.publish({"topic": "a"})
        hub.close()
        # As the JavaScript client does it: the key is part of both addresses.
        query_string = f"?api_user={process.api_user}&api_key={process.api_key}"
        sid = request(process, "/socket.io/1/" + query_string)[2].decode().split(":")[0]
        address = process.url.replace("http", "ws") + "/socket.io/1/websocket/" + sid + query_string
        connection = websocket.create_connection(address, timeout=5)
        connection.close()
        connection.shutdown()
        with pytest.raises(SandboxProcessError):
            process.call({"action": "nonsense"})
        assert "nonsense" in process.log
        assert process.api_key not in process.log


def test_when_process_does_not_start_then_the_error_holds_its_words():
    with pytest.raises(SandboxProcessError, match="nonsense"):
        SandboxProcess(seed="nonsense").start()


def test_when_the_parent_is_killed_then_the_sandbox_ends_too():
    script = (
        "import time\nfrom ftrackd.testing.sandbox import SandboxProcess\n"
        "process = SandboxProcess(seed='none')\nprocess.start()\n"
        "print(process.pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with parent:
        pid = int(parent.stdout.readline())
        parent.kill()

    def is_gone():
        try:
            with open(f"/proc/{pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    wait_for(is_gone, "the sandbox to end")
