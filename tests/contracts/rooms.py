"""Rooms for the contract tests: our asyncio servers in a thread of their own, for clients that know nothing of asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager

START_SECONDS = 60.0


@contextmanager
def in_a_thread(room: Callable[[], AbstractAsyncContextManager[str]]) -> Iterator[str]:
    """Run a room (an async context manager that gives its address) in a thread with its own event loop."""
    started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def live() -> None:
        leave = asyncio.Event()
        async with room() as address:
            started.set_result((address, asyncio.get_running_loop(), leave))
            await leave.wait()

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            if started.done():
                ended.append(error)
            else:
                started.set_exception(error)

    ended: list[BaseException] = []
    thread = threading.Thread(target=run, name="room", daemon=True)
    thread.start()
    address, loop, leave = started.result(START_SECONDS)
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join(START_SECONDS)
        assert not thread.is_alive(), "the room did not end"
        if ended:
            raise ended[0]
