"""Starting a Session with the schemas in the cache, the server's time excluded."""

import json
import subprocess
import sys
from pathlib import Path

import client


def _first():
    command = [sys.executable, str(Path(__file__).with_name("first.py")), *sys.argv[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["seconds"]


def main():
    server = client.CannedServer()
    # The first start writes the cache.
    client.open_session(server).close()
    client.open_session(server).close()
    text = server.schemas

    def start():
        seconds, session = client.once(lambda: client.open_session(server))
        session.close()
        return seconds

    client.report(
        start=client.median_of(start, 5),
        decode=client.median_of(lambda: client.once(lambda: json.loads(text))[0], 5),
        first=client.median_of(_first, 3),
    )


main()
