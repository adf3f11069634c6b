"""Calls of one service, repeated while it is away, with the installation's errors as the client's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from yivideo_client.backoff import Backoff
from yivideo_client.tries import FAULTS, Reach, Tries
from yivideo_grpc.faults import told

CALL_SECONDS = 30.0

T = TypeVar("T")


class Calls:
    """How calls at one address are repeated."""

    def __init__(self, backoff: Backoff, address: str) -> None:
        self._backoff = backoff
        self._address = address
        self._reach = Reach()

    def tries(self, *, repeatable: bool = True) -> Tries:
        """Return the tries of one thing; a stream's begin anew when it has progressed."""
        return Tries(self._backoff, self._address, repeatable=repeatable, reach=self._reach)

    async def make(self, call: Callable[[], Awaitable[T]], *, repeatable: bool = True) -> T:
        """Make a call until it is answered; raises what the installation answers, and the last fault when it stays away."""
        tries = self.tries(repeatable=repeatable)
        while True:
            try:
                async with told():
                    answer = await call()
                tries.progressed()
                return answer
            except FAULTS as fault:
                await tries.after(fault)
