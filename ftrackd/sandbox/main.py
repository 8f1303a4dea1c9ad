"""The sandbox as a process: options, start, end."""

from __future__ import annotations

import argparse
import errno
import gc
import ipaddress
import json
import logging
import math
import os
import secrets
import socket
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ftrackd.sandbox.errors import SandboxError

if TYPE_CHECKING:
    from ftrackd.sandbox.files.store import FileStore
    from ftrackd.sandbox.store import Store

DEFAULT_PORT: Final = 8228
DEFAULT_USER: Final = "demo"
KEY_VARIABLE: Final = "FTRACKD_SANDBOX_API_KEY"
WORKERS: Final = 8
#: Modules and tables leave no cycles behind: to look for some again and again takes a tenth of a start.
NEW_OBJECTS_BEFORE_COLLECTION: Final = 20_000

_EPILOG: Final = f"""\
The sandbox prints what a client needs, then a line that begins "sandbox ready":

    FTRACK_SERVER=http://127.0.0.1:8228
    FTRACK_API_USER=demo
    FTRACK_API_KEY=...
    sandbox ready ...

Without --api-key (and without {KEY_VARIABLE} in the environment, which process listings
do not show) a new key is made at each start. SIGTERM or Ctrl+C end it at once.

Databases:
    sqlite://                                  in memory, gone at the end (the default)
    sqlite:///studio.db                        a file, kept
    postgresql://user:password@host/database   PostgreSQL

Faults are asked for while it runs, with POST /sandbox/faults, or from the start:
    --fault '{{"fault": "delay_requests", "seconds": 0.2, "share": 0.1}}'
    --fault '{{"fault": "fail_requests", "status": 503, "share": 0.05}}'
"""

_logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="ftrackd sandbox",
        description="Serve an ftrack-compatible server on SQL: API, event hub and files, with demo data.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port; 0 for any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--database", default="sqlite://", metavar="URL", help="where rows are kept (default: in memory)"
    )
    parser.add_argument(
        "--seed",
        choices=("demo", "minimal", "none"),
        default="demo",
        help="rows to begin an empty database with: a small production, the rows every installation has, "
        "or only the user (default: %(default)s)",
    )
    parser.add_argument(
        "--user", default=DEFAULT_USER, help="the user that the key belongs to (default: %(default)s)"
    )
    parser.add_argument(
        "--api-key", metavar="KEY", help=f"API key of that user (default: {KEY_VARIABLE}, or new)"
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="USER:KEY",
        help="another user and API key; may be repeated",
    )
    parser.add_argument(
        "--files",
        type=Path,
        metavar="FOLDER",
        help="where uploaded bytes are kept (default: beside an SQLite file, else a temporary folder)",
    )
    parser.add_argument(
        "--link-lifetime",
        type=float,
        default=86400.0,
        metavar="SECONDS",
        help="how long signed addresses of files stay valid (default: %(default)s)",
    )
    parser.add_argument(
        "--heartbeat",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="pause between the event hub's heartbeats, at most 10 (default: %(default)s)",
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="JSON",
        help="a fault of requests that is active from the start; may be repeated",
    )
    parser.add_argument(
        "--follow-stdin",
        action="store_true",
        help="end when standard input is closed, so that a program that started it leaves nothing behind",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="warning",
        help="least level that is logged to standard error (default: %(default)s)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sandbox until it is asked to stop; return the exit code: 0 stopped, 1 failed, 2 usage."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not 0 < options.heartbeat <= 10:
        parser.error(
            "--heartbeat lies above 0 and up to 10 seconds: clients reconnect after 15 seconds of silence."
        )
    if not 0 < options.link_lifetime < math.inf:
        parser.error("--link-lifetime is a number of seconds above 0.")
    if not options.user.strip():
        parser.error("--user takes the name of a user.")
    if not 0 <= options.port <= 65535:
        parser.error(f"--port lies between 0 and 65535, {options.port} does not.")
    keys = _keys(parser, options)
    logging.basicConfig(
        level=options.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Below a warning uvicorn writes whole addresses, with the keys that JavaScript clients put into them.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    gc.set_threshold(NEW_OBJECTS_BEFORE_COLLECTION)
    try:
        return _serve(options, keys)
    except (SandboxError, OSError) as error:
        # In one line, whatever the database's driver has to say.
        sys.stderr.write(f"ftrackd sandbox: {' '.join(str(error).split())}\n")
        return 1


def _keys(parser: argparse.ArgumentParser, options: argparse.Namespace) -> dict[str, list[str]]:
    """Return user names and their keys, the main user's first."""
    main_key = options.api_key or os.environ.get(KEY_VARIABLE) or secrets.token_urlsafe(36)
    keys = {options.user: [main_key]}
    for pair in options.also:
        username, separator, key = pair.partition(":")
        if not (username and separator and key):
            parser.error(f"--also takes USER:KEY, not {pair!r}.")
        keys.setdefault(username, []).append(key)
    return keys


def _warn_of_open_host(host: str) -> None:
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback:
        _logger.warning(
            "The sandbox listens on %s: other machines can reach it. It is made for one machine.", host
        )


def _serve(options: argparse.Namespace, keys: dict[str, list[str]]) -> int:
    """Open everything, serve, close everything."""
    listener = _bind(options.host, options.port)
    _warn_of_open_host(options.host)
    with ExitStack() as stack:
        stack.callback(listener.close)
        run(options, keys, listener, stack)
    return 0


def _bind(host: str, port: int) -> socket.socket:
    from ftrackd.sandbox.server import bind

    try:
        return bind(host, port)
    except (OSError, OverflowError) as error:
        remedy = "--host takes an address or a name of this machine."
        if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES):
            remedy = (
                "Is another sandbox running? Choose another port with --port, or --port 0 for any free one."
            )
        raise SandboxError(f"Cannot listen on {host} port {port}: {error}. {remedy}") from error


def run(
    options: argparse.Namespace, keys: dict[str, list[str]], listener: socket.socket, stack: ExitStack
) -> None:
    """Serve on *listener* until a signal; what was opened is closed by *stack*."""
    from ftrackd.sandbox.app import Application
    from ftrackd.sandbox.auth import Authenticator
    from ftrackd.sandbox.events.hub import HubServer
    from ftrackd.sandbox.faults import Faults
    from ftrackd.sandbox.files.signature import Signer
    from ftrackd.sandbox.server import Server, ignore_stop_signals
    from ftrackd.sandbox.services import Services
    from ftrackd.sandbox.store import Store

    stack.callback(ignore_stop_signals)
    store = stack.enter_context(Store.open(options.database, seed=options.seed))
    hub = HubServer(heartbeat_interval_s=options.heartbeat)
    faults = Faults(hub)
    for description in options.fault:
        faults.add_rule(_decode_fault(description))
    workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="sandbox-rpc")
    stack.callback(workers.shutdown, cancel_futures=True)
    # By id: names are found without regard to case, and the option may be written otherwise than the row.
    keys_of: defaultdict[str, list[str]] = defaultdict(list)
    for username, given in keys.items():
        keys_of[store.ensure_user(username).user_id] += given
    services = Services(
        store=store,
        files=_open_files(options.files, store, stack),
        hub=hub,
        authenticator=Authenticator(store, keys_of),
        signer=Signer(lifetime_s=options.link_lifetime),
        faults=faults,
        workers=workers,
    )

    def announce() -> None:
        hub.start()
        if options.follow_stdin:
            server.stop_at_end_of(sys.stdin.fileno())
        _announce(options, keys, listener)

    server = Server(Application(services), on_started=announce, on_stopping=hub.stop)
    server.run(sockets=[listener])


def _demo_file(component_id: str) -> bytes | None:
    """Return the bytes of a component of the demo; the seed is imported when somebody looks at its media."""
    from ftrackd.sandbox.seeds.demo import demo_file

    return demo_file(component_id)


def _decode_fault(description: str) -> dict[str, Any]:
    try:
        value = json.loads(description)
    except ValueError as error:
        raise SandboxError(f"--fault takes a JSON object, not {description!r}: {error}") from error
    if not isinstance(value, dict):
        raise SandboxError(f"--fault takes a JSON object, not {description!r}.")
    return value


def _open_files(folder: Path | None, store: Store, stack: ExitStack) -> FileStore:
    """Return the store of uploaded bytes: in *folder*, beside the file of *store*, or gone with *stack*.

    Raise :class:`SandboxError` when the folder cannot be used.
    """
    from ftrackd.sandbox.files.store import FileStore

    if folder is None and store.file is not None:
        folder = store.file.with_name(store.file.name + ".files")
    elif folder is None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ftrackd-sandbox-")))
    try:
        return FileStore(folder, _demo_file)
    except OSError as error:
        raise SandboxError(
            f"Uploaded bytes cannot be kept in {folder}: {error}. Choose another folder with --files."
        ) from error


def _announce(options: argparse.Namespace, keys: dict[str, list[str]], listener: socket.socket) -> None:
    """Print what clients need, then that the sandbox is ready."""
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    lines = (
        f"FTRACK_SERVER={address}",
        f"FTRACK_API_USER={options.user}",
        f"FTRACK_API_KEY={keys[options.user][0]}",
        f"sandbox ready: process {os.getpid()}, seed {options.seed}",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
