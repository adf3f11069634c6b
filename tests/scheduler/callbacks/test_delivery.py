"""Callbacks: signed, guarded, retried, logged, redeliverable, against real receivers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from runtime.errors import AddressRefused, WrongState
from runtime.rpc_errors import rpc_errors
from scheduler.callbacks.delivery import retry_after_seconds
from tests.scheduler.callbacks.receiver import SECRETS, Receiver, receiving, section
from tests.scheduler.conftest import Client, Harness, running_client
from tests.scheduler.fake_node import FakeNode
from yivideo.task.v1 import task_pb2


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


async def log_of(client: Client, task_id: str, count: int) -> task_pb2.ListDeliveriesResponse:
    """The delivery log once it has so many entries and is at rest or waits."""
    async with asyncio.timeout(10):
        while True:
            found = await client.stub.ListDeliveries(task_pb2.ListDeliveriesRequest(task_id=task_id))
            if len(found.deliveries) >= count:
                return found
            await asyncio.sleep(0.01)


async def run(harness: Harness, receiver: Receiver, **settings: Any) -> tuple[Client, FakeNode]:
    node = await harness.node(auto=True)
    client = await harness.scheduler(callbacks=section(**settings))
    await client.submit("t1", callback_url=receiver.url, input={"video_path": "a.mp4", "api_key": "k"})
    return client, node


async def test_a_callback_is_signed_and_has_the_first_yivideos_form(
    harness: Harness, receiver: Receiver
) -> None:
    """The public library verifies the bytes with either secret; the body is the first YiVideo's, secrets masked."""
    client, _ = await run(harness, receiver)
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


async def test_a_failure_and_a_cancellation_are_called_back_too(harness: Harness, receiver: Receiver) -> None:
    """Every way to end is told, with the single node result of the origin."""
    node = await harness.node()
    client = await harness.scheduler(callbacks=section())
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
    harness: Harness, receiver: Receiver
) -> None:
    """After 500s the schedule goes on; webhook-id and body stay; after its last try the callback has failed."""
    receiver.answers = [500, 500, 500]
    client, _ = await run(harness, receiver)
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


async def test_410_ends_it(harness: Harness, receiver: Receiver) -> None:
    """A receiver that says Gone is not called again."""
    receiver.answers = [410]
    client, _ = await run(harness, receiver)
    found = await log_of(client, "t1", 1)
    assert (found.status, found.HasField("next_time")) == (task_pb2.CALLBACK_STATUS_FAILED, False)


async def test_a_redirect_is_a_failure_and_is_not_followed(harness: Harness, receiver: Receiver) -> None:
    """3xx counts as a failed delivery; its target is never called."""
    receiver.answers = [web.Response(status=302, headers={"Location": "/elsewhere"})] * 3
    client, _ = await run(harness, receiver, schedule_seconds=())
    found = await log_of(client, "t1", 1)
    assert (found.deliveries[0].http_status, found.status) == (302, task_pb2.CALLBACK_STATUS_FAILED)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("said", ["9999", "Fri, 31 Dec 2100 23:59:59 GMT"])
async def test_retry_after_is_honoured_within_its_bound(
    harness: Harness, receiver: Receiver, status: int, said: str
) -> None:
    """A receiver may ask for more time, in seconds or with a date, up to the setting."""
    receiver.answers = [web.Response(status=status, headers={"Retry-After": said})]
    client, _ = await run(harness, receiver, max_retry_after_seconds=60)
    found = await log_of(client, "t1", 1)
    wait = found.next_time.ToMilliseconds() / 1000 - found.deliveries[0].time.ToMilliseconds() / 1000
    assert 55 < wait <= 61


async def test_an_address_that_is_no_longer_allowed_is_not_called(
    harness: Harness, receiver: Receiver
) -> None:
    """The address is checked again at every delivery: a private one is refused for good, without a retry or a request."""
    await harness.node(slots=0)
    async with running_client(harness.settings(callbacks=section())) as first:
        await first.sees(1)
        await first.submit("t1", callback_url=receiver.url)
        await first.cancel("t1")
        await log_of(first, "t1", 1)
    strict = await harness.scheduler(callbacks=section(allow=()))
    await strict.stub.RedeliverCallback(task_pb2.RedeliverCallbackRequest(task_id="t1"))
    found = await log_of(strict, "t1", 2)
    assert found.status == task_pb2.CALLBACK_STATUS_INVALID_URL
    assert "not a public address" in found.deliveries[1].error
    assert len(receiver.requests) == 1


