"""A gateway with a real scheduler, Redis and node behind it, and a client of its workflows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import redis

from gateway.app import serving
from gateway.settings import GatewaySection, GatewaySettings
from tests.scheduler.conftest import RUNTIME, Harness
from tests.scheduler.fake_node import FakeNode


@dataclass
class Api:
    """A client of the gateway, and the node that works behind it."""

    http: aiohttp.ClientSession
    node: FakeNode

    async def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        async with self.http.request(method, path, json=body, headers=headers) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else {}

    async def finish(self, *task_ids: str, attempt: int = 1) -> None:
        for task_id in task_ids:
            await (await self.node.arrival(task_id, attempt)).complete({"audio_path": f"{task_id}.wav"})

    async def events(self, workflow_id: str, after: str = "") -> list[tuple[str, dict[str, Any]]]:
        """The stream up to its end: (id, data) of each event."""
        headers = {"Last-Event-ID": after} if after else {}
        found, identity = [], ""
        async with (
            asyncio.timeout(15),
            self.http.get(f"/v1/workflows/{workflow_id}/events", headers=headers) as response,
        ):
            if response.status == 204:
                return []
            assert response.status == 200, await response.text()
            async for raw in response.content:
                line = raw.decode().rstrip("\n")
                if line.startswith("id: "):
                    identity = line[4:]
                elif line.startswith("data: "):
                    found.append((identity, json.loads(line[6:])))
                    identity = ""
        return found


@pytest.fixture
async def harness(redis_url: str) -> AsyncIterator[Harness]:
    """A scheduler's harness on an empty Redis."""
    client = redis.Redis.from_url(redis_url)
    client.flushdb()
    async with AsyncExitStack() as stack:
        yield Harness(redis_url, stack, {})
    client.close()


@asynccontextmanager
async def gateway(
    scheduler_address: str, key: str = "", **section: Any
) -> AsyncIterator[aiohttp.ClientSession]:
    settings = GatewaySection(listen="127.0.0.1:0", scheduler_address=scheduler_address, **section)
    headers = {"X-API-Key": key} if key else {}
    async with (
        serving(GatewaySettings(runtime=RUNTIME, gateway=settings)) as address,
        aiohttp.ClientSession(f"http://{address}", headers=headers) as http,
    ):
        yield http


@pytest.fixture
async def api(harness: Harness) -> Api:
    """A gateway, a scheduler and a node with many slots."""
    node = await harness.node(slots=20)
    client = await harness.scheduler()
    return Api(await harness.stack.enter_async_context(gateway(client.address)), node)


def chain(**fields: Any) -> dict[str, Any]:
    return {
        "workflow_id": "w",
        "tasks": [
            {"key": "audio", "task_name": "media.extract", "input_data": {"video_path": "a.mp4"}},
            {
                "key": "cut",
                "task_name": "media.split",
                "input_data": {"video_path": "${{ tasks.audio.output.audio_path }}"},
            },
        ],
        **fields,
    }
