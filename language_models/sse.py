"""Server-sent events out of bytes as they come, bounded: lines of any cut, comments and other fields left out."""

from __future__ import annotations

from collections.abc import Iterator

MAX_LINE_BYTES = 256 * 1024


class LineTooLong(ValueError):
    """A line that never ends: no server of chats sends one."""


class EventLines:
    """Takes bytes in any pieces; gives the `data` of each line of them."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[str]:
        """Give the data lines that are complete now. Raises LineTooLong."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_LINE_BYTES or any(len(line) > MAX_LINE_BYTES for line in lines):
            raise LineTooLong(f"a line of more than {MAX_LINE_BYTES} bytes")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip().decode("utf-8", errors="replace")
