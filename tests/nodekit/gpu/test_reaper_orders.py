"""Laws of the reaper's orders: it ends a lease's processes at their time, and only those."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from nodekit.gpu.holding import boot_time
from nodekit.process.process_tree import MARK_VARIABLE
from nodekit.process.reaper import reaping
from tests.nodekit.conftest import eventually, is_alive, processes_with


@pytest.fixture
def work() -> Iterator[Callable[[str], int]]:
    """Return a function that starts a process with a mark, and tells its pid."""
    started: list[subprocess.Popen[bytes]] = []

    def start(mark: str) -> int:
        started.append(subprocess.Popen(["sleep", "74"], env={**os.environ, MARK_VARIABLE: f"{mark}0/"}))
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


async def test_orders(work: Callable[[str], int]) -> None:
    """A tree ends when its time has come and not before; a later order replaces an earlier one, and a spared tree lives."""
    mark = f"reaper-test-{os.getpid()}"
    due, renewed, spared, later = (work(f"{mark}/1/gpu-{number}/") for number in range(4))
    async with reaping(f"{mark}/") as reaper:
        now = boot_time()
        reaper.end_at(f"{mark}/1/gpu-1/", now + 0.2)
        reaper.end_at(f"{mark}/1/gpu-1/", now + 600)
        reaper.end_at(f"{mark}/1/gpu-2/", now + 0.2)
        reaper.spare(f"{mark}/1/gpu-2/")
        reaper.end_at(f"{mark}/1/gpu-3/", now + 600)
        reaper.end_at(f"{mark}/1/gpu-0/", now + 0.4)
        await eventually(lambda: not is_alive(due))
        assert boot_time() >= now + 0.4
        assert [is_alive(pid) for pid in (renewed, spared, later)] == [True, True, True]
    await eventually(lambda: not any(is_alive(pid) for pid in (renewed, spared, later)))


async def test_orders_outlive_the_reaper(work: Callable[[str], int]) -> None:
    """A reaper that was killed is replaced, and the new one knows what the old one was told."""
    mark = f"reaper-test-{os.getpid()}-b"
    pid = work(f"{mark}/1/gpu-0/")
    async with reaping(f"{mark}/") as reaper:
        now = boot_time()
        reaper.end_at(f"{mark}/1/gpu-0/", now + 0.4)
        (first,) = processes_with(f"{mark}/")
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: not is_alive(pid))
        assert boot_time() >= now + 0.4
