"""Callbacks: signed, guarded, retried, logged, redeliverable, against real receivers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook

from runtime.errors import WrongState
from runtime.rpc_errors import rpc_errors
from scheduler.circuit import HostCircuits
from scheduler.settings import CallbackSection
from tests.scheduler.conftest import Client, House, running_client
from tests.scheduler.node_room import NodeRoom
from yivideo.task.v1 import task_pb2

SECRETS = tuple("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"a", b"b"))


class Receiver:
    """An HTTP server that answers as told and remembers what came."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.changed = asyncio.Condition()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        async with self.changed:
            self.requests.append((dict(request.headers), body))
            self.changed.notify_all()
        answer = self.answers.pop(0) if self.answers else 200
        return answer if isinstance(answer, web.Response) else web.Response(status=answer)

    async def wait(self, count: int) -> tuple[dict[str, str], bytes]:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: len(self.requests) >= count)
        return self.requests[count - 1]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.handle)
    async with TestServer(app) as server:
        made.url = str(server.make_url("/hook"))
        yield made


def section(**fields: Any) -> CallbackSection:
    """Settings that may call this machine, with short waits."""
    given = {
        "secrets": SECRETS,
        "allow": ("127.0.0.1",),
        "schedule_seconds": (0.05, 0.05),
        "circuit_failures": 50,
    }
    return CallbackSection(**{**given, **fields})


async def log_of(client: Client, task_id: str, count: int) -> task_pb2.ListDeliveriesResponse:
    """The delivery log once it has so many entries and is at rest or waits."""
    async with asyncio.timeout(10):
        while True:
            found = await client.stub.ListDeliveries(task_pb2.ListDeliveriesRequest(task_id=task_id))
            if len(found.deliveries) >= count:
                return found
            await asyncio.sleep(0.01)


async def run(house: House, receiver: Receiver, **settings: Any) -> tuple[Client, NodeRoom]:
    node = await house.node(auto=True)
    client = await house.scheduler(callbacks=section(**settings))
    await client.submit("t1", callback_url=receiver.url, input={"video_path": "a.mp4", "api_key": "k"})
    return client, node


async def test_a_callback_is_signed_and_says_what_the_origin_said(house: House, receiver: Receiver) -> None:
    """The public library verifies the bytes with either secret; the body is the origin's, secrets masked."""
    client, _ = await run(house, receiver)
    headers, body = await receiver.wait(1)
    for secret in SECRETS:
        assert Webhook(secret).verify(body, headers)["task_id"] == "t1"
    assert (headers["User-Agent"], headers["Content-Type"]) == ("YiVideo-Callback/1.0", "application/json")
    said = orjson.loads(body)
    assert set(said) == {"task_id", "status", "result", "minio_files", "timestamp"}
    assert said["status"] == "completed"
    assert said["result"] == {
        "task_name": "media.extract", "status": "SUCCESS", "input_params": {"video_path": "a.mp4", "api_key": "***"},
        "output": {"audio_path": "x/a.wav"}, "error": None, "duration": 0.5,
    }  # fmt: skip
    found = await log_of(client, "t1", 1)
    assert found.status == task_pb2.CALLBACK_STATUS_SENT
    assert (found.deliveries[0].http_status, found.deliveries[0].webhook_id) == (200, headers["webhook-id"])
    assert (await client.get("t1")).callback_status == task_pb2.CALLBACK_STATUS_SENT


async def test_a_failure_and_a_cancellation_are_called_back_too(house: House, receiver: Receiver) -> None:
    """Every way to end is told, with the single node result of the origin."""
    node = await house.node()
    client = await house.scheduler(callbacks=section())
    await client.submit("t1", callback_url=receiver.url)
    await client.submit("t2", callback_url=receiver.url)
    here = await node.arrival("t1")
    await client.cancel("t2", reason="no")
    said = orjson.loads((await receiver.wait(1))[1])
    assert (said["status"], said["result"]["status"], said["result"]["error"]) == (
        "cancelled",
        "CANCELLED",
        "no",
    )
    await here.fail()
    said = orjson.loads((await receiver.wait(2))[1])
    assert (said["status"], said["result"]["status"], said["result"]["output"]) == ("failed", "FAILED", None)
    assert said["result"]["error"] == "BROKEN: it broke"


async def test_a_failed_delivery_is_repeated_with_the_same_id_and_bytes(
    house: House, receiver: Receiver
) -> None:
    """After 500s the schedule goes on; webhook-id and body stay; after its last try the callback has failed."""
    receiver.answers = [500, 500, 500]
    client, _ = await run(house, receiver)
    found = await log_of(client, "t1", 3)
    assert found.status == task_pb2.CALLBACK_STATUS_FAILED
    assert [(d.attempt, d.http_status) for d in found.deliveries] == [(1, 500), (2, 500), (3, 500)]
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
    assert len({body for _, body in receiver.requests}) == 1
    assert (await client.get("t1")).state == task_pb2.TASK_STATE_COMPLETED

    redelivered = await client.stub.RedeliverCallback(task_pb2.RedeliverCallbackRequest(task_id="t1"))
    assert redelivered.callback_status in (task_pb2.CALLBACK_STATUS_PENDING, task_pb2.CALLBACK_STATUS_SENT)
    headers, _ = await receiver.wait(4)
    assert headers["webhook-id"] == receiver.requests[0][0]["webhook-id"]
    found = await log_of(client, "t1", 4)
    assert (found.deliveries[3].attempt, found.status) == (4, task_pb2.CALLBACK_STATUS_SENT)


