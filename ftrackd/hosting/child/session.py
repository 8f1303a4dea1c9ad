"""The Session that a hosted plugin gets: everything the library's has, started from what the host fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ftrackd.api.event.hub import EventHub
from ftrackd.api.session import Session
from ftrackd.hosting.child.delivery import DeliveryFacts, current_delivery
from ftrackd.hosting.child.event_hub import HostedEventHub, acting_as_library
from ftrackd.hosting.link import Link


class HostedSession(Session):
    """A Session over the link to the main process.

    Server information and schemas come from *bootstrap*, so no request is made to start it. *load* is called
    where any Session discovers its plugins: after the hub, before schemas and locations.
    """

    def __init__(
        self,
        *,
        server_url: str,
        api_user: str,
        api_key: str,
        bootstrap: Mapping[str, Any],
        link: Link,
        plugin: str,
        load: Callable[[HostedSession, Mapping[str, Any]], None],
        plugin_arguments: Mapping[str, Any],
        identity_map_limit: int | None,
        connect_timeout_s: float,
        read_timeout_s: float,
    ) -> None:
        self._bootstrap = bootstrap
        self._host_link = link
        self._plugin_name = plugin
        self._load_plugin = load
        self._connect_timeout_s = connect_timeout_s
        self.hosted_hub: HostedEventHub
        super().__init__(
            server_url=server_url,
            api_key=api_key,
            api_user=api_user,
            plugin_paths=[],
            schema_cache_path=False,
            plugin_arguments=dict(plugin_arguments),
            timeout=read_timeout_s,
        )
        self.identity_map_limit = identity_map_limit
        self.unit_of_work_per_thread = True

    @property
    def delivery(self) -> DeliveryFacts | None:
        """The delivery that the current callback runs for; ``None`` outside of one."""
        arrival = current_delivery.get()
        return arrival.facts() if arrival is not None else None

    def _fetch_server_information(self) -> Any:
        return dict(self._bootstrap["server_information"])

    def _create_event_hub(self) -> EventHub:
        self.hosted_hub = HostedEventHub(
            self.server_url, self.api_user, self.api_key, link=self._host_link, plugin=self._plugin_name
        )
        self.hosted_hub.connect()
        return self.hosted_hub

    def _discover_plugins(self, plugin_arguments: Mapping[str, Any] | None = None) -> None:
        self._load_plugin(self, plugin_arguments or {})

    def _register_storage_scenario(self) -> None:
        with acting_as_library():
            super()._register_storage_scenario()

    def _load_schemas(self, schema_cache_path: Any) -> list[dict[str, Any]]:
        schemas: list[dict[str, Any]] = self._bootstrap["schemas"]
        return schemas
