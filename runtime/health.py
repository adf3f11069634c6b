"""Health: the answers of grpc.health.v1 for every service of a server.

It stands in for grpcio-health-checking's own servicer, which keeps one condition for all watchers of a name and drops it when
the first of them leaves (the others then never learn of a drain), and whose watches never end and so use up the whole grace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from runtime.errors import NotFound

_STATES = health_pb2.HealthCheckResponse


PROCESS = ""
"""The name that stands for the whole process: as healthy as the worst of its services."""

LIVE = "live"
"""The name that is healthy as long as anybody answers, also while stores are away or a drain goes on: whether the event loop turns,
which is all that a restart can mend."""


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Knows which services are served. A probe that asks for no service in particular hears of the worst of them: a process
    that answers and cannot do what it is there for is not ready.
    """

    def __init__(self) -> None:
        self._states: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._draining = False
        self._ended = False

    def set(self, service: str, serving: bool) -> None:
        """Report one service healthy or not; without effect once the drain has begun. Raises ValueError for the process's name."""
        if service in (PROCESS, LIVE):
            raise ValueError("the process's health follows from that of its services")
        if not self._draining:
            self._states[service] = _STATES.SERVING if serving else _STATES.NOT_SERVING
            self._tell()

    def begin_drain(self) -> None:
        """Report every service NOT_SERVING from now on."""
        self._draining = True
        self._states = dict.fromkeys(self._states, _STATES.NOT_SERVING)
        self._tell()

    def end_watches(self) -> None:
        """Let every watch end after it has told its last state."""
        self._ended = True
        self._tell()

    def _state(self, service: str) -> int | None:
        """Return a service's state, None for one that is not here; a process without services serves unless it drains."""
        if service == LIVE:
            return int(_STATES.SERVING)
        if service != PROCESS:
            return self._states.get(service)
        good = not self._draining and all(state == _STATES.SERVING for state in self._states.values())
        return int(_STATES.SERVING if good else _STATES.NOT_SERVING)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:  # noqa: N802
        """Answer a probe. Raises NotFound for a service that this server does not have."""
        state = self._state(request.service)
        if state is None:
            raise NotFound(f"this server has no service {request.service!r}")
        return _STATES(status=state)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> AsyncGenerator[Any]:
        """Stream one service's state: at once, and on every change."""
        sent = None
        while True:
            changed = self._changed
            state = self._state(request.service)
            if state is None:
                state = _STATES.SERVICE_UNKNOWN
            if state != sent:
                yield _STATES(status=state)
                sent = state
                continue  # it may have changed while it was being sent
            if self._ended:
                return
            await changed.wait()
