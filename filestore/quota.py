"""Counts what the default bucket holds, and refuses what would not fit.

The count is the store's own, taken now and then, plus what has passed through here since; uploads that are under way
hold a reservation, so that many at once cannot overfill the bucket together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filestore import metrics
from filestore.backend import Usage
from runtime.errors import QuotaExceeded


class Reservation:
    """Room for one upload; grows as bytes come."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self.size_bytes = 0

    def cover(self, size_bytes: int) -> None:
        """Have room for that many bytes in all; raises QuotaExceeded."""
        more = size_bytes - self.size_bytes
        if more > 0:
            self._quota.take(more)
            self.size_bytes = size_bytes

    def release(self) -> None:
        """Give the room back: the file is counted as stored now, or is not coming."""
        self._quota.give(self.size_bytes)
        self.size_bytes = 0


class Quota:
    """The default bucket's count and limit."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used = Usage()
        self._reserved_bytes = 0
        metrics.QUOTA_BYTES.set(limit_bytes)

    @contextmanager
    def reserved(self, size_bytes: int) -> Iterator[Reservation]:
        """Hold room for an upload for the time of a block; raises QuotaExceeded."""
        reservation = Reservation(self)
        try:
            reservation.cover(size_bytes)
            yield reservation
        finally:
            reservation.release()

    def take(self, size_bytes: int) -> None:
        """Reserve more room; raises QuotaExceeded."""
        if self.limit_bytes and self.used.size_bytes + self._reserved_bytes + size_bytes > self.limit_bytes:
            raise QuotaExceeded(
                f"the bucket holds {self.used.size_bytes} of {self.limit_bytes} bytes; this file does not fit"
            )
        self._reserved_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        """Take back a reservation."""
        self._reserved_bytes -= size_bytes

    def changed(self, files: int, size_bytes: int) -> None:
        """Count what an upload added or a delete took (negative)."""
        self.counted(Usage(max(0, self.used.files + files), max(0, self.used.size_bytes + size_bytes)))

    def counted(self, used: Usage) -> None:
        """Replace the count by the store's own."""
        self.used = used
        metrics.STORED_BYTES.set(used.size_bytes)
        metrics.STORED_FILES.set(used.files)
