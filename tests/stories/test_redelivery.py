"""A callback's life on the whole stack: a receiver that fails, its log, and redelivery by hand over REST and gRPC."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from pydantic import SecretStr
from standardwebhooks import Webhook

from runtime.channel import open_channel
from runtime.settings import RuntimeSection
from tests.scheduler.callbacks.receiver import receiving
from tests.stories.conftest import RunningStack
from yivideo.task.v1 import task_pb2, task_pb2_grpc


async def logged(http: aiohttp.ClientSession, task_id: str, count: int) -> dict[str, Any]:
    """The delivery log once it has so many entries."""
    async with asyncio.timeout(20):
        while True:
            async with http.get(f"/v1/tasks/{task_id}/deliveries") as response:
                found: dict[str, Any] = await response.json()
            if len(found["deliveries"]) >= count:
                return found
            await asyncio.sleep(0.05)


async def test_a_callback_is_tried_logged_and_sent_again_by_hand(
    stack: RunningStack, callback_port: int
) -> None:
    """500, then 200 a second later; then once more by REST and once by gRPC: four attempts, one id, each signature good."""
    async with receiving(callback_port) as receiver, aiohttp.ClientSession(stack.url) as http:
        receiver.answers = [500]
        body = {
            "task_id": "redelivered",
            "task_name": "ffmpeg.extract_audio",
            "input_data": {"video_path": "data:video/mp4;base64,bm8gZmlsbQ=="},
            "callback": receiver.url,
        }
        async with http.post("/v1/tasks", json=body) as response:
            assert response.status == 202, await response.text()
        await receiver.wait(2)
        found = await logged(http, "redelivered", 2)
        assert [one["http_status"] for one in found["deliveries"]] == [500, 200]
        assert found["callback_status"] == "sent"

        async with http.post("/v1/tasks/redelivered/redeliver") as response:
            assert response.status == 202
        await receiver.wait(3)
        await logged(http, "redelivered", 3)
        settings = RuntimeSection(metrics_listen="", token=SecretStr(stack.card["token"]))
        async with open_channel(stack.card["schedulers"][0], settings) as channel:
            stub = task_pb2_grpc.TaskServiceStub(channel)
            await stub.RedeliverCallback(task_pb2.RedeliverCallbackRequest(task_id="redelivered"))
        await receiver.wait(4)
        found = await logged(http, "redelivered", 4)
        assert [one["attempt"] for one in found["deliveries"]] == [1, 2, 3, 4]
        assert {one["webhook_id"] for one in found["deliveries"]} == set(receiver.ids())
        assert len(set(receiver.ids())) == 1
        for headers, raw in receiver.requests:
            said = Webhook(stack.callback_secret).verify(raw, headers)
            assert (said["task_id"], said["status"]) == ("redelivered", "failed")
