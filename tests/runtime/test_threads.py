"""File work in threads: a caller's cancellation leaves nothing half done and nothing open."""

from __future__ import annotations

import asyncio
import threading

import pytest

from runtime.threads import Threads


@pytest.mark.trial("10.20")
async def test_what_a_cancelled_caller_has_opened_is_released() -> None:
    """A thread cannot be stopped: what it opens for a caller that has gone meanwhile is given back, and nothing else is."""
    threads = Threads("test", 1)
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    released: list[str] = []

    def opened(name: str) -> str:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(5)
        return name

    caller = asyncio.create_task(threads.acquire(released.append, opened, "left"))
    await begun.wait()
    caller.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert released == ["left"]
    assert await threads.acquire(released.append, opened, "kept") == "kept"
    assert released == ["left"]
    threads.close()
