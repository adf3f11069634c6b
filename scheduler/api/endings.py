"""Calls that wait for their task's end. They are notified by whoever ends it here, and over the wake channel by other replicas.

A notification without the task is a hint: the answer is then read from the task's record. A hint that gets lost with the connection
to Redis is made up for when the channel is read again, because then everybody looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from scheduler.queue.presenter import StoredTask
from scheduler.queue.task_store import TaskStore


class Expected:
    """One call that waits."""

    def __init__(self, endings: Endings, task_id: str) -> None:
        self._endings = endings
        self._task_id = task_id
        self._look: asyncio.Future[StoredTask | None] = asyncio.get_running_loop().create_future()
        self._expired = False

    def notify(self, ended: StoredTask | None = None) -> None:
        """Look at the task; `ended`: as it has ended, where that is at hand."""
        if not self._look.done():
            self._look.set_result(ended)

    def _expire(self) -> None:
        self._expired = True
        self.notify()

    async def wait(self, seconds: float) -> StoredTask:
        """Wait until the task has ended, the seconds have passed or this replica drains; gives the task as it then is.

        Raises TaskNotFound when it was deleted meanwhile.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.call_later(seconds, self._expire)
        try:
            while True:
                ended = await self._look
                if ended is not None:
                    return ended
                self._look = loop.create_future()
                stored = await self._endings.load(self._task_id)
                if stored.record.ended or self._endings.closed or self._expired:
                    return stored
        finally:
            give_up.cancel()


class Endings:
    """All calls of one process that wait."""

    def __init__(self, tasks: TaskStore) -> None:
        self._tasks = tasks
        self._expected: dict[str, set[Expected]] = {}
        self.closed = False
        """Whether this replica drains: nobody waits any longer."""

    @contextmanager
    def expecting(self, task_id: str) -> Iterator[Expected]:
        """Note, before the task is stored, that its end is waited for: an end that comes at once is not missed."""
        expected = Expected(self, task_id)
        group = self._expected.setdefault(task_id, set())
        group.add(expected)
        if self.closed:
            expected.notify()
        try:
            yield expected
        finally:
            group.discard(expected)
            if not group and self._expected.get(task_id) is group:
                del self._expected[task_id]

    def notify(self, task_id: str, ended: StoredTask | None = None) -> None:
        """A task has ended; `ended`: as it is now, where that is at hand."""
        for expected in self._expected.get(task_id, ()):
            expected.notify(ended)

    def notify_all(self) -> None:
        """Ends may have been missed."""
        for group in self._expected.values():
            for expected in group:
                expected.notify()

    async def close_on(self, draining: asyncio.Event) -> None:
        """Let everybody go when this replica drains."""
        await draining.wait()
        self.closed = True
        self.notify_all()

    async def load(self, task_id: str) -> StoredTask:
        """Return the task. Raises TaskNotFound."""
        return await self._tasks.load(task_id)
