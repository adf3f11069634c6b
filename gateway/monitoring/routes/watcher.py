"""Who watches over holders: the watcher, graded timeouts, beats, and everything together."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from gateway.clients.backend import Backend
from gateway.http.answer import answer
from gateway.http.model import NoQuery
from gateway.http.query import read_query
from gateway.http.route import Route
from gateway.installation import BACKEND
from gateway.monitoring import lock_presenter, watcher_presenter
from gateway.monitoring.answers import watcher as answers
from gateway.monitoring.lock_presenter import lock_key, named_device, works
from gateway.monitoring.requests import LockQuery, ReleaseLockBody
from gateway.monitoring.routes.heartbeats import read_beats
from gateway.monitoring.routes.locks import (
    PREFIXES,
    change_settings,
    force_release,
    health_of,
    read_health,
    read_history,
    read_status,
    read_values,
)
from gateway.settings import Scope
from yivideo.gpulock.v1 import monitor_pb2 as pb


def _now() -> float:
    return round(time.time(), 3)


async def read_watcher(backend: Backend) -> pb.Watcher:
    """Ask what the watcher has done."""
    return await backend.read(backend.locks.GetWatcher, pb.GetWatcherRequest())


async def monitor_status(request: web.Request) -> web.StreamResponse:
    """Describe the watcher over holders: whether it runs, what it did, its settings."""
    read_query(request, NoQuery)
    backend = request.app[BACKEND]
    watcher, values = await asyncio.gather(read_watcher(backend), read_values(backend))
    return answer(watcher_presenter.monitor_status(watcher, values, _now()))


async def monitor_health(request: web.Request) -> web.StreamResponse:
    """Judge the watcher."""
    read_query(request, NoQuery)
    backend = request.app[BACKEND]
    watcher, values, health = await asyncio.gather(
        read_watcher(backend), read_values(backend), read_health(backend)
    )
    revocations = health.statistics.revocations
    return answer(watcher_presenter.monitor_health(watcher, values, revocations, _now()))


async def _switch(request: web.Request, *, on: bool) -> web.StreamResponse:
    read_query(request, NoQuery)
    await change_settings(request, {watcher_presenter.ENABLED: on})
    words = (
        "the watcher acts on timeouts"
        if on
        else "the watcher is stopped: only leases without beats still end"
    )
    return answer(answers.Outcome(message=words, success=True))


async def start_monitor(request: web.Request) -> web.StreamResponse:
    """Let the watcher act on timeouts (`gpu_lock_monitor.enabled`), in every replica."""
    return await _switch(request, on=True)


async def stop_monitor(request: web.Request) -> web.StreamResponse:
    """Have the watcher act on timeouts no more, in every replica. Leases still end when their beats stop."""
    return await _switch(request, on=False)


async def timeout_status(request: web.Request) -> web.StreamResponse:
    """Show the graded timeouts: how often, the last ones, and what is set."""
    read_query(request, NoQuery)
    backend = request.app[BACKEND]
    watcher, values, status, history = await asyncio.gather(
        read_watcher(backend), read_values(backend), read_status(backend), read_history(backend)
    )
    return answer(watcher_presenter.timeout_status(watcher, values, status, history, _now()))


async def timeout_levels(request: web.Request) -> web.StreamResponse:
    """Show after how many seconds of holding a warning, a stop and a revocation come."""
    read_query(request, NoQuery)
    return answer(watcher_presenter.timeout_levels(await read_values(request.app[BACKEND])))


async def check_timeouts(request: web.Request) -> web.StreamResponse:
    """Check one lock against the graded timeouts now.

    The watcher acts by itself when a level is reached; while it is stopped, this takes a lease past its hard timeout.
    """
    query = read_query(request, LockQuery)
    backend = request.app[BACKEND]
    status, values, watcher = await asyncio.gather(
        read_status(backend), read_values(backend), read_watcher(backend)
    )
    device = named_device(status, query.lock_key).device
    held = (holder for holder in status.holders if device in (one.device for one in holder.lease.devices))
    oldest = next(filter(works, held), None)
    if oldest is None:
        return answer(answers.TimeoutCheck(status="no_lock"))
    levels = watcher_presenter.timeout_levels(values)
    overdue = oldest.held_seconds >= levels.hard_timeout and oldest.state != pb.HOLDER_STATE_QUARANTINED
    taken = False
    if overdue and not watcher.running:
        body = ReleaseLockBody(request_id=oldest.lease.request_id)
        taken = (await force_release(backend, body, "timeout check: hard timeout")).success
    return answer(
        watcher_presenter.timeout_check(
            oldest, lock_key(device), levels, watched=watcher.running, taken=taken, now=_now()
        )
    )


async def all_statistics(request: web.Request) -> web.StreamResponse:
    """Show the figures of locks, watcher, beats and timeouts."""
    read_query(request, NoQuery)
    backend = request.app[BACKEND]
    values, watcher, status, health, history = await asyncio.gather(
        read_values(backend),
        read_watcher(backend),
        read_status(backend),
        read_health(backend),
        read_history(backend),
    )
    beats = await read_beats(backend, status, values)
    return answer(
        answers.AllStatistics(
            timestamp=_now(),
            gpu_lock=health_of(health, history, status).statistics,
            monitor=watcher_presenter.monitor_stats(watcher),
            heartbeat=beats.statistics(watcher),
            timeout=watcher_presenter.timeout_stats(watcher, status, history),
        )
    )


_RANK = ("healthy", "warning", "critical")
_AS_LEVEL = {"stopped": "warning", "error": "critical"}


async def monitoring_health(request: web.Request) -> web.StreamResponse:
    """Judge locks, watcher and beats together."""
    read_query(request, NoQuery)
    backend = request.app[BACKEND]
    values, watcher, status, health = await asyncio.gather(
        read_values(backend), read_watcher(backend), read_status(backend), read_health(backend)
    )
    beats = await read_beats(backend, status, values)
    monitor, of_monitor = watcher_presenter.monitor_problems(watcher, values, _now())
    heartbeat, of_beats = beats.problems(watcher)
    components = {
        "monitor": monitor,
        "heartbeat": heartbeat,
        "gpu_lock": lock_presenter.LEVEL[health.level],
    }
    worst = max((_AS_LEVEL.get(state, state) for state in components.values()), key=_RANK.index)
    issues = [*lock_presenter.issue_lines(health), *of_monitor, *of_beats]
    return answer(
        answers.MonitoringHealth(status=worst, issues=issues, components=components, timestamp=_now())
    )


def _routes(base: str) -> tuple[Route, ...]:
    tag, operations = "monitoring", Scope.OPERATIONS
    return (
        Route(method="GET", path=base + "/monitor/status", handler=monitor_status, tag=tag, scope=operations,
              answers={200: answers.MonitorStatus}),
        Route(method="GET", path=base + "/monitor/health", handler=monitor_health, tag=tag, scope=operations,
              answers={200: answers.MonitorHealth}),
        Route(method="POST", path=base + "/monitor/start", handler=start_monitor, tag=tag, scope=operations,
              answers={200: answers.Outcome}),
        Route(method="POST", path=base + "/monitor/stop", handler=stop_monitor, tag=tag, scope=operations,
              answers={200: answers.Outcome}),
        Route(method="GET", path=base + "/timeout/status", handler=timeout_status, tag=tag, scope=operations,
              answers={200: answers.TimeoutStatus}),
        Route(method="GET", path=base + "/timeout/config", handler=timeout_levels, tag=tag, scope=operations,
              answers={200: answers.TimeoutLevels}),
        Route(method="POST", path=base + "/timeout/check", handler=check_timeouts, tag=tag, scope=operations,
              query=LockQuery, answers={200: answers.TimeoutCheck}, faults=(404,)),
        Route(method="GET", path=base + "/statistics", handler=all_statistics, tag=tag, scope=operations,
              answers={200: answers.AllStatistics}),
        Route(method="GET", path=base + "/health", handler=monitoring_health, tag=tag, scope=operations,
              answers={200: answers.MonitoringHealth}),
    )  # fmt: skip


ROUTES = tuple(route for base in PREFIXES for route in _routes(base))
