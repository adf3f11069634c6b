"""GPU locks: status, health, devices, waiters, history, settings, drain, forced release."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aiohttp import web

from gateway.clients.backend import GPULOCK, Backend
from gateway.http.answer import answer
from gateway.http.body import read_body
from gateway.http.model import NoQuery
from gateway.http.principal import principal
from gateway.http.query import path_part, read_query
from gateway.http.route import Route
from gateway.installation import BACKEND
from gateway.monitoring import lock_presenter as shown
from gateway.monitoring.answers import lock_figures
from gateway.monitoring.answers import locks as answers
from gateway.monitoring.requests import (
    DrainBody,
    HistoryQuery,
    LockQuery,
    LockSettingsBody,
    PoolQuery,
    ReleaseLockBody,
)
from gateway.settings import Scope
from runtime.errors import InvalidArgument, NotFound
from yivideo.gpulock.v1 import monitor_pb2 as pb

PREFIXES = ("/v1/monitoring", "/api/v1/monitoring")
"""Ours, and the first YiVideo's; the same routes are below both."""


async def read_status(backend: Backend, pool: str = "") -> pb.GetStatusResponse:
    """Ask for every device, lease and waiter."""
    return await backend.read(backend.locks.GetStatus, pb.GetStatusRequest(pool=pool))


async def read_history(backend: Backend) -> pb.ListHistoryResponse:
    """Ask for the last records."""
    wanted = pb.ListHistoryRequest(page_size=shown.KEPT_RECORDS)
    return await backend.read(backend.locks.ListHistory, wanted)


async def read_health(backend: Backend) -> pb.GetHealthResponse:
    """Ask for the figures and what they mean."""
    return await backend.read(backend.locks.GetHealth, pb.GetHealthRequest())


async def read_values(backend: Backend) -> dict[str, Any]:
    """Ask for the settings, by dotted name."""
    found = await backend.read(backend.locks.GetConfiguration, pb.GetConfigurationRequest())
    return shown.setting_values(found)


def health_of(
    found: pb.GetHealthResponse, history: pb.ListHistoryResponse, status: pb.GetStatusResponse
) -> lock_figures.LockHealth:
    """Show the health of the whole system."""
    figures = shown.statistics(
        found.statistics, history_size=len(history.records), pushing=not status.recovering
    )
    return shown.health(found, figures, round(time.time(), 3))


async def lock_status(request: web.Request) -> web.StreamResponse:
    """Show one device's lock with its holders and who waits, the whole system's health and figures, and what ended last."""
    query = read_query(request, LockQuery)
    backend = request.app[BACKEND]
    status, health, history = await asyncio.gather(
        read_status(backend), read_health(backend), read_history(backend)
    )
    return answer(shown.lock_status(status, query.lock_key, health_of(health, history, status), history))


async def lock_health(request: web.Request) -> web.StreamResponse:
    """Judge the whole system's figures by the health rules."""
    read_query(request, NoQuery)
    backend = request.app[BACKEND]
    status, health, history = await asyncio.gather(
        read_status(backend), read_health(backend), read_history(backend)
    )
    return answer(shown.health_summary(health_of(health, history, status), health))


async def list_devices(request: web.Request) -> web.StreamResponse:
    """Describe every device and every lease."""
    query = read_query(request, PoolQuery)
    return answer(shown.devices(await read_status(request.app[BACKEND], query.pool)))


async def list_waiters(request: web.Request) -> web.StreamResponse:
    """List who waits, in the order in which they will be served as things stand."""
    query = read_query(request, PoolQuery)
    status = await read_status(request.app[BACKEND], query.pool)
    waiters = [shown.waiter(one) for one in status.waiters]
    return answer(answers.Waiters(waiters=waiters, waiter_count=status.waiter_count))


async def list_history(request: web.Request) -> web.StreamResponse:
    """List ended leases and waits, newest first."""
    query = read_query(request, HistoryQuery)
    backend = request.app[BACKEND]
    wanted = pb.ListHistoryRequest(pool=query.pool, page_size=query.page_size)
    found = await backend.read(backend.locks.ListHistory, wanted)
    return answer(answers.History(records=[shown.record(one) for one in found.records]))


async def get_lock_settings(request: web.Request) -> web.StreamResponse:
    """Show the settings in force (`gpu_lock`, `gpu_lock_monitor`)."""
    read_query(request, NoQuery)
    backend = request.app[BACKEND]
    found = await backend.read(backend.locks.GetConfiguration, pb.GetConfigurationRequest())
    return answer(shown.settings(found))


