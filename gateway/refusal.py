"""Why the store ended a call, when a write to it fails."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

_STATUS_LOOKS = 50
_STATUS_LOOK_SECONDS = 0.01


async def refusal(call: Any, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
    """Return why the store ended a call whose write failed.

    A write that fails is INTERNAL to grpc, "Internal error from Core", until the server's own status, which made it
    fail, has been read too; that is a matter of milliseconds and has no event to wait for.
    """
    for _ in range(_STATUS_LOOKS):
        code = await call.code()
        if code is not grpc.StatusCode.INTERNAL:
            break
        await asyncio.sleep(_STATUS_LOOK_SECONDS)
    else:
        # No status of the server's came: it, or the connection, is gone.
        details = "the store broke the call off"
        return grpc.aio.AioRpcError(
            grpc.StatusCode.UNAVAILABLE, error.initial_metadata(), error.trailing_metadata(), details=details
        )
    trailers = grpc.aio.Metadata(*await call.trailing_metadata())
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, details=await call.details())
