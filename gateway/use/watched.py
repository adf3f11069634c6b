"""One's own task while it is watched."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress

from gateway.clients.shared_watch import Reader, SharedWatches, StreamsClosing
from gateway.use.states import TERMINAL
from yivideo.task.v1 import task_pb2


class WatchedTask:
    """A task, and a position in its history."""

    def __init__(self, task: task_pb2.Task, after_sequence: int, watches: SharedWatches) -> None:
        self.task = task
        """As it was when the watch began."""
        self.after_sequence = after_sequence
        self._watches = watches

    @property
    def over(self) -> bool:
        """Whether the task has ended and nothing follows the position."""
        return self.task.state in TERMINAL and self.after_sequence >= self.task.last_sequence

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Read what follows the position, for the time of a block; many readers share one call to the scheduler."""
        with self._watches.reading(
            self.task.spec.task_id, self.after_sequence, self.task.last_sequence
        ) as reader:
            yield reader

    async def events(self) -> AsyncGenerator[task_pb2.TaskEvent]:
        """Yield each event behind the position once, in order, until the terminal one or the drain of this process.

        For facades that write one event at a time; `reading` hands out the bytes that readers share.
        """
        with suppress(StreamsClosing), self.reading() as reader:
            while (entry := await reader.next()) is not None:
                yield entry.event
