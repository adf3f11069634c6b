"""What can be done with workflows beyond single calls: wait for their end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass

from gateway.clients.backend import Backend
from gateway.clients.workflow_watch import WorkflowWatch
from gateway.use.slots import StreamSlots
from gateway.use.states import TERMINAL
from gateway.use.viewer import Viewer
from runtime.errors import YiVideoError
from yivideo.task.v1 import workflow_pb2


@dataclass(frozen=True, slots=True)
class SeenWorkflow:
    """A workflow as it is, and whether a wish to wait for its end was granted."""

    workflow: workflow_pb2.Workflow
    waited: bool = False
    """It has ended, or the time has passed. False: not asked for, or nobody here could wait."""

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self.workflow.state in TERMINAL


def only_user(viewer: Viewer) -> str:
    """Return whose workflows a caller may see; empty: everybody's."""
    return "" if viewer.sees_all_tasks else viewer.user


class Workflows:
    """The workflows of this installation."""

    def __init__(self, backend: Backend, slots: StreamSlots) -> None:
        self._backend = backend
        self._slots = slots
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Wait for nothing any longer: this process goes away."""
        self._draining.set()

    async def own(self, viewer: Viewer, workflow_id: str) -> workflow_pb2.Workflow:
        """Return a workflow that the caller may see; raises WorkflowNotFound."""
        wanted = workflow_pb2.GetWorkflowRequest(workflow_id=workflow_id, user=only_user(viewer))
        return await self._backend.read(self._backend.workflows.GetWorkflow, wanted)

    async def wait(self, viewer: Viewer, workflow: workflow_pb2.Workflow, seconds: float) -> SeenWorkflow:
        """Wait until a workflow has ended, `seconds` have passed, or this process drains. The answer keeps `Workflow.reuse`.

        Tasks that were submitted one by one under one id have no end together: they are not waited for.
        """
        if workflow.state in TERMINAL or seconds <= 0 or not workflow.last_sequence or self._slots.full:
            return SeenWorkflow(workflow)
        workflow_id = workflow.spec.workflow_id
        watch = WorkflowWatch(self._backend, workflow_id, only_user(viewer), workflow.last_sequence)
        with self._slots.take():
            ended = asyncio.ensure_future(_until_end(watch))
            drained = asyncio.ensure_future(self._draining.wait())
            try:
                await asyncio.wait((ended, drained), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in (ended, drained):
                    one.cancel()
                await asyncio.gather(ended, drained, return_exceptions=True)
        later = await self.own(viewer, workflow_id)
        if workflow.HasField("reuse"):
            later.reuse.CopyFrom(workflow.reuse)
        return SeenWorkflow(later, waited=True)


async def _until_end(watch: WorkflowWatch) -> None:
    # Of an error the answer is read from the workflow's record next, which says what is wrong.
    with suppress(YiVideoError):
        async with aclosing(watch.events()) as events:
            async for _ in events:
                pass
