"""The same client for code that does not await: scripts, notebooks, threads.

One thread of its own runs the event loop, so it works where a loop runs already, as in notebooks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from yivideo_client.client import AsyncClient
from yivideo_client.connection import Connection
from yivideo_client.errors import ApiError
from yivideo_client.models import Event, StoredFile, Task, TaskType
from yivideo_client.workflow_models import Template, Workflow

T = TypeVar("T")
_END = object()


class _LoopThread:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="yivideo-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine; an interrupt (Ctrl-C) cancels it and goes on to the caller."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Go through an asynchronous iterator; leaving early closes it."""

        async def following() -> Any:
            return await anext(items, _END)

        async def closed() -> None:
            if (close := getattr(items, "aclose", None)) is not None:
                await close()

        try:
            while (item := self.run(following())) is not _END:
                yield item
        finally:
            self.run(closed())

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class SyncTasks:
    """The tasks of one installation; each method waits."""

    def __init__(self, client: AsyncClient, loop: _LoopThread) -> None:
        self._tasks, self._loop = client.tasks, loop

    def submit(self, task_name: str, input_data: Mapping[str, Any], **options: Any) -> Task:
        """See `Tasks.submit`."""
        return self._loop.run(self._tasks.submit(task_name, input_data, **options))

    def submit_many(self, bodies: Iterable[Mapping[str, Any]]) -> Sequence[Task | ApiError]:
        """See `Tasks.submit_many`."""
        return self._loop.run(self._tasks.submit_many(bodies))

    def get(self, task_id: str) -> Task:
        """See `Tasks.get`."""
        return self._loop.run(self._tasks.get(task_id))

    def wait(self, task_id: str, timeout_seconds: float | None = None) -> Task:
        """See `Tasks.wait`."""
        return self._loop.run(self._tasks.wait(task_id, timeout_seconds))

    def watch(self, task_id: str, after: int = 0) -> Iterator[Event]:
        """See `Tasks.watch`."""
        return self._loop.iterate(self._tasks.watch(task_id, after))

    def list(self, **conditions: Any) -> Iterator[Task]:
        """See `Tasks.list`."""
        return self._loop.iterate(self._tasks.list(**conditions))

    def cancel(self, task_id: str) -> Task:
        """See `Tasks.cancel`."""
        return self._loop.run(self._tasks.cancel(task_id))

    def retry(self, task_id: str) -> Task:
        """See `Tasks.retry`."""
        return self._loop.run(self._tasks.retry(task_id))

    def delete(self, task_id: str, *, force: bool = False) -> dict[str, Any]:
        """See `Tasks.delete`."""
        return self._loop.run(self._tasks.delete(task_id, force=force))

    def types(self) -> Sequence[TaskType]:
        """See `Tasks.types`."""
        return self._loop.run(self._tasks.types())


class SyncWorkflows:
    """The workflows of one installation; each method waits."""

    def __init__(self, client: AsyncClient, loop: _LoopThread) -> None:
        self._workflows, self._loop = client.workflows, loop

    def submit(self, template: str, parameters: Mapping[str, Any], **options: Any) -> Workflow:
        """See `Workflows.submit`."""
        return self._loop.run(self._workflows.submit(template, parameters, **options))

    def submit_tasks(self, tasks: Sequence[Mapping[str, Any]], **options: Any) -> Workflow:
        """See `Workflows.submit_tasks`."""
        return self._loop.run(self._workflows.submit_tasks(tasks, **options))

    def get(self, workflow_id: str) -> Workflow:
        """See `Workflows.get`."""
        return self._loop.run(self._workflows.get(workflow_id))

    def wait(self, workflow_id: str, timeout_seconds: float | None = None) -> Workflow:
        """See `Workflows.wait`."""
        return self._loop.run(self._workflows.wait(workflow_id, timeout_seconds))

    def watch(self, workflow_id: str, after: int = 0) -> Iterator[Event]:
        """See `Workflows.watch`."""
        return self._loop.iterate(self._workflows.watch(workflow_id, after))

    def list(self, **conditions: Any) -> Iterator[Workflow]:
        """See `Workflows.list`."""
        return self._loop.iterate(self._workflows.list(**conditions))

    def cancel(self, workflow_id: str) -> Workflow:
        """See `Workflows.cancel`."""
        return self._loop.run(self._workflows.cancel(workflow_id))

    def retry(self, workflow_id: str, from_tasks: Sequence[str] = ()) -> Workflow:
        """See `Workflows.retry`."""
        return self._loop.run(self._workflows.retry(workflow_id, from_tasks))

    def delete(self, workflow_id: str, *, force: bool = False) -> dict[str, Any]:
        """See `Workflows.delete`."""
        return self._loop.run(self._workflows.delete(workflow_id, force=force))

    def templates(self) -> Sequence[Template]:
        """See `Workflows.templates`."""
        return self._loop.run(self._workflows.templates())

    def fetch_results(self, workflow: Workflow, folder: Path, *, every: bool = False) -> Sequence[Path]:
        """See `Workflows.fetch_results`."""
        return self._loop.run(self._workflows.fetch_results(workflow, folder, every=every))


