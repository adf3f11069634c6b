"""Lessors on one real Redis, on clocks that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from gpulock.lease.configuration import LockConfiguration
from gpulock.lease.lessor import Lessor
from gpulock.lease.message import Client, ClientMessage
from gpulock.monitor.statistics import pairs
from gpulock.settings import DeviceSection, GpulockSection
from gpulock.store.keys import LAYOUT, Keys
from gpulock.store.record import Record
from gpulock.store.script_store import Push, ScriptStore, exported, text, to_notice
from leases.ask import Ask
from redislink.pipe import Pipe
from tests.gpulock.replicas import Replicas

PREFIX = "{gputest}:"
STORE = f"{PREFIX}{LAYOUT}:"
START_US = 1_800_000_000_000_000


@pytest.fixture
def clean_redis(redis_url: str) -> Iterator[redis.Redis]:
    """An empty database; what a test breaks in it, it breaks through this client."""
    client = redis.Redis.from_url(redis_url)
    client.flushdb()
    yield client
    client.close()


@dataclass
class Clocks:
    """Redis's wall clock, and the clock of every replica that never steps; one moves both, or only the first."""

    wall_us: int = START_US
    boot_seconds: float = 1000.0

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass everywhere."""
        self.wall_us += round(seconds * 1e6)
        self.boot_seconds += seconds

    def step_seconds(self, seconds: float) -> None:
        """Set Redis's clock forward or back; no time passes."""
        self.wall_us += round(seconds * 1e6)


@dataclass
class Replica:
    """One lessor, and what it said to its clients."""

    lessor: Lessor
    store: ScriptStore
    messages: list[ClientMessage] = field(default_factory=list)
    epochs: list[tuple[int, float]] = field(default_factory=list)

    def said(self, request_id: str, kind: str = "") -> list[ClientMessage]:
        """What it said of a request."""
        return [w for w in self.messages if w.request_id == request_id and kind in ("", w.kind)]

    def kinds(self, request_id: str) -> list[str]:
        """The kinds of what it said of a request."""
        return [message.kind for message in self.said(request_id)]

    async def ask(self, request_id: str, client: str = "", **fields: Any) -> str:
        """Ask for devices; gives the kind of the last message about it."""
        message = await self.lessor.acquire(Client(client or f"client-{request_id}", host=fields.pop("host", "")),
                                         Ask(request_id, **fields))  # fmt: skip
        if message is not None:
            self.messages.append(message)
        return self.messages[-1].kind

    def lease(self, request_id: str) -> Record:
        """The last lease of a request that this replica granted or renewed."""
        found = [w.record for w in self.said(request_id) if w.kind in ("granted", "renewed") and w.record]
        return found[-1]

    async def release(self, request_id: str, reason: str = "normal", token: int = 0) -> ClientMessage:
        """Give a lease back."""
        token = token or self.lease(request_id).token
        return await self.lessor.release(Client(f"client-{request_id}"), request_id, token, reason)

    async def renew(self, request_id: str, token: int = 0) -> ClientMessage:
        """Beat."""
        token = token or self.lease(request_id).token
        message = await self.lessor.renew(Client(f"client-{request_id}"), request_id, token)
        self.messages.append(message)
        return message

    async def figure(self, name: str) -> str:
        """A figure by its name; empty: it was never counted."""
        return pairs((await self.lessor.figures()).results[0]).get(name, "")

    async def order(self, pool: str = "default") -> list[str]:
        """The waiters of a pool in the order of service."""
        reply = await self.lessor.places()
        return next([text(i) for i in ids] for name, *ids in reply.results[0] if text(name) == pool)

    async def leases(self) -> dict[str, Record]:
        """Every lease on record, revoked ones too."""
        reply = await self.lessor.places()
        found = [exported(fields) for fields in reply.results[1]]
        return {record.request_id: record for record in found if record is not None}

    async def memory(self) -> dict[str, tuple[int, int]]:
        """MiB of each device in leases and in quarantine."""
        reply = await self.lessor.status("", 0)
        return {text(f[0]): (int(f[5]), int(f[6])) for f in reply.results[0]}


GPU0 = DeviceSection(name="gpu-0", memory_mib=24_000)
GPU1 = DeviceSection(name="gpu-1", memory_mib=24_000)


@dataclass
class Harness:
    """Replicas on one store."""

    redis_url: str
    redis: redis.Redis
    clocks: Clocks
    pipes: list[Pipe] = field(default_factory=list)
    replicas: dict[str, Replica] = field(default_factory=dict)
    received: dict[str, str] = field(default_factory=dict)
    """Replica -> the last entry that it has received."""

    async def replica(
        self,
        name: str = "a",
        devices: tuple[DeviceSection, ...] = (GPU0,),
        configuration: dict[str, str] | None = None,
        **section: Any,
    ) -> Replica:
        """Start a replica."""
        settings = GpulockSection(
            **{"devices": devices, "initial_state": "new", "waiter_grace_seconds": 10.0, **section}
        )
        keys = Keys(PREFIX, settings.pools)
        pipe = Pipe(self.redis_url, name=name)
        self.pipes.append(pipe)
        store = ScriptStore(
            pipe, keys, replica=name, retry_seconds=1.0, initial_state=settings.initial_state,
            clock_us=lambda: self.clocks.wall_us,
        )  # fmt: skip
        messages: list[ClientMessage] = []
        epochs: list[tuple[int, float]] = []
        lessor = Lessor(
            store, settings, LockConfiguration().changed(configuration or {}),
            deliver=messages.append, on_epoch=lambda epoch, left: epochs.append((epoch, left)),
            on_due=lambda _: None, on_queue=lambda: None, boot_clock=lambda: self.clocks.boot_seconds,
        )  # fmt: skip
        replica = Replica(lessor, store, messages, epochs)
        self.replicas[name] = replica
        await lessor.configure(lessor.configuration, 1)
        await lessor.sweep()
        return replica

    async def carry(self) -> None:
        """Bring every replica what the others left in its inbox."""
        for name, replica in list(self.replicas.items()):
            inbox = Keys(PREFIX, ()).inbox(name)
            entries: Any = self.redis.xrange(inbox, f"({self.received.get(name, '0-0')}")
            for entry_id, fields in entries:
                self.received[name] = entry_id.decode()
                push = to_notice(fields[b"m"])
                assert isinstance(push, Push)
                replica.lessor.take_push(push)

    async def after(self, seconds: float) -> None:
        """Let time pass, then let every replica sweep."""
        self.clocks.pass_seconds(seconds)
        for replica in list(self.replicas.values()):
            await replica.lessor.sweep()
        await self.carry()

    def restart_redis(self) -> None:
        """What a restart that kept the data looks like to the tripwire: other ids than those on record."""
        self.redis.hset(f"{STORE}meta", mapping={"runid": "f" * 40, "replid": "f" * 40})


@pytest.fixture
async def harness(redis_url: str, clean_redis: redis.Redis) -> AsyncIterator[Harness]:
    """A harness without replicas, on an empty store."""
    built = Harness(redis_url, clean_redis, Clocks())
    yield built
    for pipe in built.pipes:
        pipe.end()
    await asyncio.sleep(0)  # in which they close


@pytest.fixture
async def replicas(redis_url: str, clean_redis: redis.Redis) -> AsyncIterator[Replicas]:
    """An empty store; what is started ends with the test."""
    async with AsyncExitStack() as stack:
        yield Replicas(redis_url, stack)
