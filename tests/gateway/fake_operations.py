"""The part of the tests' TaskService that operators use, and what every call of it does first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from results.states import TERMINAL
from runtime import context as ids
from runtime import errors
from yivideo.task.v1 import task_pb2 as pb
from yivideo.task.v1.task_pb2_grpc import TaskServiceServicer


class FakeOperations(TaskServiceServicer):
    """Tasks, and what operators see of them."""

    def __init__(self) -> None:
        self.tasks: dict[str, pb.Task] = {}
        self.fail: errors.YiVideoError | None = None
        """Raised by every call while set."""
        self.dead: dict[str, pb.Task] = {}
        self.deliveries = pb.ListDeliveriesResponse()
        self.attempts = pb.ListAttemptsResponse()
        self.log = pb.GetTaskLogResponse()
        self.feed: list[pb.WatchEventsResponse] = []
        self.feed_breaks = False
        """Whether WatchEvents breaks off with UNAVAILABLE when everything was told."""
        self.requests: list[Any] = []
        """Every request, in order."""
        self.request_ids: list[str] = []

    def _enter(self, request: Any) -> None:
        self.requests.append(request)
        self.request_ids.append(ids.request_id.get())
        if self.fail is not None:
            raise self.fail

    def _find(self, task_id: str) -> pb.Task:
        if task_id not in self.tasks:
            raise errors.TaskNotFound(f"no task {task_id!r}")
        return self.tasks[task_id]

    async def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: Any
    ) -> pb.ListDeliveriesResponse:
        """List deliveries."""
        self._enter(request)
        self._find(request.task_id)
        return self.deliveries

    async def RedeliverCallback(self, request: pb.RedeliverCallbackRequest, context: Any) -> pb.Task:
        """Deliver again."""
        self._enter(request)
        task = self._find(request.task_id)
        if task.state not in TERMINAL:
            raise errors.WrongState("the task has not ended")
        task.callback_status = pb.CALLBACK_STATUS_PENDING
        return task

    async def ListQueues(self, request: pb.ListQueuesRequest, context: Any) -> pb.ListQueuesResponse:
        """Describe the queues."""
        self._enter(request)
        return pb.ListQueuesResponse(
            queues=[
                pb.Queue(
                    node="ffmpeg", ready_count=3, running_count=2, oldest_wait_seconds=1.25, slot_count=2
                )
            ]
        )

    async def ListDeadLetters(
        self, request: pb.ListDeadLettersRequest, context: Any
    ) -> pb.ListDeadLettersResponse:
        """List dead letters."""
        self._enter(request)
        return pb.ListDeadLettersResponse(tasks=self.dead.values())

    async def ReplayDeadLetter(self, request: pb.ReplayDeadLetterRequest, context: Any) -> pb.Task:
        """Put a dead letter back."""
        self._enter(request)
        if request.task_id not in self.dead:
            raise errors.TaskNotFound("it is not a dead letter")
        task = self.dead.pop(request.task_id)
        task.state = pb.TASK_STATE_PENDING
        return task

    async def ListAttempts(self, request: pb.ListAttemptsRequest, context: Any) -> pb.ListAttemptsResponse:
        """List attempts."""
        self._enter(request)
        self._find(request.task_id)
        return self.attempts

    async def GetTaskLog(self, request: pb.GetTaskLogRequest, context: Any) -> pb.GetTaskLogResponse:
        """Return lines."""
        self._enter(request)
        self._find(request.task_id)
        return self.log

    async def PingCallback(self, request: pb.PingCallbackRequest, context: Any) -> pb.Delivery:
        """Try an address."""
        self._enter(request)
        delivery = pb.Delivery(attempt=1, http_status=204, duration_seconds=0.1, webhook_id="msg_ping_1")
        delivery.time.GetCurrentTime()
        return delivery

    async def WatchEvents(
        self, request: pb.WatchEventsRequest, context: Any
    ) -> AsyncIterator[pb.WatchEventsResponse]:
        """Tell what the test has put into the feed, from a cursor on, then break off."""
        self._enter(request)
        yield pb.WatchEventsResponse(cursor=request.after_cursor or "1-0", gap=request.after_cursor == "0-1")
        for told in self.feed:
            if not request.after_cursor or told.cursor > request.after_cursor:
                yield told
        await asyncio.sleep(0 if self.feed_breaks else 3600)
        raise errors.Draining("this scheduler is going away")
