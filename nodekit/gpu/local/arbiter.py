"""The arbiter's decisions: what follows from each message, and from what passes in time.

It lives and dies with the holders, so its leases have no time limit, nothing has to survive, and nobody has to beat; in all else it
promises what the lock service does, and one suite holds both to it (`tests/gpulock/conformance/`). It knows no stream: `deliver`
brings a message to a client. Only one process may arbitrate a device like this; several need the lock service.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from leases.ask import DEFAULT_POOL, Ask
from leases.refusal import refused
from nodekit.gpu.local.messages import Deliver, Messages
from nodekit.gpu.local.queue import WaitQueue
from nodekit.gpu.local.request import Request, State
from nodekit.gpu.local.rules import LocalRules
from nodekit.gpu.local.schedule import Turn, suits
from nodekit.gpu.settings import GpuDevice
from yivideo.gpulock.v1 import lock_pb2

_ENDED_KEPT_SECONDS = 60.0


class Arbiter:
    """Devices, and who asks for them. Every call is one step: what it frees is granted within it."""

    def __init__(
        self,
        devices: Sequence[GpuDevice],
        rules: LocalRules,
        deliver: Deliver,
        *,
        token_floor: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tokens are larger than `token_floor`."""
        self._devices = tuple(devices)
        self._messages = Messages(deliver, devices)
        self._rules = rules
        self._token = token_floor
        self._clock = clock
        self._queue = WaitQueue(rules.priority_boost_seconds)
        self._requests: dict[str, Request] = {}
        self._ended: deque[tuple[float, Request]] = deque()
        self._numbers = count()

    def __iter__(self) -> Iterator[Request]:
        """Yield what waits or holds."""
        return (one for one in list(self._requests.values()) if one.state is not State.ENDED)

    # What clients ask ---------------------------------------------------------------------------------------------------

    def acquire(self, client_id: str, ask: Ask) -> None:
        """Ask for devices; the id of a request that waits or holds attaches it to its client's new stream."""
        self._forget_ended()
        known = self._requests.get(ask.request_id)
        if known is None:
            self._ask(client_id, ask)
        elif known.state is not State.ENDED and known.client_id != client_id and not known.away:
            self._messages.refuse(client_id, ask.request_id, "GPU_REQUEST_TAKEN")
        else:
            self._repeat(known, client_id, ask)

    def renew(self, client_id: str, request_id: str, token: int) -> None:
        """Note a holder's beat, on which nothing here depends."""
        held = self._held(client_id, request_id, token)
        if held is not None:
            held.client_id = client_id
            self._messages.renewed(held)
            if held.stop is not None:  # it may have been said to a stream that has broken
                self._messages.say(held, stop=held.stop)

    def release(self, client_id: str, request_id: str, token: int) -> None:
        """Give a lease back; one that was revoked or has ended is gone already, and that is all that was asked."""
        known = self._requests.get(request_id)
        if known is not None and not self._is_holders(known, token):
            self._messages.refuse(client_id, request_id, "GPU_LEASE_STALE")
            return
        answer = lock_pb2.SessionResponse(released=lock_pb2.Released(request_id=request_id, token=token))
        if known is not None:
            self._end_successor(known)
            if known.state is not State.ENDED:
                self._end(known, answer)
                self._schedule()
        self._messages.deliver(client_id, answer)

    def cancel(self, client_id: str, request_id: str) -> None:
        """Take a request back, whatever has become of it meanwhile."""
        known = self._requests.get(request_id)
        if known is not None and known.state is State.REVOKED:
            self._messages.lost(known)
            return
        if known is not None and known.state is State.HELD and known.warm:
            # It crossed the cancellation, and the model is still there, for its client under the old lease.
            self._revoke(known, lock_pb2.STOP_REASON_SUPERSEDED, "taken back by its client")
        answer = lock_pb2.SessionResponse(cancelled=lock_pb2.Cancelled(request_id=request_id))
        if known is not None and known.state in (State.WAITING, State.HELD):
            self._end(known, answer)
            self._schedule()
        self._messages.deliver(client_id, answer)

    def park(self, client_id: str, park: lock_pb2.Park) -> None:
        """Keep a model on the devices between tasks, in less memory where it needs less."""
        request_id, token = park.request_id, park.token
        held = self._held(client_id, request_id, token)
        if held is None:
            return
        if not held.parked:
            held.parked, held.model = True, park.model
            held.yield_time = self._clock()
            if held.stop is not None and held.stop.reason == lock_pb2.STOP_REASON_SOFT_TIMEOUT:
                held.stop_timers()
                held.stop = None
            if park.memory_mib:
                held.taken = {name: min(park.memory_mib, mib) for name, mib in held.taken.items()}
            self._schedule()
        self._messages.deliver(
            client_id, lock_pb2.SessionResponse(parked=lock_pb2.Parked(request_id=request_id, token=token))
        )

    def confirm(self, client_id: str, request_id: str, token: int) -> None:
        """End the quarantine of a revoked lease."""
        known = self._requests.get(request_id)
        answer = lock_pb2.SessionResponse(confirmed=lock_pb2.Confirmed(request_id=request_id, token=token))
        if known is not None and known.state is State.ENDED:
            if known.token == token:
                self._end_successor(known)
        elif known is not None:
            if known.token != token or known.state is not State.REVOKED:
                self._messages.refuse(client_id, request_id, "GPU_LEASE_STALE")
                return
            self._end_revoked(known)
        self._messages.deliver(client_id, answer)

    def reclaim(self, client_id: str, request_id: str, token: int) -> None:
        """Say that one holds a lease. Nothing here is ever forgotten, so one that is not on record has ended."""
        known = self._requests.get(request_id)
        if known is not None and known.state is State.HELD and known.token == token:
            self.renew(client_id, request_id, token)
        else:
            self._messages.unknown(client_id, request_id, token)

    def detach(self, client_id: str) -> None:
        """A client's stream is gone: its waiters keep their places for the grace."""
        for waiter in [one for one in self._queue if one.client_id == client_id and not one.away]:
            waiter.away = True
            waiter.away_timer = asyncio.get_running_loop().call_later(
                self._rules.waiter_grace_seconds, self._lose_place, waiter
            )
        self._schedule()  # those behind a blocked head may go now

    # What an operator asks ----------------------------------------------------------------------------------------------

    def ask_to_stop(
        self,
        request: Request,
        reason: lock_pb2.StopReason.ValueType,
        message: str,
        *,
        grace_seconds: float = 0.0,
    ) -> None:
        """Ask a holder to end its work; it is revoked when it has not within the grace (0: it is not)."""
        if request.stop is not None:
            return
        request.stop = lock_pb2.Stop(
            request_id=request.id,
            token=request.token,
            reason=reason,
            grace_seconds=grace_seconds,
            message=message,
        )
        if grace_seconds:
            late = f"{message}; it did not stop in time"
            request.timer = asyncio.get_running_loop().call_later(
                grace_seconds, self._revoke, request, reason, late
            )
        self._messages.say(request, stop=request.stop)

    def force(self, request: Request, message: str) -> None:
        """Revoke a lease; its memory is granted again when its holder has confirmed that nothing is left."""
        self._revoke(request, lock_pb2.STOP_REASON_FORCED, message)

    # How ----------------------------------------------------------------------------------------------------------------

    def _ask(self, client_id: str, ask: Ask) -> None:
        request = Request(ask, client_id, self._clock(), next(self._numbers), wanted_id=ask.warm_request_id)
        fault = self._fault(request)
        if fault:
            self._messages.refuse(client_id, request.id, fault)
            return
        self._requests[request.id] = request
        wait = ask.max_wait_seconds or self._rules.max_wait_seconds
        request.timer = asyncio.get_running_loop().call_later(wait, self._time_out, request)
        self._queue.add(request, self._clock())
        self._schedule()

    def _fault(self, request: Request) -> str:
        """The code of what makes a request impossible; empty: nothing does."""
        ask = request.ask
        if ask.pool != DEFAULT_POOL:
            return "GPU_POOL_UNKNOWN"
        if ask.device and all(ask.device != device.name for device in self._devices):
            return "GPU_DEVICE_UNKNOWN"
        if sum(suits(device, request) for device in self._devices) < ask.device_count:
            return "GPU_NEVER_FITS"
        return "GPU_QUEUE_FULL" if len(self._queue) >= self._rules.max_waiters else ""

    def _repeat(self, known: Request, client_id: str, ask: Ask) -> None:
        if known.state is State.ENDED:
            assert known.end is not None
            self._messages.deliver(client_id, known.end)
            return
        known.client_id = client_id
        match known.state:
            case State.WAITING:
                anew = known.away or known.wanted_id != ask.warm_request_id
                known.wanted_id, known.away, known.said = ask.warm_request_id, False, (0, "")
                if known.away_timer is not None:
                    known.away_timer.cancel()
                if anew:
                    self._schedule()
                else:
                    self._messages.places(self._queue, self)
            case State.HELD:
                self._messages.granted(known)
                if known.stop is not None:
                    self._messages.say(known, stop=known.stop)
            case State.REVOKED:
                self._messages.lost(known)

    def _held(self, client_id: str, request_id: str, token: int) -> Request | None:
        """A lease that its holder speaks of; None: it has none, and is told so."""
        known = self._requests.get(request_id)
        if known is None:
            self._messages.unknown(client_id, request_id, token)
        elif not self._is_holders(known, token):
            self._messages.refuse(client_id, request_id, "GPU_LEASE_STALE")
        elif known.state is State.HELD:
            return known
        else:
            self._messages.lost(known, client_id)
        return None

    @staticmethod
    def _is_holders(known: Request, token: int) -> bool:
        return known.state is not State.WAITING and known.token == token

    def _schedule(self) -> None:
        turn = Turn(
            self._devices,
            self,
            self._queue,
            self._clock(),
            self._rules.backfill_seconds,
            grant=self._grant,
            give_way=self._give_way,
        )
        turn.run()
        self._messages.places(self._queue, self)

    def _grant(self, request: Request, taken: dict[str, int], parked: Request | None) -> None:
        now = self._clock()
        self._queue.remove(request, now, served=True)
        request.stop_timers()
        if parked is not None:
            parked.successor = request
            released = lock_pb2.Released(request_id=parked.id, token=parked.token)
            self._end(parked, lock_pb2.SessionResponse(released=released))
        self._token = max(self._token + 1, time.time_ns() // 1000)
        request.state, request.token, request.taken = State.HELD, self._token, taken
        request.warm, request.yield_time = parked is not None, now
        request.waited_seconds = max(0.0, now - request.asked_time)
        request.grant_time.GetCurrentTime()
        self._messages.granted(request)

    def _give_way(self, holder: Request, request: Request) -> None:
        message = f"{request.holder} needs its memory"
        self.ask_to_stop(
            holder, lock_pb2.STOP_REASON_PREEMPTED, message, grace_seconds=self._rules.yield_seconds
        )

    def _revoke(self, request: Request, reason: lock_pb2.StopReason.ValueType, message: str) -> None:
        """Take a lease from its holder, whose memory stays taken until it confirms."""
        request.stop_timers()
        request.state = State.REVOKED
        request.loss = lock_pb2.Lost(
            request_id=request.id, token=request.token, reason=reason, message=message
        )
        self._messages.lost(request)

    def _end(self, request: Request, end: lock_pb2.SessionResponse) -> None:
        request.stop_timers()
        if request.state is State.WAITING:
            self._queue.remove(request, self._clock(), served=False)
        request.state, request.end = State.ENDED, end
        request.taken = {}
        self._ended.append((self._clock(), request))

    def _end_revoked(self, request: Request) -> None:
        released = lock_pb2.Released(request_id=request.id, token=request.token)
        self._end(request, lock_pb2.SessionResponse(released=released))
        self._schedule()

    def _end_successor(self, parked: Request) -> None:
        """A model whose lease was taken over in vain is gone now, and so the memory of the request that took it over is free."""
        if parked.successor is not None and parked.successor.state is State.REVOKED:
            self._end_revoked(parked.successor)

    def _forget_ended(self) -> None:
        while self._ended and self._clock() - self._ended[0][0] >= _ENDED_KEPT_SECONDS:
            del self._requests[self._ended.popleft()[1].id]

    def _time_out(self, request: Request) -> None:
        answer = lock_pb2.SessionResponse(refused=refused(request.id, "GPU_LOCK_TIMEOUT"))
        self._end_wait(request, answer)

    def _lose_place(self, request: Request) -> None:
        cancelled = lock_pb2.Cancelled(request_id=request.id)
        self._end_wait(request, lock_pb2.SessionResponse(cancelled=cancelled))

    def _end_wait(self, request: Request, answer: lock_pb2.SessionResponse) -> None:
        self._end(request, answer)
        self._messages.deliver(request.client_id, answer)
        self._schedule()
