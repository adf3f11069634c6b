"""The parts of the bench about streams: cuts, slow readers, many watchers."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from bench.streams.clients import KINDS, Client, Cuts, Seen, blocks, complete_list
from bench.streams.installation import Installation, RedisClients


async def submit(
    http: aiohttp.ClientSession, installation: Installation, task_id: str, **talk: float
) -> None:
    """Start a task that talks."""
    body = {"task_name": "talker.talk", "task_id": task_id, "input_data": talk}
    async with http.post(f"http://{installation.gateway}/v1/tasks", json=body) as response:
        if response.status not in (200, 202):
            raise RuntimeError(await response.text())


@dataclass
class Verdict:
    """What clients were told, against the complete lists."""

    missing: int = 0
    duplicate: int = 0
    wrong: int = 0
    """Told in another order, or with another content."""
    events: int = 0
    gaps: int = 0
    disconnects: Counter[str] = field(default_factory=Counter)
    clients: int = 0
    kills: int = 0


def judge(verdict: Verdict, client: Client, complete: list[Seen]) -> None:
    """Compare one client's events with the complete list of its task."""
    told = Counter(client.seen)
    verdict.clients += 1
    verdict.events += len(client.seen)
    verdict.gaps += client.gaps
    verdict.missing += sum(event not in told for event in complete)
    verdict.duplicate += sum(count - 1 for count in Counter(s for s, _, _ in client.seen).values())
    verdict.wrong += client.seen != sorted(client.seen) or any(event not in set(complete) for event in told)


async def cut_streams(
    installation: Installation,
    disconnects: int,
    rng: random.Random,
    *,
    tasks: int,
    each: int,
    seconds: float,
    kill: bool,
) -> Verdict:
    """Follow talking tasks over the three ways, cutting connections at random, and a scheduler replica while they last.

    Rounds of tasks follow each other until all disconnects are made.
    """
    verdict = Verdict()
    cuts = Cuts(disconnects, rng)
    round_number = 0
    async with aiohttp.ClientSession() as http:
        while cuts.left > 0:
            names = [f"cut-{round_number}-{number}" for number in range(tasks)]
            round_number += 1
            lines = int(seconds / 0.1)
            await asyncio.gather(
                *(submit(http, installation, name, lines=lines, gap_seconds=0.1) for name in names)
            )
            clients = [
                kind(installation, name, cuts, way)
                for name in names
                for way, kind in KINDS.items()
                for _ in range(each)
            ]
            watching = [asyncio.create_task(client.run()) for client in clients]
            if kill:
                for number in range(len(installation.schedulers)):
                    await asyncio.sleep(seconds / 3)
                    await installation.whole()
                    installation.kill_scheduler(number)
                    verdict.kills += 1
            async with asyncio.timeout(90):
                await asyncio.gather(*watching)
            for name in names:
                complete = await complete_list(installation, name)
                for client in clients:
                    if client.task_id == name:
                        judge(verdict, client, complete)
    verdict.disconnects.update(cuts.made)
    return verdict


@dataclass
class SlowReaders:
    """What clients that do not read cost, and what they are told in the end."""

    count: int
    sent_bytes: int
    """Size of all events, for one reader."""
    growth_bytes: int
    """Of the gateway, for one reader, kernel buffers not counted."""
    gaps: int
    unexplained: int
    """Events that a reader neither got nor was told to be gone."""


