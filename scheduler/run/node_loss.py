"""How long a node has been out of reach of an attempt's owner, and whether that is long enough to be sure that its work is over.

Safety argument: docs/adr/0012.
"""

from __future__ import annotations

from collections.abc import Callable

from scheduler.run.connect_probe import Refuses
from scheduler.settings import SchedulerSection

_RESTART_FACTOR = 2


class NodeLossTimer:
    """The wait for one attempt's node. `since`: for an adopted attempt, when its node became silent."""

    def __init__(
        self,
        settings: SchedulerSection,
        refuses: Refuses,
        clock: Callable[[], float],
        since: float | None = None,
    ) -> None:
        self._lost_seconds = settings.lost_seconds
        # An adopted attempt's scheduler is gone, and so may its node be, by the same hand: an operator restarts both. A node takes
        # longer to come up than a scheduler, and then says how the attempt ended.
        self._refused_seconds = settings.refused_seconds * (1 if since is None else _RESTART_FACTOR)
        self._refuses = refuses
        self._clock = clock
        # Whoever owned the attempt before would be waiting since then: an adoption must not begin the wait anew.
        self._broken_time = None if since is None else min(clock(), since)
        self._refused_time: float | None = None

    @property
    def left_seconds(self) -> float:
        """How much longer a node that is silent is waited for."""
        if self._broken_time is None:
            return self._lost_seconds
        return self._broken_time + self._lost_seconds - self._clock()

    def reset(self) -> None:
        """The node has spoken: whatever follows is a wait of its own."""
        self._broken_time = self._refused_time = None

    def start(self) -> bool:
        """The stream is broken; True when that is news."""
        if self._broken_time is not None:
            return False
        self._broken_time = self._clock()
        return True

    async def is_over(self) -> bool:
        """Look whether the node refuses connections, and whether it has long enough, or was silent long enough."""
        if not await self._refuses():
            self._refused_time = None
        elif self._refused_time is None:
            self._refused_time = self._clock()
        if self._refused_time is not None and self._clock() - self._refused_time >= self._refused_seconds:
            return True
        return self.left_seconds <= 0
