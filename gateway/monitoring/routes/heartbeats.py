"""Beats: which tasks live, by their leases and by the scheduler.

A node beats for every lease it holds and for every attempt it runs, by itself; nobody has to switch that on. What the first
YiVideo offered to start, stop and clean up by hand therefore says how things are, and takes leases only from the dead.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import web

from gateway.clients.backend import Backend
from gateway.http.answer import answer
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.installation import BACKEND
from gateway.monitoring import lock_presenter
from gateway.monitoring.answers import watcher as answers
from gateway.monitoring.beats import RUNNING, Beats, is_dead, is_former, task_heartbeat
from gateway.monitoring.lock_presenter import unix, who
from gateway.monitoring.requests import ReleaseLockBody
from gateway.monitoring.routes.locks import PREFIXES, force_release, read_status, read_values
from gateway.monitoring.watcher_presenter import BEAT_TIMEOUT
from gateway.settings import Scope
from gateway.use.tasks import valid_task_id
from runtime.errors import NotFound, TaskNotFound, WrongState
from yivideo.gpulock.v1 import monitor_pb2 as pb
from yivideo.task.v1 import task_pb2

_PAGE = 500


async def _task(backend: Backend, task_id: str) -> task_pb2.Task | None:
    try:
        return await backend.read(backend.tasks.GetTask, task_pb2.GetTaskRequest(task_id=task_id))
    except TaskNotFound:
        return None


async def read_beats(backend: Backend, status: pb.GetStatusResponse, values: dict[str, Any]) -> Beats:
    """Ask the scheduler for the tasks that run: the newest 500, and every one that has a lease."""
    wanted = task_pb2.ListTasksRequest(states=RUNNING, page_size=_PAGE)
    tasks = {task.spec.task_id: task for task in (await backend.read(backend.tasks.ListTasks, wanted)).tasks}
    missing = {holder.task_id for holder in status.holders if holder.task_id} - set(tasks)
    found = await asyncio.gather(*(_task(backend, task_id) for task_id in sorted(missing)))
    beats = Beats([*tasks.values(), *(task for task in found if task is not None)], status, values)
    if beats.orphaned:  # or it has given its device back and ended since the status was read
        now = {
            one.lease.request_id for one in (await read_status(backend)).holders if lock_presenter.works(one)
        }
        beats.orphaned = [holder for holder in beats.orphaned if holder.lease.request_id in now]
    return beats


async def _one(request: web.Request) -> tuple[str, task_pb2.Task | None, pb.Holder | None, bool]:
    """Return a task's id, its record, its lease, and whether that one's beats have stopped."""
    task_id = valid_task_id(request.match_info["task_id"])
    backend = request.app[BACKEND]
    status, values, task = await asyncio.gather(
        read_status(backend), read_values(backend), _task(backend, task_id)
    )
    holder = next(
        (
            one
            for one in filter(lock_presenter.works, status.holders)
            if (who(one) == task_id and not is_former(one, task)) or one.lease.request_id == task_id
        ),
        None,
    )
    timeout_seconds = float(values.get(BEAT_TIMEOUT, 300.0))
    return task_id, task, holder, holder is not None and is_dead(holder, timeout_seconds, unix(status.time))


async def get_heartbeat(request: web.Request) -> web.StreamResponse:
    """Say whether a task lives, by its lease and by the scheduler. `not_found` is an answer, not an error."""
    read_query(request, NoQuery)
    task_id, task, holder, dead = await _one(request)
    return answer(task_heartbeat(task_id, task, holder, dead=dead))


async def list_heartbeats(request: web.Request) -> web.StreamResponse:
    """List the tasks that live, those that hold a device and live no more, and those that hold one and do not run."""
    read_query(request, NoQuery)
    backend = request.app[BACKEND]
    status, values, watcher = await asyncio.gather(
        read_status(backend),
        read_values(backend),
        backend.read(backend.locks.GetWatcher, pb.GetWatcherRequest()),
    )
    beats = await read_beats(backend, status, values)
    return answer(beats.shown(watcher, round(time.time(), 3)))


async def start_heartbeat(request: web.Request) -> web.StreamResponse:
    """Say whether a task's beats come. Nodes beat by themselves, so there is nothing to start."""
    read_query(request, NoQuery)
    task_id, task, holder, dead = await _one(request)
    beats = task_heartbeat(task_id, task, holder, dead=dead).heartbeat_exists
    words = "beats by itself" if beats else "does not run here; its node beats for it when it does"
    return answer(answers.Outcome(message=f"{task_id} {words}", success=beats))


async def remove_heartbeat(request: web.Request) -> web.StreamResponse:
    """Take the lease of a task that is dead or orphaned. 400 for one that lives: cancel it instead."""
    read_query(request, NoQuery)
    task_id, task, holder, dead = await _one(request)
    if holder is None or holder.state == pb.HOLDER_STATE_QUARANTINED:
        return answer(answers.Outcome(message=f"{task_id} holds nothing", success=False))
    if not dead and task is not None and task.state in RUNNING:
        raise WrongState(f"{task_id} lives; cancel the task to end its beats")
    body = ReleaseLockBody(request_id=holder.lease.request_id)
    done = await force_release(request.app[BACKEND], body, "its task is dead or orphaned")
    return answer(answers.Outcome(message=done.message, success=done.success))


async def clean_up_heartbeats(request: web.Request) -> web.StreamResponse:
    """Take every lease whose beats have stopped, as the watcher does by itself while it runs."""
    read_query(request, NoQuery)
    backend = request.app[BACKEND]
    status, values = await asyncio.gather(read_status(backend), read_values(backend))
    beats = await read_beats(backend, status, values)
    cleaned = 0
    for holder in beats.dead:
        if holder.state == pb.HOLDER_STATE_QUARANTINED:
            continue
        body = ReleaseLockBody(request_id=holder.lease.request_id)
        try:
            cleaned += (await force_release(backend, body, "heartbeat clean-up")).success
        except NotFound:
            continue  # the watcher was faster
    return answer(
        answers.HeartbeatCleanup(
            message=f"{cleaned} leases taken from holders that do not beat any more",
            success=True,
            cleaned_dead_tasks=cleaned,
        )
    )


def _routes(base: str) -> tuple[Route, ...]:
    one, tag, operations = base + "/heartbeat/task/{task_id}", "monitoring", Scope.OPERATIONS
    return (
        Route(method="GET", path=one, handler=get_heartbeat, tag=tag, scope=operations,
              answers={200: answers.TaskHeartbeat}, faults=(404,)),
        Route(method="DELETE", path=one, handler=remove_heartbeat, tag=tag, scope=operations,
              answers={200: answers.Outcome}, faults=(404,)),
        Route(method="POST", path=one + "/start", handler=start_heartbeat, tag=tag, scope=operations,
              answers={200: answers.Outcome}, faults=(404,)),
        Route(method="GET", path=base + "/heartbeat/all", handler=list_heartbeats, tag=tag, scope=operations,
              answers={200: answers.Heartbeats}),
        Route(method="POST", path=base + "/heartbeat/cleanup", handler=clean_up_heartbeats, tag=tag,
              scope=operations, answers={200: answers.HeartbeatCleanup}),
    )  # fmt: skip


ROUTES = tuple(route for base in PREFIXES for route in _routes(base))
