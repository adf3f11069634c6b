"""Requests for devices, checked field by field: the bounds that the contract gives them, for every arbiter."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import InvalidArgument
from yivideo.gpulock.v1 import lock_pb2

DEFAULT_POOL = "default"
ANONYMOUS = "anonymous"
"""Whose turn a request takes that names no user."""

_MAX_MIB = 16 * 1024 * 1024
_MAX_TOKEN = 2**52
"""Tokens are instants in µs or just above; twice this is where Lua's numbers end to be exact. The year 2112."""


@dataclass(frozen=True)
class Ask:
    """A request for devices, checked."""

    request_id: str
    pool: str = DEFAULT_POOL
    device: str = ""
    memory_mib: int = 0
    device_count: int = 1
    priority: int = 0
    user: str = ANONYMOUS
    task_id: str = ""
    purpose: str = ""
    max_wait_seconds: float = 0.0
    preemptible: bool = False
    warm_request_id: str = ""


def to_ask(acquire: lock_pb2.Acquire) -> Ask:
    """Read a request for devices; raises InvalidArgument, naming the field."""
    check_request_id(acquire.request_id)
    check_length("pool", acquire.pool, 63)
    check_length("device", acquire.device, 63)
    _check_range("memory_mib", acquire.memory_mib, 0, _MAX_MIB)
    _check_range("device_count", acquire.device_count, 0, 1024)
    _check_range("priority", acquire.priority, -100, 100)
    check_length("user", acquire.user, 200)
    check_length("task_id", acquire.task_id, 200)
    check_length("purpose", acquire.purpose, 200)
    _check_range("max_wait_seconds", acquire.max_wait_seconds, 0, 30 * 86400)
    check_length("warm_request_id", acquire.warm_request_id, 200)
    return Ask(
        acquire.request_id, acquire.pool or DEFAULT_POOL, acquire.device, acquire.memory_mib,
        acquire.device_count or 1, acquire.priority, acquire.user or ANONYMOUS, acquire.task_id,
        acquire.purpose, acquire.max_wait_seconds, acquire.preemptible, acquire.warm_request_id,
    )  # fmt: skip


def check_hello(hello: lock_pb2.Hello) -> None:
    """Refuse a client that does not say who it is; raises InvalidArgument."""
    check_length("client_id", hello.client_id, 128, least=1)
    check_length("node", hello.node, 128)
    check_length("host", hello.host, 253)


def check_request_id(request_id: str) -> None:
    """Refuse an id that is empty or too long; raises InvalidArgument."""
    check_length("request_id", request_id, 200, least=1)


def check_park(park: lock_pb2.Park) -> None:
    """Refuse a parking that makes no sense; raises InvalidArgument."""
    check_length("model", park.model, 200)
    _check_range("memory_mib", park.memory_mib, 0, _MAX_MIB)
    _check_range("load_seconds", park.load_seconds, 0, 86400)


def check_reclaim(reclaim: lock_pb2.Reclaim) -> int:
    """Refuse a reclaim that makes no sense; gives when the lease was granted in µs. Raises InvalidArgument.

    Its token becomes the floor of all later ones, so a wild one would use up those that there are.
    """
    _check_range("token", reclaim.token, 1, _MAX_TOKEN)
    try:
        granted_us = reclaim.grant_time.ToMicroseconds()
    except ValueError:
        raise InvalidArgument.at("/grant_time", "not a time") from None
    if not 0 < granted_us <= _MAX_TOKEN:
        raise InvalidArgument.at("/grant_time", "must say when the lease was granted")
    return granted_us


def check_length(field: str, value: str, most: int, least: int = 0) -> None:
    """Refuse a text that is not `least` to `most` bytes of UTF-8 long; raises InvalidArgument."""
    size = len(value.encode())
    if not least <= size <= most:
        raise InvalidArgument.at(f"/{field}", f"must be {least} to {most} bytes")


def _check_range(field: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InvalidArgument.at(f"/{field}", f"must be {least:g} to {most:g}")
