"""Who is served now, and who must give way for it. One turn of the same rules as the lock service's
(`gpulock/lua/prelude_7_schedule.lua`): best fit, whole devices and shares, several at one instant, backfill for a bounded time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nodekit.gpu.local.queue import WaitQueue
from nodekit.gpu.local.request import Request, State
from nodekit.gpu.settings import GpuDevice


@dataclass
class _Room:
    """A device during one turn. Sizes are MiB."""

    device: GpuDevice
    order: int
    free: int
    coming: int = 0
    """What those who give way will free, less what is promised of it."""
    kept: bool = False
    """Kept for a waiter that was passed for long enough."""

    def need(self, request: Request) -> int:
        """What a request takes of it: a share, or all of it."""
        return request.ask.memory_mib or self.device.memory_mib


def suits(device: GpuDevice, request: Request) -> bool:
    """Whether a device can ever serve a request."""
    return request.ask.device in ("", device.name) and device.memory_mib >= request.ask.memory_mib


class Turn:
    """One look at the whole queue. It tells `grant` and `give_way` what follows."""

    def __init__(
        self,
        devices: Sequence[GpuDevice],
        requests: Iterable[Request],
        queue: WaitQueue,
        now: float,
        backfill_seconds: float,
        *,
        grant: Callable[[Request, dict[str, int], Request | None], None],
        give_way: Callable[[Request, Request], None],
    ) -> None:
        """`grant(request, MiB of each device, the parked lease that it takes over)`; `give_way(holder, whoever needs it)`."""
        self._by_id = {request.id: request for request in requests}
        used = dict.fromkeys((device.name for device in devices), 0)
        for request in self._by_id.values():
            for name, mib in request.taken.items():
                used[name] += mib
        self._rooms = {
            device.name: _Room(device, order, device.memory_mib - used[device.name])
            for order, device in enumerate(devices)
        }
        self._yielding = sorted(
            (request for request in self._by_id.values() if request.gives_way), key=lambda one: one.yield_time
        )
        self._spoken_for: set[Request] = set()
        self._blocked: list[Request] = []
        self._seen: set[Request] = set()
        self._queue = queue
        self._now = now
        self._backfill_seconds = backfill_seconds
        self._grant = grant
        self._give_way = give_way

    def run(self) -> None:
        """Serve whoever can be served."""
        while self._more_to_give() and self._round():
            pass

    def _round(self) -> bool:
        """Go through the queue; True: a band was served, so that another one's turn may have come."""
        bands = self._queue.bands(self._now)
        for request in [one for band in bands for one in band]:
            if request.away or request in self._seen:
                continue  # who is away keeps its place and holds nobody up
            if not self._serve(request):
                self._hold_back(request)
            elif len(bands) > 1:
                return True
            if not self._more_to_give():
                return False
        return False

    def _more_to_give(self) -> bool:
        free = any(room.free > 0 and not room.kept for room in self._rooms.values())
        return free or len(self._spoken_for) < len(self._yielding)

    def _serve(self, request: Request) -> bool:
        parked = self._resumable(request)
        if parked is not None:
            taken = {name: max(self._rooms[name].need(request), mib) for name, mib in parked.taken.items()}
            for name, mib in taken.items():
                self._occupy(self._rooms[name], mib - parked.taken[name])
            self._spoken_for.add(parked)
            self._grant(request, taken, parked)
            return True
        chosen = self._fit(request)
        if chosen is None:
            return False
        for room in chosen:
            self._occupy(room, room.need(request))
        self._grant(request, {room.device.name: room.need(request) for room in chosen}, None)
        return True

    def _resumable(self, request: Request) -> Request | None:
        """The parked lease that a request wants, where it can be had: of the same client, and not asked to stop."""
        parked = self._by_id.get(request.wanted_id)
        if (
            parked is None
            or parked.state is not State.HELD
            or not parked.parked
            or parked.stop is not None
            or parked.client_id != request.client_id
            or len(parked.taken) != request.ask.device_count
            or (request.ask.device and request.ask.device not in parked.taken)
        ):
            return None
        for name, mib in parked.taken.items():
            room = self._rooms[name]
            if room.kept or room.free + mib < max(room.need(request), mib):
                return None
        return parked

    def _fit(self, request: Request) -> list[_Room] | None:
        """The devices that serve a request now, those that leave the least over; None when there are too few."""
        fitting = [
            room
            for room in self._rooms.values()
            if suits(room.device, request) and not room.kept and room.free >= room.need(request)
        ]
        if len(fitting) < request.ask.device_count:
            return None
        fitting.sort(key=lambda room: (room.free - room.need(request), room.order))
        return sorted(fitting[: request.ask.device_count], key=lambda room: room.order)

    def _occupy(self, room: _Room, mib: int) -> None:
        """Take memory, and note whom that passes."""
        room.free -= mib
        for waiter in self._blocked:
            if suits(room.device, waiter) and waiter.passed_time is None:
                waiter.passed_time = self._now

    def _hold_back(self, request: Request) -> None:
        """Have others make room for a waiter that does not fit, or let it be passed for a bounded time."""
        self._seen.add(request)
        if self._make_room(request):
            return
        self._blocked.append(request)
        if request.passed_time is not None and self._now - request.passed_time >= self._backfill_seconds:
            for room in self._rooms.values():
                room.kept = room.kept or suits(room.device, request)

    def _make_room(self, request: Request) -> bool:
        """Ask leases that agreed to it to give way where that serves a waiter; what it will get is nobody else's from now on."""
        choices = [
            (room, leases)
            for room in self._rooms.values()
            if suits(room.device, request)
            and not room.kept
            and (leases := self._leaving(room, request)) is not None
        ]
        if len(choices) < request.ask.device_count:
            return False
        choices.sort(key=lambda one: (sum(lease.stop is None for lease in one[1]), one[0].order))
        for room, leases in choices[: request.ask.device_count]:
            for lease in leases:
                if lease not in self._spoken_for:
                    self._spoken_for.add(lease)
                    for name, mib in lease.taken.items():
                        self._rooms[name].coming += mib
                    if lease.stop is None:
                        self._give_way(lease, request)
            from_coming = min(room.coming, room.need(request))
            room.coming -= from_coming
            room.free -= room.need(request) - from_coming
        return True

    def _leaving(self, room: _Room, request: Request) -> list[Request] | None:
        """The fewest leases on a device, those that idle longest first, without which a waiter fits; None: it does not."""
        need, gain, leaving = room.need(request), room.free + room.coming, []
        for lease in self._yielding:
            if gain >= need:
                break
            if (
                room.device.name in lease.taken
                and lease not in self._spoken_for
                and _yields_to(lease, request)
            ):
                gain += lease.taken[room.device.name]
                leaving.append(lease)
        return leaving if gain >= need else None


def _yields_to(lease: Request, request: Request) -> bool:
    """Two preemptible tasks of one priority do not chase each other."""
    return (
        lease.parked
        or lease.stop is not None
        or not request.ask.preemptible
        or request.ask.priority > lease.ask.priority
    )
