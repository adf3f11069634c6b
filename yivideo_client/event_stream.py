"""Server-sent events as the gateway writes them (WHATWG HTML §9.2): lines to events, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from yivideo_client.models import Event
from yivideo_client.tries import Broken

if TYPE_CHECKING:
    import aiohttp

MAX_EVENT_BYTES = 8 * 1024 * 1024
"""Longest event that is read; a result may be 1 MiB, and JSON writes some of it longer."""


@dataclass
class _Pending:
    name: str = "message"
    identity: str = ""
    data: bytes = b""


async def read_events(content: aiohttp.StreamReader) -> AsyncIterator[Event]:
    """Yield the events of a stream until it ends. Raises Broken for what is no such stream."""
    pending, buffer = _Pending(), bytearray()
    async for piece in content.iter_any():
        buffer += piece
        *lines, rest = bytes(buffer).split(b"\n")
        buffer = bytearray(rest)
        if len(buffer) + len(pending.data) > MAX_EVENT_BYTES:
            raise Broken(f"an event of more than {MAX_EVENT_BYTES} bytes")
        for line in (one.removesuffix(b"\r") for one in lines):
            if line:
                _take(pending, line)
                continue
            if pending.data:
                yield _event(pending)
            pending = _Pending()


def _take(pending: _Pending, line: bytes) -> None:
    name, _, value = line.partition(b":")
    value = value.removeprefix(b" ")
    if name == b"event":
        pending.name = value.decode(errors="replace")
    elif name == b"id":
        pending.identity = value.decode(errors="replace")
    elif name == b"data":
        pending.data += (b"\n" if pending.data else b"") + value


def _event(pending: _Pending) -> Event:
    try:
        data = orjson.loads(pending.data)
    except orjson.JSONDecodeError as error:
        raise Broken("an event that is no JSON") from error
    if not isinstance(data, dict):
        raise Broken("an event that is no JSON object")
    sequence = int(pending.identity) if pending.identity.isascii() and pending.identity.isdecimal() else 0
    return Event(pending.name, sequence, data, pending.identity)
