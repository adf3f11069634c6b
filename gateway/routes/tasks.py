"""/v1/tasks: submit, list, show, cancel, retry, delete."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from aiohttp import web

from gateway import presenter, words
from gateway.answers import tasks as answers
from gateway.app_keys import BACKEND, SLOTS, links
from gateway.auth import Principal, principal
from gateway.intake import answer, cacheable, read_body, read_query, utc_time
from gateway.preference import APPLIED_HEADER, submit_and_wait, wait_for_end, wished_wait_seconds
from gateway.requests import DeleteTaskBody, ListTasksQuery, NoQuery, SubmitTask
from gateway.route import Route
from gateway.settings import Scope
from gateway.submission import IDEMPOTENCY_HEADER, in_body_terms, to_spec, to_submit
from gateway.tasks import get_task, own_task, require_own, task_path
from runtime.errors import InvalidArgument, PermissionDenied, WrongState
from yivideo.task.v1 import task_pb2

POLL_SECONDS = "1"
"""`Retry-After` of an accepted task: when asking for its status makes sense."""


async def submit_task(request: web.Request) -> web.StreamResponse:
    """Submit a task.

    202 with its address when it was accepted; 200 when the same request was made before, with its result if there is
    one, or when it ended within `Prefer: wait=N`. The same task_id with another request is refused with 409.
    """
    read_query(request, NoQuery)
    body = await read_body(request, SubmitTask)
    spec = to_spec(body, principal(request).user, request.headers.get(IDEMPOTENCY_HEADER))
    task, applied = await _submitted(request, spec)
    ended = task.state in words.TERMINAL
    headers = {"Location": task_path(task.spec.task_id), **applied}
    if not ended:
        headers["Retry-After"] = POLL_SECONDS
    status = 200 if ended or task.reuse.hit else 202
    return answer(presenter.submitted(task, links(request)), status=status, headers=headers)


async def _submitted(request: web.Request, spec: task_pb2.TaskSpec) -> tuple[task_pb2.Task, dict[str, str]]:
    """Submit, and wait as the client wishes: in the same call, and by watching where that came back early."""
    seconds = wished_wait_seconds(request)
    begun = time.time()
    try:
        if not seconds or request.app[SLOTS].full:
            return await _submit(request, spec, begun), {}
        task = await submit_and_wait(request, spec, seconds, begun)
        if task is None:
            task = await _submit(request, spec, begun)
            if task.create_time.ToMilliseconds() >= begun * 1000:
                task.ClearField("reuse")  # it is the one that was stored just now
    except InvalidArgument as error:
        raise in_body_terms(error) from error.__cause__
    if task.reuse.HasField("cached_time"):  # it had ended before
        return task, {}
    left = math.ceil(begun + seconds - time.time())
    if task.state not in words.TERMINAL and left > 0:
        task, _ = await _awaited(request, task, left)
    return task, {APPLIED_HEADER: f"wait={seconds}"}


async def _submit(request: web.Request, spec: task_pb2.TaskSpec, asked: float) -> task_pb2.Task:
    return await request.app[BACKEND].submitter.submit(to_submit(spec, asked))


async def _awaited(
    request: web.Request, task: task_pb2.Task, seconds: int | None = None
) -> tuple[task_pb2.Task, dict[str, str]]:
    if seconds is None:
        seconds = wished_wait_seconds(request)
    if task.state in words.TERMINAL or not seconds:
        return task, {}
    if not await wait_for_end(request, task.spec.task_id, task.last_sequence, seconds):
        return task, {}
    later = await get_task(request, task.spec.task_id)
    if task.HasField("reuse"):
        later.reuse.CopyFrom(task.reuse)
    return later, {APPLIED_HEADER: f"wait={seconds}"}


async def show_task(request: web.Request) -> web.StreamResponse:
    """Show everything about a task. `Prefer: wait=N` waits for its end, `If-None-Match` makes asking cheap."""
    task, applied = await _awaited(request, await _named(request))
    return _tagged(request, answer(presenter.record(task, links(request)), headers=applied))


async def show_status(request: web.Request) -> web.StreamResponse:
    """Show where a task is, and its result once it has ended. A failed task is no error of this request: 200."""
    task, applied = await _awaited(request, await _named(request))
    return _tagged(request, answer(presenter.status(task, links(request)), headers=applied))


async def show_result(request: web.Request) -> web.StreamResponse:
    """Show a task's result; the same body as its status."""
    return await show_status(request)


async def _named(request: web.Request) -> task_pb2.Task:
    read_query(request, NoQuery)
    return await own_task(request)


def _tagged(request: web.Request, response: web.Response) -> web.Response:
    return cacheable(request, response)


async def list_tasks(request: web.Request) -> web.StreamResponse:
    """List tasks, newest first, without their inputs and outputs."""
    query = read_query(request, ListTasksQuery)
    wanted = task_pb2.ListTasksRequest(
        states=_states(query.status),
        task_name=query.task_name,
        user=_user(principal(request), query.user),
        workflow_id=query.workflow_id,
        labels=dict(label.split("=", 1) for label in query.label),
        page_size=query.page_size,
        page_token=query.page_token,
    )
    if query.created_after is not None:
        wanted.created_after.FromDatetime(utc_time(query.created_after, "?created_after"))
    if query.created_before is not None:
        wanted.created_before.FromDatetime(utc_time(query.created_before, "?created_before"))
    backend = request.app[BACKEND]
    page = await backend.read(backend.tasks.ListTasks, wanted)
    shown = answers.TaskPage(
        tasks=[presenter.summary(task) for task in page.tasks], next_page_token=page.next_page_token
    )
    return answer(shown)


