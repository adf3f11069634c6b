"""An operator starts and stops `make run`: nothing counts against a task, and what goes wrong at a start is said."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import ROOT
from tests.stories.conftest import RunningStack, running_stack

pytestmark = pytest.mark.slow

SLEEPER: dict[str, Any] = {"name": "sleeper", "module": "tests.stories.sleeper"}
OPTIONS: dict[str, Any] = {"only": [], "node_table": "tests/stories/no_nodes.toml", "nodes": [SLEEPER]}
"""A stack with that one node."""


async def shown(stack: RunningStack, task_id: str) -> dict[str, Any]:
    """The task as REST shows it."""
    async with aiohttp.ClientSession(stack.url) as http, http.get(f"/v1/tasks/{task_id}") as response:
        assert response.status == 200, await response.text()
        body: dict[str, Any] = await response.json()
        return body


async def submit(stack: RunningStack, task_id: str) -> None:
    """Submit a task that takes longer than all of the story."""
    wanted = {"seconds": 400, "journal": str(journal(stack, task_id))}
    task = {"task_id": task_id, "task_name": "sleeper.sleep", "input_data": wanted}
    async with aiohttp.ClientSession(stack.url) as http, http.post("/v1/tasks", json=task) as response:
        assert response.status == 202, await response.text()


def journal(stack: RunningStack, task_id: str) -> Path:
    """The file in which a task notes its starts."""
    return stack.folder.parent / f"{task_id}.journal"


async def begun(stack: RunningStack, task_id: str, times: int, seconds: float) -> dict[str, Any]:
    """Wait until the task has begun so often, and the system says that it runs; gives it as REST shows it then."""
    path = journal(stack, task_id)
    async with asyncio.timeout(seconds):
        while not path.exists() or len(path.read_text().splitlines()) < times:
            await asyncio.sleep(0.05)
        while (task := await shown(stack, task_id))["state"] != "running":
            await asyncio.sleep(0.05)
    return task


@pytest.mark.trial("10.1")
@pytest.mark.timeout(400)  # ten starts and stops of a whole stack, on a machine that others use too
async def test_orderly_restarts_count_against_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """Four times stopped and started, with the limit of lost nodes at three: the task runs again each time, soon, uncounted."""
    monkeypatch.setenv("YIVIDEO_RUNTIME__DRAIN_SECONDS", "0.5")
    for number in range(1, 6):
        with running_stack(tmp_path / "run", **OPTIONS) as stack:
            if number == 1:
                await submit(stack, "long")
            else:
                assert (await shown(stack, "long"))["state"] in ("pending", "running")
            task = await begun(stack, "long", number, 15)
            assert (task["state"], task["worker_lost_count"], task["attempt"]) == ("running", 0, 1)
            async with aiohttp.ClientSession(stack.url) as http, http.get("/v1/dead-letters") as response:
                dead = (await response.json())["tasks"]
    record_property("restart_dead_letters", len(dead))
    assert dead == []


@pytest.mark.trial("10.1")
async def test_parts_that_are_told_to_stop_at_once_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stack's process is killed, and the kernel tells all parts, Redis too, in the same moment: nobody hears what is handed
    back, and after the restart it is known all the same.
    """
    monkeypatch.setenv("YIVIDEO_RUNTIME__DRAIN_SECONDS", "0.5")
    for number in range(1, 4):
        with pytest.raises(AssertionError):  # the fixture expects an orderly end, which this is not
            with running_stack(tmp_path / "run", **OPTIONS) as stack:
                if number == 1:
                    await submit(stack, "long")
                task = await begun(stack, "long", number, 20)
                assert (task["state"], task["worker_lost_count"]) == ("running", 0)
                stack.process.kill()
                stack.process.wait(10)
                (stack.folder / "stack.json").unlink()  # it could not do that itself