async def test_a_huge_answer_is_not_read_to_its_end(harness: Harness, receiver: Receiver) -> None:
    """Of an answer's body at most 64 KiB are read; its status counts."""
    receiver.answers = [web.Response(status=200, body=b"x" * 5_000_000)]
    client, _ = await run(harness, receiver)
    assert (await log_of(client, "t1", 1)).status == task_pb2.CALLBACK_STATUS_SENT


async def test_a_second_submit_of_a_completed_task_calls_back_again(
    harness: Harness, receiver: Receiver
) -> None:
    """As the origin did on a cache hit; a receiver knows the repetition by its webhook-id."""
    client, node = await run(harness, receiver)
    await log_of(client, "t1", 1)
    await client.submit("t1", callback_url=receiver.url, input={"video_path": "a.mp4", "api_key": "k"})
    await log_of(client, "t1", 2)
    assert receiver.requests[0][0]["webhook-id"] == receiver.requests[1][0]["webhook-id"]
    assert node.started == [("t1", 1)]


async def test_only_an_ended_task_with_a_callback_is_redelivered(harness: Harness) -> None:
    """Redelivery of a live task, or of one without a callback, is refused."""
    node = await harness.node()
    client = await harness.scheduler(callbacks=section())
    for name in ("t1", "t2"):
        await client.submit(name, callback_url="" if name == "t1" else "http://127.0.0.1:1/")
    await (await node.arrival("t1")).complete()
    await client.ended("t1")
    for name in ("t1", "t2"):
        with pytest.raises(WrongState):
            async with rpc_errors():
                await client.stub.RedeliverCallback(task_pb2.RedeliverCallbackRequest(task_id=name))


@given(st.text(max_size=40))
def test_no_retry_after_breaks_a_delivery(text: str) -> None:
    """Whatever a receiver says, it is a wait that is not negative; nonsense is none."""
    assert retry_after_seconds(text, datetime(2026, 1, 1, tzinfo=UTC)) >= 0


async def test_a_redirect_to_a_private_address_calls_nobody(harness: Harness, receiver: Receiver) -> None:
    """None of the ways to say "elsewhere" is followed, and the body goes to nobody else."""
    async with receiving() as inside:
        statuses = (301, 302, 303, 307, 308)
        receiver.answers = [
            web.Response(status=status, headers={"Location": inside.url}) for status in statuses
        ]
        client, _ = await run(harness, receiver, schedule_seconds=(0.01,) * 4)
        found = await log_of(client, "t1", 5)
        assert [one.http_status for one in found.deliveries] == list(statuses)
        assert inside.requests == []


async def test_an_answer_without_end_is_cut(harness: Harness, receiver: Receiver) -> None:
    """A body that never ends is read up to a limit; its status counts, and the connection is not kept."""
    endless = _Endless(b"x" * 65536)
    receiver.answers = [endless]
    client, _ = await run(harness, receiver, timeout_seconds=30)
    found = await log_of(client, "t1", 1)
    assert found.status == task_pb2.CALLBACK_STATUS_SENT
    assert endless.written < 50_000_000


