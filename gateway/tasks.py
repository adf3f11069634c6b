"""Finds the task that a path names, as far as the caller may see it."""

from __future__ import annotations

import re

from aiohttp import web

from gateway.app_keys import BACKEND
from gateway.auth import principal
from gateway.requests import TASK_ID_PATTERN
from runtime import context
from runtime.errors import TaskNotFound
from yivideo.task.v1 import task_pb2

_TASK_ID = re.compile(TASK_ID_PATTERN)


def task_path(task_id: str) -> str:
    """Return the address of a task."""
    return f"/v1/tasks/{task_id}"


def named_task_id(request: web.Request) -> str:
    """Return the id in the path; raises TaskNotFound for one that no task can have."""
    task_id = request.match_info["task_id"]
    if not _TASK_ID.fullmatch(task_id):
        raise TaskNotFound("no task has such an id")
    context.task_id.set(task_id)
    return task_id


async def get_task(request: web.Request, task_id: str) -> task_pb2.Task:
    """Ask the scheduler for a task; raises TaskNotFound."""
    backend = request.app[BACKEND]
    return await backend.read(backend.tasks.GetTask, task_pb2.GetTaskRequest(task_id=task_id))


async def own_task(request: web.Request) -> task_pb2.Task:
    """Return the task that the path names; raises TaskNotFound when there is none or it is somebody else's."""
    task = await get_task(request, named_task_id(request))
    principal(request).require_own(task)
    return task


async def require_own(request: web.Request) -> str:
    """Return the id in the path of a task that the caller may change; asks only when that can be somebody else's."""
    if principal(request).sees_all_tasks:
        return named_task_id(request)
    return (await own_task(request)).spec.task_id
