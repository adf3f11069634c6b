"""What a log line and an outgoing call say about the work they belong to: request, trace and task ids.

They travel over gRPC as metadata `x-request-id`, `traceparent` and `tracestate` (W3C Trace Context) and stay in context variables,
so that no function has to pass them on.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

REQUEST_ID_KEY = "x-request-id"
TRACEPARENT_KEY = "traceparent"
TRACESTATE_KEY = "tracestate"

request_id: ContextVar[str] = ContextVar("request_id", default="")
traceparent: ContextVar[str] = ContextVar("traceparent", default="")
tracestate: ContextVar[str] = ContextVar("tracestate", default="")
task_id: ContextVar[str] = ContextVar("task_id", default="")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{1,256}")
_TRACESTATE_LENGTH = 512
_TRACESTATE_MEMBERS = 32


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


def offered_traceparent(offered: str | None) -> bool:
    """Whether a peer has given a trace that can be gone on with."""
    return bool(offered and _TRACEPARENT.fullmatch(offered))


def accepted_tracestate(offered: str | None, traceparent: str | None) -> str:
    """Return the peer's tracestate as it came; empty without a traceparent, or when it is too long or malformed."""
    if not offered or len(offered) > _TRACESTATE_LENGTH or not offered_traceparent(traceparent):
        return ""
    members = [member.strip(" \t") for member in offered.split(",")]
    well_formed = all(_TRACESTATE_MEMBER.fullmatch(member) for member in members if member)
    return offered if well_formed and len(members) <= _TRACESTATE_MEMBERS else ""


def is_sampled(given: str | None = None) -> bool:
    """Whether a trace, by default the current one, is recorded."""
    flags = (traceparent.get() if given is None else given)[-1:]
    return flags != "" and flags in "13579bdf"


def span_id() -> str:
    """Return the 16 hex digits of the current span; empty in a trace that nobody records."""
    return traceparent.get().split("-")[2] if is_sampled() else ""


def trace_id() -> str:
    """Return the 32 hex digits of the current trace; empty outside any."""
    parts = traceparent.get().split("-")
    return parts[1] if len(parts) == 4 else ""


def bind(*, task: str, trace: str, state: str) -> None:
    """Bind ids for the rest of the asyncio task that calls this."""
    task_id.set(task)
    traceparent.set(trace)
    tracestate.set(state)


@contextmanager
def bound(
    *,
    request: str | None = None,
    trace: str | None = None,
    state: str | None = None,
    task: str | None = None,
) -> Iterator[None]:
    """Bind ids for the time of a block; None leaves one as it is."""
    variables = ((request_id, request), (traceparent, trace), (tracestate, state), (task_id, task))
    tokens = [(variable, variable.set(value)) for variable, value in variables if value is not None]
    try:
        yield
    finally:
        for variable, token in reversed(tokens):
            variable.reset(token)
