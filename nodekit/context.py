"""TaskContext: what a task function can do besides computing: media in and out, progress, checkpoints, processes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

from nodekit.attempt.progress import ProgressReporter
from nodekit.failure import TaskFailed
from nodekit.gpu.lease import GpuLease
from nodekit.gpu.use import GpuUse
from nodekit.gpu.warm import WarmModel, WarmShelf
from nodekit.media import archives
from nodekit.media.media_in import MediaIn
from nodekit.media.media_out import MediaOut
from nodekit.media.names import safe_relative
from nodekit.media_ref import MediaKind, pointer_to, source_of
from nodekit.metrics import MEDIA_SECONDS, REALTIME_FACTOR
from nodekit.process.child import Family
from nodekit.process.child_output import ChildOutput, Completed
from nodekit.process.worker import WorkerPool, function_name
from nodekit.settings import NodeSection
from runtime import spans
from runtime.errors import FieldViolation, PayloadTooLarge, YiVideoError
from runtime.rpc_errors import clip
from runtime.structs import from_struct, to_struct
from yivideo.gpulock.v1 import lock_pb2
from yivideo.task.v1 import task_pb2

LogLevel = Literal["debug", "info", "warning", "error"]

MAX_CHECKPOINT_BYTES = 64 * 1024
_MAX_LOG_BYTES = 2000
_LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Equipment:
    """What a context works with; one per attempt, made by `nodekit.attempt.attempt`."""

    settings: NodeSection
    media_in: MediaIn
    media_out: MediaOut
    family: Family
    workers: WorkerPool
    folder: Path
    progress: ProgressReporter
    gpu: GpuUse
    shelf: WarmShelf
    emit: Callable[[task_pb2.TaskEvent], None]
    saved: Callable[[dict[str, Any]], None]
    threads: int = 1


def _size_bytes(path: Path) -> int:
    return path.stat().st_size


class TaskContext:
    """One attempt, as its task function sees it. Every waiting method raises CancelledError when the task is stopped."""

    def __init__(
        self, spec: task_pb2.TaskSpec, attempt: int, checkpoint: dict[str, Any] | None, equipment: Equipment
    ) -> None:
        self.task_id: str = spec.task_id
        """The task's id."""
        self.output_prefix: str = equipment.media_out.prefix
        """Object prefix of what this attempt stores: `<task_id>/`, or `<task_id>/attempt-<n>/` from the second attempt on. Where
        a file of another origin is in the way, an output goes elsewhere: only `store` tells where a file is."""
        self.attempt: int = attempt
        """Which attempt this is, ≥ 1."""
        self.user: str = spec.user or "anonymous"
        """Whose task it is."""
        self.workflow_id: str = spec.workflow_id or spec.task_id
        """The workflow it belongs to; by default its own id."""
        self.checkpoint: dict[str, Any] | None = checkpoint
        """What an earlier attempt has saved; None: nothing."""
        self.skipped: bool = False
        """Set it when the input said not to act: the task then ends as SKIPPED with the output that is returned."""
        self.threads: int = equipment.threads
        """Threads that one worker process should use: the node's cores, shared out among its slots. Numeric libraries in
        workers are told; an engine with a setting of its own must be given it."""
        self._task_name = spec.task_name
        self._input = spec.input
        self._own = equipment
        self._numbers = count()

    async def fetch(self, ref: str, *, kind: MediaKind | None = None) -> Path:
        """Return a local file with the bytes that a MediaRef names.

        Read only: it may be shared with other tasks. `kind` sets the size limit; by default the file's extension does. Raises
        PathRefused, AddressRefused, FileNotFound, PayloadTooLarge or Unavailable, which the task may simply let pass.
        """
        with spans.span("fetch", source=source_of(ref)) as span:
            with self._naming_field(ref):
                path = await self._own.media_in.fetch(ref, kind, self._own.folder / "in")
            if span is not None:
                span.attributes["yivideo.bytes"] = _size_bytes(path)
        return path

    async def fetch_directory(self, ref: str) -> Path:
        """Return a local folder: of an object prefix (`task-1/frames/`), a shared folder, or an archive (zip, tar), unpacked."""
        with spans.span("fetch directory", source=source_of(ref)), self._naming_field(ref):
            return await self._fetch_directory(ref)

    @contextmanager
    def _naming_field(self, ref: str) -> Iterator[None]:
        """Let an error that names no field name the one of the task's input that has the reference."""
        try:
            yield
        except TaskFailed as error:
            error.field = error.field or pointer_to(ref, from_struct(self._input)) or ""
            raise
        except YiVideoError as error:
            pointer = None if error.fields else pointer_to(ref, from_struct(self._input))
            if pointer:
                error.fields = (FieldViolation(pointer, error.message),)
            raise

    async def _fetch_directory(self, ref: str) -> Path:
        if ref.startswith("/"):
            if (stored := await self._own.media_in.stored_path(ref)) is None:
                shared = self._own.media_in.shared_path(ref)
                if shared.is_dir():
                    return shared
            elif not stored.lower().endswith(archives.SUFFIXES):
                prefix = stored.rstrip("/") + "/"
                return await self._own.media_in.fetch_folder("", prefix, self._own.folder / "in")
        elif ref.endswith("/") and "://" not in ref:
            return await self._own.media_in.fetch_folder("", ref, self._own.folder / "in")
        elif ref.startswith("s3://") and ref.endswith("/"):
            bucket, _, prefix = ref[5:].partition("/")
            return await self._own.media_in.fetch_folder(bucket, prefix, self._own.folder / "in")
        archive = await self.fetch(ref, kind=MediaKind.ARCHIVE)
        target = self._own.folder / "in" / f"unpacked-{next(self._numbers)}"
        settings = self._own.settings
        limit_bytes = settings.limit_bytes(MediaKind.ARCHIVE) * 4
        await self.call(archives.unpack, archive, target, settings.directory_limit_files, limit_bytes)
        return target

    def output_path(self, name: str) -> Path:
        """Return where to write a file: in this attempt's own folder, which goes when the attempt ends. The name is cleaned."""
        path = self._own.folder / "out" / safe_relative(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def output_directory(self, name: str) -> Path:
        """Return a new or existing folder to write into, as `output_path` does for a file."""
        path = self.output_path(name)
        path.mkdir(exist_ok=True)
        return path

    async def store(self, path: Path, *, name: str | None = None) -> str:
        """Store a file as `<output_prefix><name>`; returns that object path, which another task's input can name."""
        self._own.gpu.check()
        with spans.span("store") as span:
            stored = await self._own.media_out.store(path, name)
            if span is not None:
                span.attributes["yivideo.bytes"] = _size_bytes(path)
        return stored

    async def store_directory(self, path: Path, *, name: str | None = None) -> str:
        """Store every file below a folder under `<output_prefix><name>/`; returns that prefix."""
        self._own.gpu.check()
        with spans.span("store directory"):
            return await self._own.media_out.store_directory(path, name)

    async def progress(
        self, percent: float, stage: str = "", message: str = "", data: dict[str, Any] | None = None
    ) -> None:
        """Say how far the task is, 0 to 100. Cheap: watchers get at most four a second, the last one always."""
        self._own.progress.report(percent, stage, message, data)
        # A task that only computes and reports would otherwise never let heartbeats or a cancel through.
        await asyncio.sleep(0)

    async def log(self, message: str, level: LogLevel = "info") -> None:
        """Write a line for the people who watch the task; at most 2000 bytes are kept."""
        if level not in _LOG_LEVELS:
            raise ValueError(f"level {level!r} is not one of {', '.join(_LOG_LEVELS)}")
        line = task_pb2.TaskLog(level=level, message=clip(message, _MAX_LOG_BYTES))
        self._own.emit(task_pb2.TaskEvent(log=line))
        await asyncio.sleep(0)

    @contextmanager
    def working_on(self, media_seconds: float) -> Iterator[None]:
        """Measure the block as the work on that much audio or video: `with context.working_on(seconds):`.

        A block that ends without an error counts in `yivideo_task_media_seconds_total` and, its own time over that of the media, in
        `yivideo_task_realtime_factor`, both by task name. Leave out what is not this task's speed: waiting for a GPU, loading.
        """
        began = time.monotonic()
        yield
        self.worked_on(media_seconds, time.monotonic() - began)

    def worked_on(self, media_seconds: float, seconds: float) -> None:
        """Count work as `working_on` does, where only its end tells how much audio or video it was."""
        if media_seconds > 0:
            MEDIA_SECONDS.labels(self._task_name).inc(media_seconds)
            REALTIME_FACTOR.labels(self._task_name).observe(seconds / media_seconds)

    async def save_checkpoint(self, data: dict[str, Any]) -> None:
        """Save data for the next attempt, in place of what was saved before. Raises PayloadTooLarge past 64 KiB."""
        struct = to_struct(data)
        if struct.ByteSize() > MAX_CHECKPOINT_BYTES:
            raise PayloadTooLarge("a checkpoint has at most 64 KiB")
        self._own.saved(data)
        self._own.emit(task_pb2.TaskEvent(checkpoint=task_pb2.Checkpoint(data=struct)))
        await asyncio.sleep(0)

    async def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        timeout_seconds: float | None = None,
        cwd: Path | None = None,
        on_line: Callable[[str], None] | None = None,
        stdin: bytes | None = None,
    ) -> Completed:
        """Run a program to its end, in a session of its own, and tell how it ended; the return code is the caller's to judge.

        `on_line` gets each line of standard output (blank ones left out); without it that output is thrown away. Standard input is
        empty unless given. When the task is stopped, or after `timeout_seconds` (DeadlineExceeded), the program and all that it has
        started get SIGTERM and, after the grace, SIGKILL; what it leaves running when it ends by itself is ended too.
        Raises TaskFailed (TOOL_MISSING) when the program is not installed.
        """
        return await self._family().run(
            argv, timeout_seconds=timeout_seconds, cwd=cwd, on_line=on_line, stdin=stdin
        )

    def pipe(
        self, argv: Sequence[str | os.PathLike[str]], *, cwd: Path | None = None
    ) -> AbstractAsyncContextManager[ChildOutput]:
        """Run a program and read its standard output: `async with context.pipe(argv) as output: await output.read(n)`.

        Leaving the block ends the program as `run` does. When its output was read to the end and it failed, leaving the block
        raises ChildFailed, unless the block has asked `await output.completed()`.
        """
        return self._family().pipe(argv, cwd=cwd)

    async def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a module-level function in a worker process and return its result; it raises what the function raises.

        The process is warm after the first call and is killed when the task is stopped, even in the middle of native code.
        Arguments and result travel by pickle. Raises TaskFailed (WORKER_DIED) when the process dies.
        """
        scope = self._own.gpu.scope()
        workers = scope.workers if scope else self._own.workers
        with spans.span(f"call {function_name(function)}"):
            return await workers.call(lambda: self._family().grace_seconds, function, *args, **kwargs)

    def _family(self) -> Family:
        scope = self._own.gpu.scope()
        return scope.family if scope else self._own.family

    def gpu(
        self,
        *,
        memory_mib: int = 0,
        device_count: int = 1,
        preemptible: bool = False,
        pool: str = "",
        device: str = "",
        max_wait_seconds: float = 0,
    ) -> AbstractAsyncContextManager[GpuLease]:
        """Hold GPU memory for the time of the block: `async with context.gpu(memory_mib=6000) as lease`.

        Waits its turn, which watchers see as `waiting for GPU, position n`. Programs and workers that the context starts inside
        the block see the lease's devices and no others; what is left of them when the block ends is ended, and then the devices
        are given back. `memory_mib` counts on each of `device_count` devices; 0: whole devices. `pool` and `device` narrow the
        choice; `preemptible` leases are taken back when another task needs the memory. `max_wait_seconds` 0: as configured.

        When the lease is lost the block's processes are killed, the block is cancelled, and the task fails with GPU_LEASE_LOST;
        when the lock service asks for it back (held for too long, drained, preempted) the block is cancelled with the task's
        grace and fails with GPU_LEASE_STOPPED; both may be retried. Raises TaskFailed: GPU_LOCK_TIMEOUT, GPU_NEVER_FITS,
        GPU_POOL_UNKNOWN, GPU_DEVICE_UNKNOWN, GPU_QUEUE_FULL, GPU_DRAINING, GPU_LOCK_UNAVAILABLE, GPU_LEASE_STALE,
        GPU_DEVICE_BUSY. On a node that is set to CPU the lease comes at once and has no devices.
        """
        return self._own.gpu.gpu(
            lock_pb2.Acquire(
                memory_mib=memory_mib,
                device_count=device_count,
                preemptible=preemptible,
                pool=pool,
                device=device,
                max_wait_seconds=max_wait_seconds,
            )
        )

    def warm(
        self,
        model_key: str,
        load: Callable[[], Any],
        *,
        memory_mib: int = 0,
        pool: str = "",
        device: str = "",
        max_wait_seconds: float = 0,
        processor: bool = False,
    ) -> AbstractAsyncContextManager[WarmModel]:
        """Hold a loaded model for the time of the block: `async with context.warm("large-v3", load, memory_mib=6000) as model`.

        `load` is a module-level function (or a `functools.partial` of one) that returns the model; it runs in a worker process
        of the model's own, under a lease as `gpu` gives. `await model.run(function, …)` calls `function(model, …)` there.
        Figures are by the key up to a `#`: behind it stands what tells one user's from another's, without bound.
        Afterwards the model stays loaded under a lease that gives way to others, and the next task with the same key and memory
        finds it: `model.warm`. The replica keeps at most `gpu.max_warm` of them. Fails as `gpu` does.

        `processor`: the model runs on the processor, so that no device is asked for, whatever the node has; a task that only
        does so need not be declared `gpu=True`. One process has one task at a time: a second task loads the model once more.
        So a key has at most a process for each slot, which is the memory that it may need; `gpu.max_warm` stay afterwards.
        """
        return self._own.shelf.warm(
            self._own.gpu,
            model_key,
            load,
            None
            if processor
            else lock_pb2.Acquire(
                memory_mib=memory_mib, pool=pool, device=device, max_wait_seconds=max_wait_seconds
            ),
        )
