"""A process's life, with a real child: it serves, drains on SIGTERM, and ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runtime.channel import open_channel
from runtime.settings import RuntimeSection
from yivideo.task.v1 import task_pb2, task_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
STATES = health_pb2.HealthCheckResponse
SERVICE = "yivideo.task.v1.TaskService"


class Child:
    """The child process, its address, and what it wrote."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log

    async def address(self) -> tuple[str, str]:
        """Its gRPC address, and the module that its event loop comes from."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 20)
        address, loop = line.decode().split()
        return address, loop

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 20)

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@asynccontextmanager
async def child(folder: Path, mode: str = "serve", **environment: str) -> AsyncIterator[Child]:
    log = folder / "stderr"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.runtime.served_process", mode, cwd=ROOT, stderr=stderr,
            stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment},
        )  # fmt: skip
    made = Child(process, log)
    try:
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and SIGINT: health turns NOT_SERVING, watchers are let go, exit code 0, and the log tells the story."""
    async with child(tmp_path) as served:
        address, loop = await served.address()
        assert loop.startswith("uvloop")
        async with open_channel(address, RuntimeSection()) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(service=SERVICE), timeout=20
            )
            assert (await watch.read()).status == STATES.SERVING
            served.process.send_signal(number)
            assert (await watch.read()).status == STATES.NOT_SERVING
            # The grace is 10 s; a health watch alone must not use it up.
            assert await asyncio.wait_for(served.process.wait(), 5) == 0
    assert [line["event"] for line in served.lines()] == [
        "started", "listening", "told to stop; draining", "stopped",
    ]  # fmt: skip
    assert all(line["process"] == "served" for line in served.lines())


async def test_a_signal_breaks_off_a_start(tmp_path: Path) -> None:
    """What waits for something at its start, and not yet for the signal, ends at once and well all the same."""
    async with child(tmp_path, "never-up") as served:
        await served.address()
        served.process.terminate()
        assert await asyncio.wait_for(served.process.wait(), 5) == 0
    assert [line["event"] for line in served.lines()] == [
        "started", "told to stop before it was up", "stopped",
    ]  # fmt: skip


async def test_a_call_under_way_holds_the_drain_and_a_second_signal_ends_it(tmp_path: Path) -> None:
    """While a stream runs the process drains; told twice, it ends at once with exit code 1."""
    async with child(tmp_path, YIVIDEO_RUNTIME__DRAIN_SECONDS="60") as served:
        address, _ = await served.address()
        async with open_channel(address, RuntimeSection()) as channel:
            health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
            await health.read()
            stream = task_pb2_grpc.TaskServiceStub(channel).WatchTask(task_pb2.WatchTaskRequest(), timeout=20)
            await stream.read()
            served.process.terminate()
            assert (await health.read()).status == STATES.NOT_SERVING
            for _ in range(
                3
            ):  # as the kernel does for each thread of a parent that died: one word, said often
                served.process.terminate()
            async with asyncio.timeout(20):
                while served.process.returncode is None:
                    await asyncio.sleep(0.1)
                    with suppress(ProcessLookupError):
                        served.process.terminate()
            assert served.process.returncode == 1
            stream.cancel()
    told = [line["event"] for line in served.lines() if "told" in str(line["event"])]
    assert told == ["told to stop; draining", "told twice to stop; ending at once"]
    first, second = (
        datetime.fromisoformat(str(line["timestamp"]))
        for line in served.lines()
        if "told" in str(line["event"])
    )
    assert (second - first).total_seconds() > 0.4
    assert served.lines()[-1]["event"] == "told twice to stop; ending at once"


async def test_a_call_that_outlasts_the_grace_is_cancelled(tmp_path: Path) -> None:
    """After `drain_seconds` the process ends although a client still watches."""
    async with child(tmp_path, YIVIDEO_RUNTIME__DRAIN_SECONDS="0.2") as served:
        address, _ = await served.address()
        async with open_channel(address, RuntimeSection()) as channel:
            stream = task_pb2_grpc.TaskServiceStub(channel).WatchTask(task_pb2.WatchTaskRequest(), timeout=20)
            await stream.read()
            served.process.terminate()
            assert await served.ended() == 0
            stream.cancel()


async def test_the_process_shows_its_figures(tmp_path: Path) -> None:
    """The metrics endpoint of a real process names the build, the calls and the loop's lag."""
    async with child(tmp_path) as served:
        await served.address()
        port = next(line["metrics_port"] for line in served.lines() if line["event"] == "started")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                text = await answer.text()
        served.process.terminate()
        await served.ended()
    assert 'yivideo_build_info{process="served"' in text
    assert "yivideo_event_loop_lag_seconds_bucket" in text
    assert "grpc_server_handling_seconds" in text
    assert "process_resident_memory_bytes" in text


async def test_what_kills_a_process_is_logged(tmp_path: Path) -> None:
    """An exception out of `main` is a JSON line with its traceback, and exit code 1."""
    async with child(tmp_path, "die") as served:
        assert await served.ended() == 1
    last = served.lines()[-1]
    assert last["event"] == "died"
    assert "no way on" in str(last["exception"])


async def test_settings_that_would_stand_open_end_the_process(tmp_path: Path) -> None:
    """A reachable address without token or client certificates: exit code 1 and the reason, before anything is served."""
    async with child(tmp_path, YIVIDEO_RUNTIME__LISTEN="0.0.0.0:0") as served:
        assert await served.ended() == 1
    assert "runtime.token" in (tmp_path / "stderr").read_text()
