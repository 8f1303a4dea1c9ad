"""Reading settings: from which file, in which order, and what is said when one is wrong.

Messages name the file, the line and the setting, never the value: it may be a secret.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource
from pydantic_settings import SettingsError as UnreadableEnvironment

from ftrackd.errors import SettingsError
from ftrackd.settings import Settings

STANDARD_VARIABLES = {
    "FTRACK_SERVER": ("server", "url"),
    "FTRACK_API_USER": ("server", "api_user"),
    "FTRACK_API_KEY": ("server", "api_key"),
    "FTRACK_EVENT_PLUGIN_PATH": ("hosting", "plugin_paths"),
}
"""The official client's variables and the settings that they stand for."""

OTHER_VARIABLES = frozenset({"FTRACKD_CONFIG", "FTRACKD_FAILPOINT", "FTRACKD_SANDBOX_API_KEY"})
"""Variables of ours that name no setting."""


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings with where they came from.

    ``file`` is the configuration file that was read, None without one; ``warnings`` are sentences.
    """

    settings: Settings
    file: Path | None
    warnings: Sequence[str] = field(default_factory=tuple)


def default_files() -> list[Path]:
    """Return the files that are looked for when none is named, best first."""
    return [
        Path(platformdirs.user_config_dir("ftrackd")) / "config.toml",
        Path(platformdirs.site_config_dir("ftrackd")) / "config.toml",
        Path("/etc/ftrackd/config.toml"),
    ]


def find_file(explicit: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the file to read: the named one, FTRACKD_CONFIG's, or the first default that exists."""
    named = explicit or (Path(environment["FTRACKD_CONFIG"]) if environment.get("FTRACKD_CONFIG") else None)
    if named is not None:
        return named
    return next((path for path in default_files() if path.is_file()), None)


def load(
    explicit: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> LoadedSettings:
    """Return the settings in force.

    ``overrides`` are nested mappings in the shape of the file (the command line's options); they win over
    ``FTRACKD_*`` variables, these over the standard ``FTRACK_*`` ones, these over the file.

    Raises SettingsError with one line per mistake.
    """
    file = find_file(explicit, environment)
    text = _read(file) if file else ""
    values = _parse(file, text) if file else {}
    _refuse_unknown_variables(environment)
    try:
        settings = _build(overrides or {}, _standard(environment), values)
    except ValidationError as error:
        raise SettingsError("\n".join(_describe(error, file, text, environment, overrides or {}))) from error
    except UnreadableEnvironment as error:
        raise SettingsError(_describe_environment(error)) from error
    warnings = _warnings(file, values)
    return LoadedSettings(settings, file, warnings)


def _build(overrides: Mapping[str, Any], standard: dict[str, Any], values: dict[str, Any]) -> Settings:
    class Ordered(Settings):
        """Settings whose weakest sources are the standard variables and the file."""

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                init_settings,
                env_settings,
                InitSettingsSource(settings_cls, standard),
                InitSettingsSource(settings_cls, values),
            )

    return Ordered(**overrides)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SettingsError(
            f"{file}: no such configuration file; `ftrackd config init` writes a commented one"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{file}: the configuration cannot be read: {reason}") from error


def _parse(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: not valid TOML: {error}") from error


def _standard(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, (section, name) in STANDARD_VARIABLES.items():
        text = environment.get(variable, "").strip()
        if not text:
            continue
        value: Any = (
            [part for part in text.split(os.pathsep) if part.strip()] if name == "plugin_paths" else text
        )
        values.setdefault(section, {})[name] = value
    return values


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    sections = {name.upper() for name in Settings.model_fields}
    for variable in environment:
        if (
            not variable.startswith("FTRACKD_")
            or variable in OTHER_VARIABLES
            or variable.startswith("FTRACKD_TEST_")
        ):
            continue
        section = variable.removeprefix("FTRACKD_").split("__")[0]
        if section not in sections:
            near = _nearest(section.lower(), Settings.model_fields)
            raise SettingsError(
                f"environment variable {variable}: no section is named {section.lower()!r}{near}"
            )


def _describe(
    error: ValidationError,
    file: Path | None,
    text: str,
    environment: Mapping[str, str],
    overrides: Mapping[str, Any],
) -> list[str]:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        path = tuple(str(part) for part in problem["loc"])
        name = ".".join(path)
        if problem["type"] == "extra_forbidden":
            message = "no such setting" + _nearest(path[-1], _names_at(path[:-1]))
        elif problem["type"] == "model_type":
            message = "should be a section with settings of its own"
        else:
            message = problem["msg"][:1].lower() + problem["msg"][1:]
        is_option = path[-1] in overrides.get(path[0], {})
        where = "command line: " if is_option else _where(path, file, text, environment)
        lines.append(f"{where}{name}: {message}")
    return lines


def _where(path: tuple[str, ...], file: Path | None, text: str, environment: Mapping[str, str]) -> str:
    variable = "FTRACKD_" + "__".join(part.upper() for part in path)
    if variable in environment:
        return f"environment variable {variable}: "
    for standard, target in STANDARD_VARIABLES.items():
        if path[:2] == target and environment.get(standard):
            return f"environment variable {standard}: "
    line = line_of(text, path)
    if file is not None and line is not None:
        return f"{file}, line {line}: "
    return f"{file}: " if file is not None else ""


def line_of(text: str, path: Sequence[str]) -> int | None:
    """Return the 1-based line of the setting at ``path``, or of its table, in a TOML text; else None."""
    table: tuple[str, ...] = ()
    found = None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
        if header:
            table = tuple(part.strip(" \"'") for part in header[1].split("."))
            if table == tuple(path):
                return number
            continue
        key = re.match(r"\s*([A-Za-z0-9_\-\"'.]+)\s*=", line)
        if not key:
            continue
        full = (*table, *(part.strip("\"'") for part in key[1].split(".")))
        if full == tuple(path):
            return number
        if found is None and full == tuple(path[: len(full)]):
            found = number
    return found


def _names_at(path: Sequence[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in path:
        described = model.model_fields.get(part)
        annotation = described.annotation if described else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            arguments = getattr(annotation, "__args__", ())
            annotation = next(
                (a for a in arguments if isinstance(a, type) and issubclass(a, BaseModel)), None
            )
        if annotation is None:
            continue
        model = annotation
    return list(model.model_fields)


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(close)}?)" if close else f"; known: {', '.join(sorted(known))}"


def _describe_environment(error: Exception) -> str:
    match = re.search(r'field "(\w+)"', str(error))
    name = f"FTRACKD_{match[1].upper()}__*" if match else "FTRACKD_*"
    return f"environment variable {name}: lists and tables are written as JSON there"


def _warnings(file: Path | None, values: Mapping[str, Any]) -> tuple[str, ...]:
    if file is None:
        return ()
    holds_secret = bool(values.get("server", {}).get("api_key") or values.get("sentry", {}).get("dsn"))
    mode = stat.S_IMODE(file.stat().st_mode)
    if holds_secret and mode & 0o027:
        return (
            f"{file} holds a secret and has mode {mode:04o}; `chmod 0640 {file}` keeps it from other users",
        )
    return ()
