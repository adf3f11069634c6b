"""Both arbiters behind the transport that nodes use, and a client that a test drives message by message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from gpulock.api import hub
from gpulock.settings import DeviceSection
from nodekit.gpu.local import LocalLocks, LocalRules
from nodekit.gpu.settings import GpuDevice
from nodekit.gpu.transport import LockReplicas, OpenStream, Outbox, drained, ended
from runtime.errors import YiVideoError
from tests.gpulock.lock_client import RUNTIME
from tests.gpulock.replicas import Replicas, Running
from yivideo.gpulock.v1 import lock_pb2, monitor_pb2

MIB = 24_000
"""Memory of each device."""
DEFAULT_DEVICES = 1

_Said = TypeVar("_Said", bound=Message)
_barriers = count()


class Arbiter(Protocol):
    """One arbiter, of either kind."""

    @property
    def open(self) -> OpenStream:
        """Opens a session."""

    async def revoke(self, request_id: str, message: str) -> None:
        """Take a lease from its holder, as an operator does."""

    async def noticed(self, client_id: str) -> None:
        """Wait until the arbiter has noticed that a client's stream is gone."""


@dataclass
class InProcess:
    """The arbiter inside a node's process."""

    locks: LocalLocks

    @property
    def open(self) -> OpenStream:
        """Opens a session."""
        return self.locks.open

    async def revoke(self, request_id: str, message: str) -> None:
        """Take a lease from its holder."""
        self.locks.take_back(message, request_id)

    async def noticed(self, client_id: str) -> None:
        """The stream ended in this process: it knows."""


@dataclass
class OverRedis:
    """A replica of the lock service: its real server, on a real Redis."""

    running: Running
    replicas: LockReplicas

    @property
    def open(self) -> OpenStream:
        """Opens a session."""
        return self.replicas.open

    async def revoke(self, request_id: str, message: str) -> None:
        """Take a lease from its holder."""
        request = monitor_pb2.ForceReleaseRequest(request_id=request_id, reason=message)
        await self.running.channel.monitor.ForceRelease(request)

    async def noticed(self, client_id: str) -> None:
        """Wait until the replica has told the store of the stream's end."""
        sessions = self.running.replica.hub
        async with asyncio.timeout(10):
            while hub._detaching or any(one.client.client_id == client_id for one in sessions.sessions):
                await asyncio.sleep(0.005)


def in_process(devices: int, rules: dict[str, Any]) -> InProcess:
    """Make the arbiter of a node that runs alone."""
    own = [GpuDevice(name=f"gpu-{n}", visible=str(n), memory_mib=MIB) for n in range(devices)]
    return InProcess(LocalLocks(own, rules=LocalRules(**rules)))


async def over_redis(
    stack: AsyncExitStack, replicas: Replicas, devices: int, rules: dict[str, Any]
) -> OverRedis:
    """Start a replica of the lock service."""
    section = dict(rules)
    lock = {"max_wait_time": section.pop("max_wait_seconds", 300.0)}
    own = tuple(DeviceSection(name=f"gpu-{n}", visible=str(n), memory_mib=MIB) for n in range(devices))
    running = await replicas.replica(devices=own, lock=lock, monitor={}, position_seconds=0.01, **section)
    transport = LockReplicas([running.address], RUNTIME)
    stack.push_async_callback(transport.aclose)
    return OverRedis(running, transport)


class SessionClient:
    """One session, and all that was said on it."""

    def __init__(self, open_stream: OpenStream, hello: lock_pb2.SessionRequest) -> None:
        self.messages: list[lock_pb2.SessionResponse] = []
        self.error: YiVideoError | None = None
        self._outbox: Outbox = asyncio.Queue()
        self._outbox.put_nowait(hello)
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read(open_stream))

    async def _read(self, open_stream: OpenStream) -> None:
        try:
            with ended(self._outbox):
                async with open_stream(drained(self._outbox)) as responses:
                    async for message in responses:
                        async with self._news:
                            self.messages.append(message)
                            self._news.notify_all()
        except YiVideoError as error:
            self.error = error
        async with self._news:
            self._news.notify_all()

    def send(self, **message: Any) -> None:
        """Send one message."""
        self._outbox.put_nowait(lock_pb2.SessionRequest(**message))

    async def said(
        self, kind: type[_Said], request_id: str, where: Callable[[_Said], bool] = lambda _: True
    ) -> _Said:
        """Wait for a message of a kind about a request; fails when the stream ends before it, or within 10 s."""

        def found() -> _Said | None:
            for body in self._bodies(request_id):
                if isinstance(body, kind) and where(body):
                    return body
            return None

        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: found() is not None or self._reading.done())
        answer = found()
        assert answer is not None, (kind, request_id, self.error, self.messages)
        return answer

    def _bodies(self, request_id: str) -> list[Message]:
        bodies = [getattr(message, message.WhichOneof("message") or "") for message in self.messages]
        return [body for body in bodies if getattr(body, "request_id", "") == request_id]

    def kinds(self, request_id: str) -> list[str]:
        """The kinds of what was said of a request, repeated places left out."""
        kinds: list[str] = []
        for message in self.messages:
            kind = message.WhichOneof("message") or ""
            if getattr(getattr(message, kind), "request_id", "") == request_id and (kinds[-1:] != [kind]):
                kinds.append(kind)
        return kinds

    async def settled(self) -> None:
        """Wait until everything that has been decided before has been said: what comes after it, comes later."""
        request_id = f"barrier-{next(_barriers)}"
        self.send(renew=lock_pb2.Renew(request_id=request_id, token=1))
        await self.said(lock_pb2.Lost, request_id)

    async def ask(self, request_id: str, **fields: Any) -> str:
        """Ask for devices; gives `granted`, `queued` or what else was answered at once."""
        before = len(self._bodies(request_id))
        self.send(acquire=lock_pb2.Acquire(request_id=request_id, **fields))
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: len(self._bodies(request_id)) > before or self._reading.done())
        assert len(self._bodies(request_id)) > before, (self.error, self.messages)
        return self.kinds(request_id)[-1]

    async def lease(self, request_id: str) -> lock_pb2.Lease:
        """Wait for the grant of a request."""
        return await self.said(lock_pb2.Lease, request_id)

    async def granted(self, request_id: str, **fields: Any) -> lock_pb2.Lease:
        """Ask for what is free."""
        assert await self.ask(request_id, **fields) == "granted"
        return await self.lease(request_id)

    async def release(self, lease: lock_pb2.Lease) -> None:
        """Give a lease back."""
        self.send(release=lock_pb2.Release(request_id=lease.request_id, token=lease.token))
        await self.said(lock_pb2.Released, lease.request_id)

    async def cancel(self, request_id: str) -> None:
        """Take a request back."""
        self.send(cancel=lock_pb2.Cancel(request_id=request_id))
        await self.said(lock_pb2.Cancelled, request_id)

    async def park(self, lease: lock_pb2.Lease, memory_mib: int = 0) -> None:
        """Park a lease."""
        self.send(
            park=lock_pb2.Park(
                request_id=lease.request_id, token=lease.token, model="m", memory_mib=memory_mib
            )
        )
        await self.said(lock_pb2.Parked, lease.request_id)

    async def parked(self, request_id: str, **fields: Any) -> lock_pb2.Lease:
        """Ask for what is free, and park it."""
        lease = await self.granted(request_id, **fields)
        await self.park(lease)
        return lease

    async def over(self) -> YiVideoError | None:
        """Wait until the stream is over; gives its error."""
        async with asyncio.timeout(10):
            await self._reading
        return self.error

    async def aclose(self) -> None:
        """Break the stream off."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
