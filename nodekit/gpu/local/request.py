"""One request at the arbiter inside the process, from asking to a minute after its end."""

from __future__ import annotations

import enum
import math
from asyncio import TimerHandle
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp

from leases.ask import Ask
from yivideo.gpulock.v1 import lock_pb2


class State(enum.Enum):
    """Where a request is."""

    WAITING = "waiting"
    HELD = "held"
    REVOKED = "revoked"
    """Its memory is in quarantine until its holder confirms."""
    ENDED = "ended"


@dataclass(eq=False)
class Request:
    """One request. Times are of the arbiter's clock, in seconds."""

    ask: Ask
    client_id: str
    asked_time: float
    number: int
    """Its place in the order of asking, among all."""
    wanted_id: str = ""
    """The lease that it takes over when that is parked; empty: none."""
    state: State = State.WAITING
    round: int = 0
    """The turn of its user in which it is served; see `WaitQueue`."""
    away: bool = False
    """Whether its client's stream is gone: it keeps its place and is passed over."""
    passed_time: float | None = None
    """When one that stood behind it was first granted what it could have used."""
    said: tuple[int, str] = (0, "")
    """The place and the reason that its client heard last."""
    taken: dict[str, int] = field(default_factory=dict)
    """Device → MiB that are not free because of it."""
    token: int = 0
    grant_time: Timestamp = field(default_factory=Timestamp)
    waited_seconds: float = 0.0
    warm: bool = False
    parked: bool = False
    model: str = ""
    """What is parked, for people."""
    yield_time: float = 0.0
    """Since when its holder agrees to give it back; the one that idles longest gives way first."""
    stop: lock_pb2.Stop | None = None
    loss: lock_pb2.Lost | None = None
    end: lock_pb2.SessionResponse | None = None
    """What is said to a client that asks for it again after its end."""
    successor: Request | None = None
    """Who has taken its parked lease over."""
    timer: TimerHandle | None = None
    """Ends its wait, or revokes a lease whose holder was asked to stop."""
    away_timer: TimerHandle | None = None

    @property
    def id(self) -> str:
        """Its request id."""
        return self.ask.request_id

    @property
    def holder(self) -> str:
        """Who holds it, for people."""
        return f"model {self.model}" if self.parked else self.ask.task_id or self.id

    @property
    def gives_way(self) -> bool:
        """Whether its holder agrees to give it back when another request needs it."""
        return self.state is State.HELD and (self.parked or self.ask.preemptible)

    def stop_timers(self) -> None:
        """Let no deadline of it come any more."""
        for timer in (self.timer, self.away_timer):
            if timer is not None:
                timer.cancel()
        self.timer = self.away_timer = None

    def to_lease(self, visible: dict[str, str]) -> lock_pb2.Lease:
        """Describe its lease; `visible` has each device's value of the visible-device variable. It has no time limit."""
        return lock_pb2.Lease(
            request_id=self.id,
            token=self.token,
            pool=self.ask.pool,
            devices=[
                lock_pb2.LeasedDevice(device=name, visible=visible[name], memory_mib=mib)
                for name, mib in self.taken.items()
            ],
            ttl_seconds=math.inf,
            grant_time=self.grant_time,
            waited_seconds=self.waited_seconds,
            warm=self.warm,
        )
