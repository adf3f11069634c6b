"""Real sentinels: connections go to the primary that a majority knows, and leave one that is none any more."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError, ResponseError, TimeoutError  # noqa: A004

from bench.redis_group import RedisGroup
from redislink.address import Place, parse_redis_url
from redislink.pipe import Pipe
from redislink.primary import Primary
from redislink.refusal import Refused
from redislink.replicated import ReplicatedPipe
from redislink.retry import retry


@pytest.fixture
def group(tmp_path: Path) -> Iterator[RedisGroup]:
    """A primary, a replica and three sentinels."""
    group = RedisGroup(tmp_path, sync="no", down_ms=500)
    with group.running():
        yield group


@asynccontextmanager
async def following(group: RedisGroup) -> AsyncIterator[Primary]:
    """A process's knowledge of where the primary is."""
    primary = Primary(group.url(), name="under-test")
    search = asyncio.create_task(primary.follow())
    try:
        yield primary
    finally:
        search.cancel()
        await asyncio.gather(search, return_exceptions=True)
        primary.end()


async def port_of(pipe: Pipe) -> int:
    """Return the port of the server that a connection leads to, with patience."""

    async def ask() -> int:
        answer = await pipe.call("CONFIG", "GET", "port")
        return int(answer[1])

    return await retry(ask, 20, "the store")


@pytest.mark.parametrize(
    ("url", "sentinels", "name", "database"),
    [
        ("redis+sentinel://:p%40@a,b:7,[::1]/main/3", ("a:26379", "b:7", "[::1]:26379"), "main", 3),
        ("rediss+sentinel://a/main", ("a:26379",), "main", None),
        ("redis+sentinel://a:1,b:2/x.y-z/0?sentinel_password=q%2F", ("a:1", "b:2"), "x.y-z", None),
    ],
)
def test_a_url_names_sentinels(url: str, sentinels: tuple[str, ...], name: str, database: int | None) -> None:
    """Several sentinels with or without ports, the primary's name and the database are read; passwords go where they belong."""
    address = parse_redis_url(url)
    assert (
        tuple(one.partition("://")[2].rpartition("@")[2].partition("/")[0] for one in address.sentinels)
        == sentinels
    )
    assert (address.primary_name, address.options.get("db") or None) == (name, database)
    assert all(("q%2F" in one) == ("sentinel_password" in url) for one in address.sentinels)
    assert all(one.startswith(url.partition("+")[0] + "://") for one in address.sentinels)


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "redis+sentinel://h",
        "redis+sentinel://h/m/x",
        "redis+sentinel:///m",
        "redis+sentinel://h:99999/m",
    ],
)
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    """What cannot be meant is an error that shows the form and no password."""
    with pytest.raises(ValueError, match="redis") as refused:
        parse_redis_url(url.replace("://", "://:hidden@"))
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+sentinel://:hidden@h/m/0?foo=1", "the parameter 'foo'"),
        ("rediss+sentinel://:hidden@h/m/0?sentinel_password=hidden&ssl_cert_reqs=none", "'ssl_cert_reqs'"),
        ("redis+sentinel://:hidden@h/m/0?ssl_ca_certs=/x", "'ssl_ca_certs', which means something with TLS"),
        ("redis+sentinel://:hidden@h/m/0?db=7", "database 0 in its path, 7 in its parameter"),
        ("redis+sentinel://:hidden@h/m?db=x", "no number"),
        ("redis+sentinel://:hidden@h/m?db=1&db=2", "'db' more than once"),
        ("redis://:hidden@h/0?foo=1", "the parameter 'foo'"),
        ("redis://:hidden@h/0?foo", "the parameter 'foo'"),
        ("redis://:hidden@h/0?ssl_ca_certs=/x", "'ssl_ca_certs', which means something with TLS"),
        ("redis://:hidden@h/0?sentinel_password=hidden", "the parameter 'sentinel_password'"),
        ("redis://:hidden@h/0?db=7", "database 0 in its path, 7 in its parameter"),
        ("redis://:hidden@h?db=x", "no number"),
        ("redis://:hidden@h/tasks", "no number"),
        ("unix://:hidden@/run/redis.sock?foo=1", "the parameter 'foo'"),
        ("redis://pa?hidden=x@h/0", "percent-encode"),
    ],
)
def test_a_parameter_that_nobody_reads_is_refused(url: str, said: str) -> None:
    """Named at the settings check, with a database that contradicts another; a process would have died of it later, or not
    heeded it. What may be a piece of a password is not named.
    """
    with pytest.raises(ValueError, match=said) as refused:
        parse_redis_url(url)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("redis://h/3?db=3", 3),
        ("redis://h?db=3", 3),
        ("unix:///run/redis.sock?db=3&password=x", 3),
        ("rediss://h/3?ssl_ca_certs=/a@b&ssl_check_hostname=false", 3),
        ("redis+sentinel://h/m/3?db=3", 3),
        ("redis+sentinel://h/m?db=3&sentinel_password=a", 3),
    ],
)
def test_a_parameter_that_agrees_is_read(url: str, database: int) -> None:
    """The database may stand in either place, or in both."""
    assert parse_redis_url(url).options["db"] == database


