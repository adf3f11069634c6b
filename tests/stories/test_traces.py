"""Whole stacks with traces on, and a real collector: each task is one connected tree from the request to its callback."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.runtime.collector import Collector, Got, collecting
from tests.scheduler.callbacks.receiver import receiving
from tests.stories.conftest import RunningStack, running_stack

pytestmark = pytest.mark.slow

TRACE = "ab" * 16
CALLER = "cd" * 8
HEADERS = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "shop=7"}
SUBMIT = "yivideo.task.v1.TaskService/SubmitTask"
NAME = "eve-private-name"
"""Part of every file name, address and text of these stories; no span may have it."""


@asynccontextmanager
async def traced_stack(
    folder: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[RunningStack]:
    """A stack whose processes send their spans to the collector; both work while the stack comes up and goes down."""
    monkeypatch.setenv("YIVIDEO_RUNTIME__TRACES__ENDPOINT", collector.endpoint)
    monkeypatch.setenv("YIVIDEO_RUNTIME__TRACES__BATCH_SECONDS", "0.1")
    running = running_stack(folder, **settings)
    stack = await asyncio.to_thread(running.__enter__)
    try:
        yield stack
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


def only(spans: list[Got], name: str, service: str = "") -> Got:
    """The one span of a name."""
    found = [span for span in spans if span.name == name and service in span.service]
    assert len(found) == 1, "\n".join(map(str, spans))
    return found[0]


def assert_connected(spans: list[Got]) -> None:
    """Every span's parent has come too, but that of the client's own span; ids are unique; no child begins before its parent."""
    by_id = {span.id: span for span in spans}
    assert len(by_id) == len(spans)
    for span in spans:
        assert span.parent in by_id or span.parent == CALLER, f"{span} has no parent"
        if span.parent in by_id:
            # Claims and ends carry Redis' clock in milliseconds.
            assert span.start >= by_id[span.parent].start - 2_000_000, (
                f"{span} begins before {by_id[span.parent]}"
            )


def make_film(path: Path) -> None:
    """A film of one second with sound."""
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=1", "-f", "lavfi", "-i", "testsrc=d=1:s=64x64:r=5",
         "-shortest", path],
        check=True, timeout=60,
    )  # fmt: skip


async def submit(http: aiohttp.ClientSession, body: dict[str, Any], headers: dict[str, str] = HEADERS) -> str:
    """Submit a task; gives the traceparent of the answer."""
    async with http.post("/v1/tasks", json=body, headers=headers) as response:
        assert response.status == 202, await response.text()
        assert response.headers.get("tracestate", "") == headers.get("tracestate", "")
        return response.headers["traceparent"]


async def ended(http: aiohttp.ClientSession, task_id: str) -> str:
    """Wait for a task's end; gives its state."""
    async with asyncio.timeout(60):
        while True:
            async with http.get(f"/v1/tasks/{task_id}") as response:
                state: str = (await response.json()).get("state", "")  # none while the scheduler is away
            if state in ("completed", "failed", "cancelled"):
                return state
            await asyncio.sleep(0.05)


async def test_a_task_from_request_to_callback_is_one_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    """Gateway, scheduler, node, program, store and callback, each under the one before; the caller's trace comes back."""
    film, port = tmp_path / f"{NAME}.mp4", free_port()
    make_film(film)
    async with collecting() as collector, receiving(port) as receiver:
        stacked = traced_stack(
            tmp_path / "run", collector, monkeypatch, allow_addresses=[f"127.0.0.1:{port}"]
        )
        async with stacked as stack, aiohttp.ClientSession(stack.url) as http:
            async with http.put(f"/v1/files/{NAME}/film.mp4", data=film.read_bytes()) as response:
                assert response.status < 300, await response.text()
            answered = await submit(
                http,
                {
                    "task_id": "t1",
                    "task_name": "ffmpeg.extract_audio",
                    "input_data": {"video_path": f"{NAME}/film.mp4"},
                    "callback": f"http://127.0.0.1:{port}/{NAME}",
                },
            )
            headers, _ = await receiver.wait(1)
            names = "POST /v1/tasks", "task ffmpeg.extract_audio", "attempt", "callback", "store"
            await collector.trace(TRACE, *names)
        spans = [span for span in collector.spans if span.trace == TRACE]
    assert_connected(spans)
    request = only(spans, "POST /v1/tasks", "yivideo-gateway")
    task = only(spans, "task ffmpeg.extract_audio", "yivideo-scheduler")
    attempt = only(spans, "attempt")
    run = only(spans, "run ffmpeg.extract_audio", "yivideo-ffmpeg")
    assert request.parent == CALLER
    assert answered == f"00-{TRACE}-{request.id}-01"
    assert only(spans, SUBMIT).parent == request.id
    assert task.parent == only(spans, SUBMIT).id
    assert {attempt.parent, only(spans, "queue").parent, only(spans, "callback").parent} == {task.id}
    assert run.parent == attempt.id
    fetch, store = only(spans, "fetch"), only(spans, "store")
    programs = [span for span in spans if span.name == "process ffmpeg"]
    assert programs
    assert {fetch.parent, store.parent, *(span.parent for span in programs)} == {run.id}
    kept = [span for span in spans if span.service == "yivideo-filestore"]
    assert {fetch.id, store.id} <= {span.parent for span in kept}
    assert headers["traceparent"] == f"00-{TRACE}-{only(spans, 'callback').id}-01"
    assert {span.state for span in spans} == {"shop=7"}
    assert not any(span.error for span in spans)
    assert NAME.encode() not in b"".join(collector.raw)


