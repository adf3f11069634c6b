"""Tells waiters their places: one look at the queue for all of them, and only when something has moved."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gpulock.api.hub import SessionHub
from gpulock.lease.lessor import Lessor
from gpulock.lease.message import ClientMessage
from gpulock.settings import GpulockSection
from gpulock.store.record import Record
from gpulock.store.script_store import Reply, exported, text
from leases.waiting import waiting_reason
from runtime.errors import Unavailable

_MESSAGES_PER_SECOND = 500
"""With many waiters a grant moves them all; telling each at once would cost more than serving them."""


@dataclass(frozen=True)
class Places:
    """Who stands where in each pool, and who holds what."""

    order: dict[str, tuple[str, int]]
    """Request -> pool and position from 1."""
    holders: dict[str, list[tuple[str, str]]]
    """Pool -> device and who holds some of it."""
    drained: list[tuple[str, str]]
    """Pool and device of which nothing more is granted."""
    recovering: bool

    def reason(self, record: Record) -> str:
        """Say why a waiter cannot run yet."""
        if self.recovering:
            return "leases are being reclaimed after the store was restarted"
        held = [
            (device, holder)
            for device, holder in self.holders.get(record.pool, [])
            if record.device in ("", device)
        ]
        drained = [
            device for pool, device in self.drained if pool == record.pool and record.device in ("", device)
        ]
        return waiting_reason(held, drained)


class PositionNotifier:
    """One replica's notifier."""

    def __init__(self, lessor: Lessor, hub: SessionHub, section: GpulockSection) -> None:
        self._lessor = lessor
        self._hub = hub
        self._period_seconds = section.position_seconds
        self._moved = asyncio.Event()
        self.changes = 0
        """Grows whenever positions may have changed."""

    def moved(self) -> None:
        """Note that positions may have changed."""
        self.changes += 1
        self._moved.set()

    async def run(self) -> None:
        """Notify for ever; a change is sent after the period, so that many changes are sent once."""
        while True:
            await self._moved.wait()
            await asyncio.sleep(self._period_seconds)
            self._moved.clear()
            if self._waiters():
                try:
                    await self.notify()
                except Unavailable:
                    self._moved.set()

    def _waiters(self) -> int:
        return sum(len(session.waiting) for session in self._hub.sessions)

    async def notify(self) -> None:
        """Look once, and tell every waiter of this replica what is new."""
        places = to_places(await self._lessor.places())
        for session in self._hub.sessions:
            for request_id, last in list(session.waiting.items()):
                place = places.order.get(request_id)
                if place is not None and last.record is not None:
                    reason = places.reason(last.record)
                    message = ClientMessage(
                        "queued", session.client.client_id, request_id,
                        record=last.record, detail=reason, position=place[1],
                    )  # fmt: skip
                    if session.say_position(message):
                        # One after the other: a burst to many clients would hold up a hand-over that comes just then.
                        await asyncio.sleep(1 / _MESSAGES_PER_SECOND)


def to_places(reply: Reply) -> Places:
    """Read what places.lua answers: pool and its waiters in order, for each pool; then the leases, then what is drained."""
    order: dict[str, tuple[str, int]] = {}
    for pool, *waiters in reply.results[0]:
        for position, request_id in enumerate(waiters, 1):
            order[text(request_id)] = (text(pool), position)
    holders: dict[str, list[tuple[str, str]]] = {}
    for fields in reply.results[1]:
        if (record := exported(fields)) is not None:
            for device, _ in record.devices:
                holder = f"model {record.model}" if record.parked else record.holder
                holders.setdefault(record.pool, []).append((device, holder))
    drained = [(text(pool), text(device)) for pool, device in reply.results[2]]
    return Places(order, holders, drained, reply.recovering)
