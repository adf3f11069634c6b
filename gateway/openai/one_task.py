"""One request is one task: its node must be there, its end is waited for, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from gateway.access import file_caller, viewer
from gateway.clients.backend import FILESTORE, Backend
from gateway.installation import BACKEND, SETTINGS, TASKS
from runtime import context
from runtime.errors import (
    Cancelled,
    DeadlineExceeded,
    FieldViolation,
    Internal,
    InvalidArgument,
    NotFound,
    TaskNotFound,
    Unavailable,
    YiVideoError,
)
from runtime.logs import get_logger
from runtime.structs import to_struct
from yivideo.file.v1 import file_pb2
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)

_GONE_SECONDS = 60.0


class OneTask:
    """The task of one request. Its files, the input too, lie under its id."""

    def __init__(self, request: web.Request, task_name: str) -> None:
        self.task_id = f"openai-{uuid.uuid4()}"
        self._task_name = task_name
        self._request = request
        self._tasks = request.app[TASKS]
        self._wait_seconds = request.app[SETTINGS].openai_wait_seconds

    def spec(self, values: dict[str, Any]) -> task_pb2.TaskSpec:
        """Return what is submitted."""
        return task_pb2.TaskSpec(
            task_id=self.task_id,
            task_name=self._task_name,
            input=to_struct(values),
            user=viewer(self._request).user,
            all_files=file_caller(self._request).all_files,
            timeout_seconds=self._wait_seconds,
            traceparent=context.traceparent.get(),
            tracestate=context.tracestate.get(),
        )

    async def run(self, values: dict[str, Any]) -> task_pb2.Task:
        """Submit, wait, and return the completed task. Raises what its failure means to the caller of this facade."""
        seen = await self._tasks.submit(self.spec(values), self._wait_seconds)
        if not seen.ended and not seen.waited:
            raise Unavailable("too many requests wait here already", retry_after_seconds=5)
        return completed(seen.task)


def completed(task: task_pb2.Task) -> task_pb2.Task:
    """Return a task that has completed; raises what another state means: the caller's fault where a field is named."""
    if task.state in (task_pb2.TASK_STATE_COMPLETED, task_pb2.TASK_STATE_SKIPPED):
        return task
    if task.state == task_pb2.TASK_STATE_FAILED:
        raise failure(task.error)
    if task.state == task_pb2.TASK_STATE_CANCELLED:
        raise Cancelled("the task was cancelled")
    raise DeadlineExceeded("the audio was not ready in time; see gateway.openai_wait_seconds")


def failure(error: task_pb2.TaskError) -> YiVideoError:
    """Return a task's error as one of ours."""
    text = f"{error.code}: {error.message}"
    if error.code == "MODEL_MISSING":
        return NotFound(text, fields=[FieldViolation("/model", error.message)])
    if error.field:
        param = PARAMETERS.get(error.field.lstrip("/"), error.field.lstrip("/"))
        return InvalidArgument(text, fields=[FieldViolation(f"/{param}", error.message)])
    return Unavailable(text) if error.retryable else Internal(text)


PARAMETERS = {
    "audio_path": "file",
    "initial_prompt": "prompt",
    "text": "input",
    "output_format": "response_format",
}
"""How clients of this facade call a field of the node."""


def in_client_terms(error: InvalidArgument) -> InvalidArgument:
    """Return the scheduler's refusal of an input with the names that this facade's clients know."""
    fields = []
    for field in error.fields:
        name = field.pointer.removeprefix("/input/").partition("/")[0]
        fields.append(FieldViolation(f"/{PARAMETERS.get(name, name)}", field.detail))
    detail = f"{fields[0].pointer.lstrip('/')}: {fields[0].detail}" if fields else error.message
    return type(error)(detail, fields=fields)


async def require_node(backend: Backend, task_name: str, start: str) -> None:
    """Raise Unavailable, saying what to start, unless a node that runs such tasks is there."""
    node = task_name.partition(".")[0]
    found = await backend.read(backend.tasks.ListQueues, task_pb2.ListQueuesRequest(node=node))
    if not any(queue.node == node and queue.replica_count for queue in found.queues):
        raise Unavailable(f"no node runs {task_name} here: start it with `make run nodes={start}`")


class Removals:
    """Removes tasks and their files after their answers were sent, so that nobody waits for it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, task_id: str, caller: file_pb2.Caller) -> None:
        """Remove a caller's task, which is cancelled first when it has not ended, with the files that were stored for it."""
        task = asyncio.create_task(self._remove(task_id, caller))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def aclose(self) -> None:
        """Wait for those under way."""
        await asyncio.wait(self._running, timeout=_GONE_SECONDS) if self._running else None

    async def _remove(self, task_id: str, caller: file_pb2.Caller) -> None:
        backend = self._backend
        try:
            wanted = task_pb2.DeleteTaskRequest(task_id=task_id, force=True)
            await backend.change(backend.tasks.DeleteTask, wanted)
        except TaskNotFound:  # its request was refused after its file had come
            files = file_pb2.DeleteFilesRequest(prefix=f"{task_id}/", task_id=task_id, caller=caller)
            await self._delete(files)
        except YiVideoError as error:
            log.warning("a task of the audio endpoints stays behind", task=task_id, reason=error.message)

    async def _delete(self, files: file_pb2.DeleteFilesRequest) -> None:
        try:
            await self._backend.change(self._backend.files.DeleteFiles, files, service=FILESTORE)
        except YiVideoError as error:
            log.warning("an upload of the audio endpoints stays behind", reason=error.message)


REMOVALS = web.AppKey("openai_removals", Removals)


async def removals(app: web.Application) -> AsyncIterator[None]:
    """Keep the removals while the server runs; a lifespan."""
    app[REMOVALS] = Removals(app[BACKEND])
    yield
    await app[REMOVALS].aclose()


@asynccontextmanager
async def one_task(request: web.Request, task_name: str, start: str) -> AsyncIterator[OneTask]:
    """Make a request's task for the time of a block; leaving it, also because the client left, removes all of it.

    Raises Unavailable when no node can run it.
    """
    await require_node(request.app[BACKEND], task_name, start)
    task = OneTask(request, task_name)
    try:
        yield task
    except InvalidArgument as error:
        if any(field.pointer.startswith("/input/") for field in error.fields):
            raise in_client_terms(error) from error.__cause__
        raise
    finally:
        if not request.app[SETTINGS].openai_keep_tasks:
            request.app[REMOVALS].begin(task.task_id, file_caller(request))
