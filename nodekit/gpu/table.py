"""The table of one process's requests that the lock service may know of; who settles them when the process dies is told of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from nodekit.gpu.holding import Holding


class RequestLedger(Protocol):
    """Who gives back what is left when this process dies; `nodekit.process.reaper.Reaper` is one."""

    def note_open(self, request_id: str, token: int) -> None:
        """Note that the lock service may know this request; `token` is that of its grant, 0 before."""

    def note_closed(self, request_id: str) -> None:
        """Note that a request has ended."""


class RequestTable:
    """Holdings by request id, from before a request is first said until its end is known."""

    def __init__(self, ledger: RequestLedger | None = None) -> None:
        self._holdings: dict[str, Holding] = {}
        self._ledger = ledger

    def put(self, holding: Holding) -> None:
        """Note a request, or what has become of it."""
        self._holdings[holding.id] = holding
        if self._ledger is not None:
            self._ledger.note_open(holding.id, holding.token)

    def strike(self, request_id: str) -> Holding | None:
        """Forget a request that has ended; returns it, None when it is not there."""
        if self._ledger is not None:
            self._ledger.note_closed(request_id)
        return self._holdings.pop(request_id, None)

    def get(self, request_id: str) -> Holding | None:
        """Return a request; None when it is not there."""
        return self._holdings.get(request_id)

    def __len__(self) -> int:
        return len(self._holdings)

    def __iter__(self) -> Iterator[Holding]:
        """Go over those that are there now; the table may change meanwhile."""
        return iter(list(self._holdings.values()))
