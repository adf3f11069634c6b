"""Where a process's Redis is at the moment, and who must hear when it is another one.

Sentinels are asked, not listened to: what a majority of them says is compared, and the newest configuration among the answers
counts, so one that was cut off with the old primary misleads nobody. All connections of a process share one `Primary`; `follow`
asks again and again and has those closed that lead elsewhere, because a primary that is frozen or cut off closes none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - redis's own class is the one meant everywhere below
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004
)

from redislink.address import Place, parse_redis_url
from redislink.pipe import Pipe
from redislink.refusal import Refused, in_its_words, is_for_good
from runtime.logs import get_logger

log = get_logger(__name__)

_SENTINEL_SECONDS = 1.0
"""How long is waited for a majority of the sentinels; after it, whoever has answered counts."""
_FOLLOW_SECONDS = 0.5


class Primary:
    """The Redis that a URL means."""

    def __init__(self, url: str, *, name: str) -> None:
        """`name` is what sentinels list this process as. Raises ValueError for a URL that means nothing."""
        self.address = parse_redis_url(url)
        self._sentinels: list[Pipe] = [
            Pipe(one, name=name, timeout_seconds=_SENTINEL_SECONDS, server="a sentinel")
            for one in self.address.sentinels
        ]
        self._leave: list[Callable[[Place], None]] = []
        self._finding: asyncio.Task[Place] | None = None

    @property
    def moves(self) -> bool:
        """Whether it may be another server tomorrow."""
        return bool(self._sentinels)

    def call_when_found(self, leave: Callable[[Place], None]) -> None:
        """Have something told each time where the primary is; it closes what leads elsewhere."""
        self._leave.append(leave)

    async def find(self) -> Place:
        """Return where the primary is. Raises ConnectionError when no sentinel knows one; Refused when none will."""
        if not self._sentinels:
            return self.address.place
        if self._finding is None or self._finding.done():  # connections that break together ask together
            self._finding = asyncio.create_task(self._ask())
            self._finding.add_done_callback(_take_note)
        return await asyncio.shield(self._finding)

    async def _ask(self) -> Place:
        asked = {asyncio.create_task(self._ask_one(sentinel)) for sentinel in self._sentinels}
        majority = len(asked) // 2 + 1
        answers: list[tuple[int, Place]] = []
        failures: list[RedisError] = []
        pending, give_up = asked, asyncio.get_running_loop().time() + _SENTINEL_SECONDS
        try:
            while pending and len(answers) < majority:
                left = max(0.0, give_up - asyncio.get_running_loop().time())
                done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    answer = task.result()
                    answers.append(answer) if isinstance(answer, tuple) else failures.append(answer)
                if not done:
                    break
        finally:
            for task in pending:
                task.cancel()
        if not answers:
            failures += [TimeoutError("no answer in time")] * len(pending)
            raise self._all_in_vain(failures)
        return max(answers)[1]

    def _all_in_vain(self, failures: list[RedisError]) -> ConnectionError:
        """Return what is said when no sentinel has said where the primary is."""
        away = [failure for failure in failures if not isinstance(failure, Refused)]
        said = list(dict.fromkeys(str(failure) for failure in failures if isinstance(failure, Refused)))
        if not away:
            return Refused("; ".join(said))
        over = " over TLS" if self.address.is_tls else ""
        which = (
            f"{len(away)} of {len(failures)} sentinels were not"
            if said
            else f"no sentinel of {len(failures)} was"
        )
        return ConnectionError("; ".join([*said, f"{which} reached{over} ({away[0]})"]))

    async def _ask_one(self, sentinel: Pipe) -> tuple[int, Place] | RedisError:
        """Return the number of a sentinel's configuration, and where the primary is in it; or why it did not say."""
        try:
            flat: list[bytes] = await sentinel.call("SENTINEL", "MASTER", self.address.primary_name)
        except ResponseError as error:
            text = str(error)
            if "No such master" in text:
                return Refused(f"no sentinel knows the name {self.address.primary_name!r}")
            if text.startswith("ERR unknown command"):
                return Refused("what was asked as a sentinel is none")
            kind = Refused if is_for_good(text) else ConnectionError
            return kind(f"a sentinel refused us: {in_its_words(text)}")
        except RedisError as error:
            return error
        facts = dict(zip(flat[::2], flat[1::2], strict=True))
        return int(facts[b"config-epoch"]), (facts[b"ip"].decode(), int(facts[b"port"]))

    async def follow(self) -> None:
        """Look for ever where the primary is, and have connections that lead elsewhere closed; ends at once where none can."""
        last: Place | None = None
        while self.moves:
            try:
                place = await self.find()
            except ConnectionError as error:
                log.debug("the primary is not known", error=str(error))
            else:
                if last is not None and place != last:
                    log.warning("redis has failed over", place=place, before=last)
                last = place
                for leave in self._leave:
                    leave(place)
            await asyncio.sleep(_FOLLOW_SECONDS)

    def client(self, **options: Any) -> Redis:
        """Return a client of redis-py whose connections go where the primary is."""
        given = {**self.address.options, **options}
        if not self.moves:
            return Redis.from_pool(ConnectionPool(**given))
        is_tls = given.pop("connection_class", None) is SSLConnection
        pool = ConnectionPool(connection_class=_TlsToPrimary if is_tls else _ToPrimary, primary=self, **given)
        self.call_when_found(_Leaving(pool).leave)
        return Redis.from_pool(pool)

    def end(self) -> None:
        """Close the connections to sentinels for good."""
        for sentinel in self._sentinels:
            sentinel.end()


def _take_note(done: asyncio.Task[Place]) -> None:
    """Whoever waits has the error; when nobody does any more, it is nobody's."""
    if not done.cancelled():
        done.exception()


class _Leaving:
    """Ends a pool's connections when the primary has moved."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._place: Place | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def leave(self, place: Place) -> None:
        moved, self._place = self._place not in (None, place), place
        if moved:
            closing = asyncio.create_task(self._pool.disconnect(inuse_connections=True))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


class _AsksWhere:
    """Of a connection of redis-py: it asks where to before it connects."""

    host: str
    port: int
    is_connected: bool

    def __init__(self, *, primary: Primary, **options: Any) -> None:
        super().__init__(**options)
        self._primary = primary

    async def connect(self) -> None:
        if not self.is_connected:
            self.host, self.port = await self._primary.find()
        await super().connect()  # type: ignore[misc]


class _ToPrimary(_AsksWhere, Connection):
    """Over TCP."""


class _TlsToPrimary(_AsksWhere, SSLConnection):
    """Over TLS."""
