# ruff: noqa: N802 - the contract names the methods
"""LockMonitor: unpacks a request, asks one part, packs the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from gpulock.lease.configuration_store import ConfigurationStore, Stored
from gpulock.lease.lessor import Lessor
from gpulock.monitor.report import Report
from gpulock.monitor.watching import LockWatch
from runtime.errors import InvalidArgument, NotFound
from runtime.rpc_errors import clip
from yivideo.gpulock.v1 import monitor_pb2, monitor_pb2_grpc

_TEXT_BYTES = 500
_DEFAULT_PAGE, _MAX_PAGE = 100, 1000


class MonitorServicer(monitor_pb2_grpc.LockMonitorServicer):
    """The lock service's face to monitors and operators."""

    def __init__(
        self, lessor: Lessor, report: Report, watch: LockWatch, configuration: ConfigurationStore
    ) -> None:
        self._lessor = lessor
        self._report = report
        self._watch = watch
        self._configuration = configuration

    async def GetStatus(
        self, request: monitor_pb2.GetStatusRequest, context: Any
    ) -> monitor_pb2.GetStatusResponse:
        """Describe devices, holders and waiters."""
        return await self._report.status(request.pool)

    async def GetStatistics(
        self, request: monitor_pb2.GetStatisticsRequest, context: Any
    ) -> monitor_pb2.Statistics:
        """Sum up."""
        return await self._report.statistics(request.pool)

    async def ListHistory(
        self, request: monitor_pb2.ListHistoryRequest, context: Any
    ) -> monitor_pb2.ListHistoryResponse:
        """List ended waits and leases."""
        if not 0 <= request.page_size <= _MAX_PAGE:
            raise InvalidArgument.at("/page_size", f"must be 1 to {_MAX_PAGE}")
        records = await self._report.history(request.pool, request.page_size or _DEFAULT_PAGE)
        return monitor_pb2.ListHistoryResponse(records=records)

    async def GetHealth(
        self, request: monitor_pb2.GetHealthRequest, context: Any
    ) -> monitor_pb2.GetHealthResponse:
        """Judge the figures."""
        return await self._report.health(request.pool)

    async def WatchLocks(
        self, request: monitor_pb2.WatchLocksRequest, context: Any
    ) -> AsyncIterator[monitor_pb2.LockEvent]:
        """Stream changes."""
        self._report.check_pool(request.pool)
        async with aclosing(self._watch.watch(request.pool, request.after_event_id)) as events:
            async for event in events:
                yield event

    async def GetConfiguration(
        self, request: monitor_pb2.GetConfigurationRequest, context: Any
    ) -> monitor_pb2.Configuration:
        """Return the settings in force."""
        return _to_configuration(self._configuration.current)

    async def UpdateConfiguration(
        self, request: monitor_pb2.UpdateConfigurationRequest, context: Any
    ) -> monitor_pb2.Configuration:
        """Replace settings."""
        if not request.values:
            raise InvalidArgument.at("/values", "must name a setting")
        source = clip(request.source, 200) or "call"
        return _to_configuration(await self._configuration.update(dict(request.values), source))

    async def DrainDevice(self, request: monitor_pb2.DrainDeviceRequest, context: Any) -> monitor_pb2.Device:
        """Grant no more of a device, or do again."""
        pool = request.pool or "default"
        reason = clip(request.reason, _TEXT_BYTES)
        await self._lessor.drain_device(pool, request.device, undo=request.undo, reason=reason)
        return await self._report.device(pool, request.device)

    async def ForceRelease(
        self, request: monitor_pb2.ForceReleaseRequest, context: Any
    ) -> monitor_pb2.ForceReleaseResponse:
        """Take a lease from its holder."""
        if not request.reason.strip():
            raise InvalidArgument.at("/reason", "must say why")
        if not request.request_id and not request.device:
            raise InvalidArgument.at("/request_id", "name a request or a device")
        records = await self._lessor.force_release(
            request.request_id, request.pool or "default", request.device, clip(request.reason, _TEXT_BYTES)
        )
        if not records:
            raise NotFound("there is no such lease")
        now_us = max(record.beat_us for record in records)
        return monitor_pb2.ForceReleaseResponse(revoked=self._report.leases(records, now_us))

    async def GetWatcher(self, request: monitor_pb2.GetWatcherRequest, context: Any) -> monitor_pb2.Watcher:
        """Describe the watcher over holders."""
        return await self._report.watcher()


def _to_configuration(stored: Stored) -> monitor_pb2.Configuration:
    return monitor_pb2.Configuration(
        values=stored.configuration.values(), version=stored.version, source=stored.source
    )
