"""What a log line and an outgoing call say about the work they belong to: request, trace and task ids.

The three travel over gRPC as metadata `x-request-id`, `traceparent` (W3C Trace Context) and stay in context variables, so that
no function has to pass them on.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

REQUEST_ID_KEY = "x-request-id"
TRACEPARENT_KEY = "traceparent"

request_id: ContextVar[str] = ContextVar("request_id", default="")
traceparent: ContextVar[str] = ContextVar("traceparent", default="")
task_id: ContextVar[str] = ContextVar("task_id", default="")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def accepted_request_id(offered: str | None) -> str:
    """Return the peer's request id when it is one we would print, else a new one."""
    if offered and _REQUEST_ID.fullmatch(offered):
        return offered
    return secrets.token_hex(16)


def accepted_traceparent(offered: str | None) -> str:
    """Return the peer's traceparent when it is well formed, else a new, unsampled root."""
    if offered and _TRACEPARENT.fullmatch(offered):
        return offered
    made = secrets.token_hex(24)
    return f"00-{made[:32]}-{made[32:]}-00"


def trace_id() -> str:
    """Return the 32 hex digits of the current trace; empty outside any."""
    parts = traceparent.get().split("-")
    return parts[1] if len(parts) == 4 else ""


@contextmanager
def bound(*, request: str | None = None, trace: str | None = None, task: str | None = None) -> Iterator[None]:
    """Bind ids for the time of a block; None leaves one as it is."""
    variables = ((request_id, request), (traceparent, trace), (task_id, task))
    tokens = [(variable, variable.set(value)) for variable, value in variables if value is not None]
    try:
        yield
    finally:
        for variable, token in reversed(tokens):
            variable.reset(token)
