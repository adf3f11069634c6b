"""The log of the HTTP server itself: a request that is no HTTP is its sender's fault, told in one line and without a traceback."""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError

HTTP_LOG = logging.getLogger("gateway.http")


def _calm(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args = f"a request was not HTTP: {type(error).__name__}", ()
        record.exc_info = None
    return True


HTTP_LOG.addFilter(_calm)