def _json_text(name: str, value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        raise InvalidArgument.at(f"/values/{name}", "is not a number that JSON has") from None


async def change_settings(request: web.Request, values: dict[str, Any]) -> pb.Configuration:
    """Change settings of the lock service, in the name of the caller."""
    backend = request.app[BACKEND]
    wanted = pb.UpdateConfigurationRequest(
        values={name: _json_text(name, value) for name, value in values.items()},
        source=f"rest:{principal(request).user}",
    )
    return await backend.change(backend.locks.UpdateConfiguration, wanted, service=GPULOCK)


async def change_lock_settings(request: web.Request) -> web.StreamResponse:
    """Change settings of every replica at once. 400 names the one that is wrong, and nothing has changed."""
    read_query(request, NoQuery)
    body = await read_body(request, LockSettingsBody)
    return answer(shown.settings(await change_settings(request, body.values)))


async def _pool_of(backend: Backend, name: str) -> str:
    """Find a device's pool: names are unique among all."""
    for device in (await read_status(backend)).devices:
        if device.device == name:
            return device.pool
    raise NotFound(f"there is no device {name!r}")


async def _drain(request: web.Request, *, undo: bool) -> web.StreamResponse:
    query = read_query(request, PoolQuery)
    body = await read_body(request, DrainBody, optional=True)
    backend, name = request.app[BACKEND], path_part(request, "device")
    pool = query.pool or await _pool_of(backend, name)
    wanted = pb.DrainDeviceRequest(pool=pool, device=name, undo=undo, reason=body.reason)
    found = await backend.change(backend.locks.DrainDevice, wanted, service=GPULOCK)
    return answer(shown.device(found))


async def drain_device(request: web.Request) -> web.StreamResponse:
    """Grant no more of a device. Its holders go on; idle models are asked to yield."""
    return await _drain(request, undo=False)


async def undrain_device(request: web.Request) -> web.StreamResponse:
    """Grant a drained device again."""
    return await _drain(request, undo=True)


async def force_release(backend: Backend, body: ReleaseLockBody, reason: str) -> answers.ForcedRelease:
    """Take leases from their holders; says so when there was none."""
    key = body.lock_key
    wanted = pb.ForceReleaseRequest(request_id=body.request_id, reason=reason)
    if not body.request_id:
        device = shown.named_device(await read_status(backend), key)
        wanted.pool, wanted.device = device.pool, device.device
        key = shown.lock_key(device.device)
    try:
        found = await backend.change(backend.locks.ForceRelease, wanted, service=GPULOCK)
        revoked = [lease.request_id for lease in found.revoked]
        devices = sorted({held.device for lease in found.revoked for held in lease.devices})
        key = shown.lock_key(*devices) or key
    except NotFound:
        if body.request_id:
            raise
        revoked = []
    message = (
        f"taken from {', '.join(revoked)}; the next is granted when its work is gone"
        if revoked
        else "nobody holds it"
    )
    return answers.ForcedRelease(
        success=bool(revoked), message=message, lock_key=key, task_name=body.task_name, revoked=revoked
    )


async def release_lock(request: web.Request) -> web.StreamResponse:
    """Take a lease from its holder, whose node kills the work; the next is granted when that is done, or the lease has expired.

    `success` is false when nobody holds the lock. 404 when a `request_id` is given that holds nothing.
    """
    read_query(request, NoQuery)
    body = await read_body(request, ReleaseLockBody)
    said = body.reason or "released by hand"
    return answer(
        await force_release(
            request.app[BACKEND], body, f"{said} ({body.task_name}, {principal(request).user})"
        )
    )


def _routes(base: str) -> tuple[Route, ...]:
    lock, one, operations = base + "/gpu-lock", base + "/gpu-lock/devices/{device}", Scope.OPERATIONS
    tag = "monitoring"
    return (
        Route(method="GET", path=lock + "/status", handler=lock_status, tag=tag, scope=operations,
              query=LockQuery, answers={200: answers.LockStatus}, faults=(404,)),
        Route(method="GET", path=lock + "/health", handler=lock_health, tag=tag, scope=operations,
              answers={200: lock_figures.LockHealthSummary}),
        Route(method="GET", path=lock + "/devices", handler=list_devices, tag=tag, scope=operations,
              query=PoolQuery, answers={200: answers.Devices}, faults=(404,)),
        Route(method="GET", path=lock + "/waiters", handler=list_waiters, tag=tag, scope=operations,
              query=PoolQuery, answers={200: answers.Waiters}, faults=(404,)),
        Route(method="GET", path=lock + "/history", handler=list_history, tag=tag, scope=operations,
              query=HistoryQuery, answers={200: answers.History}, faults=(404,)),
        Route(method="GET", path=lock + "/config", handler=get_lock_settings, tag=tag, scope=operations,
              answers={200: answers.LockSettings}),
        Route(method="PATCH", path=lock + "/config", handler=change_lock_settings, tag=tag, scope=operations,
              body=LockSettingsBody, answers={200: answers.LockSettings}, faults=(413,)),
        Route(method="POST", path=one + "/drain", handler=drain_device, tag=tag, scope=operations,
              query=PoolQuery, body=DrainBody, body_optional=True, answers={200: answers.DeviceInfo}, faults=(404, 413)),
        Route(method="DELETE", path=one + "/drain", handler=undrain_device, tag=tag, scope=operations,
              query=PoolQuery, answers={200: answers.DeviceInfo}, faults=(404, 413)),
        *(
            Route(method="POST", path=base + path, handler=release_lock, tag=tag, scope=operations,
                  body=ReleaseLockBody, answers={200: answers.ForcedRelease}, faults=(404, 413))
            for path in ("/gpu-lock/release", "/lock/release", "/release-lock")
        ),
    )  # fmt: skip


ROUTES = tuple(route for base in PREFIXES for route in _routes(base))
