"""A lock service inside the process, for a node that runs alone: the same messages over its own devices.

It lives and dies with the holders, so its leases have no time limit and nothing has to survive. The queue is by priority, then
order of asking, and its head is never passed. Only one process may arbitrate a device like this; several need the lock service.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from nodekit.gpu.settings import GpuDevice
from nodekit.gpu.transport import Requests, Responses
from yivideo.gpulock.v1 import lock_pb2

DEFAULT_MAX_WAIT_SECONDS = 300.0
_POOL = "default"


@dataclass(eq=False)
class _Entry:
    """One request."""

    acquire: lock_pb2.Acquire
    outbox: asyncio.Queue[lock_pb2.SessionResponse]
    order: tuple[int, int]
    asked_time: float
    lease: lock_pb2.Lease | None = None
    parked: bool = False
    stopping: bool = False
    lost: bool = False
    told: tuple[int, str] = (0, "")
    timer: asyncio.TimerHandle | None = None
    took_over: str = ""
    """The parked lease that it has taken over."""
    taken: dict[str, int] = field(default_factory=dict)
    """Device → MiB that are not free because of it."""


class LocalLocks:
    """Arbitrates devices among the sessions of this process. `open` is a session's transport."""

    def __init__(self, devices: Sequence[GpuDevice], *, token_floor: int = 0) -> None:
        self._devices = {device.name: device for device in devices}
        self._entries: dict[str, _Entry] = {}
        self._numbers = count()
        self._token = token_floor

    @asynccontextmanager
    async def open(self, requests: Requests) -> AsyncIterator[Responses]:
        """Open a session."""
        outbox: asyncio.Queue[lock_pb2.SessionResponse] = asyncio.Queue()
        reader = asyncio.create_task(self._serve(requests, outbox))
        try:
            yield _from(outbox)
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def ask_back(self, message: str, *, grace_seconds: float = 0) -> None:
        """Ask every holder to stop, as an operator or a soft timeout does."""
        for entry in self._holders():
            assert entry.lease is not None
            stop = lock_pb2.Stop(
                request_id=entry.acquire.request_id,
                token=entry.lease.token,
                reason=lock_pb2.STOP_REASON_FORCED,
                grace_seconds=grace_seconds,
                message=message,
            )
            self._tell(entry, stop=stop)

    def take_back(self, message: str) -> None:
        """Revoke every lease; its devices are granted again when its holder has confirmed that nothing is left."""
        for entry in self._holders():
            assert entry.lease is not None
            entry.lost = True
            lost = lock_pb2.Lost(
                request_id=entry.acquire.request_id,
                token=entry.lease.token,
                reason=lock_pb2.STOP_REASON_FORCED,
                message=message,
            )
            self._tell(entry, lost=lost)

    async def _serve(self, requests: Requests, outbox: asyncio.Queue[lock_pb2.SessionResponse]) -> None:
        async for request in requests:
            self._obey(request, outbox)

    def _obey(
        self, request: lock_pb2.SessionRequest, outbox: asyncio.Queue[lock_pb2.SessionResponse]
    ) -> None:
        kind = request.WhichOneof("message")
        if kind == "hello":
            welcome = lock_pb2.Welcome(
                replica="local", beat_seconds=math.inf, ttl_seconds=math.inf, waiter_grace_seconds=0, epoch=1
            )
            outbox.put_nowait(lock_pb2.SessionResponse(welcome=welcome))
        elif kind in ("acquire", "reclaim"):
            self._acquire(request.acquire if kind == "acquire" else request.reclaim.acquire, outbox)
        elif kind is not None:
            message = getattr(request, kind)
            entry = self._entries.get(message.request_id)
            if kind == "cancel":
                self._cancel(message.request_id, entry, outbox)
            elif entry is None and self._give_up_heir(kind, message.request_id, message.token, outbox):
                pass
            elif entry is None or entry.lease is None or entry.lease.token != message.token:
                self._refuse(outbox, message.request_id, "GPU_LEASE_STALE", "this token holds no lease")
            else:
                entry.outbox = outbox
                self._obey_holder(kind, entry, request)
        self._schedule()

    def _obey_holder(self, kind: str, entry: _Entry, request: lock_pb2.SessionRequest) -> None:
        assert entry.lease is not None
        request_id, token = entry.acquire.request_id, entry.lease.token
        match kind:
            case "renew" | "park" if entry.lost:
                self._refuse(entry.outbox, request_id, "GPU_LEASE_STALE", "the lease was taken back")
            case "renew":
                self._tell(entry, renewed=entry.lease)
            case "release":
                del self._entries[request_id]
                self._tell(entry, released=lock_pb2.Released(request_id=request_id, token=token))
            case "confirm":
                del self._entries[request_id]
                self._tell(entry, confirmed=lock_pb2.Confirmed(request_id=request_id, token=token))
            case "park":
                entry.parked = True
                entry.stopping = False
                keep_mib = request.park.memory_mib
                if keep_mib:
                    entry.taken = {name: min(keep_mib, mib) for name, mib in entry.taken.items()}
                self._tell(entry, parked=lock_pb2.Parked(request_id=request_id, token=token))

    def _cancel(
        self, request_id: str, entry: _Entry | None, outbox: asyncio.Queue[lock_pb2.SessionResponse]
    ) -> None:
        if entry is not None and entry.lease is not None and entry.lease.warm:
            entry.lost = True  # it crossed the cancellation, and the model is still there, for its session as the old lease's
        elif entry is not None:
            self._drop(entry)
        cancelled = lock_pb2.Cancelled(request_id=request_id)
        outbox.put_nowait(lock_pb2.SessionResponse(cancelled=cancelled))

    def _give_up_heir(
        self, kind: str, request_id: str, token: int, outbox: asyncio.Queue[lock_pb2.SessionResponse]
    ) -> bool:
        """The model of a lease that was taken over is gone, and the task that took it over had been cancelled."""
        heirs = [one for one in self._entries.values() if one.took_over == request_id and one.lost]
        if kind not in ("release", "confirm") or not heirs:
            return False
        self._drop(heirs[0])
        confirmed = lock_pb2.Confirmed(request_id=request_id, token=token)
        outbox.put_nowait(lock_pb2.SessionResponse(confirmed=confirmed))
        return True

    def _drop(self, entry: _Entry) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
        del self._entries[entry.acquire.request_id]

    @staticmethod
    def _refuse(
        outbox: asyncio.Queue[lock_pb2.SessionResponse], request_id: str, code: str, message: str
    ) -> None:
        refused = lock_pb2.Refused(request_id=request_id, code=code, message=message)
        outbox.put_nowait(lock_pb2.SessionResponse(refused=refused))

    @staticmethod
    def _tell(entry: _Entry, **message: object) -> None:
        entry.outbox.put_nowait(lock_pb2.SessionResponse(**message))  # type: ignore[arg-type]

    def _acquire(self, asked: lock_pb2.Acquire, outbox: asyncio.Queue[lock_pb2.SessionResponse]) -> None:
        here = self._entries.get(asked.request_id)
        if here is not None:
            here.acquire, here.outbox, here.told = asked, outbox, (0, "")
            if here.lease is not None:
                self._tell(here, granted=here.lease)
            return
        fault = self._fault(asked)
        if fault is not None:
            self._refuse(outbox, asked.request_id, *fault)
            return
        entry = _Entry(asked, outbox, (-asked.priority, next(self._numbers)), time.monotonic())
        self._entries[asked.request_id] = entry
        seconds = asked.max_wait_seconds or DEFAULT_MAX_WAIT_SECONDS
        entry.timer = asyncio.get_running_loop().call_later(seconds, self._time_out, entry, seconds)

    def _time_out(self, entry: _Entry, seconds: float) -> None:
        self._drop(entry)
        message = f"no GPU was free within {seconds:g} s"
        self._refuse(entry.outbox, entry.acquire.request_id, "GPU_LOCK_TIMEOUT", message)
        self._schedule()

    def _fault(self, asked: lock_pb2.Acquire) -> tuple[str, str] | None:
        if asked.pool not in ("", _POOL):
            return (
                "GPU_POOL_UNKNOWN",
                f"there is no pool {asked.pool!r}: this node arbitrates its own devices",
            )
        if asked.device and asked.device not in self._devices:
            return "GPU_DEVICE_UNKNOWN", f"there is no device {asked.device!r}"
        large = [
            name for name in self._candidates(asked) if self._devices[name].memory_mib >= asked.memory_mib
        ]
        if len(large) < max(1, asked.device_count):
            return "GPU_NEVER_FITS", (
                f"{max(1, asked.device_count)} device(s) with {asked.memory_mib} MiB were asked for, "
                f"{len(large)} of this node's are large enough"
            )
        return None

    def _candidates(self, asked: lock_pb2.Acquire) -> list[str]:
        return [asked.device] if asked.device else list(self._devices)

    def _holders(self) -> list[_Entry]:
        return [entry for entry in self._entries.values() if entry.lease is not None]

    def _free_mib(self, name: str, without: Sequence[_Entry] = ()) -> int:
        used = sum(entry.taken.get(name, 0) for entry in self._holders() if entry not in without)
        return self._devices[name].memory_mib - used

    def _wanted_mib(self, entry: _Entry, name: str) -> int:
        return entry.acquire.memory_mib or self._devices[name].memory_mib

    def _fits(self, entry: _Entry, name: str, without: Sequence[_Entry] = ()) -> bool:
        return self._free_mib(name, without) >= self._wanted_mib(entry, name)

    def _schedule(self) -> None:
        """Grant from the head of the queue as long as it fits; ask preemptible holders to make room for one that does not."""
        waiting = sorted(
            (entry for entry in self._entries.values() if entry.lease is None), key=lambda one: one.order
        )
        while waiting and (self._resume(waiting[0]) or self._try(waiting[0])):
            del waiting[0]
        if waiting:
            self._make_room(waiting[0])
        for position, entry in enumerate(waiting, 1):
            reason = self._reason(entry)
            if entry.told != (position, reason):
                entry.told = (position, reason)
                queued = lock_pb2.Queued(
                    request_id=entry.acquire.request_id, position=position, reason=reason
                )
                self._tell(entry, queued=queued)

    def _resume(self, entry: _Entry) -> bool:
        """Hand a parked lease to the request that wants it."""
        parked = self._entries.get(entry.acquire.warm_request_id)
        if parked is None or not parked.parked or parked.stopping or parked.lost:
            return False
        names = list(parked.taken)
        if len(names) != max(1, entry.acquire.device_count) or not all(
            self._fits(entry, name, [parked]) for name in names
        ):
            return False
        self._drop(parked)
        entry.took_over = parked.acquire.request_id
        self._grant(entry, names, warm=True)
        return True

    def _try(self, entry: _Entry) -> bool:
        """Grant on the devices that leave the least memory over, if there are enough."""
        fitting = [name for name in self._candidates(entry.acquire) if self._fits(entry, name)]
        fitting.sort(key=lambda name: self._free_mib(name) - self._wanted_mib(entry, name))
        chosen = fitting[: max(1, entry.acquire.device_count)]
        if len(chosen) < max(1, entry.acquire.device_count):
            return False
        self._grant(entry, chosen)
        return True

    def _grant(self, entry: _Entry, names: Sequence[str], *, warm: bool = False) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
        self._token = max(self._token + 1, time.time_ns() // 1000)
        entry.taken = {name: self._wanted_mib(entry, name) for name in names}
        entry.lease = lock_pb2.Lease(
            request_id=entry.acquire.request_id,
            token=self._token,
            pool=_POOL,
            devices=[
                lock_pb2.LeasedDevice(device=name, visible=self._devices[name].visible, memory_mib=mib)
                for name, mib in entry.taken.items()
            ],
            ttl_seconds=math.inf,
            waited_seconds=time.monotonic() - entry.asked_time,
            warm=warm,
        )
        entry.lease.grant_time.GetCurrentTime()
        self._tell(entry, granted=entry.lease)

    def _make_room(self, head: _Entry) -> None:
        """Ask the fewest preemptible holders to stop, oldest first, without whom the head would fit."""
        needed = max(1, head.acquire.device_count)
        plans: list[list[_Entry]] = []
        for name in self._candidates(head.acquire):
            leaving: list[_Entry] = []
            for entry in self._holders():
                if self._free_mib(name, leaving) >= self._wanted_mib(head, name):
                    break
                if name in entry.taken and (entry.parked or entry.acquire.preemptible) and not entry.lost:
                    leaving.append(entry)
            if self._free_mib(name, leaving) >= self._wanted_mib(head, name):
                plans.append(leaving)
        if len(plans) < needed:
            return
        for entry in [entry for plan in sorted(plans, key=len)[:needed] for entry in plan]:
            if not entry.stopping:
                entry.stopping = True
                assert entry.lease is not None
                stop = lock_pb2.Stop(
                    request_id=entry.acquire.request_id,
                    token=entry.lease.token,
                    reason=lock_pb2.STOP_REASON_PREEMPTED,
                    message="another task needs the device",
                )
                self._tell(entry, stop=stop)

    def _reason(self, entry: _Entry) -> str:
        names = ", ".join(
            f"{name} is held by {holder.acquire.task_id or holder.acquire.request_id}"
            for name in self._candidates(entry.acquire)
            for holder in self._holders()
            if name in holder.taken
        )
        return names or "others are first"


async def _from(outbox: asyncio.Queue[lock_pb2.SessionResponse]) -> Responses:
    while True:
        yield await outbox.get()
