"""What the lock service says about a request, and what follows from it for the holding."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nodekit.gpu.holding import Holding, Phase, refusal
from nodekit.gpu.table import RequestTable
from runtime.logs import get_logger
from yivideo.gpulock.v1 import lock_pb2

log = get_logger(__name__)


class PlaceLost(Exception):
    """A waiter's place is gone."""


class ResponseHandler:
    """For all holdings of one session: changes them, answers what cannot wait, and strikes out what has ended."""

    def __init__(
        self,
        table: RequestTable,
        *,
        say: Callable[[lock_pb2.SessionRequest], None],
        close: Callable[[Holding, lock_pb2.SessionRequest], asyncio.Future[str]],
        renew: Callable[[Holding], None],
    ) -> None:
        """`close` says a message and repeats it until it is answered."""
        self._table = table
        self._say = say
        self._close = close
        self._renew = renew

    def handle(self, holding: Holding, kind: str, message: object) -> None:
        """Take in one message; `kind` is the name of its field in the contract."""
        match message:
            case lock_pb2.Queued():
                holding.on_queued(message.position, message.reason)
            case lock_pb2.Lease() if kind == "granted":
                self._handle_grant(holding, message)
            case lock_pb2.Lease() if message.token == holding.token:
                holding.take_beat(message.ttl_seconds)
                self._taken_over(holding)
            case lock_pb2.Refused():
                self._handle_refusal(holding, message)
            case lock_pb2.Warning():
                log.warning(
                    "GPU lease is held for long",
                    request=holding.id,
                    held_seconds=round(message.held_seconds),
                    stop_in_seconds=round(message.stop_in_seconds),
                )
            case lock_pb2.Stop() if message.token == holding.token:
                holding.stop = message
                holding.on_stop()
            case lock_pb2.Lost() if message.token == holding.token:
                self._handle_loss(holding, message.reason, message.message)
            case lock_pb2.Parked() if message.token == holding.token:
                holding.answer("")
            case lock_pb2.Released() | lock_pb2.Confirmed() | lock_pb2.Cancelled():
                self._table.strike(holding.id)
                holding.finish("")
                if not holding.granted.done():
                    # We were away for longer than a waiter's place is kept.
                    holding.granted.set_exception(PlaceLost())

    def _handle_grant(self, holding: Holding, lease: lock_pb2.Lease) -> None:
        if holding.phase is Phase.HELD and lease.token != holding.token:
            # The store has forgotten our lease and queued the repeated request: the new grant is nobody's.
            self._say(
                lock_pb2.SessionRequest(release=lock_pb2.Release(request_id=holding.id, token=lease.token))
            )
            self._handle_loss(holding, lock_pb2.STOP_REASON_SUPERSEDED, "the lock service has forgotten it")
        elif holding.phase is Phase.WAITING and holding.closing is None:
            good = holding.take_grant(lease)
            self._table.put(holding)
            if not good:
                self._renew(holding)
            self._taken_over(holding)
        elif holding.closing is not None and lease.warm:
            self._lose_parked(holding, "its task was cancelled as it took it over")

    def _taken_over(self, holding: Holding) -> None:
        """Nothing more is said about a parked lease that a request has taken over, once that is good."""
        if holding.phase is Phase.HELD and holding.lease.warm:
            parked = self._table.strike(holding.acquire.warm_request_id)
            if parked is not None:
                parked.finish("")

    def _lose_parked(self, holding: Holding, message: str) -> bool:
        """Lose the parked lease that a request has taken over in vain: its model is held by nobody. False: it is not there."""
        parked = self._table.get(holding.acquire.warm_request_id)
        if parked is not None:
            parked.answer("")
            self._handle_loss(parked, lock_pb2.STOP_REASON_SUPERSEDED, message)
        return parked is not None

    def _handle_refusal(self, holding: Holding, refused: lock_pb2.Refused) -> None:
        if holding.phase is Phase.WAITING and holding.closing is None and not holding.token:
            self._table.strike(holding.id)
            holding.refuse(refused.code, refused.message)
        elif holding.closing is not None and not holding.closing.HasField("park"):
            self._table.strike(holding.id)
            holding.finish(refused.code)
        elif holding.closing is not None:
            holding.answer(refused.code)
        elif refused.code == "GPU_LEASE_STALE":
            self._handle_loss(holding, lock_pb2.STOP_REASON_HEARTBEAT, refused.message)
        else:
            log.warning("message refused by the lock service", request=holding.id, code=refused.code)

    def _handle_loss(self, holding: Holding, reason: lock_pb2.StopReason.ValueType, message: str) -> None:
        confirm = lock_pb2.SessionRequest(
            confirm=lock_pb2.Confirm(request_id=holding.id, token=holding.token)
        )
        if holding.phase is Phase.WAITING and not holding.granted.done():
            # Granted and lost before the first beat was answered: no work has begun.
            if holding.lease.warm and self._lose_parked(holding, message):
                # The model is there: its old lease is confirmed when it is gone, and this with it.
                self._table.strike(holding.id)
                holding.phase = Phase.ENDED
            else:
                self._close(holding, confirm)
            holding.granted.set_exception(refusal("GPU_LEASE_LOST", message))
            return
        holding.expired_here = False
        if holding.closing is not None and not holding.closing.HasField("park"):
            # Whoever held it has ended its processes before saying so.
            holding.close_instead(confirm, "GPU_LEASE_STALE")
            self._say(confirm)
            return
        holding.answer("GPU_LEASE_STALE")
        holding.lose(reason, message)