async def test_410_ends_it(house: House, receiver: Receiver) -> None:
    """A receiver that says Gone is not called again."""
    receiver.answers = [410]
    client, _ = await run(house, receiver)
    found = await log_of(client, "t1", 1)
    assert (found.status, found.HasField("next_time")) == (task_pb2.CALLBACK_STATUS_FAILED, False)


async def test_a_redirect_is_a_failure_and_is_not_followed(house: House, receiver: Receiver) -> None:
    """3xx counts as a failed delivery; its target is never called."""
    receiver.answers = [web.Response(status=302, headers={"Location": "/elsewhere"})] * 3
    client, _ = await run(house, receiver, schedule_seconds=())
    found = await log_of(client, "t1", 1)
    assert (found.deliveries[0].http_status, found.status) == (302, task_pb2.CALLBACK_STATUS_FAILED)
    assert len(receiver.requests) == 1


async def test_retry_after_is_honoured_within_its_bound(house: House, receiver: Receiver) -> None:
    """A receiver may ask for more time, up to the setting."""
    receiver.answers = [web.Response(status=503, headers={"Retry-After": "9999"})]
    client, _ = await run(house, receiver, max_retry_after_seconds=60)
    found = await log_of(client, "t1", 1)
    wait = found.next_time.ToMilliseconds() / 1000 - found.deliveries[0].time.ToMilliseconds() / 1000
    assert 55 < wait <= 61


async def test_an_address_that_is_no_longer_allowed_is_not_called(house: House, receiver: Receiver) -> None:
    """The address is checked again at every delivery: a private one is refused for good, without a retry or a request."""
    await house.node(slots=0)
    async with running_client(house.settings(callbacks=section())) as first:
        await first.sees(1)
        await first.submit("t1", callback_url=receiver.url)
        await first.cancel("t1")
        await log_of(first, "t1", 1)
    strict = await house.scheduler(callbacks=section(allow=()))
    await strict.stub.RedeliverCallback(task_pb2.RedeliverCallbackRequest(task_id="t1"))
    found = await log_of(strict, "t1", 2)
    assert found.status == task_pb2.CALLBACK_STATUS_INVALID_URL
    assert "not a public address" in found.deliveries[1].error
    assert len(receiver.requests) == 1


async def test_a_huge_answer_is_not_read_to_its_end(house: House, receiver: Receiver) -> None:
    """Of an answer's body at most 64 KiB are read; its status counts."""
    receiver.answers = [web.Response(status=200, body=b"x" * 5_000_000)]
    client, _ = await run(house, receiver)
    assert (await log_of(client, "t1", 1)).status == task_pb2.CALLBACK_STATUS_SENT


async def test_a_second_submit_of_a_completed_task_calls_back_again(house: House, receiver: Receiver) -> None:
    """As the origin did on a cache hit; a receiver knows the repetition by its webhook-id."""
    client, node = await run(house, receiver)
    await log_of(client, "t1", 1)
    await client.submit("t1", callback_url=receiver.url, input={"video_path": "a.mp4", "api_key": "k"})
    await log_of(client, "t1", 2)
    assert receiver.requests[0][0]["webhook-id"] == receiver.requests[1][0]["webhook-id"]
    assert node.started == [("t1", 1)]


async def test_only_an_ended_task_with_a_callback_is_redelivered(house: House) -> None:
    """Redelivery of a live task, or of one without a callback, is refused."""
    node = await house.node()
    client = await house.scheduler(callbacks=section())
    for name in ("t1", "t2"):
        await client.submit(name, callback_url="" if name == "t1" else "http://127.0.0.1:1/")
    await (await node.arrival("t1")).complete()
    await client.ended("t1")
    for name in ("t1", "t2"):
        with pytest.raises(WrongState):
            async with rpc_errors():
                await client.stub.RedeliverCallback(task_pb2.RedeliverCallbackRequest(task_id=name))


def test_a_failing_host_is_left_alone_and_then_tried_by_one() -> None:
    """The circuit opens after so many failures, lets one delivery try after the pause, and closes with its success."""
    now = 0.0
    circuits = HostCircuits(concurrency=2, failures=3, pause_seconds=10, clock=lambda: now)
    assert circuits.begin("h") == circuits.begin("h") == 0
    assert circuits.begin("h") > 0, "two at a time"
    assert circuits.begin("other") == 0
    for _ in range(2):
        circuits.end("h", well=False)
    assert circuits.begin("h") == 0
    circuits.end("h", well=False)
    assert circuits.begin("h") == 10
    now = 10.0
    assert circuits.begin("h") == 0
    assert circuits.begin("h") > 0, "one tries, the others wait"
    circuits.end("h", well=True)
    assert circuits.begin("h") == circuits.begin("h") == 0
