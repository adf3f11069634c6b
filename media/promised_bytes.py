"""How many bytes a file had when it was written, where its first ones say so: ffmpeg reckons lengths from those that are left."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_HEAD_BYTES = 4096
_RIFF_UNKNOWN = 0x7FFF_0000
"""From here on it is what programs write that do not know how long a file will be."""
_RIFF_HEADER_BYTES = 8
_ID3_HEADER_BYTES = 10
_XING_FRAMES_FLAG = 1
_XING_BYTES_FLAG = 2
_SIDE_BYTES = 42
"""The tag stands behind a frame's header, its checksum and its side information: 13 to 38 bytes, and is 4 long."""


@dataclass(frozen=True)
class Bytes:
    """How many there are of a file."""

    written: int | None
    """By a WAV, an AVI or an MP3 itself; None where it does not say."""
    there: int

    def missing_seconds(self, held_seconds: float) -> float:
        """Return how much went with those that are missing, when what is there lasts so long."""
        return held_seconds * max(0.0, (self.written or 0) / self.there - 1)


def bytes_of(path: Path) -> Bytes:
    """Look at a file that is not empty. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        is_riff = head.startswith(b"RIFF") and len(head) >= _RIFF_HEADER_BYTES
        return Bytes(_of_riff(head) if is_riff else _of_mp3(file, head), os.fstat(file.fileno()).st_size)


def _of_riff(head: bytes) -> int | None:
    """Of a file of several RIFFs (a long AVI) the first counts: it cannot have less."""
    (size,) = struct.unpack_from("<I", head, 4)
    return size + _RIFF_HEADER_BYTES if 0 < size < _RIFF_UNKNOWN else None


def _of_mp3(file: BinaryIO, head: bytes) -> int | None:
    """Read the frame that encoders put before the sound for players (`Xing`, `Info`)."""
    begin = 0
    if head.startswith(b"ID3") and len(head) >= _ID3_HEADER_BYTES:
        a, b, c, d = head[6:10]
        begin = _ID3_HEADER_BYTES + ((a << 21) | (b << 14) | (c << 7) | d)
        file.seek(begin)
        head = file.read(_HEAD_BYTES)
    if head[:1] != b"\xff":
        return None
    at = max(head.find(word, 0, _SIDE_BYTES) for word in (b"Xing", b"Info"))
    if at < 0 or len(head) < at + 16:
        return None
    flags, *numbers = struct.unpack_from(">3I", head, at + 4)
    return begin + numbers[flags & _XING_FRAMES_FLAG] if flags & _XING_BYTES_FLAG else None
