# ruff: noqa: N802 - the contract names the methods
"""ExternalScaler: tells KEDA how many replicas of a node there is work for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from runtime.errors import InvalidArgument
from scheduler.api.node_load import NodeLoads
from scheduler.api.until_draining import until_draining
from yivideo.keda.v1 import external_scaler_pb2, external_scaler_pb2_grpc

_MOST_PER_REPLICA = 256


class ScalerServicer(external_scaler_pb2_grpc.ExternalScalerServicer):
    """The scheduler's face to KEDA."""

    def __init__(self, loads: NodeLoads, draining: asyncio.Event) -> None:
        self._loads = loads
        self._draining = draining

    async def IsActive(
        self, request: external_scaler_pb2.ScaledObjectRef, context: Any
    ) -> external_scaler_pb2.IsActiveResponse:
        """Tell whether a node should have a replica."""
        load = await self._loads.of(_node(request.scaler_metadata))
        return external_scaler_pb2.IsActiveResponse(result=load.active)

    async def StreamIsActive(
        self, request: external_scaler_pb2.ScaledObjectRef, context: Any
    ) -> AsyncIterator[external_scaler_pb2.IsActiveResponse]:
        """Tell it as it changes."""
        feed = self._loads.follow(_node(request.scaler_metadata))
        async with aclosing(until_draining(feed, self._draining)) as changes:
            async for active in changes:
                yield external_scaler_pb2.IsActiveResponse(result=active)

    async def GetMetricSpec(
        self, request: external_scaler_pb2.ScaledObjectRef, context: Any
    ) -> external_scaler_pb2.GetMetricSpecResponse:
        """Name a node's figure, and how much of it is for one replica."""
        node, size = _node(request.scaler_metadata), _per_replica(request.scaler_metadata)
        await self._loads.of(node)
        spec = external_scaler_pb2.MetricSpec(
            metric_name=_metric(node), target_size=size, target_size_float=size
        )
        return external_scaler_pb2.GetMetricSpecResponse(metric_specs=[spec])

    async def GetMetrics(
        self, request: external_scaler_pb2.GetMetricsRequest, context: Any
    ) -> external_scaler_pb2.GetMetricsResponse:
        """Count a node's ready and running tasks."""
        node = _node(request.scaled_object_ref.scaler_metadata)
        if request.metric_name not in ("", _metric(node)):
            raise InvalidArgument.at("/metricName", f"the node {node} has the figure {_metric(node)} alone")
        tasks = (await self._loads.of(node)).tasks
        value = external_scaler_pb2.MetricValue(
            metric_name=_metric(node), metric_value=tasks, metric_value_float=tasks
        )
        return external_scaler_pb2.GetMetricsResponse(metric_values=[value])


def _node(metadata: Mapping[str, str]) -> str:
    node = metadata.get("node", "")
    if not node:
        raise InvalidArgument.at(
            "/scalerMetadata/node", "the trigger's metadata must name a node, for example node: ffmpeg"
        )
    return node


def _per_replica(metadata: Mapping[str, str]) -> int:
    text = metadata.get("tasksPerReplica", "1")
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= _MOST_PER_REPLICA):
        raise InvalidArgument.at(
            "/scalerMetadata/tasksPerReplica", f"must be a number from 1 to {_MOST_PER_REPLICA}"
        )
    return int(text)


def _metric(node: str) -> str:
    return f"yivideo-tasks-{node.replace('_', '-')}"
