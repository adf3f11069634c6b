"""Gives messages the shape of the contract, and clients the shape of the lessor."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from gpulock.lease.message import Client, ClientMessage
from gpulock.settings import DeviceSection
from gpulock.store.record import Record
from leases.ask import check_hello
from leases.refusal import refused
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
                response.refused.CopyFrom(refused(request_id, message.detail, message.message, message.field))
            case "timeout":
                response.refused.CopyFrom(refused(request_id, "GPU_LOCK_TIMEOUT"))
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


def to_client(hello: lock_pb2.Hello) -> Client:
    """Read a hello; raises InvalidArgument."""
    check_hello(hello)
    return Client(hello.client_id, hello.node, hello.host)


def reclaim_requested(epoch: int, window_seconds: float) -> lock_pb2.SessionResponse:
    """Say that the store may have forgotten leases."""
    return lock_pb2.SessionResponse(
        reclaim_requested=lock_pb2.ReclaimRequested(epoch=epoch, window_seconds=window_seconds)
    )
