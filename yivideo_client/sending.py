"""How an upload's bytes leave: from disk to socket in the kernel, or through here where they are to be checked as they go."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import BinaryIO

from yivideo_client.errors import IntegrityError

SENT_BYTES = 4 * 1024 * 1024
"""After so many an upload's progress is told."""
_CHECKED_BYTES = 256 * 1024
"""What is read, sent and checked at a time: it stays in the processor's own cache from the one to the next."""


def _shorter(file: BinaryIO) -> IntegrityError:
    """Make the error of what no second attempt mends, and is no fault of the connection."""
    return IntegrityError(f"{file.name} became shorter while it was sent")


def send_in_kernel(
    sock: socket.socket, file: BinaryIO, offset: int, size: int, tell: Callable[[int], None]
) -> str:
    """Send bytes of a file from disk to socket in the kernel; returns "" (no check). Raises IntegrityError when it is shorter."""
    done = 0
    while done < size:
        count = sock.sendfile(file, offset + done, min(SENT_BYTES, size - done))
        if not count:
            raise _shorter(file)
        done += count
        tell(done)
    return ""


def send_checked(
    sock: socket.socket, file: BinaryIO, offset: int, size: int, tell: Callable[[int], None]
) -> str:
    """Send bytes of a file; returns their CRC-32 in eight lower-case hex digits. Raises IntegrityError when it became shorter."""
    from isal import isal_zlib

    buffer = memoryview(bytearray(min(_CHECKED_BYTES, size)))
    crc32 = done = told = 0
    while done < size:
        count = os.preadv(file.fileno(), [buffer[: size - done]], offset + done)
        if not count:
            raise _shorter(file)
        sock.sendall(buffer[:count])
        crc32 = isal_zlib.crc32(buffer[:count], crc32)
        done += count
        if done - told >= SENT_BYTES or done == size:
            told = done
            tell(done)
    return f"{crc32:08x}"
