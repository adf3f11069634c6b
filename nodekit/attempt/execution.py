"""The execution of one attempt: a context, the task function in it, its result. Knows no events and no watchers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodekit.attempt.assignment import Assignment
from nodekit.attempt.progress import ProgressReporter
from nodekit.context import Equipment, TaskContext
from nodekit.failure import TaskFailed
from nodekit.gpu.lease_client import LeaseClient
from nodekit.gpu.use import GpuUse
from nodekit.gpu.warm import WarmShelf
from nodekit.media.files import Files, Store
from nodekit.media.media_in import MediaIn
from nodekit.media.media_out import MediaOut
from nodekit.process.child import Family
from nodekit.process.worker import WorkerPool
from nodekit.settings import NodeSection
from runtime.structs import to_struct
from yivideo.task.v1 import task_pb2

MAX_OUTPUT_BYTES = 1024 * 1024
"""Largest output, serialised; what is larger belongs into a stored file."""


@dataclass(frozen=True)
class Workshop:
    """What all attempts of one replica share."""

    node: str
    replica: str
    settings: NodeSection
    store: Store
    media_in: Callable[[Files], MediaIn]
    workers: WorkerPool
    lease_client: LeaseClient
    shelf: WarmShelf
    scratch: Path
    threads: int = 1


class Execution:
    """Runs one task function. `run` may be cancelled; `clear` must be called afterwards, whatever happened."""

    def __init__(
        self,
        assignment: Assignment,
        workshop: Workshop,
        number: int,
        emit: Callable[[task_pb2.TaskEvent], None],
    ) -> None:
        self._assignment = assignment
        self._folder = workshop.scratch / str(number)
        self._family = Family(f"{workshop.replica}/{number}/", workshop.settings.kill_grace_seconds)
        files = workshop.store.of_task(assignment.spec)
        self._media_out = MediaOut(files, assignment.spec.task_id, assignment.attempt)
        loop = asyncio.get_running_loop()
        self._progress = ProgressReporter(
            lambda progress: emit(task_pb2.TaskEvent(progress=progress)),
            clock=loop.time,
            call_later=loop.call_later,
        )
        self._gpu = GpuUse(
            workshop.lease_client,
            assignment.spec,
            assignment.attempt,
            declared=assignment.definition.gpu,
            family=self._family,
            emit=emit,
            progress=self._progress,
        )
        self.checkpoint = assignment.checkpoint
        """What the attempt has saved last."""
        self._context = TaskContext(
            assignment.spec,
            assignment.attempt,
            assignment.checkpoint,
            Equipment(
                settings=workshop.settings,
                media_in=workshop.media_in(files),
                media_out=self._media_out,
                family=self._family,
                workers=workshop.workers,
                folder=self._folder,
                progress=self._progress,
                gpu=self._gpu,
                shelf=workshop.shelf,
                threads=workshop.threads,
                emit=emit,
                saved=self._save,
            ),
        )

    def _save(self, data: dict[str, Any]) -> None:
        self.checkpoint = data

    def set_grace(self, seconds: float) -> None:
        """Set the time between SIGTERM and SIGKILL for what is running."""
        self._family.grace_seconds = seconds

    async def run(self) -> task_pb2.TaskCompleted:
        """Run the task function and describe its result. Raises what the function raises."""
        definition = self._assignment.definition
        output = await definition.function(self._assignment.request, self._context)
        if not isinstance(output, definition.output_model):
            raise TypeError(f"{definition.name} returned {type(output).__name__}")
        plain = await self._media_out.with_urls(output.model_dump(mode="json"), definition.output_media)
        struct = to_struct(plain)
        if struct.ByteSize() > MAX_OUTPUT_BYTES:
            raise TaskFailed(
                "OUTPUT_TOO_LARGE", "the task's output has more than 1 MiB; it should store a file"
            )
        self._gpu.check()
        return task_pb2.TaskCompleted(
            output=struct, files=self._media_out.listing(), skipped=self._context.skipped
        )

    async def clear(self, *, keep_outputs: bool) -> None:
        """End what is left of the processes, remove scratch files and, unless kept, the stored outputs; send the last progress."""
        await self._family.end()
        if not keep_outputs:
            await self._media_out.discard()
        if self._folder.exists():
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        self._progress.flush()
        # It refers to us, and an ended attempt is kept a while: without this, only the garbage collector would part them.
        del self._context