def test_a_password_is_not_told_by_what_cannot_be_read() -> None:
    """The standard library repeats the whole of such a name in its error."""
    with pytest.raises(ValueError, match="percent-encode") as refused:
        parse_redis_url("redis+sentinel://:hidden\u2100@a,b/tasks")
    assert "hidden" not in str(refused.value)


def test_a_sentinels_user_may_have_any_sign() -> None:
    """A slash in it would end the part that names the host."""
    address = parse_redis_url("redis+sentinel://a/tasks?sentinel_username=b%2Fc%40d&sentinel_password=e%2Ff")
    assert address.sentinels == ("redis://b%2Fc%40d:e%2Ff@a:26379/0",)


async def test_nobody_knows_a_primary() -> None:
    """Sentinels that are all away are an error of the connection, which is tried again, and no refusal."""
    primary = Primary("redis+sentinel://127.0.0.1:1,127.0.0.1:2/main", name="x")
    with pytest.raises(ConnectionError, match="no sentinel of 2 was reached") as failed:
        await Pipe(primary, name="x").call("PING")
    assert not isinstance(failed.value, Refused)
    primary.end()


class Moving:
    """Who knows where the primary is, in a test's hand."""

    moves = True

    def __init__(self, url: str, place: Place) -> None:
        self.address = parse_redis_url(url)
        self.place = place
        self.leave: Callable[[Place], None] = lambda _: None

    async def find(self) -> Place:
        return self.place

    def call_when_found(self, leave: Callable[[Place], None]) -> None:
        self.leave = leave


async def test_a_connection_that_is_being_made_to_a_machine_that_is_gone_is_given_up(redis_url: str) -> None:
    """Who waits for a silent machine's greeting goes on at once when the primary is another one."""
    asked = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        asked.set()
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    lookup = Moving(redis_url, silent.sockets[0].getsockname()[:2])
    pipe = Pipe(lookup, name="p", timeout_seconds=60.0)
    waiting = asyncio.create_task(pipe.call("PING"))
    async with asyncio.timeout(10):
        await asked.wait()
        lookup.place = lookup.address.place
        lookup.leave(lookup.place)
        with pytest.raises(TimeoutError):
            await waiting
        assert await pipe.call("PING") == b"PONG"
    lookup.leave(lookup.place)
    assert await pipe.call("PING") == b"PONG"
    pipe.end()
    silent.close()


