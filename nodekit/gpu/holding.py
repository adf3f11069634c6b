"""One request of this process at the lock service, from asking to its end: what is known of it, and until when that is true.

Time is CLOCK_BOOTTIME in seconds: it goes on while the machine sleeps, and no clock step moves it. A lease is good until the
sending time of the last confirmed beat + TTL − margin; the service counts the TTL from later than that, so work that ends by then
has ended before anybody else can be granted the devices.
"""

from __future__ import annotations

import asyncio
import enum
import math
import time
from collections import deque
from collections.abc import Callable

from nodekit.failure import TaskFailed
from runtime.logs import get_logger
from yivideo.gpulock.v1 import lock_pb2

log = get_logger(__name__)

_RETRYABLE = frozenset(
    {
        "GPU_LOCK_TIMEOUT",
        "GPU_QUEUE_FULL",
        "GPU_DRAINING",
        "GPU_LEASE_STALE",
        "GPU_LEASE_LOST",
        "GPU_LOCK_UNAVAILABLE",
    }
)


def boot_time() -> float:
    """Return CLOCK_BOOTTIME in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def refusal(code: str, message: str) -> TaskFailed:
    """Return the failure of a task whose request was refused."""
    return TaskFailed(code or "GPU_LOCK_UNAVAILABLE", message, retryable=code in _RETRYABLE)


class Phase(enum.Enum):
    """Where a request is."""

    WAITING = "waiting"
    HELD = "held"
    LOST = "lost"
    ENDED = "ended"


class Holding:
    """One request. The session moves it; whoever asked sets its callbacks: `on_renewed`, `on_stop`, `on_lost`."""

    def __init__(
        self,
        acquire: lock_pb2.Acquire,
        *,
        on_queued: Callable[[int, str], None],
        margin_seconds: float,
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self.acquire = acquire
        self.phase = Phase.WAITING
        self.lease = lock_pb2.Lease()
        """Devices and token; empty until granted."""
        self.deadline = math.inf
        """Boot time until which its work may go on."""
        self.begun_time = clock()
        """Boot time of the request."""
        self.loss = lock_pb2.Lost()
        """Why it was lost."""
        self.stop: lock_pb2.Stop | None = None
        """What the service has asked for."""
        self.expired_here = False
        """Whether it was lost by our own clock, so that the service may not know it yet."""
        self.parking: lock_pb2.SessionRequest | None = None
        """The message that parked it; None: work runs under it."""
        self.closing: lock_pb2.SessionRequest | None = None
        """The message that shall end or park it, while that has no answer."""
        self.closed: asyncio.Future[str] | None = None
        """Its answer: empty when it was obeyed, else the code of the refusal."""
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_queued = on_queued
        self.on_renewed: Callable[[], None] = lambda: None
        self.on_stop: Callable[[], None] = lambda: None
        self.on_lost: Callable[[], None] = lambda: None
        self._margin_seconds = margin_seconds
        self._clock = clock
        self._asked_time = self.begun_time
        self._beats: deque[float] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def id(self) -> str:
        """Its request id."""
        return self.acquire.request_id

    @property
    def token(self) -> int:
        """Fencing token; 0 until granted."""
        return self.lease.token

    @property
    def alive(self) -> bool:
        """Whether it is held and shall go on to be."""
        ending = self.closing is not None and not self.closing.HasField("park")
        return self.phase is Phase.HELD and not ending

    @property
    def overdue(self) -> bool:
        """Whether the deadline has passed, whatever the event loop has got round to."""
        return self.phase is Phase.HELD and self._clock() >= self.deadline

    def asked(self) -> None:
        """Note that the request is sent now."""
        self._asked_time = self._clock()

    def beat(self) -> None:
        """Note that a beat is sent now."""
        self._beats.append(self._clock())

    def unanswered_seconds(self) -> float:
        """Return the age of the oldest beat without an answer; 0 when there is none."""
        return self._clock() - self._beats[0] if self._beats else 0.0

    def disconnected(self) -> None:
        """Forget the beats whose answers cannot come any more."""
        self._beats.clear()

    def take_grant(self, lease: lock_pb2.Lease) -> bool:
        """Note the grant; returns whether it is confirmed, which a beat must do when the request is not fresh.

        The message may have lain in the socket for as long as this process was frozen: only what was sent by us tells the time.
        """
        self.lease = lease
        if self._clock() - self._asked_time < lease.ttl_seconds / 3:
            self._confirm(self._asked_time, lease.ttl_seconds)
            return True
        return False

    def take_beat(self, ttl_seconds: float) -> None:
        """Note the answer to the oldest beat."""
        if self._beats and self.phase in (Phase.WAITING, Phase.HELD):
            self._confirm(self._beats.popleft(), ttl_seconds)

    def _confirm(self, sent_time: float, ttl_seconds: float) -> None:
        margin = min(self._margin_seconds, ttl_seconds / 3)
        deadline = sent_time + ttl_seconds - margin
        self.deadline = deadline if self.phase is Phase.WAITING else max(self.deadline, deadline)
        if self.phase is Phase.WAITING:
            self.phase = Phase.HELD
            if not self.granted.done():
                self.granted.set_result(None)
        self.on_renewed()
        if self._timer is None:
            self._watch()

    def _watch(self) -> None:
        if math.isfinite(self.deadline) and self.phase is Phase.HELD:
            left = self.deadline - self._clock()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, left), self._look)

    def _look(self) -> None:
        self._timer = None
        if self.overdue:
            self.expire()
        else:
            self._watch()

    def expire(self) -> None:
        """Count it as lost by our own clock."""
        self.expired_here = True
        self.lose(lock_pb2.STOP_REASON_HEARTBEAT, "the lock service has not confirmed the lease in time")

    def lose(self, reason: lock_pb2.StopReason.ValueType, message: str) -> None:
        """The lease is gone; whoever holds it must end its work and confirm."""
        if self.phase is not Phase.HELD:
            return
        self.phase = Phase.LOST
        self.loss = lock_pb2.Lost(request_id=self.id, token=self.token, reason=reason, message=message)
        self._stop_timer()
        log.warning("GPU lease lost", request=self.id, token=self.token, reason=message)
        self.on_lost()

    def refuse(self, code: str, message: str) -> None:
        """The wait ended without a grant."""
        self.finish("")
        if not self.granted.done():
            self.granted.set_exception(refusal(code, message))

    def finish(self, code: str) -> None:
        """The request is over; `code` is what refused its last message, empty when that was obeyed."""
        self.phase = Phase.ENDED
        self._stop_timer()
        self.answer(code)

    def answer(self, code: str) -> None:
        """The closing message has its answer."""
        self.closing = None
        if self.closed is not None and not self.closed.done():
            self.closed.set_result(code)

    def close_instead(self, message: lock_pb2.SessionRequest, code: str) -> None:
        """It was lost before it could be given back: the caller learns why, and the session goes on with another message."""
        self._stop_timer()
        self.phase = Phase.LOST
        self.answer(code)
        self.closing = message

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
