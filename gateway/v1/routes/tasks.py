"""/v1/tasks: submit, list, show, cancel, retry, delete."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from gateway.access import file_caller, viewer
from gateway.http.answer import answer, tagged
from gateway.http.body import read_body
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.installation import BACKEND, TASKS
from gateway.settings import Scope
from gateway.use import states
from gateway.use.instants import utc_time
from gateway.use.tasks import Seen
from gateway.v1 import presenter
from gateway.v1.answers import tasks as answers
from gateway.v1.links import links, task_path
from gateway.v1.preference import applied, wished_wait_seconds
from gateway.v1.requests import DeleteTaskBody, ListTasksQuery, SubmitTask, label_map, permitted_user
from gateway.v1.submission import IDEMPOTENCY_HEADER, in_body_terms, to_spec
from runtime.errors import InvalidArgument
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
    spec = to_spec(
        body,
        viewer(request).user,
        request.headers.get(IDEMPOTENCY_HEADER),
        all_files=file_caller(request).all_files,
    )
    seconds = wished_wait_seconds(request)
    seen = await _submitted(request, spec, seconds)
    headers = {"Location": task_path(seen.task.spec.task_id), **applied(seen, seconds)}
    if not seen.ended:
        headers["Retry-After"] = POLL_SECONDS
    status = 200 if seen.ended or seen.task.reuse.hit else 202
    return answer(presenter.submitted(seen.task, links(request)), status=status, headers=headers)


async def _submitted(request: web.Request, spec: task_pb2.TaskSpec, seconds: int) -> Seen:
    try:
        return await request.app[TASKS].submit(spec, seconds)
    except InvalidArgument as error:
        raise in_body_terms(error) from error.__cause__


async def _shown(request: web.Request) -> tuple[task_pb2.Task, dict[str, str]]:
    """Return the task that the path names, as it is when the client's wish to wait is over, and the headers that say so."""
    read_query(request, NoQuery)
    tasks, seconds = request.app[TASKS], wished_wait_seconds(request)
    task = await tasks.own(viewer(request), request.match_info["task_id"], with_place=True)
    seen = await tasks.wait(task, seconds)
    return seen.task, applied(seen, seconds)


async def show_task(request: web.Request) -> web.StreamResponse:
    """Show everything about a task. `Prefer: wait=N` waits for its end, `If-None-Match` makes asking cheap."""
    task, headers = await _shown(request)
    return tagged(request, answer(presenter.record(task, links(request)), headers=headers))


async def show_status(request: web.Request) -> web.StreamResponse:
    """Show where a task is, and its result once it has ended. A failed task is no error of this request: 200."""
    task, headers = await _shown(request)
    return tagged(request, answer(presenter.status(task, links(request)), headers=headers))


async def show_result(request: web.Request) -> web.StreamResponse:
    """Show a task's result; the same body as its status."""
    return await show_status(request)


async def list_tasks(request: web.Request) -> web.StreamResponse:
    """List tasks, newest or oldest first, without their inputs and outputs."""
    query = read_query(request, ListTasksQuery)
    wanted = task_pb2.ListTasksRequest(
        states=states_in(query.status),
        task_name=query.task_name,
        user=permitted_user(viewer(request), query.user),
        workflow_id=query.workflow_id,
        labels=label_map(query.label),
        page_size=query.page_size,
        page_token=query.page_token,
        order=_ORDERS[query.order],
        with_total=query.total,
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
    if query.total:
        shown.total = page.total_count if page.HasField("total_count") else None
    return answer(shown)


_ORDERS = {"newest": task_pb2.TASK_ORDER_NEWEST_FIRST, "oldest": task_pb2.TASK_ORDER_OLDEST_FIRST}


def states_in(given: Sequence[str], pointer: str = "?status") -> list[task_pb2.TaskState.ValueType]:
    """Return the states that words of clients stand for; raises InvalidArgument with the words that there are."""
    wanted: set[task_pb2.TaskState.ValueType] = set()
    for word in (part.strip() for text in given for part in text.split(",")):
        found = states.states_of(word)
        if not found:
            raise InvalidArgument.at(pointer, f"{word[:32]!r} is none of: {', '.join(states.WORDS)}")
        wanted |= found
    return sorted(wanted)


async def cancel_task(request: web.Request) -> web.StreamResponse:
    """Cancel a task.

    200 when it is cancelled, 202 while its process tree is being stopped; `Prefer: wait=N` waits for that. 400 when it
    has ended, also where it did so before it could be stopped, or is being cancelled already.
    """
    read_query(request, NoQuery)
    seconds = wished_wait_seconds(request)
    seen = await request.app[TASKS].cancel(viewer(request), request.match_info["task_id"], seconds)
    shown = answers.CancelAnswer(
        task_id=seen.task.spec.task_id,
        status=states.STATUS[seen.task.state],
        state=states.state_word(seen.task.state),
        message=states.message(seen.task),
    )
    return answer(shown, status=200 if seen.ended else 202, headers=applied(seen, seconds))


async def retry_task(request: web.Request) -> web.StreamResponse:
    """Submit an ended task's request again, under a new id `<task_id>-retry-<8 hex>`. 400 when it has not ended."""
    read_query(request, NoQuery)
    seconds = wished_wait_seconds(request)
    seen = await request.app[TASKS].retry(
        viewer(request),
        request.match_info["task_id"],
        seconds,
        all_files=file_caller(request).all_files,
    )
    headers = {"Location": task_path(seen.task.spec.task_id), **applied(seen, seconds)}
    if not seen.ended:
        headers["Retry-After"] = POLL_SECONDS
    shown = presenter.submitted(seen.task, links(request))
    return answer(shown, status=200 if seen.ended else 202, headers=headers)


async def delete_task(request: web.Request) -> web.StreamResponse:
    """Delete a task's record, events and files, with a report on each. 400 when it has not ended and is not forced."""
    read_query(request, NoQuery)
    body = await read_body(request, DeleteTaskBody, optional=True)
    task_id = await request.app[TASKS].require_own(viewer(request), request.match_info["task_id"])
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
