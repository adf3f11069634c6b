"""/v1/tasks/cancel and /v1/tasks/delete: the same done to many tasks."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from aiohttp import web

from gateway.access import viewer
from gateway.http.answer import answer
from gateway.http.body import read_body
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.installation import BACKEND, TASKS
from gateway.settings import Scope
from gateway.use import bulk, states
from gateway.use.instants import utc_time
from gateway.use.viewer import Viewer
from gateway.v1.answers.bulk import BulkAnswer, BulkItem
from gateway.v1.requests import BulkBody, BulkDeleteBody, TaskFilter, permitted_user
from gateway.v1.routes.tasks import states_in
from yivideo.task.v1 import task_pb2

_CANCELLABLE = frozenset(states.STATUS) - states.TERMINAL - {task_pb2.TASK_STATE_CANCELLING}


async def cancel_tasks(request: web.Request) -> web.StreamResponse:
    """Cancel many tasks: those named, or those that fit conditions and have not ended. Each has an outcome of its own."""
    read_query(request, NoQuery)
    body = await read_body(request, BulkBody)
    caller, tasks = viewer(request), request.app[TASKS]

    async def cancel(task_id: str) -> str:
        seen = await tasks.cancel(caller, task_id)
        return states.state_word(seen.task.state)

    return await _done(request, body, _CANCELLABLE, cancel)


async def delete_tasks(request: web.Request) -> web.StreamResponse:
    """Delete many tasks with their files: those named, or those that fit conditions and have ended (all, with `force`)."""
    read_query(request, NoQuery)
    body = await read_body(request, BulkDeleteBody)
    caller, tasks, backend = viewer(request), request.app[TASKS], request.app[BACKEND]

    async def delete(task_id: str) -> str:
        wanted = task_pb2.DeleteTaskRequest(
            task_id=await tasks.require_own(caller, task_id), force=body.force
        )
        report = await backend.change(backend.tasks.DeleteTask, wanted)
        return "deleted" if report.status == "success" else report.status

    return await _done(request, body, frozenset(states.STATUS) if body.force else states.TERMINAL, delete)


async def _done(
    request: web.Request, body: BulkBody, possible: AbstractSet[task_pb2.TaskState.ValueType], do: bulk.Do
) -> web.StreamResponse:
    if body.where is None:
        ids, more = list(dict.fromkeys(body.task_ids or ())), False
    else:
        wanted = _listing(body.where, viewer(request), possible)
        ids, more = await bulk.chosen(request.app[BACKEND], wanted, body.limit) if wanted else ([], False)
    results = [_item(outcome) for outcome in await bulk.each(ids, do)]
    failed = sum(item.status in ("failed", "partial_failed", "not_tried") for item in results)
    return answer(BulkAnswer(done=len(results) - failed, failed=failed, results=results, more=more))


def _item(outcome: bulk.Outcome) -> BulkItem:
    error = outcome.error
    return BulkItem(
        task_id=outcome.task_id,
        status=outcome.status,
        code=error.code if error else None,
        message=error.message if error else None,
    )


def _listing(
    where: TaskFilter, caller: Viewer, possible: AbstractSet[task_pb2.TaskState.ValueType]
) -> task_pb2.ListTasksRequest | None:
    """Return the listing of those that are meant and on which it can be done; None when no state is both."""
    meant = possible & set(states_in(where.status, "/where/status")) if where.status else possible
    if not meant:
        return None
    wanted = task_pb2.ListTasksRequest(
        states=sorted(meant),
        task_name=where.task_name,
        user=permitted_user(caller, where.user),
        workflow_id=where.workflow_id,
        labels=where.labels,
        order=task_pb2.TASK_ORDER_OLDEST_FIRST,
    )
    if where.created_after is not None:
        wanted.created_after.FromDatetime(utc_time(where.created_after, "/where/created_after"))
    if where.created_before is not None:
        wanted.created_before.FromDatetime(utc_time(where.created_before, "/where/created_before"))
    return wanted


ROUTES = (
    Route(method="POST", path="/v1/tasks/cancel", handler=cancel_tasks, tag="tasks", scope=Scope.TASKS,
          body=BulkBody, answers={200: BulkAnswer}),
    Route(method="POST", path="/v1/tasks/delete", handler=delete_tasks, tag="tasks", scope=Scope.TASKS,
          body=BulkDeleteBody, answers={200: BulkAnswer}),
)  # fmt: skip
