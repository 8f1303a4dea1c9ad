"""Commands that ask the running daemon: status, plugins, reload, reset; and doctor."""

from __future__ import annotations

from textwrap import indent
from typing import Annotated, Any

import typer

from ftrackd.cli.options import ConfigOption, JsonOption, control_client
from ftrackd.cli.output import print_json, print_table


def add_to(app: typer.Typer) -> None:
    """Add the commands to the root."""
    panel = "Operate"
    app.command(rich_help_panel=panel)(status)
    app.command(rich_help_panel=panel)(plugins)
    app.command(rich_help_panel=panel)(reload)
    app.command(rich_help_panel=panel)(reset)
    app.command(rich_help_panel=panel)(doctor)


def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the state of the daemon, its connection, plugins and journal."""
    report = control_client(config).get("/status")
    if as_json:
        print_json(report)
        return
    print(f"{report['state']}, pid {report['pid']}, up {_duration(report['uptime_s'])}")
    for name, reason in report["degradations"].items():
        print(f"  {name}: {reason}")
    print(f"server   {report['server']['url']} as {report['server']['api_user']}")
    hub = report["hub"]
    heard = "never" if hub["last_packet_s"] is None else f"{hub['last_packet_s']:.0f} s ago"
    print(f"hub      {hub['state']}, last packet {heard}, {hub['reconnects']} reconnects")
    counts = ", ".join(f"{count} {state}" for state, count in sorted(report["plugins"].items())) or "none"
    late = f"; still starting: {', '.join(report['starting'])}" if report["starting"] else ""
    print(f"plugins  {counts}{late}")
    journal = report["journal"]
    oldest = "" if journal["oldest_open_s"] is None else f", oldest {_duration(journal['oldest_open_s'])}"
    print(
        f"journal  {journal['open']} open{oldest}, {journal['dead']} dead letters, "
        f"{journal['events']} events kept, {journal['megabytes']} MB"
    )
    if journal["absent"]:
        names = ", ".join(f"{name} ({count})" for name, count in journal["absent"].items())
        print(
            f"absent   deliveries wait for plugins that are not there: {names}; they run when the plugin is "
            "back, `ftrackd events forget PLUGIN` gives them up"
        )
    if journal["waiting"] or journal["dropped"]:
        print(
            f"memory   {journal['waiting']} events wait to be written, "
            f"{journal['dropped']} had to be dropped since the start"
        )
    for loop in report["loops"]:
        print(
            f"loop     {loop['plugin']} slowed down: {loop['count']} events within a minute for entity "
            f"{loop['entity_id']}, caused by {report['server']['api_user']}"
        )
    if report["unsafe_paths_allowed"]:
        print("warning  hosting.allow_unsafe_paths is on: code that other users may write is loaded")


def plugins(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the plugins with their state and reason; tracebacks and stacks follow below."""
    listed = control_client(config).get("/plugins")
    if as_json:
        print_json(listed)
        return
    rows = [
        (
            plugin["name"],
            plugin["state"],
            plugin["pid"],
            _megabytes(plugin.get("memory_bytes")),
            len(plugin["subscriptions"]),
            (plugin["reason"] or plugin["error"]).partition("\n")[0],
        )
        for plugin in listed
    ]
    print_table(("plugin", "state", "pid", "memory", "subscriptions", "reason"), rows, "no plugins")
    for plugin in listed:
        details = (plugin["error"] or plugin["reason"]).partition("\n")[2]
        stack = plugin["stack"]
        if details:
            print(f"\n{plugin['name']}: the error\n{indent(details, '  ')}")
        if stack and stack not in details:
            print(f"\n{plugin['name']}: the last stack of a callback that was slow\n{indent(stack, '  ')}")


def reload(
    plugin: Annotated[str | None, typer.Argument(help="Name of the plugin. Default: all.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load the present code of a plugin, or of all, without losing an event."""
    answer = control_client(config).post("/reload", plugin=plugin)
    _show(answer, as_json, lambda: f"reloading {', '.join(answer['plugins']) or 'nothing'}")


def reset(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Reset the Session of every plugin between two deliveries, as SIGHUP does."""
    answer = control_client(config).post("/reset")
    _show(answer, as_json, lambda: f"resetting {', '.join(answer['plugins']) or 'nothing'}")


def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check settings, server, credentials, hub, paths, journal and plugins; exit 1 when something is
    wrong.
    """
    from ftrackd.daemon.doctor import examine

    findings = examine(config)
    if as_json:
        print_json([finding.as_document() for finding in findings])
    else:
        marks = {True: "ok", False: "PROBLEM", None: "note"}
        print_table(
            ("", "check", "finding"),
            [(marks[finding.is_well], finding.name, finding.text) for finding in findings],
            "nothing to check",
        )
    if any(finding.is_well is False for finding in findings):
        raise typer.Exit(1)


def _show(answer: Any, as_json: bool, sentence: Any) -> None:
    if as_json:
        print_json(answer)
    else:
        print(sentence())


def _megabytes(size_bytes: int | None) -> str:
    return "" if not size_bytes else f"{size_bytes / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
