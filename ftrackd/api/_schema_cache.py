"""Schemas kept between runs, in one file for each server."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from ftrackd.api import _json

_logger = logging.getLogger("ftrack_api.session.SchemaCache")


def default_folder() -> Path:
    """Return the folder for schemas: ``FTRACK_API_SCHEMA_CACHE_PATH``, else the user's cache folder."""
    configured = os.environ.get("FTRACK_API_SCHEMA_CACHE_PATH")
    if configured:
        return Path(configured)
    import platformdirs

    return Path(platformdirs.user_cache_dir("ftrackd"))


def file_for(folder: Path, server_url: str) -> Path:
    """Return the file in `folder` for the schemas of the server at `server_url`."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", server_url.partition("://")[2] or server_url)[:80]
    digest = hashlib.sha256(server_url.encode("utf-8")).hexdigest()[:12]
    return folder / f"ftrack_api_schema_cache_{readable}_{digest}.json"


def schema_hash(schemas: list[dict[str, Any]]) -> str:
    """Return the hash that a server gives to `schemas`: the MD5 of their canonical JSON, in hexadecimal."""
    canonical = json.dumps(schemas, sort_keys=True).encode("ascii")
    return hashlib.md5(canonical, usedforsecurity=False).hexdigest()


def read(path: Path, expected_hash: str | None) -> list[dict[str, Any]] | None:
    """Return the schemas kept in `path` if they are those with `expected_hash`, else None."""
    if not expected_hash:
        return None
    try:
        kept = _json.loads(path.read_bytes())
        if kept["schema_hash"] == expected_hash:
            schemas = kept["schemas"]
            return schemas if isinstance(schemas, list) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _logger.warning("Ignoring the schema cache %s, which cannot be read: %s", path, error)
    return None


def write(path: Path, schemas: list[dict[str, Any]], expected_hash: str | None) -> None:
    """Keep `schemas` in `path` for the next run, at once and whole.

    Only when they are what the server announced with `expected_hash`: it may have changed them between two
    answers. A folder that cannot be written to costs a warning and nothing else.
    """
    if not expected_hash or schema_hash(schemas) != expected_hash:
        return
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            file.write(_json.dumps({"schema_hash": expected_hash, "schemas": schemas}))
        os.replace(temporary, path)
    except OSError as error:
        _logger.warning("Schemas are not cached, the next start will fetch them again: %s", error)
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
