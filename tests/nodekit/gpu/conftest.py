"""Fixtures of the tests of GPU leases."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from nodekit.testkit import NodeUnderTest
from tests.nodekit.conftest import processes_with
from tests.nodekit.gpu import toy
from tests.nodekit.gpu.lock_service import GpuNode, LockService

NodeFactory = Callable[..., Any]


@pytest.fixture
async def start_gpu_node(tmp_path: Path) -> AsyncIterator[NodeFactory]:
    """Return a function that starts the toy node; without settings it has one device of 8000 MiB of its own."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> NodeUnderTest:
            settings.setdefault("gpu_mib", (8000,))
            return await stack.enter_async_context(NodeUnderTest(toy.node, tmp_path, **settings))

        yield start


def journal(folder: Path) -> list[str]:
    """Return the lines that the toy's programs have written."""
    path = folder / "journal"
    return path.read_text().splitlines() if path.exists() else []


async def until(condition: Callable[[], bool], task: asyncio.Task[Any] | None = None) -> None:
    """Wait until a condition holds; fails when it does not within 10 s, or when a task ends before."""
    async with asyncio.timeout(10):
        while not condition():
            assert task is None or not task.done(), task.result()
            await asyncio.sleep(0.005)


@pytest.fixture
async def start_locks(tmp_path: Path, redis_url: str) -> AsyncIterator[Callable[..., Awaitable[LockService]]]:
    """Return a function that starts the real lock service: how many replicas, and their environment."""
    async with AsyncExitStack() as stack:

        async def start(replicas: int = 1, *, redis: str = redis_url, **settings: str) -> LockService:
            service = LockService(tmp_path, redis, **settings)
            stack.push_async_callback(service.aclose)
            return await service.start(replicas)

        yield start


@pytest.fixture
async def start_gpu_process(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[GpuNode]]]:
    """Return a function that starts the toy node as a process that uses a lock service; each has a folder of its name."""
    async with AsyncExitStack() as stack:

        async def start(name: str, lock: tuple[str, ...], **environment: str) -> GpuNode:
            return await stack.enter_async_context(GpuNode(tmp_path / name, lock, **environment).running())

        yield start


class OwnRedis:
    """A Redis without persistence that a test may kill."""

    def __init__(self, port: int, folder: Path) -> None:
        self._argv = [
            "redis-server",
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
            "--save",
            "",
        ]
        self.url = f"redis://127.0.0.1:{port}/0"
        self._process = subprocess.Popen(self._argv, stdout=subprocess.DEVNULL)

    def restart_empty(self) -> None:
        """Kill it and start it again: it has forgotten everything."""
        self.close()
        self._process = subprocess.Popen(self._argv, stdout=subprocess.DEVNULL)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(10)


@pytest.fixture
def own_redis(free_port: Callable[[], int], tmp_path: Path) -> Iterator[OwnRedis]:
    """A Redis of the test's own."""
    redis = OwnRedis(free_port(), tmp_path)
    yield redis
    redis.close()


def reapers_of(node: GpuNode) -> list[int]:
    """Return the pids of a node's reaper."""
    return [pid for pid in processes_with("reaper_main.py") if _parent(pid) == node.process.popen.pid]


def _parent(pid: int) -> int:
    """Return the pid of a process's parent; 0 when the process has ended, as those of other tests may at any time."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rpartition(")")[2].split()[1])
