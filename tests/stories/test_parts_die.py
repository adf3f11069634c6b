"""Parts are killed while work is under way; the work ends once all the same."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.stories.conftest import RunningStack, running_stack

pytestmark = pytest.mark.slow


def make_long_film(path: Path) -> None:
    """Write a film whose every-frame decoding takes several seconds."""
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=s=1280x720:r=25:d=40",
         "-c:v", "libx264", "-preset", "ultrafast", str(path)],
        check=True, timeout=120,
    )  # fmt: skip


async def submit_long_task(http: aiohttp.ClientSession, task_id: str) -> None:
    """Submit a task that runs for a while."""
    task = {
        "task_id": task_id,
        "task_name": "ffmpeg.crop_subtitle_images",
        "input_data": {"video_path": "long/film.mp4", "subtitle_area": [0, 500, 1280, 700]},
    }
    async with http.post("/v1/tasks", json=task) as response:
        assert response.status == 202, await response.text()


async def story(
    http: aiohttp.ClientSession, task_id: str, at_progress: Callable[[], None]
) -> list[tuple[int, str]]:
    """Follow one stream of events to its end, doing something at the first progress; gives all (id, name) seen."""
    seen: list[tuple[int, str]] = []
    sequence = 0
    async with http.get(f"/v1/tasks/{task_id}/events") as response:
        async for raw in response.content:
            field, _, value = raw.decode().strip().partition(": ")
            if field == "id":
                sequence = int(value)
            if field == "event":
                if value == "progress" and "progress" not in [name for _, name in seen]:
                    at_progress()
                seen.append((sequence, value))
    return seen


async def upload(http: aiohttp.ClientSession, path: Path) -> None:
    """Upload the film."""
    form = aiohttp.FormData({"file_path": "long/film.mp4"})
    with path.open("rb") as file:
        form.add_field("file", file, filename="film.mp4")
        async with http.post("/v1/files/upload", data=form) as response:
            assert response.status == 200, await response.text()


async def test_node_and_scheduler_are_killed_under_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed node's task runs again and completes; a killed scheduler's task goes on in its first attempt."""
    # The promises rest on the order of these times, not on their lengths: shorter ones make a shorter story.
    for name in ("LEASE_SECONDS", "SILENCE_SECONDS", "SCHEDULER_TTL_SECONDS"):
        monkeypatch.setenv(f"YIVIDEO_SCHEDULER__{name}", "4")
    monkeypatch.setenv("YIVIDEO_SCHEDULER__LOST_SECONDS", "25")
    monkeypatch.setenv("YIVIDEO_NODE__ORPHAN_SECONDS", "20")
    monkeypatch.setenv("YIVIDEO_NODE__HEARTBEAT_SECONDS", "1")
    film = tmp_path / "film.mp4"
    await asyncio.to_thread(make_long_film, film)
    with running_stack(tmp_path / "run", slots={"ffmpeg": 1}) as stack:
        timeout = aiohttp.ClientTimeout(total=100)
        async with aiohttp.ClientSession(stack.url, timeout=timeout) as http:
            await upload(http, film)

            await submit_long_task(http, "node-dies")
            seen = await story(http, "node-dies", lambda: os.kill(stack.pid("ffmpeg"), signal.SIGKILL))
            names = [name for _, name in seen]
            assert names[-1] == "completed" and names.count("started") == 2, names
            sequences = [sequence for sequence, _ in seen]
            assert sequences == list(range(1, len(seen) + 1))

            await submit_long_task(http, "scheduler-dies")
            seen = await story(
                http, "scheduler-dies", lambda: os.kill(stack.pid("scheduler"), signal.SIGKILL)
            )
            names = [name for _, name in seen]
            assert names[-1] == "completed" and names.count("started") == 1, names
            sequences = [sequence for sequence, _ in seen]
            assert sequences == list(range(1, len(seen) + 1))


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


async def test_a_killed_stack_leaves_nothing_behind(tmp_path: Path) -> None:
    """SIGKILL to the stack's own process ends every part: the kernel tells them."""

    def kill_it(stack: RunningStack) -> dict[str, int]:
        pids: dict[str, int] = stack.card["pids"]
        assert all(alive(pid) for pid in pids.values())
        stack.process.kill()
        stack.process.wait(10)
        return pids

    with pytest.raises(AssertionError):  # the fixture expects an orderly end, which this is not
        with running_stack(tmp_path / "run") as stack:
            pids = kill_it(stack)
    deadline = time.monotonic() + 20
    while left := [name for name, pid in pids.items() if alive(pid)]:
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.1)
