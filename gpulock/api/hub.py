"""All streams of this replica: who is here, what is delivered to whom, and what the store has yet to hear of those that left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from gpulock import metrics
from gpulock.api.dispatch import handle
from gpulock.api.presenter import Presenter, reclaim_requested, to_client
from gpulock.api.session import Session
from gpulock.lease.lessor import Lessor
from gpulock.lease.message import Client, ClientMessage
from gpulock.settings import GpulockSection
from runtime.errors import (
    DeadlineExceeded,
    Draining,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
    YiVideoError,
)
from runtime.logs import get_logger
from yivideo.gpulock.v1 import lock_pb2

log = get_logger(__name__)

_HELLO_SECONDS = 10.0
_LAST_MESSAGE_SECONDS = 1.0


class SessionHub:
    """All sessions of this replica; a client's messages go to its newest one."""

    def __init__(
        self, section: GpulockSection, replica: str, *, on_unwanted: Callable[[Client, ClientMessage], None]
    ) -> None:
        """`on_unwanted` hears of a grant that its client no longer waits for."""
        self._on_unwanted = on_unwanted
        self._section = section
        self._replica = replica
        self._presenter = Presenter(section.devices)
        self._sessions: dict[str, Session] = {}
        self._draining = False
        self._greeting = 0
        """Streams whose clients have yet to say who they are."""
        self._owed: dict[str, tuple[Client, set[str]]] = {}
        """Waiters whose stream is gone, by client, of which the store has yet to hear."""
        self.overruns = 0
        """Sessions that ended because their clients did not read."""

    @property
    def sessions(self) -> list[Session]:
        """Every open session."""
        return list(self._sessions.values())

    def deliver(self, message: ClientMessage) -> None:
        """Hand a message to its client, if it is here; one that is not asks again when it comes back."""
        session = self._sessions.get(message.client_id)
        if session is None or session.say(message) or message.kind != "granted":
            return
        # A store that went back in time has brought a cancelled request back to life. Any other grant that nobody waits for was
        # heard before, and is in use.
        if message.request_id in session.taken_back:
            self._on_unwanted(session.client, message)

    def announce(self, lessor: Lessor) -> None:
        """Tell every client the rhythm of beats where it is another than it was told."""
        welcome = self._welcome(lessor)
        rhythm = (welcome.welcome.beat_seconds, welcome.welcome.ttl_seconds)
        for session in self._sessions.values():
            if session.rhythm != rhythm:
                session.rhythm = rhythm
                session.outbound.put(welcome)

    def ask_to_reclaim(self, epoch: int, window_seconds: float) -> None:
        """Tell every client that the store may have forgotten its leases."""
        for session in self._sessions.values():
            session.outbound.put(reclaim_requested(epoch, window_seconds))

    async def ask_again(self, lessor: Lessor) -> None:
        """Put the waiters of this replica back on record, in the order of asking, where the store has forgotten them."""
        waiters = [(session, request_id) for session in self.sessions for request_id in session.waiting]
        waiters.sort(key=lambda waiter: _asked_us(waiter[0].waiting[waiter[1]]))
        for session, request_id in waiters:
            if request_id in session.waiting:
                await self._ask_once_more(lessor, session, request_id)

    async def _ask_once_more(self, lessor: Lessor, session: Session, request_id: str) -> None:
        client, ask = session.client, session.asks.get(request_id)
        if ask is None or self._sessions.get(client.client_id) is not session:
            return
        message = await lessor.acquire(client, ask, again=True)
        if message is not None and message.kind != "queued":
            session.say(message)
        if request_id not in self._asks_of(client) and message is not None and message.kind == "queued":
            await self._detach(lessor, client, {request_id})  # meanwhile it has gone

    async def catch_up(self, lessor: Lessor) -> None:
        """Say what the store could not be told, and ask what it had to say: messages of either side may have been lost."""
        owed, self._owed = self._owed, {}
        for client, request_ids in owed.values():
            await self._detach(lessor, client, request_ids)
        until = asyncio.get_running_loop().time() + lessor.configuration.ttl_seconds
        for session in self.sessions:
            session.remind_until = until  # every holder beats before that
        await self.ask_again(lessor)

    def drain(self) -> None:
        """Send every client elsewhere; their waiters keep their places for the grace."""
        self._draining = True
        for session in self._sessions.values():
            session.outbound.fail(Draining("this lock service replica is shutting down"))

    async def run(
        self,
        lessor: Lessor,
        requests: AsyncIterator[lock_pb2.SessionRequest],
        abort: Callable[[YiVideoError], None],
    ) -> AsyncGenerator[lock_pb2.SessionResponse, None]:
        """Serve one stream until either side ends it; `abort` ends one whose messages nobody takes."""
        session = Session(await self._greeted(requests), self._section.session_buffer_messages)
        client_id = session.client.client_id
        if (older := self._sessions.get(client_id)) is not None:
            older.outbound.fail(Unavailable("the client has opened another session"))
        elif len(self._sessions) >= self._section.max_sessions:
            raise _too_many()
        self._sessions[client_id] = session
        metrics.SESSIONS.set(len(self._sessions))
        self.announce(lessor)
        if lessor.recovering:
            session.outbound.put(reclaim_requested(lessor.epoch, lessor.recovery_seconds))
        reader = asyncio.create_task(self._read(lessor, session, requests))
        guard = asyncio.create_task(self._end_when_overrun(session, abort))
        try:
            async with aclosing(session.outbound.messages()) as messages:
                async for message in messages:
                    if isinstance(message, ClientMessage):
                        yield self._presenter.to_response(message)
                    else:
                        yield message
        finally:
            reader.cancel()
            guard.cancel()
            await asyncio.gather(reader, guard, return_exceptions=True)
            await self._leave(lessor, session)

    async def _greeted(self, requests: AsyncIterator[lock_pb2.SessionRequest]) -> Client:
        """Wait for a hello; streams that have yet to say it are as many as sessions at the most."""
        self._refuse_when_draining()
        if self._greeting >= self._section.max_sessions:
            raise _too_many()
        self._greeting += 1
        try:
            client = await _hello(requests)
        finally:
            self._greeting -= 1
        self._refuse_when_draining()
        return client

    def _refuse_when_draining(self) -> None:
        if self._draining:
            raise Draining("this lock service replica is shutting down")

    async def _end_when_overrun(self, session: Session, abort: Callable[[YiVideoError], None]) -> None:
        """End the stream of a client that does not read: its handler may be stuck in a write that the client never takes."""
        await session.outbound.overrun.wait()
        self.overruns += 1
        log.warning("a client does not read; its session ends", client=session.client.client_id)
        await asyncio.sleep(
            _LAST_MESSAGE_SECONDS
        )  # the fault goes out by itself when the client reads after all
        abort(ResourceExhausted("the client does not read its messages"))

    def _welcome(self, lessor: Lessor) -> lock_pb2.SessionResponse:
        return lock_pb2.SessionResponse(
            welcome=lock_pb2.Welcome(
                replica=self._replica,
                beat_seconds=lessor.configuration.beat_seconds,
                ttl_seconds=lessor.configuration.ttl_seconds,
                waiter_grace_seconds=self._section.waiter_grace_seconds,
                epoch=lessor.epoch,
            )
        )

    async def _leave(self, lessor: Lessor, session: Session) -> None:
        client = session.client
        if self._sessions.get(client.client_id) is session:
            del self._sessions[client.client_id]
            metrics.SESSIONS.set(len(self._sessions))
        # What is being asked for at this moment too: the store obeys although nobody reads its answer.
        if gone := set(session.asks) - self._asks_of(client):
            # In a task of its own: the stream's task is being cancelled.
            task = asyncio.create_task(self._detach(lessor, client, gone))
            _detaching.add(task)
            task.add_done_callback(_detaching.discard)

    def _asks_of(self, client: Client) -> set[str]:
        """What a client's present session waits for or asks for."""
        session = self._sessions.get(client.client_id)
        return set(session.asks) if session is not None else set()

    async def _detach(self, lessor: Lessor, client: Client, request_ids: set[str]) -> None:
        """Tell the store that a client's stream is gone while it waited for these."""
        try:
            await lessor.detach(client, sorted(request_ids))
        except YiVideoError:  # the store is away; `catch_up` says it
            self._owe(client, request_ids)
            return
        if back := self._asks_of(client) & request_ids:  # it was quicker than this notice
            session = self._sessions[client.client_id]
            for request_id in back:
                await self._ask_once_more(lessor, session, request_id)

    def _owe(self, client: Client, request_ids: set[str]) -> None:
        if client.client_id not in self._owed and len(self._owed) >= self._section.max_sessions:
            del self._owed[
                next(iter(self._owed))
            ]  # its requests end when they have waited for as long as they wanted to
        self._owed.setdefault(client.client_id, (client, set()))[1].update(request_ids)

    async def _read(
        self, lessor: Lessor, session: Session, requests: AsyncIterator[lock_pb2.SessionRequest]
    ) -> None:
        try:
            async for request in requests:
                await handle(lessor, session, request)
                if session.outbound.failed:
                    return
            session.outbound.end()
        except YiVideoError as error:
            session.outbound.fail(error)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.error("a session broke", client=session.client.client_id, exc_info=error)
            session.outbound.fail(Unavailable("the session broke; open another"))


_detaching: set[asyncio.Task[None]] = set()


def _too_many() -> ResourceExhausted:
    return ResourceExhausted("too many sessions", retry_after_seconds=5.0)


async def _hello(requests: AsyncIterator[lock_pb2.SessionRequest]) -> Client:
    try:
        async with asyncio.timeout(_HELLO_SECONDS):
            async for request in requests:
                if request.WhichOneof("message") != "hello":
                    raise InvalidArgument.at("/message", "the first message must be hello")
                return to_client(request.hello)
    except TimeoutError:
        raise DeadlineExceeded("no hello came") from None
    raise InvalidArgument.at("/message", "the stream ended before a hello")


def _asked_us(message: ClientMessage) -> int:
    return message.record.asked_us if message.record else 0
