"""The session of one node process at the lock service: one stream for all its requests, opened again whenever it breaks.

Every message is idempotent, so after a reconnect the session simply repeats what has no answer: requests that wait, messages that
end or park, and for each lease a beat, or a reclaim when the service's store has lost its memory meanwhile. A lease does not depend
on the stream: it is lost when the service says so, or when the holding's own deadline passes (`nodekit.gpu.holding`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from contextvars import Context
from itertools import count

from nodekit.gpu.holding import Holding, Phase, boot_time
from nodekit.gpu.metrics import SESSION_CONNECTED
from nodekit.gpu.response_handler import PlaceLost, ResponseHandler
from nodekit.gpu.table import RequestLedger, RequestTable
from nodekit.gpu.transport import OpenStream, Outbox, Responses, drained, ended
from nodekit.process.child import uninterrupted
from runtime.backoff import Backoff
from runtime.errors import Unavailable, YiVideoError
from runtime.logs import get_logger
from yivideo.gpulock.v1 import lock_pb2

log = get_logger(__name__)

WELCOME_SECONDS = 5.0
ANSWER_SECONDS = 5.0
"""How long a caller waits for the answer to a release; the session goes on repeating it afterwards."""
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_SHORTEST_ANSWER_SECONDS = 0.5
_MAX_UNSENT = 10_000


class LockSession:
    """All requests of one process. It connects when the first one is made; `aclose` ends it."""

    def __init__(
        self,
        open_stream: OpenStream,
        hello: lock_pb2.Hello,
        *,
        margin_seconds: float,
        unreachable_seconds: float,
        ledger: RequestLedger | None = None,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        """`ledger` is told what is open, and has it given back what is held when this process dies; None: it runs out."""
        self._open_stream = open_stream
        self._hello = hello
        self._margin_seconds = margin_seconds
        self._unreachable_seconds = unreachable_seconds
        self._clock = clock
        self._table = RequestTable(ledger)
        self._outbox: Outbox | None = None
        self._welcome = lock_pb2.Welcome()
        self._runner: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._handler = ResponseHandler(self._table, say=self._say, close=self._close, renew=self._renew)

    @property
    def connected(self) -> bool:
        """Whether a replica has welcomed us and the stream has not broken since."""
        return self._outbox is not None

    @property
    def replica(self) -> str:
        """Name of the replica that welcomed us last."""
        return self._welcome.replica

    async def acquire(self, request: lock_pb2.Acquire, on_queued: Callable[[int, str], None]) -> Holding:
        """Ask and wait for the grant. A grant that is `warm` has ended the holding that `warm_request_id` names.

        `on_queued` gets each new place in the queue (0: not known) with its reason. Cancelling takes the request back. Raises
        TaskFailed with the service's code.
        """
        request_id = request.request_id
        for number in count(1):
            try:
                return await self._acquire(request, on_queued)
            except PlaceLost:
                # An id that has ended stays so: it waits again under another, from the end of the queue.
                request.request_id = f"{request_id}~{number}"
        raise AssertionError("unreachable")

    async def _acquire(self, request: lock_pb2.Acquire, on_queued: Callable[[int, str], None]) -> Holding:
        holding = Holding(
            request, on_queued=on_queued, margin_seconds=self._margin_seconds, clock=self._clock
        )
        self._table.put(holding)
        self._wanted.set()
        if self._runner is None:
            # It serves all attempts of the replica and belongs to none of them.
            self._runner = asyncio.get_running_loop().create_task(
                self._run(), name="gpu lock session", context=Context()
            )
        holding.asked()
        self._say(lock_pb2.SessionRequest(acquire=request))
        try:
            await holding.granted
        except asyncio.CancelledError:
            self._close(holding, lock_pb2.SessionRequest(cancel=lock_pb2.Cancel(request_id=holding.id)))
            raise
        return holding

    def repeat(self, request: lock_pb2.Acquire) -> None:
        """Say a request again that waits and has changed in `warm_request_id`; nothing when it waits no more."""
        holding = self._table.get(request.request_id)
        if holding is not None and holding.phase is Phase.WAITING and holding.closing is None:
            # Not `asked`: the grant that may be on its way was asked for before.
            self._say(lock_pb2.SessionRequest(acquire=request))

    async def release(self, holding: Holding, reason: lock_pb2.ReleaseReason.ValueType) -> str:
        """Give a lease back; returns the code of the refusal, empty when it was obeyed or nobody has answered yet."""
        message = lock_pb2.Release(request_id=holding.id, token=holding.token, reason=reason)
        return await self._closed(holding, lock_pb2.SessionRequest(release=message))

    async def park(self, holding: Holding, model: str, load_seconds: float) -> str:
        """Park a lease; returns the code of the refusal, empty when it was obeyed or nobody has answered yet."""
        message = lock_pb2.Park(
            request_id=holding.id, token=holding.token, model=model, load_seconds=load_seconds
        )
        holding.parking = lock_pb2.SessionRequest(park=message)
        return await self._closed(holding, holding.parking)

    async def confirm(self, holding: Holding) -> None:
        """Say that nothing of a lost lease is left."""
        if holding.expired_here:
            # By our clock it is over, by the service's perhaps not yet: then this is simply an early release.
            holding.expired_here = False
            if await self.release(holding, lock_pb2.RELEASE_REASON_STOPPED) == "":
                return
        message = lock_pb2.Confirm(request_id=holding.id, token=holding.token)
        await self._closed(holding, lock_pb2.SessionRequest(confirm=message))

    async def _closed(self, holding: Holding, message: lock_pb2.SessionRequest) -> str:
        answer = self._close(holding, message)
        if not self.connected:
            return ""  # it is repeated as soon as somebody listens
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                return await asyncio.shield(answer)
        log.warning("lock service has not answered yet", request=holding.id)
        return ""

    def _close(self, holding: Holding, message: lock_pb2.SessionRequest) -> asyncio.Future[str]:
        holding.closing = message
        holding.closed = asyncio.get_running_loop().create_future()
        self._table.put(holding)
        self._say(message)
        return holding.closed

    def _say(self, message: lock_pb2.SessionRequest) -> None:
        # Without a stream nothing is kept: what has no answer is repeated when there is one.
        if self._outbox is not None:
            # A replica that does not read so much is given up when it owes the answer to a beat.
            with contextlib.suppress(asyncio.QueueFull):
                self._outbox.put_nowait(message)

    async def _run(self) -> None:
        backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        last_time = self._clock()
        logged = ""
        while True:
            if not self._table:
                self._wanted.clear()
                await self._wanted.wait()
                last_time = self._clock()
            reason = await self._session()
            if self._outbox is not None:
                self._disconnected()
                backoff.reset()
                last_time, logged = self._clock(), ""
            if reason != logged:
                log.warning("no session at the lock service", reason=reason, requests=len(self._table))
                logged = reason
            self._notify_waiters(reason, self._clock() - last_time > self._unreachable_seconds)
            await backoff.pause()

    async def _session(self) -> str:
        """Hold one session and tell why it ended."""
        try:
            await self._converse()
        except YiVideoError as error:
            return f"{error.code}: {error.message}"
        except (OSError, TimeoutError) as error:
            return str(error) or type(error).__name__
        except Exception as error:
            log.error("the lock session broke", exc_info=error)
            return "internal error"
        return "the stream ended"

    def _disconnected(self) -> None:
        self._outbox = None
        SESSION_CONNECTED.set(0)
        for holding in self._table:
            holding.disconnected()

    def _notify_waiters(self, reason: str, give_up: bool) -> None:
        for holding in [one for one in self._table if one.phase is Phase.WAITING]:
            if give_up and holding.closing is None:
                if self._clock() - holding.begun_time > self._unreachable_seconds:
                    self._table.strike(holding.id)
                    holding.refuse("GPU_LOCK_UNAVAILABLE", f"the lock service cannot be reached ({reason})")
            else:
                holding.on_queued(0, "the lock service cannot be reached")

    async def _converse(self) -> None:
        """Speak over one stream until it breaks or falls silent."""
        outbox: Outbox = asyncio.Queue(_MAX_UNSENT)
        outbox.put_nowait(lock_pb2.SessionRequest(hello=self._hello))
        with ended(outbox):
            await self._converse_over(outbox)

    async def _converse_over(self, outbox: Outbox) -> None:
        async with self._open_stream(drained(outbox)) as responses:
            async with asyncio.timeout(WELCOME_SECONDS):
                first = await anext(responses, None)
            if first is None or not first.HasField("welcome"):
                raise Unavailable("the lock service did not welcome us")
            self._outbox = outbox
            self._welcomed(first.welcome)
            work = [asyncio.create_task(self._listen(responses)), asyncio.create_task(self._beat())]
            try:
                done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in work:
                    task.cancel()
                await asyncio.gather(*work, return_exceptions=True)
            for task in done:
                task.result()

    def _welcomed(self, welcome: lock_pb2.Welcome) -> None:
        forgotten = self._welcome.epoch not in (0, welcome.epoch)
        self._welcome = welcome
        SESSION_CONNECTED.set(1)
        log.info("session at the lock service", replica=welcome.replica, epoch=welcome.epoch)
        # Parked leases last: that one was taken over meanwhile is told by the request that did so.
        for holding in sorted(self._table, key=lambda one: one.parking is not None):
            if holding.alive and forgotten:
                self._reclaim(holding)
                continue
            if holding.closing is not None:
                self._say(holding.closing)
            elif holding.phase is Phase.WAITING:
                holding.asked()
                self._say(lock_pb2.SessionRequest(acquire=holding.acquire))
            if holding.alive:
                self._renew(holding)

    def _renew(self, holding: Holding) -> None:
        holding.beat()
        self._say(lock_pb2.SessionRequest(renew=lock_pb2.Renew(request_id=holding.id, token=holding.token)))

    def _reclaim(self, holding: Holding) -> None:
        reclaim = lock_pb2.Reclaim(
            acquire=holding.acquire,
            token=holding.token,
            devices=[device.device for device in holding.lease.devices],
            grant_time=holding.lease.grant_time,
        )
        holding.disconnected()  # what asked for this gets no other answer
        holding.beat()
        self._say(lock_pb2.SessionRequest(reclaim=reclaim))
        if holding.parking is not None:
            self._say(holding.parking)  # it comes back as one under which work runs

    async def _beat(self) -> None:
        """Send a beat for each lease; raises Unavailable when the replica has not answered one by the time the next is due."""
        seconds = self._welcome.beat_seconds
        if not math.isfinite(seconds):
            await asyncio.Event().wait()
        answer_seconds = max(_SHORTEST_ANSWER_SECONDS, 0.9 * seconds)
        while True:
            await asyncio.sleep(seconds)
            for holding in self._table:
                if holding.unanswered_seconds() > answer_seconds:
                    raise Unavailable(f"the lock service at {self.replica} has fallen silent")
                if holding.alive:
                    self._renew(holding)

    async def _listen(self, responses: Responses) -> None:
        async for response in responses:
            kind = response.WhichOneof("message")
            if kind == "reclaim_requested":
                self._welcome.epoch = response.reclaim_requested.epoch
                for holding in self._table:
                    if holding.alive:
                        self._reclaim(holding)
            elif kind is not None and kind != "welcome":
                message = getattr(response, kind)
                known = self._table.get(message.request_id)
                if known is not None:
                    self._handler.handle(known, kind, message)
                elif kind == "granted":  # of a request that we have given up
                    cancel = lock_pb2.Cancel(request_id=message.request_id)
                    self._say(lock_pb2.SessionRequest(cancel=cancel))

    async def aclose(self) -> None:
        """End the session. Leases that are still held end when they expire."""
        if self._runner is not None:
            self._runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await uninterrupted(self._runner)
            self._runner = None
