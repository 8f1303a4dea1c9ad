"""The page behind ``get_widget_url``."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ftrackd.sandbox.errors import PermissionError

if TYPE_CHECKING:
    from ftrackd.sandbox.services import Services

WIDGET_PATH: Final = "/widget"


def widget_page(services: Services, request: Request) -> Response:
    """Return the page of a widget; raise :class:`PermissionError` when its address has expired."""
    query = request.query_params
    if not services.signer.verify(WIDGET_PATH, query):
        raise PermissionError("The address of the widget is not valid or has expired; ask for a new one.")
    shown = {name: query[name] for name in ("view", "theme", "entityType", "entityId") if query.get(name)}
    if query.get("entityType") == "tempdata":
        shown["data"] = services.temporary_data.get(query["entityId"]) or "expired"
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in shown.items()
    )
    return HTMLResponse(f"<!doctype html><title>ftrackd sandbox</title><h1>Widget</h1><table>{rows}</table>")
