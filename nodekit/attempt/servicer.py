"""TaskService as a node offers it: unpacks requests, calls the attempt table, packs answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from nodekit.attempt.attempt import Attempt
from nodekit.attempt.attempts import AttemptTable
from nodekit.attempt.following import Following
from nodekit.attempt.past_attempt import PastAttempt
from nodekit.node import Node
from runtime import VERSION
from runtime.errors import InvalidArgument
from yivideo.task.v1 import task_pb2, task_pb2_grpc

MAX_GRACE_SECONDS = 60
_STATUS_SECONDS = 0.05
"""Least time between two reports of a replica's condition."""

Context = grpc.aio.ServicerContext[Any, Any]


class NodeServicer(task_pb2_grpc.TaskServiceServicer):
    """One replica's TaskService. What is not here answers UNIMPLEMENTED."""

    def __init__(self, node: Node, replica: str, attempts: AttemptTable, heartbeat_seconds: float) -> None:
        self._node = node
        self._replica = replica
        self._attempts = attempts
        self._heartbeat_seconds = heartbeat_seconds
        self._engines = node.engines()
        self._task_types = node.to_protos()
        self._etag = node.etag()
        self.closing = asyncio.Event()
        """Set when nothing is left to tell; WatchNode streams end on it."""

    async def RunTask(  # noqa: N802
        self, request: task_pb2.RunTaskRequest, context: Context
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        """Run an attempt, or attach to it."""
        attempt = self._attempts.attach_or_start(request)
        async for event in self._watch(attempt, request.after_sequence, context):
            yield event

    async def WatchTask(  # noqa: N802
        self, request: task_pb2.WatchTaskRequest, context: Context
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        """Follow an attempt that is here."""
        attempt = self._attempts.find(request.task_id)
        async for event in self._watch(attempt, request.after_sequence, context):
            yield event

    async def _watch(
        self, attempt: Attempt | PastAttempt, after_sequence: int, context: Context
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        watch = attempt.attach()
        # The callback is surer than a `finally`: a generator that is merely dropped is closed when Python gets round to it.
        context.add_done_callback(lambda _: watch.release())  # type: ignore[arg-type]  # the stub names a class
        async for event in watch.events(after_sequence):
            yield event

    async def FollowAttempts(  # noqa: N802
        self, requests: AsyncIterator[task_pb2.FollowAttemptsRequest], context: Context
    ) -> AsyncIterator[task_pb2.FollowAttemptsResponse]:
        """Run, attach to and follow any number of attempts."""
        following = Following(self._attempts, self._heartbeat_seconds)
        context.add_done_callback(lambda _: following.release())  # type: ignore[arg-type]  # see _watch
        obeying = asyncio.create_task(following.obey(requests))
        closing = asyncio.create_task(self._close(following))
        try:
            async for response in following.responses():
                yield response
        finally:
            following.release()
            obeying.cancel()
            closing.cancel()

    async def _close(self, following: Following) -> None:
        await self.closing.wait()
        following.close()

    async def GetTask(self, request: task_pb2.GetTaskRequest, context: Context) -> task_pb2.Task:  # noqa: N802
        """Describe a task that is here."""
        return self._attempts.find(request.task_id).to_proto()

    async def CancelTask(self, request: task_pb2.CancelTaskRequest, context: Context) -> task_pb2.Task:  # noqa: N802
        """Begin to stop a task; its `cancelled` event comes when its process tree is gone."""
        attempt = self._attempts.find(request.task_id, request.attempt, request.fence)
        grace = request.grace_seconds if request.HasField("grace_seconds") else None
        if grace is not None and not 0 <= grace <= MAX_GRACE_SECONDS:
            raise InvalidArgument.at("/grace_seconds", f"0 to {MAX_GRACE_SECONDS}")
        attempt.cancel(request.reason, grace)
        return attempt.to_proto()

    async def ListTaskTypes(  # noqa: N802
        self, request: task_pb2.ListTaskTypesRequest, context: Context
    ) -> task_pb2.ListTaskTypesResponse:
        """List this node's task types."""
        mine = request.node in ("", self._node.name)
        return task_pb2.ListTaskTypesResponse(task_types=self._task_types if mine else [])

    async def WatchNode(  # noqa: N802
        self, request: task_pb2.WatchNodeRequest, context: Context
    ) -> AsyncIterator[task_pb2.NodeStatus]:
        """Stream the replica's condition: at once, at every change, and as often as a heartbeat.

        Changes that follow each other closely are told together: the scheduler that brought them about knows them already, and
        to the others the slots of short tasks are news too old to use.
        """
        while not self.closing.is_set():
            changed = self._attempts.changed
            yield self._status()
            if not self._attempts.draining:
                await asyncio.sleep(_STATUS_SECONDS)
            waiters = [asyncio.create_task(event.wait()) for event in (changed, self.closing)]
            try:
                await asyncio.wait(
                    waiters, timeout=self._heartbeat_seconds, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                for waiter in waiters:
                    waiter.cancel()

    def _status(self) -> task_pb2.NodeStatus:
        attempts = self._attempts
        return task_pb2.NodeStatus(
            node=self._node.name,
            replica=self._replica,
            slots=attempts.slots,
            free_slots=attempts.free_slots,
            draining=attempts.draining,
            attempts=[attempt.to_running() for attempt in attempts.unread()],
            engines=self._engines,
            warm_models=attempts.warm_models,
            task_types_etag=self._etag,
            version=VERSION,
        )
