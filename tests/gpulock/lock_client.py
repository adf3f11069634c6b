"""A client of the lock service that a test drives message by message, and replicas on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from gpulock.settings import (
    DeviceSection,
    GpuLockMonitorSection,
    GpuLockSection,
    GpulockSection,
    GpulockSettings,
)
from runtime.channel import open_channel
from runtime.settings import RuntimeSection
from yivideo.gpulock.v1 import lock_pb2, lock_pb2_grpc, monitor_pb2_grpc

RUNTIME = RuntimeSection(metrics_listen="", drain_seconds=0.5, call_timeout_seconds=10)
GPU = DeviceSection(name="gpu-0", memory_mib=24_000, visible="0")

SHORT_MONITOR: dict[str, Any] = {
    "heartbeat": {"interval": 0.3, "timeout": 1.2},
    "timeout_levels": {"warning": 100.0, "soft_timeout": 200.0, "hard_timeout": 400.0},
}
"""Beats of a real holder, a tenth of a second where it has a minute: Redis's clock is its own and is never moved here."""


def lock_settings(
    redis_url: str,
    *,
    devices: tuple[DeviceSection, ...] = (GPU,),
    monitor: dict[str, Any] | None = None,
    lock: dict[str, Any] | None = None,
    **section: Any,
) -> GpulockSettings:
    """Settings of a replica whose times are short."""
    own = {
        "redis_url": redis_url, "devices": devices, "initial_state": "new", "lock_delay_seconds": 0.2,
        "waiter_grace_seconds": 1.0, "replica_ttl_seconds": 1.5, "redis_retry_seconds": 2.0,
        "position_seconds": 0.05, "key_prefix": "{gputest}:", **section,
    }  # fmt: skip
    return GpulockSettings(
        runtime=RUNTIME,
        gpulock=GpulockSection(**own),
        gpu_lock=GpuLockSection(**(lock or {})),
        gpu_lock_monitor=GpuLockMonitorSection(**(SHORT_MONITOR if monitor is None else monitor)),
    )


class NodeClient:
    """One session, and all that was heard on it."""

    def __init__(self, call: Any, client_id: str) -> None:
        self.client_id = client_id
        self.received: list[lock_pb2.SessionResponse] = []
        self.error: grpc.aio.AioRpcError | None = None
        self._call = call
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for message in self._call:
                async with self._news:
                    self.received.append(message)
                    self._news.notify_all()
        except grpc.aio.AioRpcError as error:
            self.error = error
        except asyncio.CancelledError:
            pass
        async with self._news:
            self._news.notify_all()

    async def send(self, **message: Any) -> None:
        """Send one message."""
        await self._call.write(lock_pb2.SessionRequest(**message))

    async def receive(self, kind: str, request_id: str = "", seconds: float = 10.0) -> Any:
        """Wait for the first message of a kind, of a request; fails when the stream ends before it."""

        def found() -> Any:
            for message in self.received:
                if message.WhichOneof("message") == kind:
                    body = getattr(message, kind)
                    if not request_id or body.request_id == request_id:
                        return body
            return None

        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: found() is not None or self._reading.done() or self.error)
        answer = found()
        assert answer is not None, (kind, request_id, self.error, self.received)
        return answer

    def kinds(self, request_id: str) -> list[str]:
        """Kinds of what was heard of a request, repeated positions left out."""
        kinds: list[str] = []
        for message in self.received:
            kind = message.WhichOneof("message")
            if (
                kind
                and getattr(getattr(message, kind), "request_id", "") == request_id
                and [kind] != kinds[-1:]
            ):
                kinds.append(kind)
        return kinds

    async def acquire(self, request_id: str, **fields: Any) -> None:
        """Ask."""
        await self.send(acquire=lock_pb2.Acquire(request_id=request_id, **fields))

    async def granted(self, request_id: str, **fields: Any) -> lock_pb2.Lease:
        """Ask, and wait for the grant."""
        await self.acquire(request_id, **fields)
        lease: lock_pb2.Lease = await self.receive("granted", request_id)
        return lease

    async def release(self, lease: lock_pb2.Lease) -> None:
        """Give back."""
        await self.send(release=lock_pb2.Release(request_id=lease.request_id, token=lease.token))

    async def ended(self, seconds: float = 10.0) -> grpc.aio.AioRpcError | None:
        """Wait until the stream is over; gives its error."""
        async with asyncio.timeout(seconds):
            await self._reading
        return self.error

    async def aclose(self) -> None:
        """Break the stream off."""
        self._call.cancel()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


class LockChannel:
    """A channel to one replica."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.locks = lock_pb2_grpc.LockServiceStub(channel)
        self.monitor = monitor_pb2_grpc.LockMonitorStub(channel)

    @asynccontextmanager
    async def client(self, client_id: str, **hello: Any) -> AsyncIterator[NodeClient]:
        """Open a session for the time of the block."""
        call = self.locks.Session()
        await call.write(lock_pb2.SessionRequest(hello=lock_pb2.Hello(client_id=client_id, **hello)))
        client = NodeClient(call, client_id)
        try:
            yield client
        finally:
            await client.aclose()


@asynccontextmanager
async def channel(address: str) -> AsyncIterator[LockChannel]:
    """Open a channel for the time of the block."""
    async with open_channel(address, RUNTIME) as channel:
        yield LockChannel(channel)
