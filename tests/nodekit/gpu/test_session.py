"""Laws of the client side of a lease: until when it is good, what is repeated after a reconnect, what a late message may not do.

The test plays the lock service, message by message, and moves the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from nodekit.failure import TaskFailed
from nodekit.gpu.holding import Holding, Phase
from nodekit.gpu.session import LockSession
from nodekit.gpu.transport import Requests, Responses
from runtime.errors import Unavailable
from yivideo.gpulock.v1 import lock_pb2

TTL = 9.0
MARGIN = 1.0


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Service:
    """The other end of the stream, in the test's hands."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[lock_pb2.SessionRequest] = asyncio.Queue()
        self._say: asyncio.Queue[lock_pb2.SessionResponse | None] = asyncio.Queue()
        self.epoch = 1
        self.readers: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def open(self, requests: Requests) -> AsyncIterator[Responses]:
        self._say = asyncio.Queue()
        self.readers.append(
            asyncio.create_task(self._read(requests))
        )  # a broken gRPC stream goes on reading, too
        yield self._responses()

    async def _read(self, requests: Requests) -> None:
        async for request in requests:
            if request.HasField("hello"):
                self.say(welcome=lock_pb2.Welcome(beat_seconds=600, ttl_seconds=TTL, epoch=self.epoch))
            else:
                self.received.put_nowait(request)

    async def _responses(self) -> Responses:
        while (response := await self._say.get()) is not None:
            yield response
        raise Unavailable("the replica is gone")

    def say(self, **message: object) -> None:
        self._say.put_nowait(lock_pb2.SessionResponse(**message))  # type: ignore[arg-type]

    def hang_up(self) -> None:
        self._say.put_nowait(None)

    async def receive(self, kind: str) -> lock_pb2.SessionRequest:
        async with asyncio.timeout(5):
            request = await self.received.get()
        assert request.WhichOneof("message") == kind
        return request

    def grant(self, request_id: str = "r1", token: int = 7) -> None:
        self.say(granted=lock_pb2.Lease(request_id=request_id, token=token, ttl_seconds=TTL))

    def renew(self, request_id: str = "r1", token: int = 7) -> None:
        self.say(renewed=lock_pb2.Lease(request_id=request_id, token=token, ttl_seconds=TTL))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def session(service: Service, clock: Clock) -> AsyncIterator[LockSession]:
    """A session with the test's service."""
    opened = LockSession(
        service.open,
        lock_pb2.Hello(client_id="test"),
        margin_seconds=MARGIN,
        unreachable_seconds=60,
        clock=clock,
    )
    yield opened
    await opened.aclose()


def ask(session: LockSession, request_id: str = "r1", wants: Holding | None = None) -> asyncio.Task[Holding]:
    request = lock_pb2.Acquire(request_id=request_id, warm_request_id=wants.id if wants else "")
    return asyncio.create_task(session.acquire(request, lambda *_: None))


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def held(session: LockSession, service: Service) -> Holding:
    task = ask(session)
    await service.receive("acquire")
    service.grant()
    return await task


async def test_lease_counts_from_when_it_was_asked_for(
    session: LockSession, service: Service, clock: Clock
) -> None:
    """A grant at once is good until the sending time of the request + TTL − margin, however late the answer came."""
    task = ask(session)
    await service.receive("acquire")
    clock.now += 2
    service.grant()
    holding = await task
    assert holding.deadline == 1000 + TTL - MARGIN
    clock.now = holding.deadline - 0.001
    assert not holding.overdue
    clock.now = holding.deadline
    assert holding.overdue


async def test_late_grant_tells_no_time(session: LockSession, service: Service, clock: Clock) -> None:
    """A grant that may have lain in the socket is not worked under until a beat was answered, and counts from that beat."""
    task = ask(session)
    await service.receive("acquire")
    clock.now += 100
    service.grant()
    await service.receive("renew")
    await settle()
    assert not task.done()
    clock.now += 3
    service.renew()
    holding = await task
    assert holding.deadline == 1100 + TTL - MARGIN


