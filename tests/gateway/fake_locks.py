"""A LockMonitor on real gRPC whose state a test sets: what the lock service says, without its Redis."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from runtime import errors
from yivideo.gpulock.v1 import lock_pb2
from yivideo.gpulock.v1 import monitor_pb2 as pb
from yivideo.gpulock.v1.monitor_pb2_grpc import LockMonitorServicer

VALUES = {
    "gpu_lock.max_wait_time": "300.0",
    "gpu_lock_monitor.enabled": "true",
    "gpu_lock_monitor.monitor_interval": "30.0",
    "gpu_lock_monitor.timeout_levels.warning": "1800.0",
    "gpu_lock_monitor.timeout_levels.soft_timeout": "3600.0",
    "gpu_lock_monitor.timeout_levels.hard_timeout": "7200.0",
    "gpu_lock_monitor.heartbeat.timeout": "300.0",
}


def stamp(seconds_ago: float = 0.0) -> Timestamp:
    """Return a moment before now."""
    made = Timestamp()
    made.FromNanoseconds(int((time.time() - seconds_ago) * 1e9))
    return made


class FakeLockService(LockMonitorServicer):
    """Two devices, and whatever the test puts on them."""

    def __init__(self) -> None:
        self.fail: errors.YiVideoError | None = None
        """Raised by every call while set."""
        self.status = pb.GetStatusResponse(
            devices=[
                pb.Device(device="gpu-a", pool="default", visible="0", memory_mib=8000),
                pb.Device(device="gpu-b", pool="default", visible="1", memory_mib=8000),
            ],
            epoch=1,
        )
        self.health = pb.GetHealthResponse(level=pb.HEALTH_LEVEL_HEALTHY)
        self.history = pb.ListHistoryResponse()
        self.watcher = pb.Watcher(running=True, start_time=stamp(60), check_time=stamp(1))
        self.configuration = pb.Configuration(values=VALUES, version=1, source="defaults")
        self.events: list[pb.LockEvent] = []
        self.forgotten = 0
        """How many of the events are no longer kept."""
        self.more = asyncio.Condition()
        self.requests: list[Any] = []
        self.leave_after_status: str = ""
        """Request that gives its lease back when the status has been told."""

    def _enter(self, request: Any) -> None:
        self.requests.append(request)
        if self.fail is not None:
            raise self.fail

    def hold(self, request_id: str, device: str = "gpu-a", **fields: Any) -> pb.Holder:
        """Have a request hold a whole device."""
        holder = pb.Holder(
            lease=lock_pb2.Lease(
                request_id=request_id,
                token=len(self.status.holders) + 1,
                pool="default",
                devices=[lock_pb2.LeasedDevice(device=device, memory_mib=8000)],
                ttl_seconds=12.5,
                grant_time=stamp(fields.get("held_seconds", 1.0)),
            ),
            **{"state": pb.HOLDER_STATE_HELD, "held_seconds": 1.0, "beat_time": stamp(1), **fields},
        )
        self.status.holders.append(holder)
        return holder

    async def emit(self, *events: pb.LockEvent) -> None:
        """Have events happen."""
        async with self.more:
            for event in events:
                event.event_id = f"{len(self.events) + 1}-0"
                self.events.append(event)
            self.more.notify_all()

    async def restart(self) -> None:
        """Break every stream, and refuse new ones until `fail` is None again."""
        async with self.more:
            self.fail = errors.Unavailable("restarting")
            self.more.notify_all()

    async def GetStatus(self, request: pb.GetStatusRequest, context: Any) -> pb.GetStatusResponse:
        """Describe."""
        self._enter(request)
        if request.pool not in ("", "default"):
            raise errors.NotFound(f"no pool {request.pool!r}")
        self.status.time.CopyFrom(stamp())
        told = pb.GetStatusResponse()
        told.CopyFrom(self.status)
        for holder in list(self.status.holders):
            if holder.lease.request_id == self.leave_after_status:
                self.status.holders.remove(holder)
        return told

    async def GetHealth(self, request: pb.GetHealthRequest, context: Any) -> pb.GetHealthResponse:
        """Judge."""
        self._enter(request)
        return self.health

    async def ListHistory(self, request: pb.ListHistoryRequest, context: Any) -> pb.ListHistoryResponse:
        """List."""
        self._enter(request)
        return self.history

    async def GetWatcher(self, request: pb.GetWatcherRequest, context: Any) -> pb.Watcher:
        """Describe the watcher."""
        self._enter(request)
        return self.watcher

    async def GetConfiguration(self, request: pb.GetConfigurationRequest, context: Any) -> pb.Configuration:
        """Show the settings."""
        self._enter(request)
        return self.configuration

    async def UpdateConfiguration(
        self, request: pb.UpdateConfigurationRequest, context: Any
    ) -> pb.Configuration:
        """Change known settings."""
        self._enter(request)
        for name in request.values:
            if name not in self.configuration.values:
                raise errors.InvalidArgument.at(f"/values/{name}", "is not a setting")
        for name, text in request.values.items():
            self.configuration.values[name] = text
        self.configuration.version += 1
        self.configuration.source = request.source
        self.watcher.running = self.configuration.values["gpu_lock_monitor.enabled"] == "true"
        return self.configuration

    async def DrainDevice(self, request: pb.DrainDeviceRequest, context: Any) -> pb.Device:
        """Drain."""
        self._enter(request)
        for device in self.status.devices:
            if device.device == request.device:
                device.draining = not request.undo
                return device
        raise errors.NotFound(f"no device {request.device!r}")

    async def ForceRelease(self, request: pb.ForceReleaseRequest, context: Any) -> pb.ForceReleaseResponse:
        """Take leases, whoever asks."""
        self._enter(request)
        if not request.reason:
            raise errors.InvalidArgument.at("/reason", "is required")
        taken = [
            holder
            for holder in self.status.holders
            if holder.lease.request_id == request.request_id
            or (not request.request_id and request.device in {one.device for one in holder.lease.devices})
        ]
        if not taken:
            raise errors.NotFound("no such lease")
        answer = pb.ForceReleaseResponse(revoked=[holder.lease for holder in taken])
        for holder in taken:
            holder.state = pb.HOLDER_STATE_QUARANTINED
        return answer

    async def WatchLocks(self, request: pb.WatchLocksRequest, context: Any) -> AsyncIterator[pb.LockEvent]:
        """Stream."""
        self._enter(request)
        position = len(self.events)
        if request.pool not in ("", "default"):
            raise errors.NotFound(f"no pool {request.pool!r}")
        if request.after_event_id:
            if not re.fullmatch(r"\d+-\d+", request.after_event_id):
                raise errors.InvalidArgument.at("/after_event_id", "is not an event id")
            position = int(request.after_event_id.partition("-")[0])
            if position < self.forgotten:
                raise errors.RangeRefused("too old")
        yield pb.LockEvent()  # the stream lives
        while self.fail is None:
            while position < len(self.events):
                position += 1
                yield self.events[position - 1]
            async with self.more:
                if position == len(self.events) and self.fail is None:
                    await self.more.wait()
        raise self.fail
