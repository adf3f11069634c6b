"""What can be done with tasks: submit, wait, watch, find, cancel, retry. Every facade does it by this class.

Whether, where and how long anybody waits for a task's end is decided here and nowhere else.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from gateway.clients.backend import Backend
from gateway.clients.shared_watch import SharedWatches, StreamsClosing
from gateway.use.slots import StreamSlots
from gateway.use.states import TERMINAL, state_word
from gateway.use.viewer import Viewer
from gateway.use.watched import WatchedTask
from runtime import context
from runtime.errors import Draining, TaskNotFound, Unavailable, WrongState, YiVideoError
from yivideo.task.v1 import task_pb2

TASK_ID_PATTERN = r"^[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,127}$"

_TASK_ID = re.compile(TASK_ID_PATTERN)


@dataclass(frozen=True, slots=True)
class Seen:
    """A task as it is, and whether a wish to wait for its end was granted."""

    task: task_pb2.Task
    waited: bool = False
    """The task has ended, or the time has passed. False: not asked for, or nobody here could wait."""

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self.task.state in TERMINAL


def valid_task_id(task_id: str) -> str:
    """Return the id; raises TaskNotFound for one that no task can have. Log lines from now on carry it."""
    if not _TASK_ID.fullmatch(task_id):
        raise TaskNotFound("no task has such an id")
    context.task_id.set(task_id)
    return task_id


class Tasks:
    """The tasks of this installation."""

    def __init__(self, backend: Backend, watches: SharedWatches, slots: StreamSlots) -> None:
        self._backend = backend
        self._watches = watches
        self._slots = slots

    def drain(self) -> None:
        """Wait for nothing any longer: this process goes away."""
        self._watches.close()
        self._backend.submitter.drain()

    async def get(self, task_id: str, *, with_place: bool = False) -> task_pb2.Task:
        """Ask the scheduler for a task, and for where it stands in its queue; raises TaskNotFound."""
        backend = self._backend
        wanted = task_pb2.GetTaskRequest(task_id=task_id, with_queue_place=with_place)
        return await backend.read(backend.tasks.GetTask, wanted)

    async def own(self, viewer: Viewer, task_id: str, *, with_place: bool = False) -> task_pb2.Task:
        """Return a task that the caller may see; raises TaskNotFound when there is none or it is somebody else's."""
        task = await self.get(valid_task_id(task_id), with_place=with_place)
        viewer.require_own(task)
        return task

    async def require_own(self, viewer: Viewer, task_id: str) -> str:
        """Return the id of a task that the caller may change; asks only when it can be somebody else's."""
        if viewer.sees_all_tasks:
            return valid_task_id(task_id)
        return (await self.own(viewer, task_id)).spec.task_id

    async def submit(self, spec: task_pb2.TaskSpec, wait_seconds: int = 0) -> Seen:
        """Store a task; wait for its end as long as is wished, in the same call where that is possible.

        A caller that is cancelled ends its wait, never the task. `Task.reuse` tells a task that had been stored before. Raises
        what the scheduler refuses; its InvalidArgument points into TaskSpec.
        """
        begun = time.time()
        if not wait_seconds or self._slots.full:
            return Seen(await self._store(spec, begun))
        task = await self._store_and_wait(spec, wait_seconds, begun)
        if task is None:
            task = await self._store(spec, begun)
            if task.create_time.ToMilliseconds() >= begun * 1000:
                task.ClearField("reuse")  # it is the one that was stored just now
        if task.reuse.HasField("cached_time"):  # it had ended before
            return Seen(task)
        left = math.ceil(begun + wait_seconds - time.time())
        if task.state not in TERMINAL and left > 0:
            task = (await self.wait(task, left)).task
        return Seen(task, waited=True)

    async def wait(self, task: task_pb2.Task, seconds: int) -> Seen:
        """Wait until a task has ended, `seconds` have passed, or this process drains. The answer keeps `Task.reuse`."""
        if task.state in TERMINAL or not seconds:
            return Seen(task)
        if not await self._end(task.spec.task_id, task.last_sequence, seconds):
            return Seen(task)
        later = await self.get(task.spec.task_id)
        if task.HasField("reuse"):
            later.reuse.CopyFrom(task.reuse)
        return Seen(later, waited=True)

    @asynccontextmanager
    async def watching(self, viewer: Viewer, task_id: str, after_sequence: int) -> AsyncIterator[WatchedTask]:
        """Hold a stream slot and watch one's own task from behind a sequence, for the time of a block.

        Raises Draining, Unavailable when no slot is left, and TaskNotFound.
        """
        if self._watches.closing:
            raise Draining("this server is shutting down", retry_after_seconds=1)
        with self._slots.take():
            task = await self.own(viewer, task_id)
            yield WatchedTask(task, after_sequence, self._watches)

    async def cancel(self, viewer: Viewer, task_id: str, wait_seconds: int = 0) -> Seen:
        """Cancel one's own task. It is cancelled, or its process tree is still being stopped, which may be waited for.

        Raises WrongState when it has ended otherwise, also where it did so before it could be stopped.
        """
        task_id = await self.require_own(viewer, task_id)
        wanted = task_pb2.CancelTaskRequest(task_id=task_id, reason=f"cancelled by {viewer.user}")
        task = await self._backend.change(self._backend.tasks.CancelTask, wanted)
        seen = await self.wait(task, wait_seconds)
        if seen.ended and seen.task.state != task_pb2.TASK_STATE_CANCELLED:
            # Its node was done when it heard of the cancellation: what it made counts, and nobody must take it for cancelled.
            raise WrongState(
                f"the task {task_id} had ended before it could be stopped: {state_word(seen.task.state)}"
            )
        return seen

    async def retry(
        self, viewer: Viewer, task_id: str, wait_seconds: int = 0, *, all_files: bool = False
    ) -> Seen:
        """Submit the request of one's own ended task again, under a new id; raises WrongState when it has not ended.

        `all_files`: whether the caller may read everybody's files now; the new task may not without it.
        """
        task_id = await self.require_own(viewer, task_id)
        wanted = task_pb2.RetryTaskRequest(task_id=task_id, all_files=all_files)
        return await self.wait(
            await self._backend.change(self._backend.tasks.RetryTask, wanted), wait_seconds
        )

    async def _store(self, spec: task_pb2.TaskSpec, asked: float) -> task_pb2.Task:
        return await self._backend.submitter.submit(_request(spec, asked))

    async def _store_and_wait(
        self, spec: task_pb2.TaskSpec, seconds: int, asked: float
    ) -> task_pb2.Task | None:
        """Store and wait in one call, which ends when the caller leaves; what had arrived stays stored.

        Gives the task as it is when it has ended or `seconds` have passed, sooner when the scheduler goes away in good order. None
        when nobody knows whether it was stored, because this process drains or the scheduler was lost: submit it again.
        """
        with self._slots.take():
            try:
                return await self._backend.submitter.submit_and_wait(_request(spec, asked, seconds))
            except Unavailable:
                return None

    async def _end(self, task_id: str, after_sequence: int, seconds: int) -> bool:
        """Wait for the end; False, at once, when every stream slot is taken."""
        if seconds <= 0 or self._slots.full:
            return False
        with (
            self._slots.take(),
            self._watches.reading(task_id, after_sequence, after_sequence) as reader,
            # Of an error the answer is read from the task's record next, which says what is wrong.
            suppress(TimeoutError, StreamsClosing, YiVideoError),
        ):
            async with asyncio.timeout(seconds):
                while await reader.next() is not None:
                    pass
        return True


def _request(spec: task_pb2.TaskSpec, asked: float, wait_seconds: float = 0) -> task_pb2.SubmitTaskRequest:
    """Write the request; `asked` is when our client's arrived, Unix seconds: ours may reach the scheduler much later."""
    request = task_pb2.SubmitTaskRequest(spec=spec, wait_seconds=wait_seconds)
    request.ask_time.FromMilliseconds(int(asked * 1000))
    return request
