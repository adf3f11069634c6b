"""What a child writes: lines, a piped stream, and the end of its standard error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

STDERR_TAIL_BYTES = 16 * 1024
"""What is kept of a child's standard error: its end, where programs say why they failed."""
LONGEST_LINE_BYTES = 64 * 1024
"""A line without end is handed on in pieces of about this size."""
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Completed:
    """How a child ended: `returncode` (negative: the signal that ended it) and the end of its standard error."""

    returncode: int
    stderr_tail: str


class Tail:
    """The last bytes of a stream that is read to its end whether anybody wants it or not, so that its writer never blocks."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self.ended = asyncio.Event()

    async def drain(self, stream: asyncio.StreamReader) -> None:
        """Read the stream to its end."""
        try:
            while chunk := await stream.read(_CHUNK_BYTES):
                self._kept += chunk
                del self._kept[:-STDERR_TAIL_BYTES]
        finally:
            self.ended.set()

    def text(self) -> str:
        """Return what is kept."""
        return self._kept.decode(errors="replace")


async def read_lines(stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    """Hand on each line without its end; `\\r` alone ends one too, because progress lines are written that way."""
    rest = b""
    while chunk := await stream.read(_CHUNK_BYTES):
        *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        if len(rest) > LONGEST_LINE_BYTES:
            lines.append(rest)
            rest = b""
        for line in lines:
            if line:
                on_line(line.decode(errors="replace"))
    if rest:
        on_line(rest.decode(errors="replace"))


class ChildOutput:
    """The standard output of a piped child, read like an asyncio.StreamReader."""

    def __init__(self, stream: asyncio.StreamReader, completed: Callable[[], Awaitable[Completed]]) -> None:
        self._stream = stream
        self._completed = completed
        self.asked = False
        """Whether the reader has asked how the child ended, and so judges its return code by itself."""

    async def read(self, count: int = -1) -> bytes:
        """Read up to `count` bytes; empty at the end."""
        return await self._stream.read(count)

    async def readexactly(self, count: int) -> bytes:
        """Read exactly `count` bytes. Raises asyncio.IncompleteReadError at the end."""
        return await self._stream.readexactly(count)

    async def readline(self) -> bytes:
        """Read one line with its end; empty at the end of the stream."""
        return await self._stream.readline()

    def at_eof(self) -> bool:
        """Whether all was read."""
        return self._stream.at_eof()

    async def completed(self) -> Completed:
        """Wait for the child's end and tell how it ended; after this a return code other than 0 raises nothing."""
        self.asked = True
        return await self._completed()
