"""Hubs as most tests connect them, and what is left of them."""

from __future__ import annotations

import socket
import threading

from ftrackd.api.event.hub import EventHub, HubLimits, ReconnectPolicy

QUICK = ReconnectPolicy(first_delay_s=0.02, delay_cap_s=0.1, shortest_delay_s=0.001, refused_delay_s=0.05)


def quick_hub(url: str, **limits: float) -> EventHub:
    """Return a hub with `limits` that looks for a lost connection within 0.1 s."""
    return EventHub(url, "anna", "key", reconnect=QUICK, limits=HubLimits(**limits))


def hub_threads() -> list[threading.Thread]:
    """Return the threads of all hubs."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("ftrack-event-hub")]


def closed_port() -> int:
    """Return a port of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
