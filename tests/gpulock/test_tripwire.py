"""The tripwire on real Redis processes: what may have made the store forget a grant begins a new epoch, nothing else does."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from bench.redis_group import RedisGroup
from gpulock.store.keys import Keys
from gpulock.store.script_store import Reply, ScriptStore
from redislink.pipe import Pipe
from redislink.primary import Primary


@dataclass
class Server:
    """One Redis that can be ended and started again with what it kept."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    pipes: list[Pipe] = field(default_factory=list)

    def start(self, *options: str) -> redis.Redis:
        """Start it; gives a client."""
        self.folder.mkdir(exist_ok=True)
        argv = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self.process = subprocess.Popen([*argv, *options], stdout=subprocess.DEVNULL)
        client = redis.Redis(port=self.port)
        give_up = time.monotonic() + 10
        while True:
            try:
                client.ping()
                return client
            except (redis.ConnectionError, redis.BusyLoadingError):
                assert time.monotonic() < give_up
                time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    async def look(self) -> Reply:
        """Run a script as a replica that has seen nothing yet would."""
        pipe = Pipe(f"redis://127.0.0.1:{self.port}/0", name="tripwire")
        self.pipes.append(pipe)
        store = ScriptStore(
            pipe, Keys("{trip}:", ("default",)), replica="a", retry_seconds=5, initial_state="new"
        )
        reply = await store.run("places", on_reply=lambda _: None)
        assert (await store.run("places", on_reply=lambda _: None)).epoch == reply.epoch, "it trips once"
        return reply


@pytest.fixture
async def two(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[tuple[Server, Server]]:
    """Two servers, neither of which runs yet."""
    servers = Server(tmp_path / "one", free_port()), Server(tmp_path / "two", free_port())
    yield servers
    for server in servers:
        server.kill()
        for pipe in server.pipes:
            pipe.end()
    await asyncio.sleep(0)


async def follow(replica: redis.Redis, primary: Server) -> None:
    """Make a server the replica of another and wait until it has everything."""
    replica.replicaof("127.0.0.1", primary.port)
    async with asyncio.timeout(20):
        while replica.info("replication")["master_link_status"] != "up":
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("keeps", ["log", "snapshot"])
async def test_a_restart_trips(two: tuple[Server, Server], keeps: str) -> None:
    """A process that has come back with its data, killed or told to stop, may have forgotten the last of them."""
    server, _ = two
    # Synced always: with "everysec" a slow disk makes Redis keep writes to itself for up to two seconds, and a kill loses them.
    log = ("--appendonly", "yes", "--appendfsync", "always")
    options = log if keeps == "log" else ("--save", "3600 1")
    client = server.start(*options)
    before = await server.look()
    assert not before.recovering
    if keeps == "log":
        server.kill()
    else:
        client.shutdown(save=True)
        assert server.process is not None
        server.process.wait(10)
    server.start(*options)
    after = await server.look()
    assert after.epoch > before.epoch
    assert after.recovering


async def test_a_first_replica_does_not_trip_and_a_promotion_does(two: tuple[Server, Server]) -> None:
    """The replication id changes with both; only a dataset that was somebody's copy can be behind."""
    one, other = two
    one.start("--save", "", "--repl-diskless-sync-delay", "0")
    before = await one.look()
    replica = other.start("--save", "")
    await follow(replica, one)
    assert (await one.look()).epoch == before.epoch
    replica.replicaof("NO", "ONE")
    promoted = await other.look()
    assert promoted.epoch > before.epoch
    assert promoted.recovering


async def test_a_primary_that_comes_back_trips(two: tuple[Server, Server]) -> None:
    """The same process as ever, and its own record: but in between it was a replica and took over another's data."""
    one, other = two
    primary = one.start("--save", "", "--repl-diskless-sync-delay", "0")
    before = await one.look()
    replica = other.start("--save", "", "--repl-diskless-sync-delay", "0")
    await follow(replica, one)
    replica.replicaof("NO", "ONE")
    await follow(primary, other)
    primary.replicaof("NO", "ONE")
    again = await one.look()
    assert again.epoch > before.epoch
    assert again.recovering


async def test_a_primary_that_was_left_behind_trips(two: tuple[Server, Server]) -> None:
    """Frozen or cut off, it is the same process with its own record; a caller that has seen a later epoch knows better."""
    server, _ = two
    server.start("--save", "")
    before = await server.look()
    pipe = Pipe(f"redis://127.0.0.1:{server.port}/0", name="tripwire")
    server.pipes.append(pipe)
    store = ScriptStore(
        pipe, Keys("{trip}:", ("default",)), replica="b", retry_seconds=5, initial_state="new"
    )
    store.epoch = before.epoch + 1
    after = await store.run("places", on_reply=lambda _: None)
    assert after.recovering
    assert after.epoch > before.epoch + 1
    assert (await store.run("places", on_reply=lambda _: None)).epoch == after.epoch, "it trips once"


@pytest.mark.slow
async def test_a_failover_by_sentinels_trips(tmp_path: Path) -> None:
    """The lock store on a promoted replica reclaims before it grants, and its tokens go on where the old one's were."""
    group = RedisGroup(tmp_path, sync="no", down_ms=500)
    with group.running():
        primary = Primary(group.url(2), name="tripwire")
        search = asyncio.create_task(primary.follow())
        pipe = Pipe(primary, name="tripwire")
        store = ScriptStore(
            pipe, Keys("{trip}:", ("default",)), replica="a", retry_seconds=20, initial_state="new"
        )
        before = await store.run("places", on_reply=lambda _: None)
        store.token = 1000  # of a lease that the replica never heard of
        old = group.primary()
        old.signal(signal.SIGSTOP)
        group.wait_for_failover(old)
        old.signal(signal.SIGCONT)
        async with asyncio.timeout(20):  # for half a second at most, the thawed one may still be asked
            while not (after := await store.run("places", on_reply=lambda _: None)).recovering:
                await asyncio.sleep(0.05)
        assert after.epoch > before.epoch
        assert after.token >= 1000
        search.cancel()
        await asyncio.gather(search, return_exceptions=True)
        pipe.end()
        primary.end()
