"""``ftrackd config``: what is set, and a file to begin with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ftrackd.cli.files import write_file
from ftrackd.cli.options import ConfigOption, JsonOption, loaded_settings
from ftrackd.cli.output import print_json, print_table
from ftrackd.errors import SettingsError

app = typer.Typer(
    help="Show the settings in force, or write a commented configuration file.", no_args_is_help=True
)


@app.command()
def show(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show every setting in force; secrets are masked."""
    loaded = loaded_settings(config)
    values = loaded.settings.model_dump(mode="json")
    for warning in loaded.warnings:
        print(f"ftrackd: {warning}", file=sys.stderr)
    if as_json:
        print_json({"file": loaded.file, "settings": values})
        return
    print(f"file: {loaded.file or 'none (defaults and environment)'}\n")
    print_table(("setting", "value"), _flat(values), "nothing is set")


@app.command()
def init(
    path: Annotated[Path | None, typer.Argument(help="File to write. Default: the platform's place.")] = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the file instead of writing it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a configuration file with every setting, its default and its meaning."""
    from ftrackd.settings_example import render_example
    from ftrackd.settings_file import default_files

    text = render_example()
    if stdout:
        if as_json:
            print_json({"text": text})
        else:
            sys.stdout.write(text)
        return
    target = path or default_files()[0]
    if target.exists():
        raise SettingsError(
            f"{target} exists; it is left as it is. `ftrackd config init --stdout` prints a new one"
        )
    write_file(target, text, mode=0o600)  # an API key may be added to it later
    if as_json:
        print_json({"written": target})
    else:
        print(f"wrote {target}")


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            rows.extend(_flat(value, f"{prefix}{name}."))
        else:
            rows.append((prefix + name, value))
    return rows
