"""What each part of the installation says of itself now: all asked at once, none waited for longer than a bound."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway.clients.backend import Backend
from runtime.errors import YiVideoError
from runtime.rpc_errors import rpc_errors
from yivideo.file.v1 import file_pb2
from yivideo.gpulock.v1 import monitor_pb2
from yivideo.task.v1 import task_pb2

PART_SECONDS = 2.0
"""A part that has not answered by then counts as unreachable."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """One part's answer."""

    found: T | None
    """None: there was none; `error` says why."""
    error: str
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts behind a gateway."""

    scheduler: Part[task_pb2.ListQueuesResponse]
    filestore: Part[file_pb2.GetStorageResponse]
    gpulock: Part[monitor_pb2.GetStatusResponse] | None
    """None: this installation has no lock service."""


async def look(backend: Backend, seconds: float = PART_SECONDS) -> Parts:
    """Ask every part, for at most so many seconds. Nothing is raised: a part that is down is a part of the answer."""
    locks = backend.lock_monitor
    scheduler, filestore, gpulock = await asyncio.gather(
        _ask(lambda: backend.tasks.ListQueues(task_pb2.ListQueuesRequest(), timeout=seconds), seconds),
        _ask(lambda: backend.files.GetStorage(file_pb2.GetStorageRequest(), timeout=seconds), seconds),
        _absent()
        if locks is None
        else _ask(lambda: locks.GetStatus(monitor_pb2.GetStatusRequest(), timeout=seconds), seconds),
    )
    return Parts(scheduler, filestore, gpulock)


async def _ask(call: Callable[[], Awaitable[T]], seconds: float) -> Part[T]:
    began = time.monotonic()
    found: T | None = None
    error = ""
    try:
        # gRPC's deadline ends the call; this one is for what stands before it.
        async with asyncio.timeout(seconds + 0.5), rpc_errors():
            found = await call()
    except TimeoutError:
        error = f"DEADLINE_EXCEEDED: no answer in {seconds:g} s"
    except YiVideoError as refused:
        error = f"{refused.code}: {refused.message}"
    return Part(found, error, round((time.monotonic() - began) * 1000, 1))


async def _absent() -> None:
    return None
