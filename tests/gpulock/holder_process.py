"""A node process in the small: asks, holds while it beats, stops by its own clock, and writes down when it was on the device.

Arguments: client id, request id, addresses (joined by commas), journal. The journal's lines are `<boot time> <word> <token>`: `in`
when the work begins, `out` when it has ended. The work ends when the lease is lost, or when no beat was answered for a TTL.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from pathlib import Path
from typing import Any

import grpc

from runtime.channel import open_channel
from runtime.settings import RuntimeSection
from yivideo.gpulock.v1 import lock_pb2, lock_pb2_grpc

RUNTIME = RuntimeSection(metrics_listen="", call_timeout_seconds=10)


def boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Holder:
    def __init__(self, client_id: str, request_id: str, addresses: list[str], journal: Path) -> None:
        self.client_id, self.request_id = client_id, request_id
        self.addresses = itertools.cycle(addresses)
        self.journal = journal
        self.lease: lock_pb2.Lease | None = None
        self.until = 0.0
        self.sent = 0.0
        self.beat_seconds = 0.3
        self.acquire = lock_pb2.Acquire(request_id=request_id, task_id=request_id, max_wait_seconds=100)

    def note(self, word: str, token: int) -> None:
        with self.journal.open("a") as file:
            file.write(f"{boot():.6f} {word} {token}\n")

    async def run(self) -> None:
        watching = asyncio.create_task(self.stop_in_time())
        while True:
            try:
                async with open_channel(next(self.addresses), RUNTIME) as channel:
                    await self.session(lock_pb2_grpc.LockServiceStub(channel).Session())
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await asyncio.sleep(0.05)
            if watching.done():
                return

    async def session(self, call: grpc.aio.StreamStreamCall[Any, Any]) -> None:
        async def say(**message: object) -> None:
            await call.write(lock_pb2.SessionRequest(**message))  # type: ignore[arg-type]

        async def beat() -> None:
            while True:
                await asyncio.sleep(self.beat_seconds)
                if self.lease is not None:
                    self.sent = boot()
                    await say(renew=lock_pb2.Renew(request_id=self.request_id, token=self.lease.token))

        await say(hello=lock_pb2.Hello(client_id=self.client_id))
        if self.lease is None:
            self.sent = boot()
            await say(acquire=self.acquire)
        beating = asyncio.create_task(beat())
        try:
            async for message in call:
                await self.receive(message, say)
        finally:
            beating.cancel()

    async def receive(self, message: lock_pb2.SessionResponse, say: object) -> None:
        match message.WhichOneof("message"):
            case "welcome":
                self.beat_seconds = message.welcome.beat_seconds
            case "granted":
                self.lease = message.granted
                self.until = boot() + min(message.granted.ttl_seconds, 1.0)
                self.note("in", self.lease.token)
            case "renewed":
                self.until = self.sent + message.renewed.ttl_seconds
            case "reclaim_requested" if self.lease is not None:
                self.sent = boot()
                await say(  # type: ignore[operator]
                    reclaim=lock_pb2.Reclaim(
                        acquire=self.acquire,
                        token=self.lease.token,
                        devices=[device.device for device in self.lease.devices],
                        grant_time=self.lease.grant_time,
                    )
                )
            case "lost":
                self.end("lost")
            case "refused":
                self.end("refused")

    def end(self, why: str) -> None:
        if self.lease is not None:
            self.note("out", self.lease.token)
            self.note(why, self.lease.token)
            self.lease = None

    async def stop_in_time(self) -> None:
        while self.lease is None:
            await asyncio.sleep(0.01)
        while self.lease is not None:
            await asyncio.sleep(0.01)
            if boot() >= self.until:
                self.end("late")


if __name__ == "__main__":
    name, request, addresses, journal = sys.argv[1:]
    asyncio.run(Holder(name, request, addresses.split(","), Path(journal)).run())