@pytest.mark.slow
async def test_a_primary_that_is_killed_is_left_for_the_next(group: RedisGroup) -> None:
    """After a SIGKILL the same connection leads to the promoted replica; so it does after a failover that somebody asked for."""
    before = group.primary()
    async with following(group) as primary:
        pipe, client = Pipe(primary, name="p"), primary.client(socket_timeout=5.0)
        assert await port_of(pipe) == before.port
        await pipe.call("SET", "a", 1)
        before.kill()
        after = group.wait_for_failover(before)
        assert await port_of(pipe) == after.port != before.port
        assert await client.get("a") == b"1"
        before.run()
        group.wait_for_replica()
        with group.client(group.sentinels[1]) as sentinel:
            async with asyncio.timeout(30):
                while True:  # a sentinel calls the replica fit once it has looked at it again
                    with suppress(ResponseError):
                        sentinel.execute_command("SENTINEL", "FAILOVER", "tasks")
                        break
                    await asyncio.sleep(0.2)
        assert group.wait_for_failover(after) is before
        async with asyncio.timeout(10):
            while await port_of(pipe) != before.port:
                await asyncio.sleep(0.05)
        pipe.end()
        await client.aclose()


@pytest.mark.slow
async def test_a_primary_that_was_frozen_has_no_effect(group: RedisGroup) -> None:
    """What waits at a frozen primary is asked of the new one; when the old one goes on, nobody speaks to it."""
    before = group.primary()
    async with following(group) as primary:
        pipe, listener = Pipe(primary, name="p", timeout_seconds=None), primary.client(socket_timeout=None)
        await pipe.call("SET", "a", 1)
        channel = listener.pubsub()
        await channel.subscribe("c")
        before.signal(signal.SIGSTOP)
        waiting = asyncio.create_task(pipe.call("INCR", "a"))  # without a limit of its own
        heard = asyncio.create_task(_heard(channel))
        after = group.wait_for_failover(before)
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionError):
                await waiting
            with pytest.raises(ConnectionError):
                await heard
        assert await port_of(pipe) == after.port
        await pipe.call("SET", "b", 2)
        before.signal(signal.SIGCONT)
        assert await port_of(pipe) == after.port
        group.wait_for_replica()
        with group.client(before) as old:
            assert old.get("b") == b"2", "it follows the new primary"
        pipe.end()
        await channel.aclose()  # type: ignore[no-untyped-call]
        await listener.aclose()


async def _heard(channel: object) -> None:
    while True:
        await channel.get_message(timeout=None)  # type: ignore[attr-defined]


@pytest.mark.slow
async def test_a_sentinel_that_was_left_behind_misleads_nobody(group: RedisGroup) -> None:
    """A sentinel that still names the old primary is outvoted by the newer configuration of the others."""
    before = group.primary()
    async with following(group) as primary:
        assert (await primary.find())[1] == before.port
        group.sentinels[0].signal(signal.SIGSTOP)
        before.signal(signal.SIGSTOP)
        after = group.wait_for_failover(before)
        group.sentinels[0].signal(signal.SIGCONT)  # knows of nothing yet
        assert (await primary.find())[1] == after.port
        before.signal(signal.SIGCONT)


@pytest.mark.slow
async def test_a_write_waits_for_its_replicas(group: RedisGroup) -> None:
    """Each command is answered with how many replicas have it, those that are sent together too; without any it says 0, in time."""
    async with following(group) as primary:
        pipe = ReplicatedPipe(Pipe(primary, name="w"), 1, 0.3)
        answers = await asyncio.gather(*(pipe.call("RPUSH", "list", n) for n in range(1000)))
        assert sorted(one.answer for one in answers) == list(range(1, 1001))
        assert {one.replicas for one in answers} == {1}
        with group.client(group.servers[1]) as replica:
            assert replica.llen("list") == 1000
        group.servers[1].signal(signal.SIGSTOP)
        late = await pipe.call("RPUSH", "list", "late")
        assert (late.answer, late.replicas) == (1001, 0)
        again = await pipe.call("GET", "nothing")
        assert again.replicas == 0, "what writes nothing waits for what was written before"
        group.servers[1].signal(signal.SIGCONT)
        await pipe.aclose()
