"""Notes: what an engine has found so far, kept on disk, so that a process which takes a dead one's place goes on there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.diarize.voice_tree import Vectors

_HEADER_BYTES = 4


class Notes:
    """Tables of numbers in a folder of the attempt. A row is there whole or not at all, however its writer ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rows(self, name: str) -> Vectors:
        """Return a table's rows, in the order in which they were added; no rows, shape (0, 0), when there are none."""
        path = self._folder / name
        body = path.read_bytes() if path.exists() else b""
        if len(body) < _HEADER_BYTES:
            path.unlink(missing_ok=True)
            return np.zeros((0, 0), np.float32)
        width = int(np.frombuffer(body, "<u4", 1)[0])
        count = (len(body) - _HEADER_BYTES) // (4 * width)
        with path.open("r+b") as file:
            file.truncate(_HEADER_BYTES + count * 4 * width)  # a torn row goes
        return np.frombuffer(body, "<f4", count * width, _HEADER_BYTES).reshape(count, width)

    def add(self, name: str, rows: Vectors) -> None:
        """Add rows to a table, all of one width."""
        with (self._folder / name).open("ab") as file:
            if file.tell() == 0:
                file.write(np.uint32(rows.shape[1]).astype("<u4").tobytes())
            file.write(np.ascontiguousarray(rows, "<f4").tobytes())
