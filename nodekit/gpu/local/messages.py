"""What the arbiter says to clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from leases.refusal import refused
from leases.waiting import waiting_reason
from nodekit.gpu.local.request import Request
from nodekit.gpu.settings import GpuDevice
from yivideo.gpulock.v1 import lock_pb2

Deliver = Callable[[str, lock_pb2.SessionResponse], None]
"""Brings a message to a client, by its id; one whose stream is gone does not hear it, and asks again when it is back."""


class Messages:
    """Gives answers and news the shape of the contract, and has them delivered."""

    def __init__(self, deliver: Deliver, devices: Sequence[GpuDevice]) -> None:
        self.deliver = deliver
        self._visible = {device.name: device.visible for device in devices}

    def say(self, request: Request, **message: object) -> None:
        """Say one message to a request's client."""
        self.deliver(request.client_id, lock_pb2.SessionResponse(**message))  # type: ignore[arg-type]

    def granted(self, request: Request) -> None:
        """Say that a request holds its devices."""
        self.say(request, granted=request.to_lease(self._visible))

    def renewed(self, request: Request) -> None:
        """Say that a lease goes on."""
        self.say(request, renewed=request.to_lease(self._visible))

    def refuse(self, client_id: str, request_id: str, code: str) -> None:
        """Say that a message cannot be obeyed."""
        self.deliver(client_id, lock_pb2.SessionResponse(refused=refused(request_id, code)))

    def lost(self, request: Request, client_id: str = "") -> None:
        """Say that a lease is gone; to who asks, where that is another client."""
        if request.loss is None:
            self.unknown(client_id or request.client_id, request.id, request.token)
        else:
            self.deliver(client_id or request.client_id, lock_pb2.SessionResponse(lost=request.loss))

    def unknown(self, client_id: str, request_id: str, token: int) -> None:
        """Say that a lease is not on record."""
        lost = lock_pb2.Lost(
            request_id=request_id,
            token=token,
            reason=lock_pb2.STOP_REASON_HEARTBEAT,
            message="the lease has ended",
        )
        self.deliver(client_id, lock_pb2.SessionResponse(lost=lost))

    def places(self, queue: Iterable[Request], requests: Iterable[Request]) -> None:
        """Tell every waiter its place and what is in its way, where that is news to it."""
        holders = [(device, one.holder) for one in requests for device in one.taken]
        for place, waiter in enumerate(queue, 1):
            held = [(device, holder) for device, holder in holders if waiter.ask.device in ("", device)]
            news = (place, waiting_reason(held))
            if waiter.said != news and not waiter.away:
                waiter.said = news
                self.say(waiter, queued=lock_pb2.Queued(request_id=waiter.id, position=place, reason=news[1]))
