"""From local files to local results in one call, over whatever `tasks` and `files` speak."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from yivideo_client.errors import TaskCancelled, TaskFailed
from yivideo_client.models import Event, StoredFile, Task
from yivideo_client.together import together

UPLOAD_PREFIX = "uploads"
"""Where `run` puts local files."""
_PARALLEL_FILES = 4


class TaskCalls(Protocol):
    """What is needed of tasks."""

    async def submit(
        self, task_name: str, input_data: Mapping[str, Any], *, task_id: str | None = None, **options: Any
    ) -> Task:
        """Ask for a task."""
        ...

    async def wait(self, task_id: str, timeout_seconds: float | None = None) -> Task:
        """Return a task when it has ended."""
        ...

    def watch(self, task_id: str, after: int = 0) -> AsyncIterator[Event]:
        """Yield a task's events."""
        ...


class FileCalls(Protocol):
    """What is needed of files."""

    async def put_once(self, source: Path, prefix: str) -> StoredFile:
        """Store a local file unless it is there."""
        ...

    async def download(self, file: StoredFile | str, target: Path) -> int:
        """Fetch a file."""
        ...


class Running:
    """What a client can do that has tasks and files."""

    tasks: TaskCalls
    files: FileCalls

    async def run(
        self,
        task_name: str,
        input_data: Mapping[str, Any],
        *,
        task_id: str | None = None,
        timeout_seconds: float | None = None,
        download_to: Path | str | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: Any,
    ) -> Task:
        """Run a task to its end: upload the local files of its input, submit, watch, and fetch what it stored.

        Values of `input_data` that are `pathlib.Path` are uploaded first, text is sent as it is. `options` are the other
        fields of the request. The task is not cancelled when this call is. Raises TaskFailed, TaskCancelled, and
        TimeoutError after `timeout_seconds`.
        """
        async with asyncio.timeout(timeout_seconds):
            sent = await self._uploaded(input_data)
            task = await self.tasks.submit(task_name, sent, task_id=task_id, **options)
            task = await self.finish(task.task_id, on_event)
            if download_to is not None:
                await self.fetch_outputs(task, Path(download_to))
        return task

    async def finish(self, task_id: str, on_event: Callable[[Event], None] | None = None) -> Task:
        """Watch a task to its end and return it with its output. Raises TaskFailed, TaskCancelled."""
        if on_event is None:
            task = await self.tasks.wait(task_id)
        else:
            async for event in self.tasks.watch(task_id):
                on_event(event)
            task = await self.tasks.wait(task_id)
        if task.status == "failed":
            raise TaskFailed(task)
        if task.status == "cancelled":
            raise TaskCancelled(task)
        return task

    async def fetch_outputs(
        self, task: Task, folder: Path, each: Callable[[StoredFile, Path], Awaitable[None]] | None = None
    ) -> list[Path]:
        """Download what a task stored into a folder, which is made; returns the paths in the order of its files.

        Folders below the task's own are kept (`keyframes/0001.jpg`), because names may repeat between them.
        """
        places = asyncio.Semaphore(_PARALLEL_FILES)

        async def one(file: StoredFile, target: Path) -> None:
            async with places:
                target.parent.mkdir(parents=True, exist_ok=True)
                await self.files.download(file, target)
                if each:
                    await each(file, target)

        targets = [local_path(task.task_id, file.path, folder) for file in task.files]
        await together(one(file, target) for file, target in zip(task.files, targets, strict=True))
        return targets

    async def _uploaded(self, value: Any) -> Any:
        """Return the input with each local file replaced by the path that it was stored under."""
        if isinstance(value, Path):
            return (await self.files.put_once(value, UPLOAD_PREFIX)).path
        if isinstance(value, Mapping):
            return {name: await self._uploaded(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [await self._uploaded(one) for one in value]
        return value


def local_path(task_id: str, object_path: str, folder: Path) -> Path:
    """Return where an output goes: below `folder`, whatever the server calls it."""
    parts = [part for part in object_path.split("/") if part not in ("", ".", "..")]
    if parts and parts[0] == task_id and len(parts) > 1:
        parts = parts[1:]
    return folder.joinpath(*parts)
