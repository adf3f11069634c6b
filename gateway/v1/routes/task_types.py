"""/v1/task-types and the origin's list of names: what can be run."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

import orjson
from aiohttp import web

from gateway.http.answer import answer, tagged
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.installation import BACKEND
from gateway.settings import Scope
from gateway.use.instants import instant
from gateway.v1.answers import operations as answers
from gateway.v1.requests import NodeQuery
from yivideo.task.v1 import task_pb2


async def task_types(request: web.Request, node: str = "") -> list[task_pb2.TaskType]:
    """Ask the scheduler for the task types, in name order."""
    backend = request.app[BACKEND]
    found = await backend.read(backend.tasks.ListTaskTypes, task_pb2.ListTaskTypesRequest(node=node))
    return list(found.task_types)


def _shown(kind: task_pb2.TaskType) -> answers.TaskTypeInfo:
    return answers.TaskTypeInfo(
        name=kind.name,
        node=kind.node,
        description=kind.description,
        input_schema=orjson.loads(kind.input_schema or b"{}"),
        output_schema=orjson.loads(kind.output_schema or b"{}"),
        gpu=kind.gpu,
        timeout_seconds=kind.timeout_seconds,
        reuse_field=kind.reuse_field,
        media_fields=list(kind.media_fields),
        available=kind.available,
        last_seen_at=_last_seen(kind),
    )


def _last_seen(kind: task_pb2.TaskType) -> datetime | None:
    """Return when an unavailable type was last seen; of one that is there the answer would be another at every call."""
    return None if kind.available or not kind.HasField("last_seen_time") else instant(kind.last_seen_time)


async def list_task_types(request: web.Request) -> web.StreamResponse:
    """List the task types of all nodes ever seen, each with the JSON Schemas of its input and output."""
    query = read_query(request, NodeQuery)
    kinds = [_shown(kind) for kind in await task_types(request, query.node)]
    return tagged(request, answer(answers.TaskTypes(task_types=kinds)))


async def list_supported_tasks(request: web.Request) -> web.StreamResponse:
    """List the names of all task types by node, and whether a replica of the node is there to run them."""
    read_query(request, NoQuery)
    by_node: dict[str, list[str]] = defaultdict(list)
    kinds = await task_types(request)
    for kind in kinds:
        by_node[kind.node].append(kind.name)
    return answer(
        answers.SupportedTasks(
            supported_tasks=dict(by_node),
            total_count=len(kinds),
            description="Task types that nodes have offered, by node; `tasks` says which can be run now.",
            tasks=[
                answers.SupportedTask(name=kind.name, available=kind.available, last_seen_at=_last_seen(kind))
                for kind in kinds
            ],
        )
    )


ROUTES = (
    Route(method="GET", path="/v1/task-types", handler=list_task_types, tag="task types", scope=Scope.TASKS,
          query=NodeQuery, answers={200: answers.TaskTypes, 304: None}),
    Route(method="GET", path="/v1/tasks/supported-tasks", handler=list_supported_tasks, tag="task types",
          scope=Scope.TASKS, answers={200: answers.SupportedTasks}),
)  # fmt: skip
