"""Gives messages the shape of the contract, and requests the shape of the lessor."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from gpulock.lease.lessor import Ask, Client
from gpulock.lease.message import ClientMessage
from gpulock.settings import DeviceSection
from gpulock.store.record import Record
from runtime.errors import InvalidArgument
from yivideo.gpulock.v1 import lock_pb2

STOP_REASONS: Mapping[str, lock_pb2.StopReason.ValueType] = {
    "soft_timeout": lock_pb2.STOP_REASON_SOFT_TIMEOUT,
    "hard_timeout": lock_pb2.STOP_REASON_HARD_TIMEOUT,
    "preempted": lock_pb2.STOP_REASON_PREEMPTED,
    "forced": lock_pb2.STOP_REASON_FORCED,
    "heartbeat": lock_pb2.STOP_REASON_HEARTBEAT,
    "drain": lock_pb2.STOP_REASON_DRAIN,
    "superseded": lock_pb2.STOP_REASON_SUPERSEDED,
}

RELEASE_REASONS: Mapping[int, str] = {
    lock_pb2.RELEASE_REASON_UNSPECIFIED: "normal",
    lock_pb2.RELEASE_REASON_NORMAL: "normal",
    lock_pb2.RELEASE_REASON_STOPPED: "stopped",
    lock_pb2.RELEASE_REASON_YIELDED: "yielded",
}

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
_MAX_MIB = 16 * 1024 * 1024
_MAX_TOKEN = 2**52
"""Tokens are instants in µs or just above; twice this is where Lua's numbers end to be exact. The year 2112."""


def from_microseconds(time_us: int) -> Timestamp:
    """Return an instant."""
    stamp = Timestamp()
    stamp.FromMicroseconds(time_us)
    return stamp


class Presenter:
    """Knows the devices, of which a record has only the names."""

    def __init__(self, devices: tuple[DeviceSection, ...]) -> None:
        self._devices = {device.name: device for device in devices}

    def to_lease(self, record: Record, now_us: int) -> lock_pb2.Lease:
        """Describe a lease as it is now."""
        lease = lock_pb2.Lease()
        self._fill(lease, record, now_us)
        return lease

    def _fill(self, lease: lock_pb2.Lease, record: Record, now_us: int) -> None:
        lease.request_id = record.request_id
        lease.token = record.token
        lease.pool = record.pool
        lease.ttl_seconds = max(0, record.expires_us - now_us) / 1e6
        lease.grant_time.seconds, microseconds = divmod(record.granted_us, 1_000_000)
        lease.grant_time.nanos = microseconds * 1000
        lease.waited_seconds = max(0, record.granted_us - record.asked_us) / 1e6
        lease.warm = record.warm
        for name, memory_mib in record.devices:
            known = self._devices.get(name)
            lease.devices.add(
                device=name,
                visible=(known.visible or name) if known else name,
                memory_mib=memory_mib,
                host=known.host if known else "",
            )

    def to_response(self, message: ClientMessage) -> lock_pb2.SessionResponse:
        """Say a message."""
        response = lock_pb2.SessionResponse()
        record, request_id, token = message.record, message.request_id, message.token
        match message.kind:
            case "queued":
                response.queued.request_id = request_id
                response.queued.position = message.position
                response.queued.reason = message.detail
            case "granted" | "renewed":
                assert record is not None
                self._fill(getattr(response, message.kind), record, message.now_us)
            case "refused":
                response.refused.CopyFrom(
                    _refused(request_id, message.detail, message.message, message.field)
                )
            case "timeout":
                response.refused.CopyFrom(_refused(request_id, "GPU_LOCK_TIMEOUT", "", ""))
            case "warning":
                assert record is not None
                response.warning.request_id = request_id
                response.warning.token = token
                response.warning.held_seconds = (message.now_us - record.granted_us) / 1e6
                response.warning.stop_in_seconds = int(message.detail) / 1e6
            case "stop":
                assert record is not None
                response.stop.request_id = request_id
                response.stop.token = token
                response.stop.reason = STOP_REASONS[message.detail]
                if record.stop_us:
                    response.stop.grace_seconds = max(0.001, (record.stop_us - message.now_us) / 1e6)
                response.stop.message = record.why
            case "lost":
                response.lost.request_id = request_id
                response.lost.token = token
                response.lost.reason = STOP_REASONS.get(message.detail, lock_pb2.STOP_REASON_HEARTBEAT)
                response.lost.message = record.why if record else "the lease has ended"
            case "cancelled":
                response.cancelled.request_id = request_id
            case "reclaim":
                raise AssertionError("the session says this")
            case "released" | "parked" | "confirmed":
                said = getattr(response, message.kind)
                said.request_id = request_id
                said.token = token
        return response


