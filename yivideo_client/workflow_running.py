"""What follows a workflow's submission, over whatever its calls speak: its end, and the files that it made."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from yivideo_client.errors import WorkflowCancelled, WorkflowFailed
from yivideo_client.models import Event, StoredFile
from yivideo_client.running import FileCalls, local_path
from yivideo_client.together import together
from yivideo_client.workflow_models import Workflow, WorkflowTask

_PARALLEL_FILES = 4


class RunningWorkflows:
    """What can be done where workflows are watched and waited for, and files fetched."""

    _files: FileCalls

    def watch(self, workflow_id: str, after: int = 0) -> AsyncIterator[Event]:
        """Yield the events of a workflow and all of its tasks, until it has ended."""
        raise NotImplementedError

    async def wait(self, workflow_id: str, timeout_seconds: float | None = None) -> Workflow:
        """Return the workflow when it has ended, however."""
        raise NotImplementedError

    async def finish(self, workflow_id: str, on_event: Callable[[Event], None] | None = None) -> Workflow:
        """Watch a workflow to its end and return it with its tasks. Raises WorkflowFailed, WorkflowCancelled."""
        if on_event is not None:
            async for event in self.watch(workflow_id):
                on_event(event)
        workflow = await self.wait(workflow_id)
        if workflow.status == "failed":
            raise WorkflowFailed(workflow)
        if workflow.status == "cancelled":
            raise WorkflowCancelled(workflow)
        return workflow

    async def _fetched(self, files: Sequence[tuple[WorkflowTask, StoredFile]], folder: Path) -> list[Path]:
        targets = _targets(files, folder)
        places = asyncio.Semaphore(_PARALLEL_FILES)

        async def one(file: StoredFile, target: Path) -> None:
            async with places:
                target.parent.mkdir(parents=True, exist_ok=True)
                await self._files.download(file, target)

        await together(one(file, target) for (_, file), target in zip(files, targets, strict=True))
        return targets


def _targets(files: Sequence[tuple[WorkflowTask, StoredFile]], folder: Path) -> list[Path]:
    flat = [local_path(task.task_id, file.path, folder) for task, file in files]
    # Case does not tell files apart everywhere.
    times = Counter(str(path).casefold() for path in flat)
    return [
        path
        if times[str(path).casefold()] == 1
        else local_path(task.task_id, file.path, folder / (task.key or task.task_id))
        for path, (task, file) in zip(flat, files, strict=True)
    ]
