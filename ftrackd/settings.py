"""Every setting of ftrackd, documented where it is declared.

Values come, strongest first, from the command line, ``FTRACKD_<SECTION>__<NAME>`` in the environment, the
configuration file and the defaults below. The server's address and credentials are also taken from the
standard ``FTRACK_SERVER``, ``FTRACK_API_USER`` and ``FTRACK_API_KEY``, plugin paths from
``FTRACK_EVENT_PLUGIN_PATH``. ``config.example.toml`` is generated from this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Section(BaseModel):
    """One table of the configuration file; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ServerSettings(Section):
    """Where the ftrack server is and who we are to it."""

    url: str | None = Field(None, description="Address of the ftrack server, https://studio.ftrackapp.com.")
    api_user: str | None = Field(None, description="User that the daemon acts as.")
    api_key: SecretStr | None = Field(
        None, description="API key of that user. Prefer FTRACK_API_KEY to a file."
    )
    connect_timeout_s: float = Field(10.0, gt=0, description="Seconds to wait for a connection.")
    read_timeout_s: float = Field(60.0, gt=0, description="Seconds to wait for an answer.")
    identity_map_limit: int = Field(
        20_000, ge=100, description="Entities that the Session of a plugin keeps when nobody holds them."
    )


class HubSettings(Section):
    """The connection to the event hub."""

    reconnect_attempts: int = Field(0, ge=0, description="Attempts before giving up; 0 means never give up.")
    reconnect_delay_s: float = Field(
        0.5, gt=0, description="First delay between attempts; it doubles, with jitter."
    )
    reconnect_delay_cap_s: float = Field(60.0, gt=0, description="Longest delay between attempts.")
    silence_limit_s: float | None = Field(
        None,
        gt=0,
        description="Seconds of silence after which the connection is replaced. Unset: as negotiated.",
    )
    queue_limit: int = Field(
        10_000,
        ge=100,
        description="What plugins publish waits in this number while disconnected; more is refused.",
    )


class PluginSettings(Section):
    """One plugin's own limits; unset ones come from [hosting]."""

    enabled: bool = Field(True, description="Whether this plugin is loaded.")
    concurrency: int | None = Field(None, ge=1, le=64, description="Events that it handles side by side.")
    soft_limit_s: float | None = Field(
        None, gt=0, description="Seconds after which a callback is reported as slow."
    )
    hard_limit_s: float | None = Field(None, gt=0, description="Seconds after which its process is ended.")
    memory_limit_mb: int | None = Field(None, ge=32, description="Memory at which its process is replaced.")
    coalesce_window_s: float | None = Field(
        None, ge=0, description="Keep only the last event for each entity within this many seconds."
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments offered to this plugin's register()."
    )


class GroupSettings(Section):
    """Plugins that share one process."""

    name: str = Field(description="Name of the group.")
    plugins: list[str] = Field(description="Names of the plugins in it.")


class HostingSettings(Section):
    """Plugins: where they are, what they may use, how they are kept alive."""

    plugin_paths: list[Path] = Field(default_factory=list, description="Folders or files with plugins.")
    entry_points: bool = Field(
        False, description="Also load installed plugins (entry points of ftrackd.plugins)."
    )
    in_process: bool = Field(False, description="Run every plugin in the main process, for a debugger.")
    allow_unsafe_paths: bool = Field(
        False,
        description="Load code from paths that other users may write. Off: such a path is refused by name.",
    )
    start_timeout_s: float = Field(30.0, gt=0, description="Seconds that import and register() may take.")
    late_start_s: float = Field(
        5.0, gt=0, description="Seconds of them after which the daemon is live without the plugin."
    )
    concurrency: int = Field(1, ge=1, le=64, description="Events that a plugin handles side by side.")
    soft_limit_s: float = Field(
        30.0, gt=0, description="Seconds after which a callback is reported with its stack."
    )
    hard_limit_s: float = Field(300.0, gt=0, description="Seconds after which the plugin's process is ended.")
    memory_limit_mb: int = Field(1024, ge=32, description="Memory at which a plugin's process is replaced.")
    restart_delay_s: float = Field(
        0.5, gt=0, description="First delay before a crashed plugin is started again."
    )
    restart_delay_cap_s: float = Field(300.0, gt=0, description="Longest delay before it is started again.")
    disable_after_failures: int = Field(
        3, ge=1, description="Failures in a row after which a plugin is disabled."
    )
    log_lines_per_s: int = Field(
        200, ge=1, description="Log lines a second kept from one plugin; the rest is counted."
    )
    watch: bool = Field(True, description="Reload plugins when their files change.")
    watch_polling: bool | None = Field(
        None, description="Poll for changes. Unset: only on network file systems."
    )
    watch_quiet_s: float = Field(0.15, ge=0, description="Quiet time after a change before a reload begins.")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments offered to every register()."
    )