def _states(given: Sequence[str]) -> list[task_pb2.TaskState.ValueType]:
    states: set[task_pb2.TaskState.ValueType] = set()
    for word in (part.strip() for text in given for part in text.split(",")):
        found = words.states_of(word)
        if not found:
            raise InvalidArgument.at("?status", f"{word[:32]!r} is no status")
        states |= found
    return sorted(states)


def _user(caller: Principal, wanted: str) -> str:
    if caller.sees_all_tasks:
        return wanted
    if wanted and wanted != caller.user:
        raise PermissionDenied("this key sees only its own user's tasks")
    return caller.user


async def cancel_task(request: web.Request) -> web.StreamResponse:
    """Cancel a task.

    200 when it is cancelled, 202 while its process tree is being stopped; `Prefer: wait=N` waits for that. 400 when it
    has ended, also where it did so before it could be stopped, or is being cancelled already.
    """
    read_query(request, NoQuery)
    task_id = await require_own(request)
    backend = request.app[BACKEND]
    wanted = task_pb2.CancelTaskRequest(task_id=task_id, reason=f"cancelled by {principal(request).user}")
    task = await backend.change(backend.tasks.CancelTask, wanted)
    task, applied = await _awaited(request, task)
    if task.state in words.TERMINAL and task.state != task_pb2.TASK_STATE_CANCELLED:
        # Its node was done when it heard of the cancellation: what it made counts, and nobody must take it for cancelled.
        raise WrongState(
            f"the task {task_id} had ended before it could be stopped: {words.state_word(task.state)}"
        )
    shown = answers.CancelAnswer(
        task_id=task.spec.task_id,
        status=words.STATUS[task.state],
        state=words.state_word(task.state),
        message=words.message(task),
    )
    return answer(shown, status=200 if task.state in words.TERMINAL else 202, headers=applied)


async def retry_task(request: web.Request) -> web.StreamResponse:
    """Submit an ended task's request again, under a new id `<task_id>-retry-<8 hex>`. 400 when it has not ended."""
    read_query(request, NoQuery)
    task_id = await require_own(request)
    backend = request.app[BACKEND]
    task = await backend.change(backend.tasks.RetryTask, task_pb2.RetryTaskRequest(task_id=task_id))
    task, applied = await _awaited(request, task)
    headers = {"Location": task_path(task.spec.task_id), **applied}
    if task.state in words.TERMINAL:
        return answer(presenter.submitted(task, links(request)), headers=headers)
    headers["Retry-After"] = POLL_SECONDS
    return answer(presenter.submitted(task, links(request)), status=202, headers=headers)


async def delete_task(request: web.Request) -> web.StreamResponse:
    """Delete a task's record, events and files, with a report on each. 400 when it has not ended and is not forced."""
    read_query(request, NoQuery)
    body = await read_body(request, DeleteTaskBody, optional=True)
    task_id = await require_own(request)
    backend = request.app[BACKEND]
    wanted = task_pb2.DeleteTaskRequest(task_id=task_id, force=body.force)
    return answer(presenter.delete_report(await backend.change(backend.tasks.DeleteTask, wanted)))


_WAIT = {"Prefer": "`wait=N`: answer when the task has ended, at the latest after N seconds."}
_CHEAP = {"If-None-Match": "ETag of an earlier answer: 304 without a body when nothing has changed."}
_ONE = "/v1/tasks/{task_id}"

ROUTES = (
    Route(
        method="POST", path="/v1/tasks", handler=submit_task, tag="tasks", scope=Scope.TASKS, body=SubmitTask,
        answers={202: answers.SubmitAnswer, 200: answers.SubmitAnswer}, faults=(409, 413, 422, 429),
        headers={
            IDEMPOTENCY_HEADER: "Makes a repeated request the same task when the body has no task_id.", **_WAIT,
        },
    ),
    Route(method="GET", path="/v1/tasks", handler=list_tasks, tag="tasks", scope=Scope.TASKS,
          query=ListTasksQuery, answers={200: answers.TaskPage}),
    Route(method="GET", path=_ONE, handler=show_task, tag="tasks", scope=Scope.TASKS,
          answers={200: answers.TaskRecord, 304: None}, headers={**_WAIT, **_CHEAP}, faults=(404,)),
    Route(method="DELETE", path=_ONE, handler=cancel_task, tag="tasks", scope=Scope.TASKS,
          answers={200: answers.CancelAnswer, 202: answers.CancelAnswer}, headers=_WAIT, faults=(404,)),
    Route(method="GET", path=_ONE + "/status", handler=show_status, tag="tasks", scope=Scope.TASKS,
          answers={200: answers.TaskStatus, 304: None}, headers={**_WAIT, **_CHEAP}, faults=(404,)),
    Route(method="GET", path=_ONE + "/result", handler=show_result, tag="tasks", scope=Scope.TASKS,
          answers={200: answers.TaskStatus, 304: None}, headers={**_WAIT, **_CHEAP}, faults=(404,)),
    Route(method="POST", path=_ONE + "/retry", handler=retry_task, tag="tasks", scope=Scope.TASKS,
          answers={202: answers.SubmitAnswer, 200: answers.SubmitAnswer}, headers=_WAIT, faults=(404, 429)),
    Route(method="POST", path=_ONE + "/delete", handler=delete_task, tag="tasks", scope=Scope.TASKS,
          body=DeleteTaskBody, answers={200: answers.DeleteReport}, faults=(404,)),
)  # fmt: skip
