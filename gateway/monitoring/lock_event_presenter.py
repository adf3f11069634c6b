"""How an event of the lock service is written to clients."""

from __future__ import annotations

from typing import Any

from gateway.clients.lock_watch import GAP
from gateway.http.sse import written
from gateway.use.instants import instant
from yivideo.gpulock.v1 import monitor_pb2 as pb


def frame(event: pb.LockEvent) -> bytes:
    """Write one event."""
    data: dict[str, Any] = {"event": event.type}
    if event.type == GAP:
        data["message"] = (
            "events are missing here; read the status and the history, then go on with this stream"
        )
        return written(GAP, data)
    data |= {
        "pool": event.pool,
        "request_id": event.request_id,
        "task_id": event.task_id,
        "devices": list(event.devices),
        "token": event.token,
        "reason": event.reason,
        "client_id": event.client_id,
        "time": instant(event.time),
    }
    return written(event.type, data, event.event_id)
