"""The log files of the parts: bounded, the newest under the part's name, older ones numbered behind it.

A part appends to a file that the stack has opened for it. A file that is full is copied away and cut to nothing under its
writer, which goes on at the new end; a line that is written between the last copy and the cut, some microseconds, is lost.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from runtime.logs import get_logger

log = get_logger(__name__)

_LOOK_SECONDS = 5.0


class LogFiles:
    """The log folder of one stack: each file at most about `max_bytes`, with `older` more of each."""

    def __init__(self, folder: Path, max_bytes: int = 32 * 1024 * 1024, older: int = 3) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._max_bytes = max_bytes
        self._older = older

    def path(self, part: str) -> Path:
        """Return the file of a part."""
        return self._folder / f"{part}.log"

    async def keep_bounded(self) -> None:
        """Look for ever, every few seconds."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await asyncio.to_thread(self.rotate)
            except OSError as error:  # a full disk must not end the stack; it is tried again
                log.warning("logs cannot be rotated", error=str(error))

    def rotate(self) -> None:
        """Rotate every file that has grown too large."""
        for path in self._folder.glob("*.log"):
            if path.stat().st_size > self._max_bytes:
                self._rotate(path)

    def _rotate(self, path: Path) -> None:
        for number in range(self._older - 1, 0, -1):
            old = path.with_name(f"{path.name}.{number}")
            if old.exists():
                old.replace(path.with_name(f"{path.name}.{number + 1}"))
        with path.open("rb+") as source:
            if self._older:
                with path.with_name(f"{path.name}.1").open("wb") as copy:
                    shutil.copyfileobj(source, copy)
                    while rest := source.read():
                        copy.write(rest)
            source.truncate(0)
