"""What a law is judged with: calls to one node as a scheduler makes them, and the task that the node was asked to run for it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from nodekit.conformance.followed_stream import FollowedStream, Watch
from runtime.channel import open_channel
from runtime.settings import RuntimeSection
from runtime.structs import to_struct
from yivideo.task.v1 import task_pb2, task_pb2_grpc


@dataclass(frozen=True)
class Example:
    """A task that the node can run."""

    task_name: str = ""
    """Empty: laws that need one are not judged."""
    task_input: Mapping[str, Any] = field(default_factory=dict)
    """An input with which it completes."""
    long_input: Mapping[str, Any] | None = None
    """An input with which it runs for a minute or more; None: laws on stopping are not judged."""
    run_seconds: float = 60.0
    """How long it may take to complete."""


class NodeCaller:
    """One node, called as a scheduler calls it."""

    def __init__(
        self,
        address: str,
        runtime: RuntimeSection,
        example: Example,
        *,
        orphan_seconds: float = 15.0,
        beat_seconds: float = 5.0,
        patience_seconds: float = 10.0,
    ) -> None:
        self.address = address
        self.runtime = runtime
        self.example = example
        self.orphan_seconds = orphan_seconds
        """How long the node keeps an attempt that nobody watches."""
        self.beat_seconds = beat_seconds
        """How often it must say that it lives."""
        self.patience_seconds = patience_seconds
        """How long it may take to do what takes no time."""
        self._channel = open_channel(address, runtime)
        self.stub: task_pb2_grpc.TaskServiceAsyncStub = task_pb2_grpc.TaskServiceStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self._fences = count(time.time_ns() // 1000)

    async def aclose(self) -> None:
        """Close the channel."""
        await self._channel.close()

    def next_fence(self) -> int:
        """Return a fence that is greater than all before it."""
        return next(self._fences)

    def request(
        self, task_id: str = "", *, long: bool = False, task_name: str = "", **fields: Any
    ) -> task_pb2.RunTaskRequest:
        """Return a request to start the example; fields are RunTaskRequest's, `input` and `timeout_seconds` the spec's."""
        chosen = self.example.long_input if long else self.example.task_input
        given = fields.pop("input", chosen or {})
        spec = task_pb2.TaskSpec(
            task_id=task_id or f"conformance-{uuid.uuid4()}",
            task_name=task_name or self.example.task_name,
            input=to_struct(given),
            user="conformance",
            timeout_seconds=fields.pop("timeout_seconds", 0),
        )
        fields = {"attempt": 1, "fence": self.next_fence(), **fields}
        return task_pb2.RunTaskRequest(spec=spec, **fields)

    def stream(self) -> FollowedStream:
        """Open a FollowAttempts stream."""
        return FollowedStream(self.stub)

    @asynccontextmanager
    async def running(
        self, *requests: task_pb2.RunTaskRequest
    ) -> AsyncIterator[tuple[FollowedStream, list[Watch]]]:
        """Start attempts and have them running in the block; afterwards what is left of them is cancelled and gone."""
        async with self.stream() as stream:
            watches = await stream.follow(*requests)
            try:
                for watch in watches:
                    await watch.begun()
                yield stream, watches
            finally:
                for watch in watches:
                    if watch.end is None:
                        await self.cancel_status(task_id=watch.request.spec.task_id, grace_seconds=0)
                for watch in watches:
                    if watch.end is None:
                        await watch.over(self.patience_seconds)

    async def cancel_status(self, **fields: Any) -> str:
        """Call CancelTask; gives the name of the status code."""
        try:
            await self.stub.CancelTask(task_pb2.CancelTaskRequest(**fields), timeout=self.patience_seconds)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    async def condition(self) -> task_pb2.NodeStatus:
        """Return the node's condition as WatchNode tells it first. Raises AioRpcError, TimeoutError by the call's deadline."""
        call = self.stub.WatchNode(task_pb2.WatchNodeRequest(), timeout=self.patience_seconds)
        try:
            status = await call.read()
        finally:
            call.cancel()
        return status if isinstance(status, task_pb2.NodeStatus) else task_pb2.NodeStatus()

    async def task_types(self) -> list[task_pb2.TaskType]:
        """Return what the node publishes. Raises AioRpcError."""
        answer = await self.stub.ListTaskTypes(task_pb2.ListTaskTypesRequest(), timeout=self.patience_seconds)
        return list(answer.task_types)

    async def input_schema(self) -> dict[str, Any]:
        """Return the example's schema; empty when there is none."""
        for kind in await self.task_types():
            if kind.name == self.example.task_name and kind.input_schema:
                schema: dict[str, Any] = json.loads(kind.input_schema)
                return schema
        return {}

    async def health(self, service: str) -> str:
        """Return what the health service says, or the status code that it refuses with."""
        try:
            answer = await self._health.Check(
                health_pb2.HealthCheckRequest(service=service), timeout=self.patience_seconds
            )
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