STUMBLER: dict[str, Any] = {
    "only": [],
    "node_table": "tests/stories/no_nodes.toml",
    "nodes": [{"name": "stumbler", "module": "tests.stories.stumbler"}],
}


async def test_what_goes_wrong_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing task, a retried and a cancelled one, and one whose scheduler is killed: each is connected, and tells its end."""
    policy = {"max_attempts": 2, "initial_delay_seconds": 0.1}
    async with collecting() as collector:
        stacked = traced_stack(tmp_path / "run", collector, monkeypatch, **STUMBLER)
        async with stacked as stack, aiohttp.ClientSession(stack.url) as http:
            walks: dict[str, dict[str, Any]] = {
                "fails": {"falls": 9},
                "retried": {"falls": 1},
                "cancelled": {"seconds": 100},
                "orphan": {"seconds": 6},
            }
            traces = {}
            for number, (task_id, walk) in enumerate(walks.items(), 1):
                traces[task_id] = f"{number:032x}"
                headers = {"traceparent": f"00-{traces[task_id]}-{CALLER}-01"}
                body = {"task_id": task_id, "task_name": "stumbler.walk", "input_data": walk}
                await submit(http, body | {"retry_policy": policy}, headers)
                if task_id == "retried":
                    assert await ended(http, "fails") == "failed"
                    assert await ended(http, "retried") == "completed"
            for task_id in ("cancelled", "orphan"):
                await running(http, task_id)
            async with http.delete("/v1/tasks/cancelled") as response:
                assert response.status < 300, await response.text()
            assert await ended(http, "cancelled") == "cancelled"
            # A killed process takes its last spans along: what it has said by now is not lost.
            await collector.trace(traces["cancelled"], "task stumbler.walk", "attempt")
            await collector.trace(traces["orphan"], SUBMIT, "queue")
            os.kill(stack.pid("scheduler"), signal.SIGKILL)
            assert await ended(http, "orphan") == "completed"
            for trace in traces.values():
                await collector.trace(trace, "task stumbler.walk", "attempt", "run stumbler.walk")
        of = {
            task_id: [span for span in collector.spans if span.trace == trace]
            for task_id, trace in traces.items()
        }
    for task_id, spans in of.items():
        assert spans, task_id
        assert_connected(spans)
    assert only(of["fails"], "task stumbler.walk").error == "FELL"
    for task_id, errors in (("fails", ["FELL", "FELL"]), ("retried", ["FELL", ""])):
        attempts = sorted((span for span in of[task_id] if span.name == "attempt"), key=lambda one: one.start)
        assert [span.error for span in attempts] == errors
        assert [span.links for span in attempts] == [(), (attempts[0].id,)]
        runs = [span for span in of[task_id] if span.name == "run stumbler.walk"]
        assert {span.parent for span in runs} == {span.id for span in attempts}
    assert only(of["cancelled"], "attempt").attributes["yivideo.outcome"] == "cancelled"
    assert only(of["cancelled"], "process sleep").attributes["process.exit.code"] == -signal.SIGTERM
    assert only(of["orphan"], "run stumbler.walk").parent == only(of["orphan"], "attempt").id
    assert b"eve" not in b"".join(collector.raw)


async def running(http: aiohttp.ClientSession, task_id: str) -> None:
    """Wait until a task runs."""
    async with asyncio.timeout(30):
        while True:
            async with http.get(f"/v1/tasks/{task_id}") as response:
                if (await response.json())["state"] == "running":
                    return
            await asyncio.sleep(0.05)
