"""Why a server ended a call to which we were still writing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc

T = TypeVar("T")

_OWN_WORDS = "Internal error from Core"
"""What grpc makes of a write that fails: a status of its own, which says nothing."""
_WAIT_SECONDS = 2.0


class CallEnd:
    """Remembers how the server ended one call. To be made as soon as the call is.

    A write to a call that the server has ended sets the call's status to a meaningless INTERNAL, in the place of the
    server's own, which may have come before or come a moment later. This takes hold of it in either case.
    """

    def __init__(self, call: Any) -> None:
        self._answered = asyncio.Event()
        self._error: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._ended)

    def _ended(self, call: Any) -> None:
        """Look at the status that was just set; grpc calls this each time."""
        details = _now(call.details())
        if details == _OWN_WORDS:
            return
        trailers = grpc.aio.Metadata(*_now(call.trailing_metadata()))
        self._error = grpc.aio.AioRpcError(_now(call.code()), grpc.aio.Metadata(), trailers, details=details)
        self._answered.set()

    async def own(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Return the server's status for an error of the call, which may be grpc's own words."""
        return await self.reason() if error.details() == _OWN_WORDS else error

    async def reason(self) -> grpc.aio.AioRpcError:
        """Return the server's own status, after a write has failed; UNAVAILABLE when none comes."""
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await self._answered.wait()
        except TimeoutError:
            code, details = grpc.StatusCode.UNAVAILABLE, "the server broke the call off"
            return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)
        assert self._error is not None
        return self._error


async def answered(call: Any) -> Any:
    """Await the answer to a call whose requests are streamed; an AioRpcError that it raises is the server's own."""
    end = CallEnd(call)
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise await end.own(error) from None


def _now(ready: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine that does not have to wait returns: those of a call with a status do not."""
    try:
        ready.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    ready.close()
    raise RuntimeError("the call has no status")
