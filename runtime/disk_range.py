"""A range of an open file, and who may do its blocking work."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.threads import Threads


@dataclass(frozen=True)
class DiskRange:
    """Bytes of an open file. Whoever opened it closes it, after all work of `threads` on it has ended."""

    file: int
    """Descriptor, open for reading."""
    offset_bytes: int
    length_bytes: int
    threads: Threads
    """For what waits for the disk."""
