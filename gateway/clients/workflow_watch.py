"""Follows one workflow's events, across restarts of the scheduler, so that whoever reads them does not notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc

from gateway.clients.backend import Backend
from gateway.clients.reconnect import Pause, Reconnect
from runtime.errors import Unavailable
from runtime.rpc_errors import rpc_errors
from yivideo.task.v1 import workflow_pb2

_SILENCE_SECONDS = 60.0
"""Four of the scheduler's heartbeats."""


class WorkflowWatch:
    """One position in one workflow's history: a WatchWorkflow call, made again behind the last event whenever it breaks."""

    def __init__(
        self,
        backend: Backend,
        workflow_id: str,
        user: str,
        after_sequence: int,
        *,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._backend = backend
        self._workflow_id = workflow_id
        self._user = user
        self._reconnect = Reconnect(pause)
        self.sequence = after_sequence
        """Sequence up to which everything was handed out, or told to be gone."""

    async def events(self) -> AsyncGenerator[workflow_pb2.WorkflowEvent]:
        """Yield each event once, in order, until the workflow has ended, or at once the end when nothing follows the position.

        Raises WorkflowNotFound, and Unavailable when the scheduler stays away.
        """
        while True:
            try:
                async with aclosing(self._follow()) as following:
                    async for event in following:
                        self._reconnect.reset()
                        yield event
                return
            except Unavailable as error:
                await self._reconnect.after(error)

    async def _follow(self) -> AsyncGenerator[workflow_pb2.WorkflowEvent]:
        request = workflow_pb2.WatchWorkflowRequest(
            workflow_id=self._workflow_id, after_sequence=self.sequence, user=self._user
        )
        call = self._backend.workflows.WatchWorkflow(request)
        try:
            async with rpc_errors():
                while True:
                    try:
                        async with asyncio.timeout(_SILENCE_SECONDS):
                            event: Any = await call.read()
                    except TimeoutError:
                        raise Unavailable("the scheduler is silent") from None
                    if event is grpc.aio.EOF:
                        return
                    self._move_to(event)
                    yield event
        finally:
            call.cancel()

    def _move_to(self, event: workflow_pb2.WorkflowEvent) -> None:
        if not event.HasField("gap"):
            self.sequence = max(self.sequence, event.sequence)
        elif event.gap.last_missing_sequence:
            self.sequence = max(self.sequence, event.gap.last_missing_sequence)
        else:  # the position never was
            self.sequence = event.gap.snapshot.last_sequence
