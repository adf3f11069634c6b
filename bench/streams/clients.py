"""Clients whose connection is cut at random, again and again; each comes back with its last sequence."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc

from bench.streams.installation import Installation
from yivideo.task.v1 import task_pb2, task_pb2_grpc

Seen = tuple[int, str, str]
"""Sequence, kind, and the text of a log line."""

END = frozenset({"completed", "failed", "cancelled"})
_SHORTEST_SECONDS, _MEAN_SECONDS = 0.0, 1.2


@dataclass
class Cuts:
    """How many disconnects are left to make, by all clients together; and of what."""

    left: int
    rng: random.Random
    made: dict[str, int] = field(default_factory=dict)

    def after_seconds(self) -> float:
        """Choose how long the next connection lives."""
        return _SHORTEST_SECONDS + self.rng.expovariate(1 / _MEAN_SECONDS)

    def take(self, kind: str) -> bool:
        """Use up one, if there is one left."""
        if self.left <= 0:
            return False
        self.left -= 1
        self.made[kind] = self.made.get(kind, 0) + 1
        return True


@dataclass
class Client:
    """One client of one task, over one of the three ways. `seen` is what it was told, in the order it came."""

    installation: Installation
    task_id: str
    cuts: Cuts
    kind: str = ""
    seen: list[Seen] = field(default_factory=list)
    gaps: int = 0

    @property
    def sequence(self) -> int:
        """Where it resumes."""
        return self.seen[-1][0] if self.seen else 0

    async def run(self) -> None:
        """Follow the task to its end through every cut."""
        while not self.seen or self.seen[-1][1] not in END:
            connection = asyncio.create_task(self._connect())
            await asyncio.wait((connection,), timeout=self.cuts.after_seconds())
            if not connection.done() and self.cuts.take(self.kind):
                connection.cancel()
            with suppress(asyncio.CancelledError, aiohttp.ClientError, grpc.aio.AioRpcError, ConnectionError):
                await connection
            if connection.done() and not connection.cancelled() and connection.exception() is not None:
                await asyncio.sleep(0.05)  # a scheduler was killed; real clients wait a moment too

    async def _connect(self) -> None:
        raise NotImplementedError

    def note(self, sequence: int, kind: str, text: str) -> None:
        """Take one event down."""
        if kind == "gap":
            self.gaps += 1
        elif sequence:
            self.seen.append((sequence, kind, text))


class SseClient(Client):
    """`Last-Event-ID`."""

    async def _connect(self) -> None:
        headers = {"Last-Event-ID": str(self.sequence)} if self.seen else {}
        url = f"http://{self.installation.gateway}/v1/tasks/{self.task_id}/events"
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url, headers=headers) as response:
            response.raise_for_status()
            async for name, data in blocks(response):
                if name:
                    self.note(data["sequence"], name, data.get("message") or "")


async def blocks(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Parse a stream; gives the name and the data of each whole event, and an empty name for a comment."""
    name, data = "", ""
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if not line:
            yield name, json.loads(data) if data else {}
            name, data = "", ""
        elif line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            data = line[6:]


class PollClient(Client):
    """`Accept: application/json`, `Prefer: wait=N`."""

    async def _connect(self) -> None:
        headers = {"Accept": "application/json", "Prefer": "wait=20"}
        async with aiohttp.ClientSession() as http:
            while not self.seen or self.seen[-1][1] not in END:
                url = (
                    f"http://{self.installation.gateway}/v1/tasks/{self.task_id}/events?after={self.sequence}"
                )
                async with http.get(url, headers=headers) as response:
                    response.raise_for_status()
                    page = await response.json()
                for event in page["events"]:
                    self.note(event["sequence"], event["event"], event.get("message") or "")
                if page["ended"]:
                    return


class RpcClient(Client):
    """`WatchTask.after_sequence`, at any scheduler replica."""

    async def _connect(self) -> None:
        address = self.cuts.rng.choice(self.installation.schedulers)
        async with (
            grpc.aio.insecure_channel(address) as channel,
            aclosing(watch(channel, self.installation.token, self.task_id, self.sequence)) as events,
        ):
            async for event in events:
                self.note(*seen(event))


def seen(event: task_pb2.TaskEvent) -> Seen:
    """Reduce an event to what all three ways show alike."""
    return event.sequence, event.WhichOneof("event") or "", event.log.message or event.progress.message


async def watch(
    channel: grpc.aio.Channel, token: str, task_id: str, after: int
) -> AsyncGenerator[task_pb2.TaskEvent, None]:
    """Call WatchTask; the call is cancelled with the generator."""
    request = task_pb2.WatchTaskRequest(task_id=task_id, after_sequence=after)
    stub = task_pb2_grpc.TaskServiceStub(channel)
    call = stub.WatchTask(request, metadata=(("authorization", f"Bearer {token}"),), timeout=120)
    try:
        async for event in call:
            yield event
    finally:
        call.cancel()


KINDS: dict[str, type[Client]] = {"sse": SseClient, "grpc": RpcClient, "poll": PollClient}


async def complete_list(installation: Installation, task_id: str) -> list[Seen]:
    """Read the whole history of an ended task from the store, over one undisturbed call."""
    async with grpc.aio.insecure_channel(installation.schedulers[0]) as channel:
        await channel.channel_ready()
        async with aclosing(watch(channel, installation.token, task_id, 0)) as events:
            return [seen(event) async for event in events if event.sequence]
