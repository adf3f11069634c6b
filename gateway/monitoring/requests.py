"""What clients of the monitoring routes send: bodies and query parameters."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from gateway.http.model import Body, Query


class LockQuery(Query):
    """Names a lock."""

    lock_key: str = Field("", max_length=200)
    """`gpu_lock:<device>`, by the device's name or by what processes see it as (`gpu_lock:0`); default: the first device."""


class PoolQuery(Query):
    """Narrows an answer to one pool of devices."""

    pool: str = Field("", max_length=128)
    """Only this pool; default: all."""


class HistoryQuery(PoolQuery):
    """Which ended leases and waits to list."""

    page_size: int = Field(100, ge=1, le=1000)
    """Records."""


LOCK_EVENT_ID = r"[0-9]{1,15}-[0-9]{1,12}"
"""What an id of a lock event looks like."""


class LockEventsQuery(PoolQuery):
    """Where a stream of lock events begins."""

    after: str = Field("", pattern=rf"^({LOCK_EVENT_ID})?$")
    """Id of the last event seen; default: from now on. The header `Last-Event-ID` goes before it."""


class ReleaseLockBody(Body):
    """Which lease to take from its holder."""

    lock_key: str = Field("", max_length=200)
    """Every lease of this lock; default: the first device's. Not looked at when `request_id` is given."""
    request_id: str = Field("", max_length=200)
    """Only this lease."""
    task_name: str = Field("manual", max_length=200)
    """Who asks, for the history."""
    reason: str = Field("", max_length=500)
    """Why, for the history and for the holder; default: released by hand."""


class DrainBody(Body):
    """Why a device is drained."""

    reason: str = Field("", max_length=500)
    """For the history."""


class LockSettingsBody(Body):
    """Settings to change at run time; those not named stay, and nothing changes when one of them is wrong."""

    values: dict[Annotated[str, Field(max_length=128)], Any] = Field(min_length=1, max_length=64)
    """By dotted name, for example `{"gpu_lock_monitor.timeout_levels.soft_timeout": 1800}`."""