async def test_late_grant_of_a_lost_lease_is_no_grant(
    session: LockSession, service: Service, clock: Clock
) -> None:
    """When the first beat finds the lease gone, no work begins, and the service hears that there is none."""
    task = ask(session)
    await service.receive("acquire")
    clock.now += 100
    service.grant()
    await service.receive("renew")
    service.say(lost=lock_pb2.Lost(request_id="r1", token=7, reason=lock_pb2.STOP_REASON_HEARTBEAT))
    with pytest.raises(TaskFailed) as failed:
        await task
    assert (failed.value.code, failed.value.retryable) == ("GPU_LEASE_LOST", True)
    await service.receive("confirm")


async def test_reconnect_renews_and_repeats(session: LockSession, service: Service, clock: Clock) -> None:
    """After a broken stream each lease is renewed and each waiter asks again; the deadline moves with the answer only."""
    holding = await held(session, service)
    waiting = ask(session, "r2")
    await service.receive("acquire")
    clock.now += 2
    service.hang_up()
    assert (await service.receive("renew")).renew.token == 7
    assert (await service.receive("acquire")).acquire.request_id == "r2"
    assert holding.deadline == 1000 + TTL - MARGIN
    service.renew()
    service.grant("r2", 8)
    await waiting
    assert holding.deadline == 1002 + TTL - MARGIN


async def test_a_broken_stream_gets_no_more_requests(session: LockSession, service: Service) -> None:
    """What reads the requests of a stream that is over comes to their end, and does not wait for ever."""
    await held(session, service)
    service.hang_up()
    await service.receive("renew")
    async with asyncio.timeout(5):
        await service.readers[0]
    await session.aclose()
    async with asyncio.timeout(5):
        await service.readers[1]


async def test_store_without_memory_is_told(session: LockSession, service: Service) -> None:
    """After a new epoch each lease is reclaimed with its token, and a parked one parked again."""
    holding = await held(session, service)
    parking = asyncio.create_task(session.park(holding, "large", 3.5))
    await service.receive("park")
    service.say(parked=lock_pb2.Parked(request_id="r1", token=7))
    assert await parking == ""
    service.epoch = 2
    service.hang_up()
    reclaim = (await service.receive("reclaim")).reclaim
    assert (reclaim.acquire.request_id, reclaim.token) == ("r1", 7)
    assert (await service.receive("park")).park.load_seconds == 3.5
    service.say(reclaim_requested=lock_pb2.ReclaimRequested(epoch=3, window_seconds=5))
    await service.receive("reclaim")
    await service.receive("park")
    assert holding.phase is Phase.HELD


async def test_grant_of_another_token_is_refused(session: LockSession, service: Service) -> None:
    """When a service that has forgotten the lease grants the request anew, the old lease is lost and the new one given back."""
    holding = await held(session, service)
    lost = asyncio.Event()
    holding.on_lost = lost.set
    service.grant(token=9)
    assert (await service.receive("release")).release.token == 9
    await lost.wait()
    assert holding.phase is Phase.LOST


async def test_cancel_crosses_a_grant(session: LockSession, service: Service) -> None:
    """A waiter that gives up says so, and a grant that crosses its word is not taken."""
    task = ask(session)
    await service.receive("acquire")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await service.receive("cancel")
    service.grant()
    service.say(cancelled=lock_pb2.Cancelled(request_id="r1"))
    await settle()
    assert service.received.empty()
    service.grant()
    await service.receive("cancel")


async def test_waiter_that_lost_its_place_asks_under_another_id(
    session: LockSession, service: Service
) -> None:
    """A waiter that was away for longer than its place was kept queues again; the ended id stays ended."""
    task = ask(session)
    await service.receive("acquire")
    service.say(cancelled=lock_pb2.Cancelled(request_id="r1"))
    again = (await service.receive("acquire")).acquire
    assert again.request_id == "r1~1"
    service.grant("r1~1")
    assert (await task).id == "r1~1"


async def test_release_of_a_lost_lease_is_told(session: LockSession, service: Service) -> None:
    """Whoever gives a lease back that was taken meanwhile learns it, and the service hears that nothing is left."""
    holding = await held(session, service)
    task = asyncio.create_task(session.release(holding, lock_pb2.RELEASE_REASON_NORMAL))
    await service.receive("release")
    service.say(lost=lock_pb2.Lost(request_id="r1", token=7, reason=lock_pb2.STOP_REASON_FORCED))
    assert await task == "GPU_LEASE_STALE"
    await service.receive("confirm")


