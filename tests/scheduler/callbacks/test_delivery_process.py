"""A scheduler process is killed while it delivers: the callback comes again, under the same id."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from standardwebhooks import Webhook

from runtime.channel import open_channel
from runtime.structs import to_struct
from tests.conftest import ROOT
from tests.scheduler.callbacks.receiver import SECRETS, receiving
from tests.scheduler.conftest import RUNTIME, Harness
from tests.scheduler.short_times import PREFIX
from yivideo.task.v1 import task_pb2, task_pb2_grpc


@asynccontextmanager
async def process(harness: Harness) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run `python -m scheduler` on the harness's Redis and nodes; gives it and its address."""
    nodes = [{"node": name, "addresses": found} for name, found in harness.addresses.items()]
    settings = {
        "runtime__listen": "127.0.0.1:0",
        "runtime__metrics_listen": "",
        "scheduler__redis_url": harness.redis_url,
        "scheduler__key_prefix": PREFIX,
        "scheduler__nodes": json.dumps(nodes),
        "scheduler__callbacks__secrets": json.dumps(SECRETS),
        "scheduler__callbacks__allow": json.dumps(["127.0.0.1"]),
        "scheduler__callbacks__timeout_seconds": "2",
        "scheduler__callbacks__hold_seconds": "3",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("YIVIDEO_")}
    environment |= {f"YIVIDEO_{name.upper()}": value for name, value in settings.items()}
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scheduler", cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert started.stderr is not None
    try:
        async with asyncio.timeout(20):
            while entry := json.loads(await started.stderr.readline()):
                if entry["event"] == "listening":
                    break
        yield started, entry["address"]
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def deliveries(address: str) -> task_pb2.ListDeliveriesResponse:
    async with open_channel(address, RUNTIME) as channel:
        stub = task_pb2_grpc.TaskServiceStub(channel)
        return await stub.ListDeliveries(task_pb2.ListDeliveriesRequest(task_id="t1"))


@pytest.mark.slow
async def test_a_delivery_that_died_with_its_scheduler_is_made_again(harness: Harness) -> None:
    """SIGKILL between request and answer: when its hold has ended, another process sends the same id and bytes."""
    await harness.node(auto=True)
    never = asyncio.Event()
    async with receiving() as receiver:
        receiver.before_answer = never.wait
        async with process(harness) as (first, address):
            async with open_channel(address, RUNTIME) as channel:
                stub = task_pb2_grpc.TaskServiceStub(channel)
                async with asyncio.timeout(20):
                    while not (await stub.ListTaskTypes(task_pb2.ListTaskTypesRequest())).task_types:
                        await asyncio.sleep(0.05)
                spec = task_pb2.TaskSpec(
                    task_id="t1", task_name="media.extract", callback_url=receiver.url,
                    input=to_struct({"video_path": "a.mp4"}),
                )  # fmt: skip
                await stub.SubmitTask(task_pb2.SubmitTaskRequest(spec=spec))
                await receiver.wait(1)
            first.kill()
            await first.wait()
        receiver.before_answer = None
        async with process(harness) as (_, other):
            await receiver.wait(2)
            async with asyncio.timeout(20):
                while (found := await deliveries(other)).status != task_pb2.CALLBACK_STATUS_SENT:
                    await asyncio.sleep(0.05)
    (one, first_body), (two, second_body) = receiver.requests
    assert one["webhook-id"] == two["webhook-id"] == found.deliveries[0].webhook_id
    assert first_body == second_body
    assert len(found.deliveries) == 1, "what was never answered is not known to have been sent"
    for headers, body in receiver.requests:
        assert Webhook(SECRETS[1]).verify(body, headers)["task_id"] == "t1"
