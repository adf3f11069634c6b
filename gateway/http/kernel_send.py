"""Sends a range of a file from the disk to a client's socket inside the kernel (`sendfile`): no byte comes into this process.

The event loop's transport keeps its socket; what is written to is a duplicate of it, so that the loop may watch it although it
watches the transport's already (uvloop has no `loop.sendfile`). Nothing else may write to the connection meanwhile, which holds:
the answer's headers have left and its body is this. Reading a file that is not in the page cache waits for the disk, so `sendfile`
is called in a thread, some megabytes at a time; waiting for the client is done in the loop and costs no thread and no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Callable

from aiohttp import web

from runtime.disk_errors import disk_errors
from runtime.disk_range import DiskRange
from runtime.errors import DataLoss

_STEP_BYTES = 8 * 1024 * 1024
"""What one turn of a thread sends at most, so that fast clients share the threads and a cancelled download ends at once."""
LEAST_BYTES = 64 * 1024
"""A client that takes less than this within the stalled time is dropped: byte by byte is standing still, too."""
_HEADER_TURNS = 8
_NOT_POSSIBLE = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSOCK}
_STREAMS = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


async def send_range(
    request: web.BaseRequest, source: DiskRange, stalled_seconds: float, sent: Callable[[int], None]
) -> bool:
    """Send the range as the body of an answer whose headers were written; False, with nothing sent, where it must be copied.

    `sent` is told of every piece. Raises TimeoutError when the client stands still, ConnectionError when it has gone, DataLoss when
    the file is shorter than the range, Unavailable when the disk fails.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client has gone")
    if transport.get_extra_info("sslcontext") is not None:
        return False  # its bytes must be encrypted here
    opened = transport.get_extra_info("socket")
    if opened is None or opened.family not in _STREAMS or not await _headers_have_left(transport):
        return False
    number = opened.fileno()
    if number < 0:
        raise ConnectionResetError("the client has gone")
    duplicate = os.dup(number)
    try:
        return await _Sending(duplicate, source, stalled_seconds, sent).run()
    finally:
        os.close(duplicate)


async def _headers_have_left(transport: asyncio.WriteTransport) -> bool:
    for _ in range(_HEADER_TURNS):
        if transport.is_closing():
            raise ConnectionResetError("the client has gone")
        if not transport.get_write_buffer_size():
            return True
        await asyncio.sleep(0)
    return False


class _Sending:
    def __init__(
        self, duplicate: int, source: DiskRange, stalled_seconds: float, sent: Callable[[int], None]
    ) -> None:
        self._socket = duplicate
        self._source = source
        self._stalled_seconds = stalled_seconds
        self._told = sent
        self._loop = asyncio.get_running_loop()
        self._asked_up_to = source.offset_bytes
        self._done = 0
        self._counted = 0
        """What the client had taken when its time began anew."""
        self._waited_seconds = 0.0

    async def run(self) -> bool:
        at, end = self._source.offset_bytes, self._source.offset_bytes + self._source.length_bytes
        while at < end:
            size, full = await self._source.threads.run(self._some, at, min(_STEP_BYTES, end - at))
            if size < 0:
                if self._done:
                    raise ConnectionAbortedError("the kernel does not send any longer")
                return False
            at += size
            self._done += size
            self._told(size)
            if full and at < end:
                await self._writable()
        return True

    def _some(self, at: int, most: int) -> tuple[int, bool]:
        """Send until the socket is full or `most` is sent, in a thread; gives how much, -1: impossible, and whether it is full."""
        done = 0
        self._read_ahead(at)
        try:
            while done < most:
                size = os.sendfile(self._socket, self._source.file, at + done, most - done)
                if not size:
                    raise DataLoss("the content of this file ended too early")
                done += size
        except BlockingIOError:
            return done, True
        except OSError as error:
            if error.errno in _NOT_POSSIBLE and not done:
                return -1, False
            if isinstance(error, ConnectionError):
                raise
            with disk_errors():
                raise
        return done, False

    def _read_ahead(self, at: int) -> None:
        """Have the disk read the next steps while this one is sent; where it cannot be asked to, that costs speed only."""
        end = min(at + 2 * _STEP_BYTES, self._source.offset_bytes + self._source.length_bytes)
        if at + _STEP_BYTES > self._asked_up_to and end > self._asked_up_to:
            with contextlib.suppress(OSError):
                os.posix_fadvise(
                    self._source.file, self._asked_up_to, end - self._asked_up_to, os.POSIX_FADV_WILLNEED
                )
            self._asked_up_to = end

    async def _writable(self) -> None:
        """Wait until the client has taken enough for the socket to take more."""
        ready = self._loop.create_future()

        def tell() -> None:
            if not ready.done():
                ready.set_result(None)

        self._loop.add_writer(self._socket, tell)
        try:
            while not ready.done():
                begun = self._loop.time()
                await asyncio.wait([ready], timeout=max(0.0, self._stalled_seconds - self._waited_seconds))
                self._count(self._loop.time() - begun)
        finally:
            self._loop.remove_writer(self._socket)

    def _count(self, seconds: float) -> None:
        """Take note of a wait; raises TimeoutError when the client has taken too little for too long."""
        self._waited_seconds += seconds
        taken = self._done - _in_flight(self._socket)
        if taken - self._counted >= LEAST_BYTES:
            self._counted, self._waited_seconds = taken, 0.0
        elif self._waited_seconds >= self._stalled_seconds:
            raise TimeoutError("the client takes nothing")


def _in_flight(connection: int) -> int:
    """Return how many bytes the kernel still holds for the client."""
    held: int = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))[0]
    return held