class DeliverySettings(Section):
    """How events reach plugins."""

    journal: Path | None = Field(
        None, description="The journal's file. Unset: journal.sqlite in the state folder."
    )
    durable_topics: list[str] = Field(
        default_factory=lambda: ["ftrack.update", "ftrack.location.*"],
        description="Topics that are written to the journal before a callback runs; trailing * for a prefix.",
    )
    interactive_topics: list[str] = Field(
        default_factory=lambda: ["ftrack.action.*"],
        description="Topics that somebody waits for: own lane, never on disk, expire.",
    )
    other_topics: Literal["interactive", "event"] = Field(
        "interactive",
        description="Lane of topics that neither list names; event: they are written to the journal, too.",
    )
    interactive_expiry_s: float = Field(
        30.0, gt=0, description="Age at which an interactive event is dropped."
    )
    max_attempts: int = Field(
        5, ge=1, description="Attempts at one delivery before it is parked as a dead letter."
    )
    retry_delay_s: float = Field(
        1.0, gt=0, description="First delay before a retry; it doubles, with jitter."
    )
    retry_delay_cap_s: float = Field(300.0, gt=0, description="Longest delay before a retry.")
    lease_s: float = Field(30.0, gt=0, description="Seconds that a claim holds without being extended.")
    claim_batch: int = Field(
        64, ge=1, le=1000, description="Deliveries claimed for a plugin with one access to the journal."
    )
    intake_limit: int = Field(
        10_000,
        ge=10,
        description="Events kept in memory until they are in the journal. With so many the hub is read no "
        "faster than they are written; more are dropped only while the journal cannot be written.",
    )
    retention_days: float = Field(7.0, gt=0, description="Days that closed events stay for replay.")
    dead_letter_days: float = Field(90.0, gt=0, description="Days that dead letters stay.")
    size_limit_mb: int = Field(
        2048, ge=16, description="Size of the journal at which closed events go earlier."
    )
    order_by: Literal["entity", "parent", "project", "none"] = Field(
        "entity", description="What keeps events of a plugin in order when its concurrency is over 1."
    )
    on_park: Literal["release", "hold"] = Field(
        "release",
        description="After a dead letter: go on with its entity (release) or keep it waiting (hold).",
    )
    catch_up: bool = Field(
        True, description="Ask the server's Event log for what happened while the daemon was away."
    )
    catch_up_limit_h: float = Field(72.0, gt=0, description="Hours to look back at the most.")
    catch_up_overlap_s: float = Field(
        60.0, ge=0, description="Overlap of that look with what was already seen."
    )
    loop_limit_per_minute: int = Field(
        60,
        ge=2,
        description="Events for one entity, caused by a plugin's own commits, before it is slowed down.",
    )


class DaemonSettings(Section):
    """The main process."""

    state_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_state_dir("ftrackd")),
        description="Where the journal and the control socket live.",
    )
    control_socket: Path | None = Field(
        None,
        description="Unix socket for health, metrics and control. Unset: control.sock in the state folder.",
    )
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Also serve health and metrics on this port of the loopback interface.",
    )
    drain_limit_s: float = Field(
        20.0, ge=0, description="Seconds that running callbacks may take after SIGTERM."
    )


class LoggingSettings(Section):
    """The log."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is shown."
    )
    format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: coloured on a terminal, JSON lines otherwise."
    )
    file: Path | None = Field(None, description="Also write JSON lines to this file.")


class SentrySettings(Section):
    """Error reports to Sentry; off without a DSN."""

    dsn: SecretStr | None = Field(None, description="DSN of the Sentry project.")
    environment: str = Field("production", description="Environment named in the reports.")


class Settings(BaseSettings):
    """All settings of one daemon."""

    model_config = SettingsConfigDict(
        env_prefix="FTRACKD_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    server: ServerSettings = Field(default_factory=ServerSettings)
    hub: HubSettings = Field(default_factory=HubSettings)
    hosting: HostingSettings = Field(default_factory=HostingSettings)
    delivery: DeliverySettings = Field(default_factory=DeliverySettings)
    daemon: DaemonSettings = Field(default_factory=DaemonSettings)
    logging: LoggingSettings = Field(default_factory=LoggingSettings)
    sentry: SentrySettings = Field(default_factory=SentrySettings)
    plugins: dict[str, PluginSettings] = Field(
        default_factory=dict, description="Settings of single plugins, by name."
    )
    groups: list[GroupSettings] = Field(default_factory=list, description="Plugins that share one process.")
