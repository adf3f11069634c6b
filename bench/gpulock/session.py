"""A plain client of LockService: one stream, requests and leases by id, a beat for every lease it holds."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from runtime.channel import open_channel
from runtime.settings import RuntimeSection
from yivideo.gpulock.v1 import lock_pb2 as pb
from yivideo.gpulock.v1.lock_pb2_grpc import LockServiceStub

RUNTIME = RuntimeSection(metrics_listen="")
_numbers = itertools.count(1)


class LeaseLost(Exception):
    """The service took a lease, or refused a request."""


class Session:
    """One stream. Opened by `open_session`."""

    def __init__(self, call: Any, client_id: str) -> None:
        self._call = call
        self.client_id = client_id
        self.welcome = pb.Welcome()
        self._writing = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[pb.Lease]] = {}
        self._leaving: dict[str, asyncio.Future[None]] = {}
        self.held: dict[str, pb.Lease] = {}
        self._answers: dict[str, asyncio.Future[None]] = {}
        self.heard: Callable[[pb.SessionResponse], None] = lambda _: None
        """Told every message, before anything else is done about it."""

    async def say(self, **message: Any) -> None:
        """Send one message."""
        async with self._writing:  # gRPC takes one message of a stream at a time
            await self._call.write(pb.SessionRequest(**message))

    def answered(self, request_id: str) -> asyncio.Future[None]:
        """Return what is done when the service first says anything about a request."""
        future = self._answers[request_id] = asyncio.get_running_loop().create_future()
        return future

    async def ask(self, request_id: str, **fields: Any) -> None:
        """Send a request and wait for the first answer, whatever it is."""
        answered = self.answered(request_id)
        await self.say(acquire=pb.Acquire(request_id=request_id, **fields))
        await answered

    async def cancel(self, request_id: str) -> None:
        """Take a request back and wait until the service says so."""
        future = self._leaving[request_id] = asyncio.get_running_loop().create_future()
        await self.say(cancel=pb.Cancel(request_id=request_id))
        await future

    async def acquire(self, request_id: str = "", **fields: Any) -> pb.Lease:
        """Wait for a lease. Raises LeaseLost when it is refused."""
        acquire = pb.Acquire(request_id=request_id or f"{self.client_id}:{next(_numbers)}", **fields)
        future = self._waiting[acquire.request_id] = asyncio.get_running_loop().create_future()
        await self.say(acquire=acquire)
        try:
            lease: pb.Lease = await future
            return lease
        finally:
            self._waiting.pop(acquire.request_id, None)

    async def release(self, lease: pb.Lease) -> None:
        """Give a lease back and wait until the service says so."""
        future = self._leaving[lease.request_id] = asyncio.get_running_loop().create_future()
        await self.say(release=pb.Release(request_id=lease.request_id, token=lease.token))
        await future

    async def read(self) -> None:
        """Deal with what the service says until the stream ends; whoever waits then is told."""
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                self._hear(message)
        finally:
            for futures in (self._waiting, self._leaving, self._answers):
                for future in futures.values():
                    if not future.done():
                        future.set_exception(LeaseLost("the stream has ended"))

    def _hear(self, message: pb.SessionResponse) -> None:
        self.heard(message)
        kind = message.WhichOneof("message") or ""
        about = getattr(getattr(message, kind), "request_id", "")
        if (answer := self._answers.pop(about, None)) and not answer.done():
            answer.set_result(None)
        if kind == "granted":
            lease = message.granted
            self.held[lease.request_id] = lease
            if (waiting := self._waiting.get(lease.request_id)) and not waiting.done():
                waiting.set_result(lease)
        elif kind in ("released", "cancelled"):
            self._left(about)
        elif kind == "refused":
            self._refused(message.refused)
        elif kind == "lost":
            self.held.pop(about, None)

    def _left(self, request_id: str) -> None:
        self.held.pop(request_id, None)
        if (leaving := self._leaving.pop(request_id, None)) and not leaving.done():
            leaving.set_result(None)

    def _refused(self, refused: pb.Refused) -> None:
        error = LeaseLost(f"{refused.code}: {refused.message}")
        for futures in (self._waiting, self._leaving):
            if (future := futures.get(refused.request_id)) and not future.done():
                future.set_exception(error)

    async def beat(self) -> None:
        """Renew every lease, for ever."""
        while True:
            await asyncio.sleep(self.welcome.beat_seconds or 5)
            for lease in list(self.held.values()):
                await self.say(renew=pb.Renew(request_id=lease.request_id, token=lease.token))


@asynccontextmanager
async def open_session(
    address: str, client_id: str = "", *, runtime: RuntimeSection = RUNTIME
) -> AsyncIterator[Session]:
    """Open a session for the time of a block."""
    name = client_id or f"bench/{os.getpid()}"
    async with open_channel(address, runtime) as channel:
        call = LockServiceStub(channel).Session()
        session = Session(call, name)
        await session.say(hello=pb.Hello(client_id=name, node="bench"))
        first: Any = await call.read()
        session.welcome = first.welcome
        tasks = [asyncio.ensure_future(session.read()), asyncio.ensure_future(session.beat())]
        try:
            yield session
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            call.cancel()
