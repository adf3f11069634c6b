"""Two nodes, one device: their tasks take turns, and everybody who looks is told the truth about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from stack.demo.film import Film
from tests.stories.conftest import RunningStack, running_stack

pytestmark = pytest.mark.slow

BASE = "/api/v1/monitoring"
NODES = [{"name": name, "module": f"tests.stories.{name}"} for name in ("painter", "sculptor")]


@pytest.fixture(scope="module")
def gpu_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack with two replicas of the lock service, one device, and two nodes that need it."""
    device = {"name": "gpu-0", "visible": "0", "memory_mib": 8192}
    folder = tmp_path_factory.mktemp("gpu") / "run"
    with running_stack(folder, devices=[device], nodes=NODES, gpulock_replicas=2) as stack:
        yield stack


@pytest.fixture
async def http(gpu_stack: RunningStack) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP session."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(gpu_stack.url, timeout=timeout) as session:
        yield session


async def get(http: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    """Return a body."""
    async with http.get(path) as response:
        assert response.status == 200, await response.text()
        body: dict[str, Any] = await response.json()
        return body


async def post(http: aiohttp.ClientSession, path: str, body: Any = None) -> dict[str, Any]:
    """Return an answer's body."""
    async with http.post(path, json=body) as response:
        assert response.status < 300, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


async def submit(http: aiohttp.ClientSession, node: str, task_id: str, seconds: float) -> None:
    """Submit work."""
    body = {"task_name": f"{node}.work", "task_id": task_id, "input_data": {"seconds": seconds}}
    await post(http, "/v1/tasks", body)


def _runs(wanted: bool, body: dict[str, Any]) -> bool:
    return bool(body["is_running"]) is wanted


async def until(
    http: aiohttp.ClientSession, path: str, holds: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Ask until the answer is as expected."""
    async with asyncio.timeout(20):
        while not holds(body := await get(http, path)):
            await asyncio.sleep(0.02)
    return body


async def events(
    http: aiohttp.ClientSession, path: str, last: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    """Read a stream of events up to the last one that is waited for."""
    found: list[dict[str, Any]] = []
    identity = ""
    async with asyncio.timeout(30), http.get(path) as response:
        assert response.status == 200, await response.text()
        async for raw in response.content:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name == "id":
                identity = value
            elif name == "data":
                found.append(json.loads(value) | {"id": identity})
                if last(found[-1]):
                    return found
    raise AssertionError(f"the stream ended: {found}")


async def ended(http: aiohttp.ClientSession, task_id: str) -> list[dict[str, Any]]:
    """Follow a task to its end; returns its events."""
    return await events(
        http,
        f"/v1/tasks/{task_id}/events",
        lambda event: event["event"] in ("completed", "failed", "cancelled"),
    )


async def test_tasks_of_two_nodes_take_turns(http: aiohttp.ClientSession) -> None:
    """One device is never used by two; who waits is told so, in order; figures, history, beats and both streams agree."""
    locks = asyncio.create_task(
        events(
            http,
            f"{BASE}/gpu-lock/events",
            lambda event: event["event"] == "released" and event["task_id"] == "third",
        )
    )
    await until(http, f"{BASE}/gpu-lock/status", lambda body: not body["recovering"])
    await submit(http, "painter", "first", 1.5)
    await until(http, f"{BASE}/gpu-lock/status", lambda body: body["lock_holder"] == "first")
    await submit(http, "sculptor", "second", 1.2)
    await until(http, f"{BASE}/gpu-lock/waiters", lambda body: body["waiter_count"] == 1)
    await submit(http, "painter", "third", 0.3)
    status = await until(
        http, f"{BASE}/gpu-lock/status?lock_key=gpu_lock:0", lambda body: len(body["waiters"]) == 2
    )
    assert (status["is_locked"], status["lock_holder"], status["lock_key"]) == (
        True,
        "first",
        "gpu_lock:gpu-0",
    )
    assert [(one["task_id"], one["position"]) for one in status["waiters"]] == [("second", 1), ("third", 2)]
    assert status["holders"][0]["node"] == "painter" and status["holders"][0]["devices"] == {"gpu-0": 8192}
    beats = await get(http, f"{BASE}/heartbeat/all")
    assert set(beats["active_tasks"]) == {"first", "second", "third"} and beats["orphaned_tasks"] == []
    assert (await get(http, f"{BASE}/heartbeat/task/first"))["heartbeat_data"]["status"] == "running"

    told = {task_id: await ended(http, task_id) for task_id in ("first", "second", "third")}
    assert "waiting_for_gpu" not in [event["event"] for event in told["first"]]
    assert [event["position"] for event in told["second"] if event["event"] == "waiting_for_gpu"] == [1]
    assert [event["position"] for event in told["third"] if event["event"] == "waiting_for_gpu"] == [2, 1]
    turns = [told[task_id][-1]["output"] for task_id in ("first", "second", "third")]
    assert [turn["visible"] for turn in turns] == ["0", "0", "0"] and len(
        {turn["pid"] for turn in turns}
    ) == 2
    for earlier, later in pairwise(turns):
        assert earlier["end"] <= later["begin"] and earlier["token"] < later["token"]

    seen = [event for event in await locks if event["task_id"]]
    assert [
        (event["event"], event["task_id"]) for event in seen if event["event"] in ("granted", "released")
    ] == [(name, task_id) for task_id in ("first", "second", "third") for name in ("granted", "released")]
    assert [event["token"] for event in seen if event["event"] == "granted"] == [
        turn["token"] for turn in turns
    ]
    middle = seen[len(seen) // 2]
    rest = await events(
        http, f"{BASE}/gpu-lock/events?after={middle['id']}", lambda event: event["id"] == seen[-1]["id"]
    )
    assert [event["id"] for event in rest if event["task_id"]] == [
        event["id"] for event in seen[len(seen) // 2 + 1 :]
    ]

    free = await get(http, f"{BASE}/gpu-lock/status")
    assert (free["is_locked"], free["lock_type"], free["waiters"]) == (False, "free", [])
    figures = (await get(http, f"{BASE}/statistics"))["gpu_lock"]
    assert (figures["successful_acquisitions"], figures["timeouts"], figures["success_rate"]) == (3, 0, 1.0)
    assert (figures["releases"], figures["last_lock_holder"]) == ({"normal": 3}, "third")
    history = (await get(http, f"{BASE}/gpu-lock/history"))["records"]
    assert [(one["task_id"], one["reason"]) for one in history] == [
        ("third", "normal"),
        ("second", "normal"),
        ("first", "normal"),
    ]
    assert (await get(http, f"{BASE}/health"))["status"] == "healthy"


async def test_the_ffmpeg_node_waits_for_the_card_that_it_is_to_decode_on(
    http: aiohttp.ClientSession, film: Film
) -> None:
    """A crop that is to be decoded on a card queues behind another node's task; the card cannot decode here and goes back."""
    form = aiohttp.FormData({"file_path": "turns/film.mp4"})
    with film.video.open("rb") as content:
        form.add_field("file", content, filename="film.mp4")
        async with http.post("/v1/files/upload", data=form) as response:
            assert response.status == 200, await response.text()
    await submit(http, "painter", "paints", 1.0)
    await until(http, f"{BASE}/gpu-lock/status", lambda body: body["lock_holder"] == "paints")
    crop = {
        "video_path": "turns/film.mp4",
        "subtitle_area": [0, 0, 64, 32],
        "output": "luma",
        "decoder": "cuda",
    }
    task = {"task_name": "ffmpeg.crop_subtitle_images", "task_id": "crops", "input_data": crop}
    await post(http, "/v1/tasks", task)
    waiting = await until(http, f"{BASE}/gpu-lock/waiters", lambda body: body["waiter_count"] == 1)
    assert (waiting["waiters"][0]["task_id"], waiting["waiters"][0]["memory_mib"]) == ("crops", 1024)
    told = await ended(http, "crops")
    assert "waiting_for_gpu" in [event["event"] for event in told]
    assert told[-1]["event"] == "completed", told[-1]
    assert (await get(http, f"{BASE}/gpu-lock/history?page_size=1"))["records"][0]["task_id"] == "crops"


async def test_an_operator_takes_the_device_from_a_task_that_hangs(http: aiohttp.ClientSession) -> None:
    """A forced release works whoever holds: the task fails with the lease's code, its waiter runs, the reason is in the history."""
    await submit(http, "painter", "hangs", 50)
    await until(http, f"{BASE}/gpu-lock/status", lambda body: body["lock_holder"] == "hangs")
    await submit(http, "sculptor", "next", 0.0)
    await until(http, f"{BASE}/gpu-lock/waiters", lambda body: body["waiter_count"] == 1)
    taken = await post(
        http,
        f"{BASE}/gpu-lock/release",
        {"lock_key": "gpu_lock:0", "reason": "it hangs", "task_name": "anna"},
    )
    assert taken["success"] is True and len(taken["revoked"]) == 1
    last = (await ended(http, "hangs"))[-1]
    assert (last["event"], last["error_detail"]["code"]) == ("failed", "GPU_LEASE_LOST")
    assert (await ended(http, "next"))[-1]["event"] == "completed"
    history = (await get(http, f"{BASE}/gpu-lock/history"))["records"]
    record = next(one for one in history if one["task_id"] == "hangs")
    assert record["reason"] == "forced" and "it hangs" in record["detail"]
    again = await post(http, f"{BASE}/lock/release", {"lock_key": "gpu_lock:0"})
    assert (again["success"], again["message"]) == (False, "nobody holds it")


async def test_a_drained_device_keeps_its_holder_and_its_waiters(http: aiohttp.ClientSession) -> None:
    """Who holds a device that is drained goes on, who waits keeps its place, who comes later is told; then work goes on."""
    drain = f"{BASE}/gpu-lock/devices/gpu-0/drain"
    await submit(http, "painter", "last", 1.0)
    await until(http, f"{BASE}/gpu-lock/status", lambda body: body["lock_holder"] == "last")
    await submit(http, "sculptor", "patient", 0.0)
    await until(http, f"{BASE}/gpu-lock/waiters", lambda body: body["waiter_count"] == 1)
    assert (await post(http, drain, {"reason": "fan"}))["draining"] is True
    await submit(http, "painter", "late", 0.0)
    told = await ended(http, "late")
    assert told[-1]["error_detail"]["code"] == "GPU_DRAINING"
    assert (await ended(http, "last"))[-1]["event"] == "completed"
    devices = await get(http, f"{BASE}/gpu-lock/devices")
    assert (devices["holders"], devices["waiter_count"]) == ([], 1)
    async with http.delete(drain) as response:
        assert response.status == 200
    assert (await ended(http, "patient"))[-1]["event"] == "completed"


async def test_settings_change_for_every_replica(http: aiohttp.ClientSession) -> None:
    """The watcher stops and starts by REST; a contradiction changes nothing."""
    for path, running in (("stop", False), ("start", True)):
        assert (await post(http, f"{BASE}/monitor/{path}"))["success"] is True
        for _ in range(4):  # of two replicas, whichever answers
            await until(http, f"{BASE}/monitor/status", partial(_runs, running))
    before = await get(http, f"{BASE}/timeout/config")
    values = {"gpu_lock_monitor.timeout_levels.hard_timeout": 1}
    async with http.patch(f"{BASE}/gpu-lock/config", json={"values": values}) as response:
        assert response.status == 400, await response.text()
    assert await get(http, f"{BASE}/timeout/config") == before


def test_the_log_names_no_secret(gpu_stack: RunningStack) -> None:
    """The stack's token, which is also Redis's password, is in no log of the lock service."""
    for log in Path(gpu_stack.folder / "logs").glob("gpulock*.log"):
        assert gpu_stack.card["token"] not in log.read_text()
