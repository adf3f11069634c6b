"""The pipelined connection: answers in order, errors by their kind, and a new connection after a broken one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from redis.exceptions import (
    ConnectionError,  # noqa: A004
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,  # noqa: A004
    TryAgainError,
)

from redislink.pipe import CommandHead, Pipe
from redislink.retry import retry
from runtime.errors import Unavailable


@pytest.fixture
async def pipe(redis_url: str) -> AsyncIterator[Pipe]:
    """A connection to the tests' Redis."""
    opened = Pipe(redis_url, name="pipe-under-test", timeout_seconds=2.0)
    yield opened
    opened.close()


async def test_answers_come_back_in_order(pipe: Pipe) -> None:
    """Commands that are sent together get each its own answer."""
    answers = await asyncio.gather(*(pipe.call("ECHO", f"m{number}") for number in range(500)))
    assert answers == [f"m{number}".encode() for number in range(500)]


async def test_all_commands_share_one_connection(pipe: Pipe, redis_url: str) -> None:
    """However many commands are under way, Redis sees one client."""
    await asyncio.gather(*(pipe.call("PING") for _ in range(50)))
    with redis.Redis.from_url(redis_url) as client:
        names = [found["name"] for found in client.client_list()]
    assert names.count("pipe-under-test") == 1


async def test_a_cancelled_command_takes_nobodys_answer(pipe: Pipe) -> None:
    """The answer to a command whose caller has gone is dropped, not given to the next."""
    gone = asyncio.create_task(pipe.call("ECHO", "gone"))
    await asyncio.sleep(0)
    gone.cancel()
    assert await pipe.call("ECHO", "mine") == b"mine"


async def test_errors_have_their_kind(pipe: Pipe) -> None:
    """An error answer raises the class that redis-py has for it, and the connection goes on."""
    with pytest.raises(NoScriptError):
        await pipe.call("EVALSHA", "0" * 40, 0)
    with pytest.raises(ResponseError):
        await pipe.call("NONSENSE")
    assert await pipe.call("PING") == b"PONG"


async def test_a_broken_connection_is_made_again(pipe: Pipe, redis_url: str) -> None:
    """Commands under way fail when the connection breaks; the next one connects."""
    await pipe.call("PING")
    with redis.Redis.from_url(redis_url) as client:
        blocked = asyncio.create_task(pipe.call("BLPOP", "nothing", 1))
        await asyncio.sleep(0.05)
        for found in client.client_list():
            if found["name"] == "pipe-under-test":
                client.client_kill(found["addr"])
    with pytest.raises(ConnectionError):
        await blocked
    assert await pipe.call("PING") == b"PONG"


async def test_a_late_answer_is_nobodys(redis_url: str) -> None:
    """A command that times out takes its connection with it, so that its answer cannot be taken for another's."""
    impatient = Pipe(redis_url, name="impatient", timeout_seconds=1)
    with pytest.raises(TimeoutError, match="answer"):
        await impatient.call("BLPOP", "nothing", 1.5)
    assert await impatient.call("ECHO", "mine") == b"mine"
    impatient.close()


async def test_nobody_listens() -> None:
    """A Redis that is not there is a ConnectionError."""
    with pytest.raises(ConnectionError):
        await Pipe("redis://127.0.0.1:1/0", name="x").call("PING")


async def test_another_services_port_is_a_connection_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Who is no redis is told as one that cannot be reached: tried again, without a line of the event loop for each try."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x00\x18\x04")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        pipe = Pipe(f"redis://127.0.0.1:{port}/0", name="x", timeout_seconds=5)
        with pytest.raises(ConnectionError, match="no redis"):
            await pipe.call("PING")
        pipe.end()
    assert not caplog.records


async def test_commands_that_belong_together_are_sent_at_once(pipe: Pipe) -> None:
    """Several commands in one call: answers in order; of several errors the first is raised."""
    await pipe.call("DEL", "a", "text")
    assert await pipe.calls([("SET", "a", 1), ("INCR", "a"), ("GET", b"a")]) == [b"OK", 2, b"2"]
    await pipe.call("SET", "text", "no number")
    with pytest.raises(ResponseError, match="integer"):
        await pipe.calls([("GET", "a"), ("INCR", "text"), ("NONSENSE",)])
    assert await pipe.call("PING") == b"PONG"


async def test_a_demoted_server_is_left(pipe: Pipe, redis_url: str) -> None:
    """After a failover the old master answers READONLY: the next command makes a new connection, which may lead elsewhere."""
    number = await pipe.call("CLIENT", "ID")
    with redis.Redis.from_url(redis_url) as client:
        client.replicaof("127.0.0.1", 1)
        try:
            with pytest.raises(ReadOnlyError):
                await pipe.call("INCR", "a")
            assert await pipe.call("CLIENT", "ID") != number
        finally:
            client.replicaof("NO", "ONE")


async def test_an_answer_is_taken_even_when_nobody_waits_for_it_any_more(pipe: Pipe) -> None:
    """What `take` does with an answer is done in order and whatever became of the caller, who gets what it returned."""
    taken: list[bytes] = []

    def take(answer: bytes) -> str:
        taken.append(answer)
        return answer.decode()

    echo = CommandHead("ECHO")
    await pipe.call("PING")
    gone = asyncio.create_task(pipe.call_packed(echo.command("first"), take))
    await asyncio.sleep(0)
    gone.cancel()
    assert await pipe.call_packed(echo.command(2), take) == "2"
    assert taken == [b"first", b"2"]


async def test_a_command_in_a_hurry_overtakes_none(pipe: Pipe) -> None:
    """Packed commands leave at once and others at the end of the turn; all are obeyed in the order in which they were given."""
    push = CommandHead("RPUSH", "order")
    await pipe.call("DEL", "order")
    await asyncio.gather(
        pipe.call_packed(push.command(0), int),
        pipe.call("RPUSH", "order", 1),
        pipe.call_packed(push.command(2), int),
        pipe.call("RPUSH", "order", 3),
    )
    assert await pipe.call("LRANGE", "order", 0, -1) == [b"0", b"1", b"2", b"3"]


async def test_an_answer_that_cannot_be_taken_is_its_callers_fault_alone(pipe: Pipe) -> None:
    """An error of `take`, like an error answer, which is not shown to it, goes to the caller; the connection goes on."""

    def take(answer: bytes) -> None:
        raise ValueError(answer)

    with pytest.raises(ValueError, match="x"):
        await pipe.call_packed(CommandHead("ECHO").command("x"), take)
    with pytest.raises(NoScriptError):
        await pipe.call_packed(CommandHead("EVALSHA").command("0" * 40, 0), take)
    assert await pipe.call("PING") == b"PONG"


async def test_a_primary_that_lacks_its_replicas_is_said_to(pipe: Pipe, redis_url: str) -> None:
    """A Redis that takes no writes because its replicas are away is tried again; who gives up says why."""
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("min-replicas-to-write", 1)
        try:
            with pytest.raises(TryAgainError, match="NOREPLICAS"):
                await pipe.call("SET", "a", 1)
            with pytest.raises(Unavailable, match=r"the store takes no writes: .*min-replicas-to-write"):
                await retry(lambda: pipe.call("SET", "a", 1), 0.05, "the store")
        finally:
            client.config_set("min-replicas-to-write", 0)
    assert await pipe.call("SET", "a", 1) == b"OK"
