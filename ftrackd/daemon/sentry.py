"""Error reports to Sentry, written on the daemon's hooks; only when a DSN is set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sentry_sdk

import ftrackd
from ftrackd.daemon.hooks import hookimpl
from ftrackd.daemon.redaction import Redactor
from ftrackd.hosting import HostedOutcome
from ftrackd.settings import SentrySettings


class SentryReports:
    """Reports failed plugins and deliveries. Local variables and request bodies are never sent."""

    def __init__(self, settings: SentrySettings, redact: Redactor) -> None:
        assert settings.dsn is not None
        self._redact = redact
        sentry_sdk.init(
            dsn=settings.dsn.get_secret_value(),
            environment=settings.environment,
            release=f"ftrackd@{ftrackd.__version__}",
            include_local_variables=False,
            max_request_body_size="never",
            before_send=self._scrub,
            before_breadcrumb=self._scrub,
            default_integrations=False,
        )

    def _scrub(self, report: Any, _hint: Any) -> Any:
        return json.loads(self._redact(json.dumps(report, default=str)))

    @hookimpl
    def plugin_failed(self, plugin: str, status: Mapping[str, Any]) -> None:
        """Report why a plugin does not run."""
        self._report(f"plugin failed: {plugin}", plugin, status)

    @hookimpl
    def deliveries_done(self, plugin: str, outcomes: Sequence[HostedOutcome]) -> None:
        """Report attempts that did not return."""
        for outcome in outcomes:
            if outcome.status != "returned":
                self._report(f"delivery {outcome.status}: {plugin}", plugin, outcome._asdict())

    @hookimpl
    def shutdown(self) -> None:
        """Send what waits."""
        sentry_sdk.flush(timeout=2)

    def _report(self, message: str, plugin: str, details: Mapping[str, Any]) -> None:
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("plugin", plugin)
            scope.set_context("details", dict(details))
            sentry_sdk.capture_message(message, level="error")
