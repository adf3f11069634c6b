"""WebSockets (RFC 6455): one connection that is written to and read from until one side, the drain or an error ends it.

The handshake is checked before a handler runs (`gateway.http.origin`). What goes wrong later can no longer be a status, so it
is a close code: 1001 this server goes away, 1008 refused, 1011 a fault here, 1013 try again later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMsgType, web
from prometheus_client import Gauge

from gateway.http.body import parse_json
from gateway.http.errors import UNDER_WAY, presentable
from gateway.http.origin import is_websocket_handshake
from runtime.errors import Internal, InvalidArgument, Unavailable, YiVideoError
from runtime.logs import get_logger
from runtime.rpc_errors import from_exception

log = get_logger(__name__)

WEBSOCKETS = Gauge("yivideo_websocket_connections", "WebSockets that are open.")

_ENDS = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR})
_CLOSE_SECONDS = 5.0
_MAX_REASON_BYTES = 123
"""What fits into a close frame (RFC 6455 §5.5)."""


class WebSocket:
    """One open connection."""

    def __init__(self, response: web.WebSocketResponse, stalled_seconds: float) -> None:
        self._response = response
        self._stalled_seconds = stalled_seconds

    async def send(self, value: Mapping[str, Any]) -> None:
        """Send one JSON text message. Raises TimeoutError when the client takes nothing, ConnectionError when it has gone."""
        text = orjson.dumps(value, option=orjson.OPT_UTC_Z).decode()
        async with asyncio.timeout(self._stalled_seconds):
            await self._response.send_str(text)

    async def receive(self) -> Any:
        """Return the next JSON message; None when the client has closed. Raises InvalidArgument for what is not JSON text."""
        message = await self._response.receive()
        if message.type in _ENDS:
            return None
        if message.type is not WSMsgType.TEXT:
            raise InvalidArgument("send JSON as text messages")
        return parse_json(message.data.encode())

    async def closed(self) -> None:
        """Read until the client closes, and let go of what it says: for a connection that only sends.

        Somebody must read for pings to be answered and for a client's end to be noticed.
        """
        while not self._response.closed:
            message = await self._response.receive()
            if message.type in _ENDS:
                return


async def websocket(
    request: web.Request,
    talk: Callable[[WebSocket], Awaitable[None]],
    *,
    draining: asyncio.Event,
    ping_seconds: float,
    stalled_seconds: float,
    reads: bool = False,
    max_message_bytes: int = 64 * 1024,
    protocols: tuple[str, ...] = (),
) -> web.WebSocketResponse:
    """Accept a handshake and have `talk` use the connection until it returns, the client leaves or this server drains.

    `talk` is cancelled in the two last cases. Without `reads`, what the client sends is read and dropped here, so that pings
    are answered and its end is noticed. Raises InvalidArgument for a request that is no handshake, while a status can say so.
    """
    if not is_websocket_handshake(request):
        raise InvalidArgument("this address takes WebSocket connections")
    response = web.WebSocketResponse(
        heartbeat=ping_seconds, timeout=_CLOSE_SECONDS, max_msg_size=max_message_bytes, protocols=protocols
    )
    await response.prepare(request)
    request[UNDER_WAY] = response
    socket = WebSocket(response, stalled_seconds)
    talking = asyncio.ensure_future(talk(socket))
    ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(draining.wait())]
    if not reads:
        ends.append(asyncio.ensure_future(socket.closed()))
    code, reason = int(WSCloseCode.OK), b""
    with WEBSOCKETS.track_inprogress():
        try:
            await asyncio.wait((talking, *ends), return_when=asyncio.FIRST_COMPLETED)
            if talking.done():
                code, reason = _outcome(talking)
            if draining.is_set() and code == WSCloseCode.OK:  # what was talked about may end by the drain too
                code, reason = WSCloseCode.GOING_AWAY, b"this server is shutting down; reconnect"
        finally:
            for future in (talking, *ends):
                future.cancel()
            await asyncio.gather(talking, *ends, return_exceptions=True)
            with suppress(ConnectionError, TimeoutError):
                await response.close(code=code, message=reason)
    return response


def _outcome(talking: asyncio.Future[None]) -> tuple[int, bytes]:
    """Return the close code and reason for how a talk ended."""
    error = talking.exception()
    if error is None or isinstance(error, ConnectionError):
        return WSCloseCode.OK, b""
    if not isinstance(error, Exception):
        return WSCloseCode.INTERNAL_ERROR, b""
    if isinstance(error, TimeoutError):
        return WSCloseCode.POLICY_VIOLATION, b"the client takes nothing"
    known = presentable(from_exception(error), error)
    if isinstance(known, Internal):
        log.error("WebSocket failed", code=known.code, exc_info=error)
    else:
        log.info("WebSocket ended early", code=known.code, reason=known.message)
    text = f"{known.code}: {known.message}".encode()[:_MAX_REASON_BYTES]
    return _close_code(known), text.decode(errors="ignore").encode()


def _close_code(error: YiVideoError) -> int:
    if isinstance(error, Unavailable):
        return WSCloseCode.TRY_AGAIN_LATER
    return (
        WSCloseCode.INTERNAL_ERROR
        if error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR
        else WSCloseCode.POLICY_VIOLATION
    )
