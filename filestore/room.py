"""What an upload may fill while it is under way, and counts when it has appeared."""

from __future__ import annotations

from typing import Protocol

from filestore.backend import FileInfo, Loan
from filestore.names import checked_sha256
from filestore.quota import Reservation


class Limits(Protocol):
    """What a store allows and counts."""

    @property
    def default_bucket(self) -> str:
        """The one bucket that is counted."""
        ...

    def check_size(self, size_bytes: int) -> None:
        """Raise InvalidArgument or PayloadTooLarge for a size that no file may have."""
        ...

    async def changed(self, files: int, size_bytes: int, reservation: Reservation | None = None) -> None:
        """Count what an upload added."""
        ...


class Room:
    """What one upload may fill."""

    def __init__(self, limits: Limits, reservation: Reservation | None) -> None:
        self._limits = limits
        self._reservation = reservation

    def cover(self, size_bytes: int) -> None:
        """Have room for so many bytes in all; raises PayloadTooLarge and QuotaExceeded."""
        self._limits.check_size(size_bytes)
        if self._reservation is not None:
            self._reservation.cover(size_bytes)

    async def stored(self, info: FileInfo) -> FileInfo:
        """Count the file that has appeared, and return it."""
        if self._reservation is not None and info.bucket == self._limits.default_bucket:
            await self._limits.changed(1, info.size_bytes, self._reservation)
        return info


class Lent:
    """One file in the hands of a writer on this machine."""

    def __init__(self, loan: Loan, room: Room) -> None:
        self._loan = loan
        self._room = room
        self.path = loan.path

    def cover(self, size_bytes: int) -> None:
        """Take note of how far the writer is; raises PayloadTooLarge and QuotaExceeded."""
        self._room.cover(size_bytes)

    async def commit(self, size_bytes: int, sha256: str) -> FileInfo:
        """Make the file appear; raises InvalidArgument for content that was not announced so, and FileExists."""
        self._room.cover(size_bytes)
        return await self._room.stored(await self._loan.commit(size_bytes, checked_sha256(sha256)))