async def slow_readers(installation: Installation, count: int, lines: int) -> SlowReaders:
    """Open streams, do not read while the task says much, then read all."""
    async with aiohttp.ClientSession() as http:
        await submit(http, installation, "flood-1", lines=lines, gap_seconds=0.001, size=1900)
        before = installation.memory_bytes("gateway")
        readers = [_connect(installation, "flood-1") for _ in range(count)]
        complete: list[Seen] = []
        async with http.get(
            f"http://{installation.gateway}/v1/tasks/flood-1/events", timeout=aiohttp.ClientTimeout(total=90)
        ) as response:
            complete = [(data["sequence"], name, "") async for name, data in blocks(response) if name]
        growth = installation.memory_bytes("gateway") - before
        told = await asyncio.gather(*(_read_slowly(reader) for reader in readers))
    gaps = unexplained = 0
    for text in told:
        have: set[int] = set()
        for name, first, last in text:
            have.update(range(first, last + 1))
            gaps += name == "gap"
        unexplained += sum(sequence not in have for sequence, _, _ in complete if sequence)
    return SlowReaders(count, lines * 1900, growth // count, gaps, unexplained)


def _connect(installation: Installation, task_id: str) -> socket.socket:
    host, _, port = installation.gateway.rpartition(":")
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect((host, int(port)))
    request = f"GET /v1/tasks/{task_id}/events HTTP/1.1\r\nHost: {installation.gateway}\r\n\r\n"
    reader.sendall(request.encode())
    return reader


async def _read_slowly(connection: socket.socket) -> list[tuple[str, int, int]]:
    """Read a stream to its end; gives name, first and last sequence of each stored event and gap."""
    reader, writer = await asyncio.open_connection(sock=connection, limit=2**22)
    lines = aiohttp.StreamReader(_NoProtocol(), 2**26)
    await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(60):
        while size := int(await reader.readline(), 16):
            lines.feed_data((await reader.readexactly(size + 2))[:-2])
    lines.feed_eof()
    writer.close()
    answer = type("Answer", (), {"content": lines})()
    told = []
    async for name, data in blocks(answer):
        if name == "gap":
            told.append((name, data["first_missing_sequence"], data["last_missing_sequence"]))
        elif name and data["sequence"]:
            told.append((name, data["sequence"], data["sequence"]))
    return told


class _NoProtocol(aiohttp.base_protocol.BaseProtocol):
    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())


@dataclass
class ManyWatchers:
    """What many watchers of one gateway cost."""

    watchers: int
    tasks: int
    before: RedisClients
    during: RedisClients
    shared: int
    """Calls of the gateway to the schedulers that feed them all."""
    gateway_bytes: int
    scheduler_bytes: int
    """Growth a watcher, all replicas together."""
    missing: int


async def many_watchers(installation: Installation, count: int, tasks: int, seconds: float) -> ManyWatchers:
    """Open streams on one gateway, spread over some tasks, and let them all run to the end."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        names = [f"many-{number}" for number in range(tasks)]
        await installation.whole()
        before = await installation.redis_clients()
        sizes = _sizes(installation)
        lines = int(seconds)
        await asyncio.gather(
            *(submit(http, installation, name, lines=lines, gap_seconds=1.0) for name in names)
        )
        watching = [
            asyncio.create_task(_follow(http, installation, names[number % tasks])) for number in range(count)
        ]
        async with asyncio.timeout(60):
            while await installation.figure(http, "yivideo_sse_connections") < count:
                await asyncio.sleep(0.2)
        await asyncio.sleep(1.0)
        during = await installation.redis_clients()
        shared = int(await installation.figure(http, "yivideo_gateway_shared_watches"))
        grown = [now - then for now, then in zip(_sizes(installation), sizes, strict=True)]
        async with asyncio.timeout(90):
            told = await asyncio.gather(*watching)
    missing = sum(one != list(range(1, len(one) + 1)) or len(one) < lines + 3 for one in told)
    return ManyWatchers(
        count, tasks, before, during, shared, grown[0] // count, sum(grown[1:]) // count, missing
    )


def _sizes(installation: Installation) -> list[int]:
    names = ["gateway", *(f"scheduler-{number}" for number in range(len(installation.schedulers)))]
    return [installation.memory_bytes(name) for name in names]


async def _follow(http: aiohttp.ClientSession, installation: Installation, task_id: str) -> list[int]:
    async with http.get(f"http://{installation.gateway}/v1/tasks/{task_id}/events") as response:
        return [data["sequence"] async for name, data in blocks(response) if name and data["sequence"]]