def run(folder: Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run `python -m stack` to its end."""
    environment = {
        **os.environ,
        "YIVIDEO_STACK__FOLDER": str(folder),
        "YIVIDEO_STACK__GATEWAY_LISTEN": "127.0.0.1:0",
        **{
            f"YIVIDEO_STACK__{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in settings.items()
        },
    }
    return subprocess.run(
        [sys.executable, "-m", "stack"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip


@pytest.mark.trial("10.3")
async def test_a_second_stack_in_the_folder_ends_at_once(tmp_path: Path) -> None:
    """Exit code 1 and who has it; the first serves on, on the files that it had."""
    with running_stack(tmp_path / "run", **OPTIONS) as stack:
        before = (tmp_path / "run" / "redis" / "redis.conf").read_text()
        second = await asyncio.to_thread(run, tmp_path / "run", only=["ffmpeg"])
        assert second.returncode == 1
        assert f"is used by the stack with process id {stack.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert (tmp_path / "run" / "redis" / "redis.conf").read_text() == before
        await submit(stack, "after")


@pytest.mark.trial("10.4")
async def test_a_node_that_cannot_start_is_named_and_the_rest_runs(tmp_path: Path) -> None:
    """One with a slip in its module, one with another name than its Node has; each is said with its own error, soon."""
    nodes = [
        SLEEPER,
        {"name": "typo", "module": "tests.stories.no_such_module"},
        {"name": "sleepr", "module": "tests.stories.sleeper"},
    ]
    with running_stack(tmp_path / "run", **{**OPTIONS, "nodes": nodes}) as stack:
        said = (tmp_path / "run.log").read_text()
        assert "was not ready in" not in said, "it waited for a node that had ended"
        assert "No module named tests.stories.no_such_module" in said
        assert "its module declares Node('sleeper')" in said and 'node = "sleeper"' in said
        await submit(stack, "works")
    assert (
        "gateway" in said and "ready after" in said and "stopped after" in (tmp_path / "run.log").read_text()
    )


@pytest.mark.trial("10.4")
async def test_a_taken_port_is_said_in_a_sentence(tmp_path: Path) -> None:
    """Not by a traceback of the gateway, half a minute later."""
    with running_stack(tmp_path / "run", **OPTIONS) as stack:
        taken = stack.url.removeprefix("http://")
        second = await asyncio.to_thread(run, tmp_path / "other", gateway_listen=taken, only=["ffmpeg"])
    assert second.returncode == 1
    assert f"gateway: {taken} is taken" in second.stderr and "Traceback" not in second.stderr


@pytest.mark.trial("10.2")
async def test_ready_means_ready(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """With Redis frozen /readyz and /v1/tasks/health turn 503 and name the scheduler; thawed, they turn good again."""
    with running_stack(tmp_path / "run", **OPTIONS) as stack:
        async with aiohttp.ClientSession(stack.url) as http:

            async def turned(status: int) -> None:
                async with asyncio.timeout(20):
                    for path in ("/readyz", "/v1/tasks/health"):
                        while True:
                            async with http.get(path) as response:
                                if response.status == status:
                                    break
                            await asyncio.sleep(0.2)

            await turned(200)
            os.kill(stack.pid("redis"), signal.SIGSTOP)
            await turned(503)
            said_ready = 0
            for _ in range(10):
                async with http.get("/readyz") as response:
                    said_ready += response.status == 200
                    assert (await response.json())["parts"]["scheduler"] == "unhealthy"
            record_property("ready_without_redis", said_ready)
            assert said_ready == 0
            os.kill(stack.pid("redis"), signal.SIGCONT)
            await turned(200)


@pytest.mark.parametrize(
    "part", ["sleeper", "scheduler", "gateway", "filestore", "gpulock", "redis", "lease-redis"]
)
async def test_a_killed_part_is_started_again(tmp_path: Path, part: str) -> None:
    """Whichever it is, at its old address, and work goes on."""
    with running_stack(tmp_path / "run", **OPTIONS) as stack:
        await submit(stack, "before")
        await begun(stack, "before", 1, 15)
        os.kill(stack.pid(part), signal.SIGKILL)
        async with asyncio.timeout(30):
            while True:
                await asyncio.sleep(0.2)
                try:
                    await submit(stack, "after")
                    break
                except (aiohttp.ClientError, AssertionError):
                    continue
        task = await begun(stack, "after", 1, 20)
        assert task["worker_lost_count"] == 0


async def test_a_frozen_part_does_not_keep_the_stack_from_stopping(tmp_path: Path) -> None:
    """It is killed when its time is over, and that is said; those after it still stop in order."""
    with running_stack(tmp_path / "run", **OPTIONS) as stack:
        os.kill(stack.pid("gateway"), signal.SIGSTOP)
    said = (tmp_path / "run.log").read_text()
    assert "gateway" in said and "KILLED" in said and "redis          stopped" in said