class SyncFiles:
    """The store of one installation; each method waits."""

    def __init__(self, client: AsyncClient, loop: _LoopThread) -> None:
        self._files, self._loop = client.files, loop

    def upload(self, source: Path, path: str, **options: Any) -> StoredFile:
        """See `Files.upload`."""
        return self._loop.run(self._files.upload(source, path, **options))

    def upload_stream(self, source: IO[bytes], path: str, **options: Any) -> StoredFile:
        """See `Files.upload_stream`."""
        return self._loop.run(self._files.upload_stream(source, path, **options))

    def download(self, file: StoredFile | str, target: Path, **options: Any) -> int:
        """See `Files.download`."""
        return self._loop.run(self._files.download(file, target, **options))

    def download_to(self, file: StoredFile | str, stream: IO[bytes], **options: Any) -> int:
        """See `Files.download_to`."""
        return self._loop.run(self._files.download_to(file, stream, **options))

    def exists(self, path: str) -> bool:
        """See `Files.exists`."""
        return self._loop.run(self._files.exists(path))

    def list(self, prefix: str = "", *, recursive: bool = True) -> Iterator[StoredFile]:
        """See `Files.list`."""
        return self._loop.iterate(self._files.list(prefix, recursive=recursive))

    def remove(self, path: str) -> None:
        """See `Files.remove`."""
        self._loop.run(self._files.remove(path))

    def link(self, path: str, *, hours: int = 24) -> str:
        """See `Files.link`."""
        return self._loop.run(self._files.link(path, hours=hours))


class Client:
    """A session with one installation; use it with `with`, or close it. Threads may share it."""

    def __init__(self, connection: Connection | str | None = None) -> None:
        self._client = AsyncClient(connection)
        self._loop = _LoopThread()
        self.tasks = SyncTasks(self._client, self._loop)
        self.workflows = SyncWorkflows(self._client, self._loop)
        self.files = SyncFiles(self._client, self._loop)
        try:
            self._loop.run(self._client.__aenter__())
        except BaseException:
            self._loop.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session and its thread."""
        self._loop.run(self._client.__aexit__(None, None, None))
        self._loop.stop()

    def run(
        self,
        task_name: str,
        input_data: Mapping[str, Any],
        *,
        on_event: Callable[[Event], None] | None = None,
        **options: Any,
    ) -> Task:
        """See `AsyncClient.run`; `on_event` is called in the client's own thread."""
        return self._loop.run(self._client.run(task_name, input_data, on_event=on_event, **options))

    def run_workflow(
        self,
        template: str,
        parameters: Mapping[str, Any],
        *,
        on_event: Callable[[Event], None] | None = None,
        **options: Any,
    ) -> Workflow:
        """See `AsyncClient.run_workflow`; `on_event` is called in the client's own thread."""
        return self._loop.run(self._client.run_workflow(template, parameters, on_event=on_event, **options))
