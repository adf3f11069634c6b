"""/v1/tasks/{task_id}/attempts and /log: what became of a task's attempts, and what they logged."""

from __future__ import annotations

from aiohttp import web

from gateway.access import viewer
from gateway.http.answer import answer
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.installation import BACKEND, TASKS
from gateway.settings import Scope
from gateway.use.instants import instant
from gateway.v1 import presenter
from gateway.v1.answers import history as answers
from gateway.v1.requests import TaskLogQuery
from yivideo.task.v1 import task_pb2


async def list_attempts(request: web.Request) -> web.StreamResponse:
    """List a task's attempts, oldest first: where each ran, when, and why it ended."""
    read_query(request, NoQuery)
    caller = viewer(request)
    task_id = await request.app[TASKS].require_own(caller, request.match_info["task_id"])
    backend = request.app[BACKEND]
    found = await backend.read(backend.tasks.ListAttempts, task_pb2.ListAttemptsRequest(task_id=task_id))
    shown = [_attempt(one, with_address=caller.sees_all_tasks) for one in found.attempts]
    return answer(answers.Attempts(task_id=task_id, attempts=shown))


def _attempt(one: task_pb2.AttemptRecord, *, with_address: bool) -> answers.AttemptInfo:
    error = one.error if one.HasField("error") else None
    shown = answers.AttemptInfo(
        attempt=one.attempt,
        outcome=one.outcome,
        node=one.node,
        replica=one.replica,
        started_at=instant(one.start_time),
        ended_at=instant(one.end_time) if one.HasField("end_time") else None,
        error=f"{error.code}: {error.message}" if error else None,
        error_detail=presenter.error_detail(error) if error else None,
    )
    if with_address:
        shown.address = one.address
    return shown


async def show_log(request: web.Request) -> web.StreamResponse:
    """Show the lines that a task's attempts logged for people, oldest first, one page."""
    query = read_query(request, TaskLogQuery)
    task_id = await request.app[TASKS].require_own(viewer(request), request.match_info["task_id"])
    backend = request.app[BACKEND]
    wanted = task_pb2.GetTaskLogRequest(
        task_id=task_id, after_sequence=query.after, page_size=query.page_size, level=query.level
    )
    page = await backend.read(backend.tasks.GetTaskLog, wanted)
    lines = [
        answers.LogLine(
            sequence=line.sequence,
            attempt=line.attempt,
            time=instant(line.time),
            level=line.level,
            message=line.message,
        )
        for line in page.lines
    ]
    return answer(answers.TaskLog(task_id=task_id, lines=lines, next_after=page.next_after_sequence or None))


_ONE = "/v1/tasks/{task_id}"

ROUTES = (
    Route(method="GET", path=_ONE + "/attempts", handler=list_attempts, tag="tasks", scope=Scope.TASKS,
          answers={200: answers.Attempts}, faults=(404,)),
    Route(method="GET", path=_ONE + "/log", handler=show_log, tag="tasks", scope=Scope.TASKS,
          query=TaskLogQuery, answers={200: answers.TaskLog}, faults=(404,)),
)  # fmt: skip
