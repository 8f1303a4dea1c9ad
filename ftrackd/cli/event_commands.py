"""``ftrackd events`` and ``ftrackd dead``: what passes through the daemon, and what could not be handled."""

from __future__ import annotations

from typing import Annotated

import typer

from ftrackd.cli.options import ConfigOption, JsonOption, control_client
from ftrackd.cli.output import print_json, print_table
from ftrackd.errors import UsageError

events = typer.Typer(
    help="Watch events as they pass, deliver old ones again, or give up what waits.", no_args_is_help=True
)
dead = typer.Typer(help="Dead letters: deliveries that failed for good.", no_args_is_help=True)

_LISTED_LETTERS = 1000

PluginOption = Annotated[str | None, typer.Option("--plugin", help="Only this plugin.")]
IdsArgument = Annotated[list[str] | None, typer.Argument(help="Ids from `ftrackd dead list`.")]
AllOption = Annotated[bool, typer.Option("--all", help="All of them (of --plugin, when given).")]


@events.command()
def tail(
    topic: Annotated[str | None, typer.Option(help="Only this topic; a trailing * is a prefix.")] = None,
    plugin: PluginOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show events and outcomes as they happen, until Ctrl-C."""
    try:
        for record in control_client(config).stream("/events/tail", topic=topic, plugin=plugin):
            if record.get("kind") == "alive":
                continue
            if as_json:
                import json

                print(json.dumps(record), flush=True)
            else:
                details = " ".join(
                    f"{k}={v}" for k, v in record.items() if k not in ("at", "kind") and v is not None
                )
                print(f"{record['at'][11:19]} {record['kind']:<9} {details}", flush=True)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@events.command()
def replay(
    since: Annotated[
        str | None, typer.Option(help="From this time on: 2026-05-01T10:00, or 30m, 6h, 2d ago.")
    ] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="Only the event with this id.")] = None,
    plugin: PluginOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be delivered; change nothing.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deliver events of the journal again, marked as replayed.

    Each plugin gets again what it once got. Plugins that are not there any more are left out, unless --plugin
    names one: its events then wait for it. Dead letters stay listed; `ftrackd dead retry` is for them.
    """
    if not since and not event_id:
        raise UsageError("say which events: --since TIME or --id EVENT")
    answer = control_client(config).post(
        "/events/replay", since=since, id=event_id, plugin=plugin, dry_run=dry_run
    )
    if as_json:
        print_json(answer)
        return
    rows = [
        (item["event_id"], item["topic"], item["plugin"], item["received_at"])
        for item in answer["deliveries"]
    ]
    print_table(("event", "topic", "plugin", "received"), rows, "no event of the journal fits")
    if rows:
        print(f"{len(rows)} deliveries {'would be' if dry_run else 'are'} made again")
    for name, count in sorted(answer["absent"].items()):
        print(f"left out: {count} of {name}, which is not there any more; --plugin {name} includes them")


@events.command()
def forget(
    plugin: Annotated[str, typer.Argument(help="Name of a plugin that will not come back.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show how much would be closed; change nothing.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close what waits for a plugin that was removed for good, and its dead letters."""
    answer = control_client(config).post("/events/forget", plugin=plugin, dry_run=dry_run)
    if as_json:
        print_json(answer)
    else:
        print(f"deliveries {'that would be ' if dry_run else ''}closed for {plugin}: {answer['count']}")


@dead.command("list")
def list_dead(plugin: PluginOption = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List dead letters, newest first."""
    letters = control_client(config).get("/dead", plugin=plugin, limit=_LISTED_LETTERS)
    if as_json:
        print_json(letters)
        return
    rows = [
        (item["id"], item["plugin"], item["topic"], item["attempts"], item["parked_at"], item["reason"])
        for item in letters
    ]
    print_table(("id", "plugin", "topic", "attempts", "since", "reason"), rows, "no dead letters")
    if len(rows) == _LISTED_LETTERS:
        print(f"only the newest {_LISTED_LETTERS} are shown; `retry --all` and `drop --all` take all")


@dead.command()
def show(
    letter: Annotated[str, typer.Argument(help="Id from `ftrackd dead list`.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter: its event and the traceback."""
    answer = control_client(config).get("/dead/show", id=letter)
    if as_json:
        print_json(answer)
        return
    for name, value in answer.items():
        if name not in ("event", "error"):
            print(f"{name:<10} {value}")
    print(f"\n{answer['error'] or 'no traceback'}\n")
    print_json(answer["event"])


@dead.command()
def retry(
    ids: IdsArgument = None,
    every: AllOption = False,
    plugin: PluginOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Deliver dead letters again."""
    _change("/dead/retry", "delivered again", ids, every, plugin, config, as_json)


@dead.command()
def drop(
    ids: IdsArgument = None,
    every: AllOption = False,
    plugin: PluginOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give dead letters up; their events stay in the journal until retention ends."""
    _change("/dead/drop", "dropped", ids, every, plugin, config, as_json)


def _change(
    path: str,
    done: str,
    ids: list[str] | None,
    every: bool,
    plugin: str | None,
    config: ConfigOption,
    as_json: bool,
) -> None:
    if not ids and not every:
        raise UsageError("say which: ids from `ftrackd dead list`, or --all")
    answer = control_client(config).post(path, ids=ids or [], all=every, plugin=plugin)
    if as_json:
        print_json(answer)
    else:
        print(f"{answer['count']} {done}")
