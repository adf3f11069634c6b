"""A lean HTTP/1.1 client on one kept connection. The same for everybody: on two cores the client is a part of what is measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import orjson

_SECONDS = 120.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Return the body's value."""
        return orjson.loads(self.body)


class Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting: asyncio.Future[Answer] | None = None
        self.received_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class derives from neither

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError(f"the server hung up: {exc}"))

    def data_received(self, data: bytes) -> None:
        """Give whole answers to who waits."""
        self.received_bytes += len(data)
        if self._waiting is None:
            return  # an event stream: only counted
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._buffer[:head_end]).lower()
        at = head.find(b"content-length:")
        if at < 0:
            self._waiting.set_exception(ValueError(f"an answer without Content-Length: {head!r}"))
            return
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        whole = head_end + 4 + length
        if len(self._buffer) >= whole and not self._waiting.done():
            answer = Answer(int(head[9:12]), bytes(self._buffer[head_end + 4 : whole]))
            del self._buffer[:whole]
            self._waiting.set_result(answer)

    def send(self, raw: bytes) -> None:
        """Write a request and wait for nothing."""
        assert self._transport is not None
        self._transport.write(raw)

    async def ask(self, raw: bytes) -> Answer:
        """Write a request and wait for its answer."""
        self._waiting = asyncio.get_running_loop().create_future()
        self.send(raw)
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._waiting
        finally:
            self._waiting = None

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


def request(method: str, path: str, body: Any = None, **headers: str) -> bytes:
    """Return a request's bytes."""
    content = b"" if body is None else orjson.dumps(body)
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(content)}"]
    if body is not None:
        lines.append("Content-Type: application/json")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Connection]:
    """Be connected to `host:port` for the time of a block."""
    host, _, port = address.rpartition(":")
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, int(port))
    try:
        yield connection
    finally:
        connection.close()
