"""One client's stream: what it waits for, what is being asked, and which messages it may still hear."""

from __future__ import annotations

from gpulock.api.outbound import Outbound
from gpulock.lease.message import Client, ClientMessage
from leases.ask import Ask

_TAKEN_BACK_KEPT = 1000
_NOT_WAITING = frozenset({"granted", "refused", "timeout", "cancelled", "released", "lost"})


class Session:
    """One client's stream."""

    def __init__(self, client: Client, limit: int) -> None:
        self.client = client
        self.outbound = Outbound(limit)
        self.waiting: dict[str, ClientMessage] = {}
        """Requests that wait, with what was last said of them."""
        self.asks: dict[str, Ask] = {}
        """The same requests as they were made, in the order of asking."""
        self.rhythm = (0.0, 0.0)
        """Seconds between beats, and of a lease's life, as the client was told last."""
        self.asking = ""
        """The request that is being asked for at this moment."""
        self.taken_back: dict[str, None] = {}
        """The last requests that the client took back, the oldest first."""
        self.remind_until = 0.0
        """Loop time until which beats are answered with what was asked of their leases before: it may have been lost."""

    def say(self, message: ClientMessage) -> bool:
        """Queue a message for the client; False: it must not be heard.

        Messages of one request can overtake each other when two replicas have a hand in it: a grant that another one made may come
        before our own answer `queued`, or after the client took its request back. Neither must be heard.
        """
        asked = message.request_id == self.asking
        if message.kind == "queued":
            if not asked:
                return False
            self.waiting[message.request_id] = message
        elif message.kind == "granted" and not asked and message.request_id not in self.waiting:
            return False
        if message.kind in _NOT_WAITING:
            self.waiting.pop(message.request_id, None)
            self.asks.pop(message.request_id, None)
            if asked:
                self.asking = ""
        if message.kind == "cancelled":
            self.taken_back[message.request_id] = None
            if len(self.taken_back) > _TAKEN_BACK_KEPT:
                del self.taken_back[next(iter(self.taken_back))]
        self.outbound.put(message)
        return True

    def say_position(self, message: ClientMessage) -> bool:
        """Queue a position when it is news; gives whether it was."""
        last = self.waiting.get(message.request_id)
        if last is not None and (last.position, last.detail) != (message.position, message.detail):
            self.waiting[message.request_id] = message
            self.outbound.put_position(message)
            return True
        return False
