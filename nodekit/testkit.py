"""Test kit: runs a node in a test over real gRPC, in a few lines.

    async with NodeUnderTest(node, tmp_path) as under_test:
        result = await under_test.run("ffmpeg.extract_audio", {"video_path": str(video)})
        assert result.file("audio_path").stat().st_size > 44

Everything is real but the neighbours: the server, the streams, the child processes. Outputs land in a folder of the test.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from nodekit.gpu.local import LocalLocks
from nodekit.gpu.session import LockSession
from nodekit.gpu.settings import GpuDevice, GpuSection
from nodekit.node import Node
from nodekit.replica import Replica
from nodekit.settings import NodeSection, NodeSettings
from runtime.channel import open_channel
from runtime.rpc_errors import rpc_errors
from runtime.settings import RuntimeSection
from runtime.streamed import streamed
from runtime.structs import from_struct, to_struct
from yivideo.gpulock.v1 import lock_pb2
from yivideo.task.v1 import task_pb2, task_pb2_grpc

RUN_SECONDS = 60.0
"""How long `run` waits for the end when the test does not say."""


@dataclass(frozen=True)
class TaskResult:
    """How a task ended: `outcome` is `completed`, `failed`, `cancelled` or `handed_back`."""

    outcome: str
    output: dict[str, Any]
    """The output; empty unless completed."""
    error: task_pb2.TaskError
    """Why it failed; empty unless failed."""
    files: tuple[task_pb2.OutputFile, ...]
    """The stored files."""
    events: tuple[task_pb2.TaskEvent, ...]
    """Every event in order, heartbeats too."""
    root: Path = field(repr=False)
    """Folder that object paths are relative to."""

    def file(self, output_field: str) -> Path:
        """Return the local file, or folder, that an output field names."""
        return self.root / str(self.output[output_field])

    def percents(self) -> list[float]:
        """Return the progress percentages in order."""
        return [event.progress.percent for event in self.events if event.HasField("progress")]

    def gpu_positions(self) -> list[int]:
        """Return the places in the queue for a GPU that watchers were shown, in order; 0: not known."""
        return [event.waiting_for_gpu.position for event in self.events if event.HasField("waiting_for_gpu")]

    def logs(self) -> list[str]:
        """Return the log lines in order."""
        return [event.log.message for event in self.events if event.HasField("log")]


class NodeUnderTest:
    """One replica of a node for the time of an `async with` block.

    `folder` (pytest's tmp_path) gets the outputs and the scratch files; files below it, and below `allowed_roots`, can be
    inputs. `gpu_mib` gives the node devices `gpu-0`, `gpu-1`, … with so much memory, arbitrated for real although there is no
    card; `gpu` is the whole settings section instead; with neither the node is set to CPU. Further keyword arguments are fields
    of NodeSection, for example `slots=2` or `orphan_seconds=0.2`.
    """

    def __init__(
        self,
        node: Node,
        folder: Path,
        *,
        allowed_roots: tuple[Path, ...] = (),
        drain_seconds: float = 0.0,
        gpu_mib: Sequence[int] = (),
        gpu: GpuSection | None = None,
        **settings: Any,
    ) -> None:
        self.root = folder / "outputs"
        """Folder that object paths are relative to."""
        fields: dict[str, Any] = {
            "output_root": self.root,
            "work_root": folder / "work",
            "allowed_roots": (folder, *allowed_roots),
            "kill_grace_seconds": 0.5,
            **settings,
        }
        self._settings = NodeSettings(
            runtime=RuntimeSection(metrics_listen="", drain_seconds=drain_seconds),
            node=NodeSection(**fields),
            gpu=gpu or GpuSection(mode="cpu", guard_root=folder / "guard"),
        )
        devices = [
            GpuDevice(name=f"gpu-{place}", visible=str(place), memory_mib=mib)
            for place, mib in enumerate(gpu_mib)
        ]
        self.locks = LocalLocks(devices)
        """Arbitrates the devices of `gpu_mib`; `ask_back` and `take_back` do to their holders what an operator can."""
        self.replica = Replica(node, self._settings, self.locks.open if devices else None)
        self._stack = AsyncExitStack()
        self.address = ""
        """`host:port` of the node's server."""
        self.stub: task_pb2_grpc.TaskServiceAsyncStub
        """The node's TaskService, for calls that the test kit has no method for."""

    async def __aenter__(self) -> Self:
        self.address = await self._stack.enter_async_context(self.replica.running())
        channel: grpc.aio.Channel = open_channel(self.address, self._settings.runtime)
        self._stack.push_async_callback(channel.close)
        self.stub = task_pb2_grpc.TaskServiceStub(channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Drain the node as SIGTERM would, and end it; leaving the block does it too."""
        await self._stack.aclose()

    async def events(self, request: task_pb2.RunTaskRequest) -> AsyncIterator[task_pb2.TaskEvent]:
        """Call RunTask; gives its events. Raises the runtime error that the node answers."""
        async with rpc_errors():
            with streamed(self.stub.RunTask(request)) as call:
                async for event in call:
                    yield event

    async def run(
        self,
        task_name: str,
        task_input: Mapping[str, Any],
        *,
        wait_seconds: float = RUN_SECONDS,
        on_event: Callable[[task_pb2.TaskEvent], None] = lambda _: None,
        **request: Any,
    ) -> TaskResult:
        """Run a task to its end, whatever that is. Raises TimeoutError after `wait_seconds`, InvalidInput for a bad input.

        Further keyword arguments are fields of RunTaskRequest (`attempt`, `fence`, …) or of TaskSpec (`task_id`, …).
        """
        seen: list[task_pb2.TaskEvent] = []
        async with asyncio.timeout(wait_seconds):
            async for event in self.events(to_request(task_name, task_input, **request)):
                seen.append(event)
                on_event(event)
        return _result(seen, self.root)

    @asynccontextmanager
    async def gpu_taken(self, *, memory_mib: int = 0, device: str = "") -> AsyncIterator[None]:
        """Hold memory of a device of `gpu_mib` for the time of the block, so that tasks have to wait for it."""
        hello = lock_pb2.Hello(client_id="test")
        session = LockSession(self.locks.open, hello, margin_seconds=0, unreachable_seconds=RUN_SECONDS)
        try:
            request = lock_pb2.Acquire(
                request_id=f"test-{uuid.uuid4()}", device=device, memory_mib=memory_mib
            )
            holding = await session.acquire(request, lambda *_: None)
            try:
                yield
            finally:
                await session.release(holding, lock_pb2.RELEASE_REASON_NORMAL)
        finally:
            await session.aclose()

    async def cancel(
        self, task_id: str, *, reason: str = "", grace_seconds: float | None = None, attempt: int = 0
    ) -> task_pb2.Task:
        """Cancel a task; its own stream tells when it is gone."""
        request = task_pb2.CancelTaskRequest(
            task_id=task_id, reason=reason, grace_seconds=grace_seconds, attempt=attempt
        )
        async with rpc_errors():
            return await self.stub.CancelTask(request)


def to_request(task_name: str, task_input: Mapping[str, Any], **fields: Any) -> task_pb2.RunTaskRequest:
    """Return a RunTaskRequest; fields go to the request or, where it has none of that name, to its spec."""
    request = task_pb2.RunTaskRequest()
    own = {name: fields.pop(name) for name in list(fields) if name in request.DESCRIPTOR.fields_by_name}
    if "checkpoint" in own:
        own["checkpoint"] = to_struct(own["checkpoint"])
    spec = task_pb2.TaskSpec(task_name=task_name, input=to_struct(task_input), **fields)
    return task_pb2.RunTaskRequest(spec=spec, **own)


def _result(events: list[task_pb2.TaskEvent], root: Path) -> TaskResult:
    last = events[-1]
    return TaskResult(
        outcome=last.WhichOneof("event") or "",
        output=from_struct(last.completed.output),
        error=last.failed.error,
        files=tuple(last.completed.files),
        events=tuple(events),
        root=root,
    )