async def test_an_answer_that_drips_ends_with_its_time(harness: Harness, receiver: Receiver) -> None:
    """One byte now and then keeps no delivery open: all of it has one time limit, and it counts as failed."""
    receiver.answers = [_Endless(b"x", pause=0.02), _Endless(b"x", pause=0.02)]
    client, _ = await run(harness, receiver, timeout_seconds=0.3, hold_seconds=5, schedule_seconds=(0.01,))
    found = await log_of(client, "t1", 2)
    assert [one.error for one in found.deliveries] == ["127.0.0.1 did not answer in time"] * 2
    assert found.status == task_pb2.CALLBACK_STATUS_FAILED


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 999999 No\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"\xff" * 4096,
    ],
    ids=["nothing", "ssh", "status", "length", "header", "short", "chunks", "noise"],
)  # fmt: skip
async def test_what_is_no_http_is_a_failed_attempt(harness: Harness, answer: bytes) -> None:
    """Broken answers are logged as failures and repeated like any other."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        receiver = Receiver()
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        client, _ = await run(harness, receiver, schedule_seconds=(0.01,), timeout_seconds=5, hold_seconds=10)
        found = await log_of(client, "t1", 2)
    assert found.status == task_pb2.CALLBACK_STATUS_FAILED
    assert all(one.error and not 200 <= one.http_status < 300 for one in found.deliveries)


async def test_a_receiver_that_was_down_gets_it_later(
    harness: Harness, receiver: Receiver, free_port: Callable[[], int]
) -> None:
    """Attempts while nobody listens are failures of the schedule; when the receiver is back, it is told."""
    port = free_port()
    receiver.url = f"http://127.0.0.1:{port}/hook"
    client, _ = await run(harness, receiver, schedule_seconds=(0.02,) * 200, circuit_failures=500)
    found = await log_of(client, "t1", 3)
    assert found.status == task_pb2.CALLBACK_STATUS_PENDING
    async with receiving(port) as back:
        headers, body = await back.wait(1)
        assert Webhook(SECRETS[0]).verify(body, headers)["task_id"] == "t1"
        assert headers["webhook-id"] == found.deliveries[0].webhook_id


async def test_a_redelivery_by_hand_never_runs_beside_another(harness: Harness, receiver: Receiver) -> None:
    """Asked for while one is under way: that one ends first; if it fails, the next follows at once, with the schedule anew."""
    release = asyncio.Event()
    receiver.before_answer = release.wait
    receiver.answers = [500]
    client, _ = await run(harness, receiver, schedule_seconds=(3600,))
    await receiver.wait(1)
    for _ in range(3):
        await client.stub.RedeliverCallback(task_pb2.RedeliverCallbackRequest(task_id="t1"))
    release.set()
    await receiver.wait(2)
    found = await log_of(client, "t1", 2)
    assert [one.http_status for one in found.deliveries] == [500, 200]
    assert found.status == task_pb2.CALLBACK_STATUS_SENT
    assert (receiver.most_of_one, len(set(receiver.ids()))) == (1, 1)


async def test_a_fault_of_ours_is_an_attempt(
    harness: Harness, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callback that cannot be written is not tried for ever, and the log says that it was our fault."""

    def broken(*_: object, **__: object) -> bytes:
        raise ValueError("a bug")

    monkeypatch.setattr("scheduler.callbacks.body.to_body", broken)
    client, _ = await run(harness, receiver, schedule_seconds=(0.01,))
    found = await log_of(client, "t1", 2)
    assert found.status == task_pb2.CALLBACK_STATUS_FAILED
    assert found.deliveries[0].error == "it could not be made: ValueError"


class _Endless(web.StreamResponse):
    """An answer whose body never ends."""

    def __init__(self, piece: bytes, pause: float = 0.0) -> None:
        super().__init__()
        self._piece = piece
        self._pause = pause
        self.written = 0

    async def write_eof(self, data: bytes = b"") -> None:
        while True:
            await self.write(self._piece)
            self.written += len(self._piece)
            await asyncio.sleep(self._pause)


@pytest.mark.trial("10.12")
@pytest.mark.trial("10.14")
async def test_an_address_is_tried_once_under_the_rules_for_callbacks(
    harness: Harness, receiver: Receiver, free_port: Callable[[], int]
) -> None:
    """Signed, told how it went, never repeated; a refused address names its field and the setting that could allow it."""
    await harness.node()
    client = await harness.scheduler(callbacks=section())

    async def ping(url: str) -> task_pb2.Delivery:
        async with rpc_errors():
            return await client.stub.PingCallback(task_pb2.PingCallbackRequest(url=url, user="ann"))

    delivery = await ping(receiver.url)
    headers, body = await receiver.wait(1)
    assert (delivery.http_status, delivery.error, delivery.webhook_id) == (200, "", headers["webhook-id"])
    assert Webhook(SECRETS[0]).verify(body, headers)["event"] == "ping"
    receiver.answers = [500]
    delivery = await ping(receiver.url)
    assert (delivery.http_status, delivery.error) == (500, "the receiver answered 500")
    assert (await ping(f"http://127.0.0.1:{free_port()}/hook")).error, "nobody there: said, not raised"
    assert len(receiver.requests) == 2
    for call, pointer in (
        (ping("http://10.0.0.1/hook"), "/url"),
        (client.submit("t1", callback_url="http://10.0.0.1/hook"), "/callback_url"),
    ):
        with pytest.raises(AddressRefused, match=r"scheduler\.callbacks\.allow") as refused:
            await call
        assert refused.value.fields[0].pointer == pointer
