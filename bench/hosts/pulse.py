"""A client with a short breath: a submit every tenth of a second, which shows for how long nobody could get a task accepted."""

from __future__ import annotations

import asyncio
import time

import aiohttp

_PERIOD_SECONDS = 0.1
_CALL = aiohttp.ClientTimeout(total=15)
_LATER_SECONDS = 3600
_GIVE_UP_SECONDS = 120.0


class Pulse:
    """Submits tasks for a time that does not come: whether they are there is all that is asked of them."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._accepted: dict[str, tuple[float, float]] = {}
        self._calls: set[asyncio.Task[None]] = set()

    async def beat(self, seconds: float) -> None:
        """Submit for so long, each task until it is accepted, and wait for the last."""
        end = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end:
            number += 1
            call = asyncio.create_task(self._submit(f"pulse-{number}"))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            await asyncio.sleep(_PERIOD_SECONDS)
        await asyncio.gather(*self._calls)

    async def _submit(self, task_id: str) -> None:
        body = {
            "task_id": task_id,
            "task_name": "forge.hammer",
            "input_data": {"journal": "/dev/null", "seconds": 0},
            "delay_seconds": _LATER_SECONDS,
        }
        give_up = time.monotonic() + _GIVE_UP_SECONDS
        while time.monotonic() < give_up:
            asked = time.monotonic()
            try:
                async with self._session.post("/v1/tasks", json=body, timeout=_CALL) as answer:
                    if answer.status in (200, 202):
                        self._accepted[task_id] = (asked, time.monotonic())
                        return
                    if answer.status < 500 and answer.status != 429:
                        raise RuntimeError(f"{task_id}: {answer.status} {await answer.text()}")
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            await asyncio.sleep(_PERIOD_SECONDS)

    def back_after(self, moment: float) -> float:
        """Return how long after a moment the first task was accepted that was asked for since."""
        return (
            min((done for asked, done in self._accepted.values() if asked > moment), default=float("inf"))
            - moment
        )

    async def lost(self) -> list[str]:
        """Return the accepted tasks that are not there."""
        gone = []
        for task_id in self._accepted:
            async with self._session.get(f"/v1/tasks/{task_id}", timeout=_CALL) as answer:
                if answer.status == 404:
                    gone.append(task_id)
                else:
                    answer.raise_for_status()
        return gone

    @property
    def accepted(self) -> int:
        """Tasks that were accepted."""
        return len(self._accepted)
