"""Commands for authors of plugins: new, check, fire, launch, set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ftrackd.cli.files import write_file
from ftrackd.cli.options import ConfigOption, JsonOption
from ftrackd.cli.output import print_json
from ftrackd.errors import FtrackdError, UsageError

OnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        help="An entity: Type:ID, a path of names from the project down (hare/SEQ010/SH020/animation), "
        "or a query. May be repeated.",
    ),
]
SecondsOption = Annotated[float, typer.Option("--wait", help="Seconds to wait for replies.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the root."""
    panel = "Write plugins"
    for command in (new, check, fire, launch):
        app.command(rich_help_panel=panel)(command)
    app.command("set", rich_help_panel=panel)(set_attributes)


def new(
    name: Annotated[str, typer.Argument(help="Name of the plugin: letters, digits and _.")],
    kind: Annotated[str, typer.Option(help="listener, action or location.")] = "listener",
    folder: Annotated[Path, typer.Option(help="Where to write it.")] = Path("plugins"),
) -> None:
    """Write a small working plugin to begin with."""
    from ftrackd.api._plugin_discovery import is_skipped_file
    from ftrackd.cli.plugin_templates import render_plugin

    if not name.isidentifier():
        raise UsageError(f"{name!r} is not a name for a plugin; use letters, digits and _")
    target = folder / f"{name}.py"
    if is_skipped_file(target):
        raise UsageError(f"a file {target.name} is never loaded: it is taken for a test or for packaging")
    if target.exists():
        raise FtrackdError(f"{target} exists; it is left as it is")
    write_file(target, render_plugin(name, kind))
    print(f"wrote {target}")
    print(f"`ftrackd check {target}` looks at it, `ftrackd run --sandbox --plugins {folder}` loads it")


def check(
    paths: Annotated[list[Path], typer.Argument(help="Plugins or folders with plugins.")],
    as_json: JsonOption = False,
    tracebacks: Annotated[bool, typer.Option("--tracebacks", "-t", help="Show tracebacks.")] = False,
    allow_unsafe_paths: Annotated[
        bool, typer.Option("--allow-unsafe-paths", help="Also look at code that other users may write.")
    ] = False,
) -> None:
    """Tell for each plugin whether it would load, what it subscribes to, or why it would stay silent.

    The plugins are really loaded, in processes of their own and without a server. Exit code 1 when one
    would not work.
    """
    from ftrackd.cli.check_command import check_plugins

    if not check_plugins(
        paths, as_json=as_json, allow_unsafe_paths=allow_unsafe_paths, show_tracebacks=tracebacks
    ):
        raise typer.Exit(1)


def fire(
    topic: Annotated[str, typer.Argument(help="Topic, for instance ftrack.update or studio.render-done.")],
    data: Annotated[str, typer.Option(help="Payload as JSON, or @FILE.")] = "{}",
    on: OnOption = None,
    changed: Annotated[
        list[str] | None,
        typer.Option(help="With ftrack.update: attribute=NEW or attribute=OLD:NEW. May be repeated."),
    ] = None,
    target: Annotated[str, typer.Option(help="Target expression.")] = "",
    wait: SecondsOption = 0.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish an event, with the payload that the server or the web interface would send for these
    entities.
    """
    from ftrackd.cli.author_session import connected_session, find_entities
    from ftrackd.testing.events import selection_of, update_data

    payload = _json_argument(data)
    with connected_session(config) as session:
        entities = find_entities(session, on or [])
        if topic == "ftrack.update" and entities:
            payload = {**update_data(entities, _changes(changed or [])), **payload}
        elif entities:
            payload = {"selection": selection_of(entities), **payload}
        replies = _publish(session, topic, payload, target, wait)
    if as_json:
        print_json({"topic": topic, "data": payload, "replies": replies})
        return
    print(f"published {topic}")
    for reply in replies:
        print_json(reply)


def launch(
    action: Annotated[str, typer.Argument(help="Identifier or label of the action.")],
    on: OnOption = None,
    value: Annotated[
        list[str] | None, typer.Option(help="A form's value, name=value; the rest is asked for.")
    ] = None,
    wait: SecondsOption = 5.0,
    config: ConfigOption = None,
) -> None:
    """Run an action as the web interface does: discover, form, submit; exit 1 when it says it failed."""
    from ftrackd.cli.author_session import connected_session, find_entities
    from ftrackd.cli.launch_command import run_action

    given = dict(_pair(text) for text in value or [])
    with connected_session(config) as session:
        succeeded = run_action(session, action, find_entities(session, on or []), given, wait)
    if not succeeded:
        raise typer.Exit(1)


def set_attributes(
    entity: Annotated[str, typer.Argument(help="Type:ID, a path of names, or a query.")],
    values: Annotated[list[str], typer.Argument(help="attribute=value; a status or type goes by its name.")],
    config: ConfigOption = None,
) -> None:
    """Set attributes of an entity and commit, for instance `ftrackd set hare/SEQ010/SH020/animation
    status=Approved`.
    """
    from ftrackd.cli.author_session import find_entities, plain_session, set_attribute

    with plain_session(config) as session:
        for found in find_entities(session, [entity]):
            for text in values:
                name, new_value = _pair(text)
                set_attribute(session, found, name, new_value)
            session.commit()
            print(f"{found}: {', '.join(values)}")


def _publish(session: Any, topic: str, payload: dict[str, Any], target: str, wait_s: float) -> list[Any]:
    from ftrackd.api.event.base import Event

    replies: list[Any] = []
    session.event_hub.publish(
        Event(topic=topic, data=payload, target=target), on_reply=lambda reply: replies.append(reply["data"])
    )
    session.event_hub.wait(max(wait_s, 0.1))
    return replies


def _json_argument(text: str) -> dict[str, Any]:
    try:
        value = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except OSError as error:
        raise UsageError(f"{text[1:]}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--data is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("--data must be a JSON object")
    return value


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise UsageError(f"{text!r}: write it as name=value")
    return name.strip(), value


def _changes(texts: list[str]) -> dict[str, tuple[str | None, str]]:
    changes: dict[str, tuple[str | None, str]] = {}
    for text in texts:
        name, value = _pair(text)
        old, separator, new_value = value.partition(":")
        changes[name] = (old, new_value) if separator else (None, value)
    return changes