def _refused(request_id: str, code: str, message: str, field: str) -> lock_pb2.Refused:
    return lock_pb2.Refused(
        request_id=request_id,
        code=code,
        message=message or _TEXTS.get(code, code),
        field=field or _FIELDS.get(code, ""),
    )


def to_client(hello: lock_pb2.Hello) -> Client:
    """Read a hello; raises InvalidArgument."""
    _short("client_id", hello.client_id, 128, least=1)
    _short("node", hello.node, 128)
    _short("host", hello.host, 253)
    return Client(hello.client_id, hello.node, hello.host)


def to_ask(acquire: lock_pb2.Acquire) -> Ask:
    """Read a request for devices; raises InvalidArgument, naming the field."""
    check_request_id(acquire.request_id)
    _short("pool", acquire.pool, 63)
    _short("device", acquire.device, 63)
    _between("memory_mib", acquire.memory_mib, 0, _MAX_MIB)
    _between("device_count", acquire.device_count, 0, 1024)
    _between("priority", acquire.priority, -100, 100)
    _short("user", acquire.user, 200)
    _short("task_id", acquire.task_id, 200)
    _short("purpose", acquire.purpose, 200)
    _between("max_wait_seconds", acquire.max_wait_seconds, 0, 30 * 86400)
    _short("warm_request_id", acquire.warm_request_id, 200)
    return Ask(
        acquire.request_id, acquire.pool or "default", acquire.device, acquire.memory_mib,
        acquire.device_count or 1, acquire.priority, acquire.user or "anonymous", acquire.task_id,
        acquire.purpose, acquire.max_wait_seconds, acquire.preemptible, acquire.warm_request_id,
    )  # fmt: skip


def check_request_id(request_id: str) -> None:
    """Refuse an id that is empty or too long."""
    _short("request_id", request_id, 200, least=1)


def check_park(park: lock_pb2.Park) -> None:
    """Refuse a parking that makes no sense."""
    _short("model", park.model, 200)
    _between("memory_mib", park.memory_mib, 0, _MAX_MIB)
    _between("load_seconds", park.load_seconds, 0, 86400)


def check_reclaim(reclaim: lock_pb2.Reclaim) -> int:
    """Refuse a reclaim that makes no sense; gives when the lease was granted in µs.

    Its token becomes the floor of all later ones, so a wild one would use up those that there are.
    """
    _between("token", reclaim.token, 1, _MAX_TOKEN)
    try:
        granted_us = reclaim.grant_time.ToMicroseconds()
    except ValueError:
        raise InvalidArgument.at("/grant_time", "not a time") from None
    if not 0 < granted_us <= _MAX_TOKEN:
        raise InvalidArgument.at("/grant_time", "must say when the lease was granted")
    return granted_us


def _short(field: str, value: str, most: int, least: int = 0) -> None:
    size = len(value.encode())
    if not least <= size <= most:
        raise InvalidArgument.at(f"/{field}", f"must be {least} to {most} bytes")


def _between(field: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InvalidArgument.at(f"/{field}", f"must be {least:g} to {most:g}")
