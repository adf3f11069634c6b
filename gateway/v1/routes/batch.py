"""/v1/tasks:batch: many submissions in one request, answered item by item."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from gateway.access import file_caller, used_key, viewer
from gateway.http.answer import answer
from gateway.http.body import checked, read_json
from gateway.http.errors import as_told, retry_after_seconds
from gateway.http.model import NoQuery
from gateway.http.problem import FieldFault
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.installation import BATCHES, KEY_STATE, SETTINGS, TASKS
from gateway.settings import Scope
from gateway.use.batch import MOST_TASKS, each
from gateway.v1 import presenter
from gateway.v1.answers.batch import BatchAnswer, BatchFault, BatchItem
from gateway.v1.links import links
from gateway.v1.requests import SubmitBatch, SubmitTask
from gateway.v1.submission import IDEMPOTENCY_HEADER, in_body_terms, task_id_from_key, to_spec
from runtime.errors import InvalidArgument, RequestTimeout, Unavailable, YiVideoError

_BODY_SECONDS = 60.0
_ACCEPTED, _REUSED = 202, 200


async def submit_tasks(request: web.Request) -> web.StreamResponse:
    """Submit up to 1,000 tasks; 200 with an outcome for each, in their order.

    Each is what POST /v1/tasks would make of it: accepted, the same as before, or refused for a reason of its own, and none keeps
    another from being accepted. Send the same batch again after a broken connection: tasks with a task_id, or all with an
    Idempotency-Key, are accepted once. A key's limits count tasks, not requests: those past them are refused with 429.
    They are accepted side by side; tasks that wait for each other belong into a workflow.
    """
    read_query(request, NoQuery)
    caller, tasks, key = viewer(request), request.app[TASKS], used_key(request)
    all_files = file_caller(request).all_files
    # Without keys everybody is one user; then whoever has one address is one.
    sender = f"user {caller.user}" if key is not None else f"address {request.remote}"
    async with request.app[BATCHES].take(sender):
        given = _tasks(await _body(request))
        whole_key = request.headers.get(IDEMPOTENCY_HEADER)
        prefix = task_id_from_key(whole_key, caller.user) if whole_key else ""
        base = links(request)

        async def submit(index: int, one: Any) -> BatchItem:
            task_id = None
            try:
                if index and key is not None:  # the request itself was counted when it was let in
                    request.app[KEY_STATE].admit(key)
                body = checked(SubmitTask, one)
                if body.task_id is None and prefix:
                    body = body.model_copy(update={"task_id": f"{prefix}-{index}"})
                spec = to_spec(body, caller.user, None, all_files=all_files)
                task_id = spec.task_id
                seen = await tasks.submit(spec)
            except InvalidArgument as error:
                told = in_body_terms(error) if task_id else error
                return _refused(index, task_id, as_told(told))
            except Exception as error:
                return _refused(index, task_id, as_told(error))
            status = _REUSED if seen.task.reuse.hit else _ACCEPTED
            shown = presenter.submitted(seen.task, base)
            return BatchItem(index=index, http_status=status, task_id=task_id, task=shown, error=None)

        late = Unavailable("it was not begun in time", retry_after_seconds=1)
        results = await each(given, submit, lambda index: _refused(index, None, late))
        counts = [item.http_status for item in results]
        accepted, reused = counts.count(_ACCEPTED), counts.count(_REUSED)
        return answer(
            BatchAnswer(
                accepted=accepted, reused=reused, failed=len(counts) - accepted - reused, results=results
            )
        )


async def _body(request: web.Request) -> Any:
    """Read the body, within a minute: while it comes it holds one of the few places."""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await read_json(request, request.app[SETTINGS].max_batch_bytes)
    except TimeoutError:
        raise RequestTimeout(f"a batch has to come within {_BODY_SECONDS:g} s") from None


def _tasks(body: Any) -> list[Any]:
    """Return what `SubmitBatch` holds, its items unread: what is wrong with one of them is that one's alone."""
    if not isinstance(body, dict) or set(body) != {"tasks"} or not isinstance(body["tasks"], list):
        raise InvalidArgument.at("/tasks", "send an object with the one field `tasks`, a list")
    if not 1 <= len(body["tasks"]) <= MOST_TASKS:
        raise InvalidArgument.at("/tasks", f"must hold 1 to {MOST_TASKS} tasks")
    return body["tasks"]


def _refused(index: int, task_id: str | None, error: YiVideoError) -> BatchItem:
    fault = BatchFault(
        code=error.code,
        message=error.message,
        errors=[FieldFault(pointer=field.pointer, detail=field.detail) for field in error.fields],
        retry_after_seconds=retry_after_seconds(error),
    )
    return BatchItem(index=index, http_status=error.http_status, task_id=task_id, task=None, error=fault)


ROUTES = (
    Route(
        method="POST", path="/v1/tasks:batch", handler=submit_tasks, tag="tasks", scope=Scope.TASKS, body=SubmitBatch,
        answers={200: BatchAnswer}, faults=(408, 413, 429),
        headers={IDEMPOTENCY_HEADER: "Makes a repeated batch the same tasks, by their places, where they have no task_id."},
    ),
)  # fmt: skip
