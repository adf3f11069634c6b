"""Refusals: what each code says to people, and which field of the message is at fault."""

from __future__ import annotations

from yivideo.gpulock.v1 import lock_pb2

_TEXTS = {
    "GPU_LOCK_TIMEOUT": "no device became free in time",
    "GPU_NEVER_FITS": "no device of the pool has so much memory, or the pool has too few devices",
    "GPU_POOL_UNKNOWN": "there is no such pool",
    "GPU_DEVICE_UNKNOWN": "the pool has no such device",
    "GPU_QUEUE_FULL": "too many wait for the pool already",
    "GPU_DRAINING": "every device that would do is being drained",
    "GPU_REQUEST_TAKEN": "another client waits or holds under this id",
    "GPU_LEASE_STALE": "the token is not that of the lease, or the lease has ended",
}
_FIELDS = {
    "GPU_NEVER_FITS": "memory_mib",
    "GPU_POOL_UNKNOWN": "pool",
    "GPU_DEVICE_UNKNOWN": "device",
    "GPU_REQUEST_TAKEN": "request_id",
    "GPU_LEASE_STALE": "token",
}


def refused(request_id: str, code: str, message: str = "", field: str = "") -> lock_pb2.Refused:
    """Return the refusal of a message about a request; text and field default to what the code says."""
    return lock_pb2.Refused(
        request_id=request_id,
        code=code,
        message=message or _TEXTS.get(code, code),
        field=field or _FIELDS.get(code, ""),
    )
