"""TaskWatch: retries while a scheduler stays away."""

from __future__ import annotations

import pytest

from gateway.clients.backend import open_backend
from gateway.clients.task_watch import TaskWatch
from gateway.settings import GatewaySection, GatewaySettings
from runtime.errors import Unavailable
from tests.gateway.conftest import RUNTIME


async def test_retries_end() -> None:
    """A scheduler that stays away is reported after a bounded number of tries, with growing pauses."""
    section = GatewaySection(scheduler_address="127.0.0.1:1", filestore_address="127.0.0.1:1")
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with open_backend(GatewaySettings(runtime=RUNTIME, gateway=section)) as backend:
        watch = TaskWatch(backend, "t1", 0, pause=pause)
        with pytest.raises(Unavailable):
            async for _ in watch.events():
                pass
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert max(pauses) == 2.0
    assert 20 < sum(pauses) < 60
