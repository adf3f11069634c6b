"""A client of WorkflowService, and workflows for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from runtime.channel import open_channel
from runtime.rpc_errors import rpc_errors
from runtime.structs import to_struct
from tests.scheduler.conftest import RUNTIME, Client, Harness
from tests.scheduler.fake_node import FakeNode
from yivideo.task.v1 import task_pb2, workflow_pb2, workflow_pb2_grpc

State = task_pb2.TaskState


def task(
    key: str, source: str = "", name: str = "media.extract", after: tuple[str, ...] = (), **fields: Any
) -> workflow_pb2.WorkflowTask:
    """A task that takes its film from another, or has its own."""
    video = f"${{{{ {source}.output.audio_path }}}}" if source else "film.mp4"
    spec = task_pb2.TaskSpec(
        task_name=name, input=to_struct({"video_path": video}), depends_on=after, **fields
    )
    return workflow_pb2.WorkflowTask(key=key, spec=spec)


CHAIN = (
    task("audio"),
    task("left", "tasks.audio"),
    task("right", "tasks.audio"),
    task("end", after=("left", "right")),
)


@dataclass
class Flows:
    """A client of WorkflowService."""

    stub: workflow_pb2_grpc.WorkflowServiceAsyncStub
    client: Client

    async def submit(
        self, *tasks: workflow_pb2.WorkflowTask, workflow_id: str = "w", **fields: Any
    ) -> workflow_pb2.Workflow:
        spec = workflow_pb2.WorkflowSpec(workflow_id=workflow_id, tasks=tasks or CHAIN, **fields)
        async with rpc_errors():
            return await self.stub.SubmitWorkflow(workflow_pb2.SubmitWorkflowRequest(spec=spec))

    async def get(self, workflow_id: str = "w", user: str = "") -> workflow_pb2.Workflow:
        async with rpc_errors():
            return await self.stub.GetWorkflow(
                workflow_pb2.GetWorkflowRequest(workflow_id=workflow_id, user=user)
            )

    async def cancel(self, workflow_id: str = "w") -> workflow_pb2.Workflow:
        async with rpc_errors():
            return await self.stub.CancelWorkflow(
                workflow_pb2.CancelWorkflowRequest(workflow_id=workflow_id, reason="enough")
            )

    async def retry(self, *from_keys: str, workflow_id: str = "w") -> workflow_pb2.Workflow:
        async with rpc_errors():
            return await self.stub.RetryWorkflow(
                workflow_pb2.RetryWorkflowRequest(workflow_id=workflow_id, from_keys=from_keys)
            )

    async def watch(
        self, after: int = 0, workflow_id: str = "w"
    ) -> AsyncIterator[workflow_pb2.WorkflowEvent]:
        request = workflow_pb2.WatchWorkflowRequest(workflow_id=workflow_id, after_sequence=after)
        async with rpc_errors():
            call = self.stub.WatchWorkflow(request)
            try:
                async for event in call:
                    if not event.HasField("heartbeat"):
                        yield event
            finally:
                call.cancel()

    async def ended(self, after: int = 0, workflow_id: str = "w") -> list[workflow_pb2.WorkflowEvent]:
        """All events up to the end."""
        async with asyncio.timeout(15), aclosing(self.watch(after, workflow_id)) as events:  # type: ignore[type-var]
            return [event async for event in events]

    def states(self, workflow: workflow_pb2.Workflow) -> dict[str, str]:
        return {
            one.spec.task_id.removeprefix("w-"): State.Name(one.state).removeprefix("TASK_STATE_").lower()
            for one in workflow.tasks
        }


async def connect(harness: Harness, **settings: Any) -> Flows:
    client = await harness.scheduler(**settings)
    channel = await harness.stack.enter_async_context(open_channel(client.address, RUNTIME))
    return Flows(workflow_pb2_grpc.WorkflowServiceStub(channel), client)


async def finish(node: FakeNode, *keys: str, attempt: int = 1) -> None:
    for key in keys:
        await (await node.arrival(f"w-{key}", attempt)).complete({"audio_path": f"{key}.wav"})
