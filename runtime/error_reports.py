"""Reports unexpected errors to a Sentry server: every log line of level error with an exception. Imported only when there is a DSN.

A report says where it happened (the exception's type and the stack), with the ids of task, trace and request. It has neither
arguments, nor local variables, nor what the exception says: any of them may quote a payload. The log, where they stand, is found by
the same ids. The SDK sends from a thread of its own out of a bounded queue, so that a dead server costs nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr
from sentry_sdk.client import Client
from sentry_sdk.utils import BadDsn, event_from_exception

from runtime import VERSION
from runtime.logs import get_logger, reported_to
from runtime.settings import SettingsError

log = get_logger(__name__)

_LAST_SECONDS = 2.0
"""What a process gives its last reports when it ends."""
_TAGS = ("process", "logger", "task_id", "request_id", "trace_id", "method", "code", "task_name")


class Reports:
    """One process's reports."""

    def __init__(self, dsn: str) -> None:
        self._client = Client(
            dsn=dsn,
            release=f"yivideo@{VERSION}",
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            auto_session_tracking=False,
            propagate_traces=False,
            shutdown_timeout=_LAST_SECONDS,
        )

    def report(self, line: dict[str, Any]) -> None:
        """Report a log line with its exception. Never raises."""
        try:
            error = _exception(line["exc_info"])
            if error is not None:
                self._client.capture_event(self._event(error, line))
        except Exception as failed:
            log.warning("an error could not be reported", error=type(failed).__name__)

    def _event(self, error: BaseException, line: dict[str, Any]) -> Any:
        event, _ = event_from_exception(error, self._client.options)
        for value in event["exception"]["values"]:
            value["value"] = ""
        event["level"] = "fatal" if line.get("level") == "critical" else "error"
        if line.get("_from_structlog", True):  # else it is another library's text
            event["logentry"] = {"message": str(line.get("event", ""))}
        event["tags"] = {name: str(line[name]) for name in _TAGS if line.get(name)}
        if line.get("trace_id") and line.get("span_id"):
            event["contexts"] = {"trace": {"trace_id": line["trace_id"], "span_id": line["span_id"]}}
        return event

    def close(self) -> None:
        """Send what is left, for a bounded time."""
        self._client.close(timeout=_LAST_SECONDS)


def _exception(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    found = exc_info if isinstance(exc_info, tuple) else sys.exc_info()
    error = found[1]
    return error if isinstance(error, BaseException) else None


@contextmanager
def reporting(dsn: SecretStr) -> Iterator[None]:
    """Report this process's unexpected errors for the time of the block. Raises SettingsError for what is no DSN."""
    try:
        reports = Reports(dsn.get_secret_value())
    except BadDsn:
        raise SettingsError("settings: runtime.sentry_dsn: not a DSN (https://key@host/number)") from None
    log.info("unexpected errors are reported to a Sentry server")
    try:
        with reported_to(reports.report):
            yield
    finally:
        reports.close()
