"""Laws of the device guard, with real processes and several guards over one folder, as the nodes of one host have."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodekit.failure import TaskFailed
from nodekit.gpu.guard import DeviceGuard
from nodekit.process.process_tree import MARK_VARIABLE
from tests.nodekit.conftest import is_alive
from yivideo.gpulock.v1 import lock_pb2


def lease(token: int, *visible: str) -> lock_pb2.Lease:
    devices = [lock_pb2.LeasedDevice(device=f"gpu-{name}", visible=name) for name in visible or ("GPU-0",)]
    return lock_pb2.Lease(token=token, devices=devices)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """Return a function that starts a process with a mark, and tells its pid."""
    started: list[subprocess.Popen[bytes]] = []

    def start(mark: str) -> int:
        started.append(subprocess.Popen(["sleep", "73"], env={**os.environ, MARK_VARIABLE: f"{mark}0/"}))
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


async def test_no_older_token_after_a_newer_one(tmp_path: Path) -> None:
    """Whoever comes with an older token than one that was let in is refused, by every guard of the host, also after that one
    left.
    """
    await DeviceGuard(tmp_path).admit(lease(20), "b/", whole=True)
    await DeviceGuard(tmp_path).leave(lease(20))
    for whole in (True, False):
        with pytest.raises(TaskFailed) as refused:
            await DeviceGuard(tmp_path).admit(lease(10), "a/", whole=whole)
        assert (refused.value.code, refused.value.retryable) == ("GPU_LEASE_STALE", True)
    await DeviceGuard(tmp_path).admit(lease(10, "GPU-1"), "a/", whole=True)
    assert DeviceGuard(tmp_path).highest() == 20


async def test_processes_of_an_older_lease_are_ended_first(
    tmp_path: Path, work: Callable[[str], int]
) -> None:
    """When a newer lease of the whole device is let in, nothing of an older one is alive; processes of others live on."""
    guard = DeviceGuard(tmp_path)
    await guard.admit(lease(10), "node/1/gpu-0/", whole=True)
    old, other = work("node/1/gpu-0/"), work("node/2/gpu-0/")
    await DeviceGuard(tmp_path).admit(lease(20), "node/2/gpu-0/", whole=True)
    assert not is_alive(old)
    assert is_alive(other)


async def test_shares_live_side_by_side(tmp_path: Path, work: Callable[[str], int]) -> None:
    """Memory shares are let in whatever the order of their tokens, and end nobody; a whole-device lease ends them, and they it."""
    guard = DeviceGuard(tmp_path)
    await guard.admit(lease(20), "b/", whole=False)
    share = work("b/")
    await guard.admit(lease(10), "a/", whole=False)
    assert is_alive(share)
    await guard.admit(lease(30), "c/", whole=True)
    assert not is_alive(share)
    whole = work("c/")
    await guard.admit(lease(40), "d/", whole=False)
    assert not is_alive(whole)


async def test_warm_model_passes_from_lease_to_lease(tmp_path: Path, work: Callable[[str], int]) -> None:
    """A newer lease over the same processes lets them be."""
    guard = DeviceGuard(tmp_path)
    await guard.admit(lease(10), "warm-0/", whole=True)
    model = work("warm-0/")
    await guard.admit(lease(20), "warm-0/", whole=True)
    assert is_alive(model)


async def test_guards_do_not_lose_each_others_words(tmp_path: Path) -> None:
    """Admissions at the same time are all remembered."""
    guards = [DeviceGuard(tmp_path) for _ in range(8)]
    await asyncio.gather(
        *(guard.admit(lease(10 + n), f"n{n}/", whole=False) for n, guard in enumerate(guards))
    )
    assert DeviceGuard(tmp_path).highest() == 17
    register = (tmp_path / "GPU-0.json").read_text()
    assert all(f'"{10 + n}"' in register for n in range(8))


async def test_torn_register_begins_anew(tmp_path: Path) -> None:
    """A register that cannot be read does not keep the device from being used."""
    (tmp_path / "GPU-0.json").write_text("{")
    await DeviceGuard(tmp_path).admit(lease(5), "a/", whole=True)
    assert DeviceGuard(tmp_path).highest() == 5
