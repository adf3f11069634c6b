"""A TaskService for the gateway's tests: in memory, over real gRPC, with the contract's answers and errors."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from results.states import TERMINAL
from runtime import errors
from runtime.structs import from_struct, to_struct
from tests.gateway.fake_operations import FakeOperations
from tests.gateway.submits import submitted
from tests.gateway.task_kinds import EXTRACT_AUDIO, LIST_VOICES
from yivideo.task.v1 import task_pb2 as pb


def now() -> Timestamp:
    """Return the time."""
    made = Timestamp()
    made.GetCurrentTime()
    return made


class FakeScheduler(FakeOperations):
    """Keeps tasks and their events; the test decides what happens to them."""

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[str, list[pb.TaskEvent]] = defaultdict(list)
        self.trimmed: dict[str, int] = defaultdict(int)
        """Events up to this sequence are no longer kept."""
        self.types = [EXTRACT_AUDIO, LIST_VOICES]
        self.refuse_watchers = 0
        """How many WatchTask calls break off with UNAVAILABLE from now on."""
        self.watchers = 0
        self.most_watchers = 0
        """The most WatchTask calls that were open at once."""
        self.break_submits = 0
        """How many SubmitTask calls break off with UNAVAILABLE after they have stored their task."""
        self.submit_gate = asyncio.Event()
        self.submit_gate.set()
        self._changed = asyncio.Condition()

    async def happen(self, task_id: str, state: int | None = None, **event: Any) -> None:
        """Append one event to a task, and put the task into a state."""
        task = self.tasks[task_id]
        if state is not None:
            task.state = state  # type: ignore[assignment]
        task.last_sequence += 1
        task.update_time.CopyFrom(now())
        self.events[task_id].append(
            pb.TaskEvent(task_id=task_id, attempt=1, sequence=task.last_sequence, time=now(), **event)
        )
        async with self._changed:
            self._changed.notify_all()

    async def beat(self, task_id: str) -> None:
        """Append a heartbeat, which is not stored."""
        self.events[task_id].append(pb.TaskEvent(task_id=task_id, time=now(), heartbeat=pb.Heartbeat()))
        async with self._changed:
            self._changed.notify_all()

    async def complete(self, task_id: str, output: dict[str, Any] | None = None) -> None:
        """End a task well, with one stored file."""
        task = self.tasks[task_id]
        output = output or {"audio_path": f"{task_id}/töne.wav", "sample_rate": 16000}
        files = [
            pb.OutputFile(
                name="töne.wav",
                bucket="yivideo",
                path=f"{task_id}/töne.wav",
                type="audio",
                size_bytes=1234,
                sha256="ab",
            )
        ]
        task.output.CopyFrom(to_struct(output))
        task.files.extend(files)
        task.duration_seconds = 2.6
        task.end_time.CopyFrom(now())
        done = pb.TaskCompleted(output=task.output, files=files, duration_seconds=2.6)
        await self.happen(task_id, pb.TASK_STATE_COMPLETED, completed=done)

    async def fail_task(self, task_id: str) -> None:
        """End a task badly."""
        task = self.tasks[task_id]
        error = pb.TaskError(code="MEDIA_UNREADABLE", message="not a video", field="/video_path")
        task.error.CopyFrom(error)
        await self.happen(
            task_id, pb.TASK_STATE_FAILED, failed=pb.TaskFailed(error=error, duration_seconds=0.1)
        )

    async def SubmitTask(self, request: pb.SubmitTaskRequest, context: Any) -> pb.Task:
        """Store a task."""
        self._enter(request)
        await self.submit_gate.wait()
        spec = request.spec
        if spec.task_name not in {kind.name for kind in self.types}:
            raise errors.UnknownTaskType(f"no node offers {spec.task_name!r}")
        if spec.task_name == EXTRACT_AUDIO.name and "video_path" not in spec.input:
            raise errors.InvalidInput(
                "/input/video_path: is missing",
                fields=[errors.FieldViolation("/input/video_path", "is missing")],
            )
        existing = self.tasks.get(spec.task_id)
        if existing is not None:
            if _identity(existing.spec) != _identity(spec):
                raise errors.TaskConflict("this task_id is taken by another request")
            answer = pb.Task()
            answer.CopyFrom(existing)
            answer.reuse.hit = True
            answer.reuse.task_name = spec.task_name
            answer.reuse.source = "redis"
            if existing.state in TERMINAL:
                answer.reuse.cached_time.CopyFrom(existing.update_time)
            else:
                answer.reuse.state = "running"
            return answer
        task = pb.Task(spec=spec, state=pb.TASK_STATE_PENDING, create_time=now(), update_time=now())
        self.tasks[spec.task_id] = task
        await self.happen(spec.task_id, accepted=pb.TaskAccepted(state=pb.TASK_STATE_PENDING))
        if self.break_submits:
            self.break_submits -= 1
            raise errors.Unavailable("the connection broke")
        return task

    async def SubmitTasks(
        self, requests: AsyncIterator[pb.SubmitTasksRequest], context: Any
    ) -> AsyncIterator[pb.SubmitTasksResponse]:
        """Store tasks that come over a stream, each as SubmitTask does."""
        async with aclosing(submitted(self.SubmitTask, requests, context)) as responses:
            async for response in responses:
                yield response

    async def GetTask(self, request: pb.GetTaskRequest, context: Any) -> pb.Task:
        """Return a task."""
        self._enter(request)
        return self._find(request.task_id)

    async def ListTasks(self, request: pb.ListTasksRequest, context: Any) -> pb.ListTasksResponse:
        """List tasks of a user, one page."""
        self._enter(request)
        if request.page_token == "other":
            raise errors.InvalidArgument("the page token belongs to another listing")
        found = [
            task
            for task in reversed(self.tasks.values())
            if (not request.user or task.spec.user == request.user)
            and (not request.states or task.state in request.states)
        ]
        if request.page_token == "next":
            return pb.ListTasksResponse()
        return pb.ListTasksResponse(tasks=found[: request.page_size], next_page_token="next")

    async def CancelTask(self, request: pb.CancelTaskRequest, context: Any) -> pb.Task:
        """Cancel: at once when pending, begun when running."""
        self._enter(request)
        task = self._find(request.task_id)
        if task.state in (*TERMINAL, pb.TASK_STATE_CANCELLING):
            raise errors.WrongState("the task has ended or is being cancelled already")
        if task.state == pb.TASK_STATE_RUNNING:
            await self.happen(
                request.task_id, pb.TASK_STATE_CANCELLING, cancelling=pb.TaskCancelling(reason=request.reason)
            )
        else:
            await self.happen(
                request.task_id, pb.TASK_STATE_CANCELLED, cancelled=pb.TaskCancelled(reason=request.reason)
            )
        return task

    async def RetryTask(self, request: pb.RetryTaskRequest, context: Any) -> pb.Task:
        """Submit again."""
        self._enter(request)
        old = self._find(request.task_id)
        if old.state not in TERMINAL:
            raise errors.WrongState("the task has not ended")
        spec = pb.TaskSpec()
        spec.CopyFrom(old.spec)
        spec.task_id = f"{request.task_id}-retry-0123abcd"
        self.tasks[spec.task_id] = task = pb.Task(
            spec=spec, state=pb.TASK_STATE_PENDING, create_time=now(), update_time=now()
        )
        return task

    async def DeleteTask(self, request: pb.DeleteTaskRequest, context: Any) -> pb.DeleteTaskResponse:
        """Delete."""
        self._enter(request)
        task = self._find(request.task_id)
        if task.state not in TERMINAL and not request.force:
            raise errors.WrongState("the task has not ended")
        del self.tasks[request.task_id]
        return pb.DeleteTaskResponse(
            status="partial_failed",
            results=[
                pb.DeletedResource(
                    resource="redis", status="deleted", message="2 keys", details=to_struct({"keys": 2})
                ),
                pb.DeletedResource(resource="minio", status="failed", message="no answer", retriable=True),
            ],
            warnings=["files may be left"],
            delete_time=now(),
        )

    async def ListTaskTypes(self, request: pb.ListTaskTypesRequest, context: Any) -> pb.ListTaskTypesResponse:
        """List the types."""
        self._enter(request)
        return pb.ListTaskTypesResponse(
            task_types=[kind for kind in self.types if request.node in ("", kind.node)]
        )

    async def WatchTask(self, request: pb.WatchTaskRequest, context: Any) -> AsyncIterator[pb.TaskEvent]:
        """Replay after a sequence, then follow."""
        self._enter(request)
        self._find(request.task_id)
        await self._watching(+1)
        try:
            async for event in self._follow(request):
                yield event
        finally:
            await self._watching(-1)

    async def _watching(self, change: int) -> None:
        self.watchers += change
        self.most_watchers = max(self.most_watchers, self.watchers)
        async with self._changed:
            self._changed.notify_all()

    async def _follow(self, request: pb.WatchTaskRequest) -> AsyncIterator[pb.TaskEvent]:
        task_id, kept = request.task_id, self.trimmed[request.task_id]
        if request.after_sequence < kept:
            gap = pb.EventGap(first_missing_sequence=request.after_sequence + 1, last_missing_sequence=kept)
            gap.snapshot.CopyFrom(self.tasks[task_id])
            yield pb.TaskEvent(task_id=task_id, time=now(), gap=gap)
        after = max(request.after_sequence, kept)
        if after > self.tasks[task_id].last_sequence:
            after = self.tasks[task_id].last_sequence
            yield pb.TaskEvent(task_id=task_id, time=now(), gap=pb.EventGap(snapshot=self.tasks[task_id]))
        place = 0
        while True:
            for event in self.events[task_id][place:]:
                place += 1
                if event.sequence == 0 or event.sequence > after:
                    yield event
            if place < len(self.events[task_id]):
                continue
            if self.tasks[task_id].state in TERMINAL:
                return
            if self.refuse_watchers:
                self.refuse_watchers -= 1
                raise errors.Draining("this scheduler is going away")
            async with self._changed:
                if len(self.events[task_id]) == place:
                    await self._changed.wait()

    async def wait_watchers(self, number: int) -> None:
        """Wait until so many watchers are here."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: self.watchers == number), 5)

    async def break_watchers(self) -> None:
        """Make every watcher of now break off with UNAVAILABLE."""
        self.refuse_watchers = self.watchers
        for task_id in self.tasks:
            await self.beat(task_id)

    def submitted(self) -> pb.TaskSpec:
        """Return the spec of the last submission."""
        return next(r for r in reversed(self.requests) if isinstance(r, pb.SubmitTaskRequest)).spec

    def input_of(self, task_id: str) -> dict[str, Any]:
        """Return the input that a task was stored with."""
        return from_struct(self.tasks[task_id].spec.input)


def _identity(spec: pb.TaskSpec) -> bytes:
    same = pb.TaskSpec()
    same.CopyFrom(spec)
    same.ClearField("traceparent")
    same.ClearField("tracestate")
    return same.SerializeToString(deterministic=True)
