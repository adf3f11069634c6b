"""Tasks over the scheduler's TaskService; the methods are those of `yivideo_client.tasks.Tasks`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from results.states import STATUS, state_word
from runtime.streamed import streamed
from yivideo.file.v1 import file_pb2
from yivideo.task.v1 import task_pb2, task_pb2_grpc
from yivideo_client.errors import ApiError, NotFound, WaitTimeout
from yivideo_client.models import Event, Task, TaskType
from yivideo_client.together import together
from yivideo_client.tries import FAULTS, Broken
from yivideo_grpc.calls import CALL_SECONDS, Calls
from yivideo_grpc.faults import told
from yivideo_grpc.messages import to_event, to_report, to_spec, to_task, to_type

_AT_ONCE = 64
_PAGE_SIZE = 100


class GrpcTasks:
    """The tasks of one installation, as one user sees them."""

    def __init__(
        self,
        stub: task_pb2_grpc.TaskServiceAsyncStub,
        caller: file_pb2.Caller,
        calls: Calls,
    ) -> None:
        self._stub = stub
        self._caller = caller
        self._calls = calls

    async def submit(
        self,
        task_name: str,
        input_data: Mapping[str, Any],
        *,
        task_id: str | None = None,
        wait_seconds: int = 0,
        **options: Any,
    ) -> Task:
        """See `Tasks.submit`."""
        body = {"task_name": task_name, "input_data": dict(input_data), **options}
        body["task_id"] = task_id or f"task-{uuid.uuid4()}"
        return to_task(await self._store(body, wait_seconds))

    async def _store(self, body: Mapping[str, Any], wait_seconds: float = 0) -> task_pb2.Task:
        async with told():  # an input that no Struct can hold is refused here
            spec = to_spec(body, self._caller)
        request = task_pb2.SubmitTaskRequest(spec=spec, wait_seconds=wait_seconds)
        return await self._calls.make(
            lambda: self._stub.SubmitTask(request, timeout=CALL_SECONDS + wait_seconds)
        )

    async def submit_many(self, bodies: Iterable[Mapping[str, Any]]) -> Sequence[Task | ApiError]:
        """See `Tasks.submit_many`; here each is a call of its own, and a number of them are under way."""
        given = [{"task_id": f"task-{uuid.uuid4()}", **body} for body in bodies]
        made: dict[int, Task | ApiError] = {}
        rest = iter(enumerate(given))

        async def work() -> None:
            for index, body in rest:
                try:
                    made[index] = to_task(await self._store(body))
                except ApiError as error:
                    made[index] = error

        await together(work() for _ in range(min(_AT_ONCE, len(given))))
        return [made[index] for index in range(len(given))]

    async def get(self, task_id: str) -> Task:
        """See `Tasks.get`."""
        return to_task(await self._own(task_id))

    async def _own(self, task_id: str) -> task_pb2.Task:
        request = task_pb2.GetTaskRequest(task_id=task_id)
        task = await self._calls.make(lambda: self._stub.GetTask(request, timeout=CALL_SECONDS))
        if not self._caller.all_files and task.spec.user != self._caller.user:
            raise NotFound(404, "TASK_NOT_FOUND", f"there is no task {task_id!r}")
        return task

    async def wait(self, task_id: str, timeout_seconds: float | None = None) -> Task:
        """See `Tasks.wait`."""
        try:
            async with asyncio.timeout(timeout_seconds):
                async for _ in self.watch(task_id):
                    pass
        except TimeoutError:
            task = await self.get(task_id)
            if not task.ended:
                raise WaitTimeout(
                    f"{task_id} had not ended after {timeout_seconds:g} s: {task.message}"
                ) from None
            return task
        return await self.get(task_id)

    async def watch(self, task_id: str, after: int = 0) -> AsyncIterator[Event]:
        """See `Tasks.watch`."""
        await self._own(task_id)
        tries = self._calls.tries()
        while True:
            try:
                async with told():
                    request = task_pb2.WatchTaskRequest(task_id=task_id, after_sequence=after)
                    with streamed(self._stub.WatchTask(request)) as call:
                        async for message in call:
                            tries.progressed()
                            after = message.sequence or after
                            event = to_event(message)
                            if event is None or event.name == "heartbeat":
                                continue
                            yield event
                            if event.terminal:
                                return
                if (await self.get(task_id)).ended:
                    return
                fault: Exception = Broken("the event stream ended")
            except FAULTS as raised:
                fault = raised
            await tries.after(fault)

    async def list(self, **conditions: Any) -> AsyncIterator[Task]:
        """See `Tasks.list`: `status`, `task_name`, `workflow_id`, `label`, `page_size`."""
        words = {word for word in str(conditions.get("status") or "").split(",") if word}
        labels = dict(one.split("=", 1) for one in conditions.get("label") or ())
        request = task_pb2.ListTasksRequest(
            states=[state for state in STATUS if {STATUS[state], state_word(state)} & words],
            task_name=conditions.get("task_name") or "",
            workflow_id=conditions.get("workflow_id") or "",
            user="" if self._caller.all_files else self._caller.user,
            labels=labels,
            page_size=conditions.get("page_size") or _PAGE_SIZE,
        )
        while True:
            page = await self._calls.make(lambda: self._stub.ListTasks(request, timeout=CALL_SECONDS))
            for task in page.tasks:
                yield to_task(task)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def cancel(self, task_id: str) -> Task:
        """See `Tasks.cancel`."""
        await self._own(task_id)
        request = task_pb2.CancelTaskRequest(task_id=task_id, reason=f"cancelled by {self._caller.user}")
        return to_task(
            await self._calls.make(
                lambda: self._stub.CancelTask(request, timeout=CALL_SECONDS), repeatable=False
            )
        )

    async def retry(self, task_id: str) -> Task:
        """See `Tasks.retry`."""
        await self._own(task_id)
        request = task_pb2.RetryTaskRequest(task_id=task_id, all_files=self._caller.all_files)
        return to_task(
            await self._calls.make(
                lambda: self._stub.RetryTask(request, timeout=CALL_SECONDS), repeatable=False
            )
        )

    async def delete(self, task_id: str, *, force: bool = False) -> dict[str, Any]:
        """See `Tasks.delete`."""
        await self._own(task_id)
        request = task_pb2.DeleteTaskRequest(task_id=task_id, force=force)
        report = await self._calls.make(
            lambda: self._stub.DeleteTask(request, timeout=CALL_SECONDS), repeatable=False
        )
        return to_report(report)

    async def types(self) -> Sequence[TaskType]:
        """See `Tasks.types`."""
        request = task_pb2.ListTaskTypesRequest()
        answer = await self._calls.make(lambda: self._stub.ListTaskTypes(request, timeout=CALL_SECONDS))
        return [to_type(kind) for kind in answer.task_types]