async def test_words_of_an_older_lease_change_nothing(session: LockSession, service: Service) -> None:
    """Messages with another token than the lease's are not heard."""
    holding = await held(session, service)
    service.say(lost=lock_pb2.Lost(request_id="r1", token=6))
    service.say(stop=lock_pb2.Stop(request_id="r1", token=6))
    service.renew(token=6)
    await settle()
    assert (holding.phase, holding.stop) == (Phase.HELD, None)
    assert holding.deadline == 1000 + TTL - MARGIN


async def test_lease_that_was_taken_over_is_not_lost(session: LockSession, service: Service) -> None:
    """A warm grant ends the parked lease for its holder, who hears nothing more of it: whether it is gone is asked after that, also
    after a reconnect.
    """
    parked = await held(session, service)
    lost: list[str] = []
    parked.on_lost = lambda: lost.append(parked.id)
    parking = asyncio.create_task(session.park(parked, "large", 1))
    await service.receive("park")
    service.say(parked=lock_pb2.Parked(request_id="r1", token=parked.token))
    assert await parking == ""
    task = ask(session, "r2", wants=parked)
    await service.receive("acquire")
    service.hang_up()
    assert (await service.receive("acquire")).acquire.warm_request_id == "r1"
    await service.receive("renew")
    service.say(granted=lock_pb2.Lease(request_id="r2", token=8, ttl_seconds=TTL, warm=True))
    service.say(lost=lock_pb2.Lost(request_id="r1", token=parked.token))
    assert (await task).lease.warm
    await settle()
    assert (lost, parked.phase) == ([], Phase.ENDED)


async def test_cancel_crosses_a_warm_grant(session: LockSession, service: Service) -> None:
    """The lease that was taken over for a request that is given up is lost at once: its model must go."""
    parked = await held(session, service)
    lost: list[str] = []
    parked.on_lost = lambda: lost.append(parked.id)
    task = ask(session, "r2", wants=parked)
    await service.receive("acquire")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await service.receive("cancel")
    service.say(granted=lock_pb2.Lease(request_id="r2", token=8, ttl_seconds=TTL, warm=True))
    await settle()
    assert lost == ["r1"]
    confirming = asyncio.create_task(session.confirm(parked))
    assert (await service.receive("confirm")).confirm.token == parked.token
    service.say(confirmed=lock_pb2.Confirmed(request_id="r1"))
    await confirming


async def test_warm_grant_that_is_lost_before_it_is_good(
    session: LockSession, service: Service, clock: Clock
) -> None:
    """A take-over that tells no time, and is revoked before a beat was answered, takes the model with it; nothing is confirmed
    before that is gone.
    """
    parked = await held(session, service)
    lost: list[str] = []
    parked.on_lost = lambda: lost.append(parked.id)
    task = ask(session, "r2", wants=parked)
    await service.receive("acquire")
    clock.now += TTL / 2
    service.say(granted=lock_pb2.Lease(request_id="r2", token=8, ttl_seconds=TTL, warm=True))
    await service.receive("renew")
    service.say(lost=lock_pb2.Lost(request_id="r2", token=8, reason=lock_pb2.STOP_REASON_FORCED, message="x"))
    with pytest.raises(TaskFailed) as caught:
        await task
    assert (caught.value.code, lost) == ("GPU_LEASE_LOST", ["r1"])
    assert service.received.empty()


async def test_own_clock_ends_a_lease(session: LockSession, service: Service, clock: Clock) -> None:
    """A lease that is not renewed is lost by our own clock; what is then told is first a release, for the service may not know."""
    holding = await held(session, service)
    lost = asyncio.Event()
    holding.on_lost = lost.set
    clock.now = holding.deadline
    holding._look()
    assert lost.is_set()
    task = asyncio.create_task(session.confirm(holding))
    await service.receive("release")
    service.say(refused=lock_pb2.Refused(request_id="r1", code="GPU_LEASE_STALE"))
    await service.receive("confirm")
    service.say(confirmed=lock_pb2.Confirmed(request_id="r1", token=7))
    await task
