"""Logs: one JSON object a line on standard error, with request, trace and task ids; other libraries' lines too."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

from runtime import context

_SECRET_WORDS = ("token", "secret", "password", "api_key", "apikey", "authorization", "cookie")
_MASK_DEPTH = 4


class _Process:
    """What else becomes of this process's lines."""

    reporter: Callable[[dict[str, Any]], None] | None = None


@contextmanager
def reported_to(reporter: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """For the time of the block, call this with every line of level error or above that has an exception."""
    before, _Process.reporter = _Process.reporter, reporter
    try:
        yield
    finally:
        _Process.reporter = before


def _report(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    reporter = _Process.reporter
    if reporter is not None and event.get("exc_info") and event.get("level") in ("error", "critical"):
        reporter(dict(event))
    return event


def _add_ids(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for name, value in (
        ("request_id", context.request_id.get()),
        ("trace_id", context.trace_id()),
        ("span_id", context.span_id()),
        ("task_id", context.task_id.get()),
    ):
        if value:
            event.setdefault(name, value)
    return event


def _mask_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for key in event:
        if not key.startswith("_"):  # structlog's own
            event[key] = _masked(key, event[key], _MASK_DEPTH)
    return event


def _masked(key: object, value: Any, depth: int) -> Any:
    name = str(key).lower().replace("-", "_")
    if any(word in name for word in _SECRET_WORDS):
        return "***"
    if isinstance(value, Mapping) and depth:
        return {inner: _masked(inner, item, depth - 1) for inner, item in value.items()}
    return value


def _to_json(event: dict[str, Any], **_: Any) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # an int past 64 bits, text with lone surrogates: slower, but the line is not lost
        return json.dumps(event, default=str, skipkeys=True)


def configure_logs(process: str, *, level: str = "info", log_format: str = "json") -> None:
    """Set up structlog and the standard library's logging for this process; call once at its start."""

    def add_process(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_process,
        _add_ids,
        _mask_secrets,
        _report,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(serializer=_to_json)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module: `log.info("task started", attempt=2)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
