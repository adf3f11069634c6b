"""SubmitTasks for a fake scheduler: the scheduler's own stream in front of the fake's SubmitTask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any

from scheduler.api.submitting import answers
from yivideo.task.v1 import task_pb2 as pb

MAX_MESSAGE_BYTES = 4 * 1024 * 1024


def submitted(
    submit_task: Callable[[pb.SubmitTaskRequest, Any], Awaitable[pb.Task]],
    requests: AsyncIterable[pb.SubmitTasksRequest],
    context: Any,
    draining: asyncio.Event | None = None,
) -> AsyncGenerator[pb.SubmitTasksResponse, None]:
    """Serve one stream; a call may be left as soon as it has begun."""

    async def submit(request: pb.SubmitTaskRequest, stored: Callable[[], None]) -> pb.Task:
        stored()
        return await submit_task(request, context)

    return answers(submit, requests, context, draining or asyncio.Event(), MAX_MESSAGE_BYTES)
