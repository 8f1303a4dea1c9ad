"""Service definitions for systemd and launchd; the files in ``systemd/`` are what this module renders."""

from __future__ import annotations

from html import escape  # XML's own costs every command urllib.request

SYSTEM_COMMAND = "/opt/ftrackd/bin/ftrackd"
"""Where the packaged units expect the command; ``ftrackd service install`` writes the real place."""

SYSTEM_CONFIG = "/etc/ftrackd/config.toml"
"""What the service of the whole machine reads."""

_UNIT = """\
[Unit]
Description={description}
Documentation=https://github.com/ftrackd/ftrackd#readme
Wants=network-online.target
After=network-online.target
# A server that is away for the night must not leave the daemon down for the day.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} run --config {config}
# SIGHUP re-configures the Session of every plugin, as `ftrackd reset` does.
ExecReload=/bin/kill -HUP $MAINPID
EnvironmentFile=-{environment}
Restart=on-failure
RestartSec=10
# 2: usage or settings, 77: credentials refused. Starting again would not help.
RestartPreventExitStatus=2 77
# Fed only while the hub's reader, the dispatcher and the supervisor make progress.
WatchdogSec=60
# Longer than daemon.drain_limit_s, so that running callbacks can finish.
TimeoutStopSec=45
KillMode=mixed
"""

_SYSTEM_PART = """\
User=ftrackd
Group=ftrackd
StateDirectory={state}
StateDirectoryMode=0700
RuntimeDirectory={state}
RuntimeDirectoryMode=0700
Environment=FTRACKD_DAEMON__STATE_DIR=%S/{state}
Environment=FTRACKD_DAEMON__CONTROL_SOCKET=%t/{state}/control.sock
NoNewPrivileges=true
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=true
ProtectKernelTunables=true
ProtectKernelModules=true
ProtectControlGroups=true
RestrictSUIDSGID=true
LockPersonality=true
# Storage that plugins write to must be listed, for instance ReadWritePaths=/mnt/projects
ReadWritePaths=-/mnt

[Install]
WantedBy=multi-user.target
"""

_USER_PART = """\

[Install]
WantedBy=default.target
"""

_PROPERTY_LIST = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
    <key>Label</key>
    <string>com.ftrackd.daemon</string>
    <key>ProgramArguments</key>
    <array>
        <string>{command}</string>
        <string>run</string>
        <string>--config</string>
        <string>{config}</string>
    </array>
    <key>RunAtLoad</key>
    <true/>
    <!-- Started again after a failure, left alone after a stop that was asked for. -->
    <key>KeepAlive</key>
    <dict>
        <key>SuccessfulExit</key>
        <false/>
    </dict>
    <key>ThrottleInterval</key>
    <integer>10</integer>
    <key>ExitTimeOut</key>
    <integer>45</integer>
    <key>StandardErrorPath</key>
    <string>{log}</string>
    <key>StandardOutPath</key>
    <string>{log}</string>
</dict>
</plist>
"""


def system_unit(command: str = SYSTEM_COMMAND) -> str:
    """Return ``ftrackd.service`` for the whole machine."""
    unit = _UNIT.format(
        description="ftrackd, the event daemon for ftrack",
        command=command,
        config=SYSTEM_CONFIG,
        environment="/etc/ftrackd/environment",
    )
    return unit + _SYSTEM_PART.format(state="ftrackd")


def template_unit(command: str = SYSTEM_COMMAND) -> str:
    """Return ``ftrackd@.service``: one daemon an instance, with a configuration of its own."""
    unit = _UNIT.format(
        description="ftrackd, the event daemon for ftrack (%i)",
        command=command,
        config="/etc/ftrackd/%i.toml",
        environment="/etc/ftrackd/%i.environment",
    )
    return unit + _SYSTEM_PART.format(state="ftrackd-%i")


def user_unit(command: str, config: str, environment: str) -> str:
    """Return a unit for ``systemctl --user``, without the parts that need root."""
    unit = _UNIT.format(
        description="ftrackd, the event daemon for ftrack",
        command=command,
        config=config,
        environment=environment,
    )
    return unit + _USER_PART


def property_list(command: str, config: str, log: str) -> str:
    """Return a launchd property list."""
    values = {"command": command, "config": config, "log": log}
    return _PROPERTY_LIST.format(**{name: escape(value, quote=False) for name, value in values.items()})
