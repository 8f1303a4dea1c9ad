"""The commands, in the order in which ``ftrackd --help`` lists them.

Imports stay inside the commands: `ftrackd status` must not pay for the daemon.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftrackd.cli.options import ConfigOption

app = typer.Typer(
    help="Hosts plugins for ftrack: durable events, one process for each plugin, hot reload.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Markdown joins the lines of a docstring's paragraph, and takes [server] for what it is.
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        from ftrackd import __version__

        print(f"ftrackd {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hosts plugins for ftrack: durable events, one process for each plugin, hot reload.

    Exit codes: 0 stopped as asked, 1 failed, 2 usage or settings, 69 server unreachable or refused,
    77 credentials refused.
    """


@app.command(rich_help_panel="Run")
def run(
    plugins: Annotated[
        list[Path] | None,
        typer.Option("--plugins", "-p", help="Folder or file with plugins; may be repeated."),
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Run on an embedded ftrack-compatible server with demo data.")
    ] = False,
    config: ConfigOption = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="Run every plugin in this process, for a debugger.")
    ] = False,
    log_level: Annotated[
        str | None, typer.Option("--log-level", help="debug, info, warning or error.")
    ] = None,
) -> None:
    """Run the daemon: connect the event hub, load the plugins, deliver events until told to stop.

    SIGTERM and Ctrl-C drain (running callbacks finish, the rest waits in the journal), a second one
    forces. SIGHUP re-configures the Session of every plugin. The server comes from FTRACK_SERVER,
    FTRACK_API_USER and FTRACK_API_KEY or from [server] in the configuration.
    """
    from ftrackd.cli.run_command import run_daemon

    run_daemon(plugins or [], config, sandbox=sandbox, in_process=in_process, log_level=log_level)


@app.command(
    rich_help_panel="Run",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def sandbox(context: typer.Context) -> None:
    """Run an ftrack-compatible server with demo data, alone; `ftrackd sandbox --help` lists its options."""
    import runpy
    import sys

    sys.argv = ["ftrackd sandbox", *context.args]
    runpy.run_module("ftrackd.sandbox", run_name="__main__")


def _add_groups() -> None:
    from ftrackd.cli import (
        author_commands,
        config_commands,
        event_commands,
        operator_commands,
        service_commands,
    )

    operator_commands.add_to(app)
    app.add_typer(event_commands.events, name="events", rich_help_panel="Operate")
    app.add_typer(event_commands.dead, name="dead", rich_help_panel="Operate")
    app.add_typer(config_commands.app, name="config", rich_help_panel="Operate")
    app.add_typer(service_commands.app, name="service", rich_help_panel="Operate")
    author_commands.add_to(app)


_add_groups()
