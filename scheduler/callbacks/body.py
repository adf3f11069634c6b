"""The exact bytes of a callback, the same for every delivery of it, whichever process makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import orjson

from results.callback_formats import callback_content
from results.file_links import download_link
from results.node_result import FileUrl
from results.workflow_context import workflow_callback
from runtime import context as ids
from scheduler.queue.keys import workflow_record
from scheduler.queue.presenter import StoredTask, to_task
from scheduler.queue.task_store import TaskStore
from scheduler.queue.task_trace import trace_of
from scheduler.queue.workflow_presenter import to_workflow
from scheduler.queue.workflow_store import WorkflowStore
from yivideo.task.v1 import task_pb2

MakeBody = Callable[[str], bytes]
"""Makes a body; its argument begins the file URLs, empty: the bare object path is the URL."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a callback tells, and to which trace its deliveries belong (empty: to none)."""

    make_body: MakeBody
    traceparent: str = ""
    tracestate: str = ""


class CallbackBodies:
    """What is sent of whatever lies in the outbox: tasks and workflows."""

    def __init__(self, tasks: TaskStore, workflows: WorkflowStore) -> None:
        self._tasks = tasks
        self._workflows = workflows

    async def of(self, record_id: str) -> Told:
        """Read what has ended. Raises NotFound."""
        if not record_id.startswith(_WORKFLOWS):
            stored = await self._tasks.load(record_id)
            trace = trace_of(stored.record, stored.spec)
            return Told(
                lambda public_url: to_body(stored, public_url=public_url),
                trace.below_task if trace else "",
                trace.tracestate if trace else "",
            )
        found = await self._workflows.load(record_id.removeprefix(_WORKFLOWS))
        workflow = to_workflow(found)
        # Its tasks were submitted by one request, whose span each of them names.
        spec = found.spec.tasks[0].spec if found.spec.tasks else task_pb2.TaskSpec()
        return Told(
            lambda public_url: _bytes(workflow_callback(workflow, _links(public_url))),
            spec.traceparent if ids.offered_traceparent(spec.traceparent) else "",
            ids.accepted_tracestate(spec.tracestate, spec.traceparent),
        )


_WORKFLOWS = workflow_record("")


def to_body(stored: StoredTask, *, public_url: str) -> bytes:
    """Return the body in the format that the task asked for.

    `public_url` begins the file URLs; empty: the bare object path is the URL.
    """
    return _bytes(callback_content(to_task(stored), _links(public_url)))


def _links(public_url: str) -> FileUrl:
    return partial(download_link, base=public_url) if public_url else _bare_path


def _bytes(content: dict[str, object]) -> bytes:
    # Protobuf gives the keys of a map in another order in each process, and a repetition must be the same request.
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def ping_body(now: datetime) -> bytes:
    """Return what is sent to try an address."""
    return orjson.dumps(
        {
            "event": "ping",
            "message": "YiVideo can reach this address; callbacks are signed like this.",
            "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        },
        option=orjson.OPT_SORT_KEYS,
    )


def _bare_path(_: str, path: str) -> str:
    return path
