"""`python -m gateway` as an operator runs it: starts, answers, drains on SIGTERM; refuses settings that are not safe."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from tests.conftest import ROOT
from tests.gateway.conftest import Harness


@asynccontextmanager
async def process(**settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the gateway with settings from the environment; it is gone when the block ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("YIVIDEO_")}
    environment |= {f"YIVIDEO_{name.upper()}": value for name, value in settings.items()}
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )  # fmt: skip
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def logged(started: asyncio.subprocess.Process, event: str) -> dict[str, str]:
    """Wait for a log line."""
    assert started.stderr is not None
    async with asyncio.timeout(20):
        while line := await started.stderr.readline():
            entry: dict[str, str] = json.loads(line)
            if entry["event"] == event:
                return entry
    raise AssertionError(f"the process ended without {event!r}")


async def test_the_process_serves_and_drains(harness: Harness) -> None:
    """It answers, and on SIGTERM an open event stream ends whole, the process ends with 0, the log tells of both."""
    async with process(
        runtime__metrics_listen="",
        gateway__listen="127.0.0.1:0",
        gateway__scheduler_address=harness.scheduler_address,
        gateway__filestore_address="127.0.0.1:1",
    ) as started:
        address = (await logged(started, "serving"))["address"]
        await harness.submit("t1")
        async with aiohttp.ClientSession(f"http://{address}") as http:
            async with http.get("/v1/tasks/t1", headers={"X-Request-Id": "mine"}) as response:
                assert response.status == 200
            entry = await logged(started, "request")
            assert (entry["request_id"], entry["route"], entry["user"]) == (
                "mine",
                "/v1/tasks/{task_id}",
                "anonymous",
            )
            async with http.get("/v1/tasks/t1/events") as stream:
                await harness.scheduler.wait_watchers(1)
                started.send_signal(signal.SIGTERM)
                assert b"shutting down" in await stream.read()
        await logged(started, "stopped")
        assert await asyncio.wait_for(started.wait(), 10) == 0


async def test_an_open_gateway_does_not_start_for_others_to_reach() -> None:
    """Without keys on a public address: the process ends at once and says why, without a traceback."""
    async with process(gateway__listen="0.0.0.0:0", runtime__metrics_listen="") as started:
        _, errors = await asyncio.wait_for(started.communicate(), 20)
    assert started.returncode == 1
    assert b"gateway.api_keys" in errors and b"Traceback" not in errors
