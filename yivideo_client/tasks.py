"""Tasks over REST: submit, wait, watch, list, cancel, retry, delete."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from yivideo_client.errors import ApiError, WaitTimeout
from yivideo_client.models import Event, Task, TaskType, listed, part
from yivideo_client.submitting import submitted
from yivideo_client.transport import CALL_SECONDS, Transport, quoted
from yivideo_client.watching import watched

_WAIT_SECONDS = 20
"""How long one request for a task's end is held; below what proxies cut."""
_PAGE_SIZE = 100


class Tasks:
    """The tasks of one installation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def submit(
        self,
        task_name: str,
        input_data: Mapping[str, Any],
        *,
        task_id: str | None = None,
        wait_seconds: int = 0,
        **options: Any,
    ) -> Task:
        """Ask for a task; it is accepted when this returns, and only once however often the connection breaks.

        `options` are the other fields of the request (`callback`, `priority`, `depends_on`, `labels`, `workflow_id`,
        `timeout_seconds`, `retry_policy`, …). `wait_seconds` lets the server hold its answer until the task has ended.
        """
        body = {"task_name": task_name, "input_data": dict(input_data), **options}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        if task_id is not None:
            body["task_id"] = task_id
        if wait_seconds:
            headers["Prefer"] = f"wait={wait_seconds}"
        answer = await self._transport.call(
            "POST",
            "/v1/tasks",
            body=body,
            headers=headers,
            repeatable=True,
            seconds=CALL_SECONDS + wait_seconds,
        )
        named = {"task_name": task_name, **answer} if isinstance(answer, dict) else answer
        return Task.from_answer(named)

    async def submit_many(self, bodies: Iterable[Mapping[str, Any]]) -> Sequence[Task | ApiError]:
        """Ask for many tasks; returns, in their order, each as it was accepted or why it was refused.

        A body has the fields of a request (`task_name`, `input_data`, `task_id`, `labels`, …). However often a connection breaks, a
        server is busy or a limit is reached, each task is accepted once; they are sent a few hundred at a time.
        """
        return await submitted(self._transport, bodies)

    async def get(self, task_id: str) -> Task:
        """Return everything about a task."""
        return Task.from_answer(await self._transport.call("GET", _at(task_id)))

    async def wait(self, task_id: str, timeout_seconds: float | None = None) -> Task:
        """Return the task when it has ended, however. Raises WaitTimeout, and then it goes on."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            left = _WAIT_SECONDS if deadline is None else min(_WAIT_SECONDS, deadline - time.monotonic())
            headers = {"Prefer": f"wait={max(1, round(left))}"}
            answer = await self._transport.call(
                "GET", _at(task_id, "/result"), headers=headers, seconds=CALL_SECONDS + _WAIT_SECONDS
            )
            task = Task.from_answer(answer)
            if task.ended:
                return task
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeout(f"{task_id} had not ended after {timeout_seconds:g} s: {task.message}")

    def watch(self, task_id: str, after: int = 0) -> AsyncIterator[Event]:
        """Yield a task's events, those before this call too, to the terminal one.

        A broken stream is taken up behind the last event: none is missed and none comes twice. Raises ApiError, and
        ConnectionFailed when the server stays away for as long as requests are repeated.
        """
        return watched(self._transport, _at(task_id, "/events"), after, lambda one: one.terminal)

    async def list(self, **conditions: Any) -> AsyncIterator[Task]:
        """Yield tasks, newest first, page by page: `status`, `task_name`, `workflow_id`, `label`, `created_after`, …"""
        query = {name: value for name, value in conditions.items() if value not in (None, "", [], ())}
        query.setdefault("page_size", _PAGE_SIZE)
        while True:
            page = await self._transport.call("GET", "/v1/tasks", query=query)
            for one in listed(page, "tasks"):
                yield Task.from_answer(one)
            if not part(page, "next_page_token"):
                return
            query["page_token"] = page["next_page_token"]

    async def cancel(self, task_id: str) -> Task:
        """Ask that a task stop; it is cancelled, or `cancelling` while its processes are being ended."""
        return Task.from_answer(await self._transport.call("DELETE", _at(task_id), repeatable=False))

    async def retry(self, task_id: str) -> Task:
        """Submit an ended task's request again, under a new id."""
        return Task.from_answer(await self._transport.call("POST", _at(task_id, "/retry")))

    async def delete(self, task_id: str, *, force: bool = False) -> dict[str, Any]:
        """Remove a task with its events and files; `force` cancels it first. Returns the report on each."""
        report: dict[str, Any] = await self._transport.call(
            "POST", _at(task_id, "/delete"), body={"force": force}
        )
        return report

    async def types(self) -> Sequence[TaskType]:
        """Return the kinds of task that the installation knows, in name order."""
        answer = await self._transport.read("/v1/task-types")
        return [TaskType.from_answer(one) for one in listed(answer, "task_types")]

    async def deliveries(self, task_id: str) -> dict[str, Any]:
        """Return how a task's callback fared."""
        answer: dict[str, Any] = await self._transport.call("GET", _at(task_id, "/deliveries"))
        return answer

    async def redeliver(self, task_id: str) -> Task:
        """Have a task's callback sent once more."""
        return Task.from_answer(await self._transport.call("POST", _at(task_id, "/redeliver")))


def _at(task_id: str, rest: str = "") -> str:
    return f"/v1/tasks/{quoted(task_id).replace('/', '%2F')}{rest}"
