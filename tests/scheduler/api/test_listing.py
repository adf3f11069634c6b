"""Listings, deletion and the state of queues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from runtime.errors import InvalidArgument, TaskNotFound, Unavailable, WrongState
from runtime.rpc_errors import rpc_errors
from runtime.server import RpcServer
from scheduler.api.page_token import PageTokens
from tests.scheduler.conftest import RUNTIME, Client, Harness
from yivideo.file.v1 import file_pb2
from yivideo.file.v1.file_pb2_grpc import FileServiceServicer, add_FileServiceServicer_to_server
from yivideo.task.v1 import task_pb2


async def _list(client: Client, **fields: Any) -> task_pb2.ListTasksResponse:
    async with rpc_errors():
        return await client.stub.ListTasks(task_pb2.ListTasksRequest(**fields))


def _names(answer: task_pb2.ListTasksResponse) -> list[str]:
    return [task.spec.task_id for task in answer.tasks]


@pytest.fixture
async def client(harness: Harness) -> AsyncIterator[Client]:
    """Six tasks of two users: one completed, one running, the rest waiting."""
    node = await harness.node()
    made = await harness.scheduler()
    await made.submit("t0", user="ann", labels={"k": "v"})
    await (await node.arrival("t0")).complete()
    await made.ended("t0")
    for n in range(1, 6):
        user = "ann" if n % 2 else "bob"
        await made.submit(
            f"t{n}", "media.split" if n == 3 else "media.extract", user=user, workflow_id="w" if n > 3 else ""
        )
    await node.arrival("t1")
    yield made


@pytest.mark.trial("10.14")
async def test_an_order_and_a_total_are_given_when_asked(client: Client) -> None:
    """Oldest first page by page, each once; the total is that of the conditions, over all pages, and unset when nobody asked."""
    oldest = task_pb2.TASK_ORDER_OLDEST_FIRST
    names: list[str] = []
    token = ""
    while True:
        page = await _list(client, order=oldest, page_size=4, page_token=token, with_total=True)
        assert page.total_count == 6
        names += _names(page)
        token = page.next_page_token
        if not token:
            break
    assert names == ["t0", "t1", "t2", "t3", "t4", "t5"]
    assert not (await _list(client)).HasField("total_count")
    for conditions, total in (
        ({"user": "ann"}, 4), ({"workflow_id": "w"}, 2), ({"user": "bob", "workflow_id": "w"}, 1),
        ({"task_name": "media.extract"}, 5), ({"states": [task_pb2.TASK_STATE_COMPLETED]}, 1), ({"labels": {"k": "v"}}, 1),
        ({"user": "nobody"}, 0),
    ):  # fmt: skip
        assert (await _list(client, **conditions, with_total=True, page_size=1)).total_count == total, (
            conditions
        )
    with pytest.raises(InvalidArgument):
        await _list(client, page_token=(await _list(client, page_size=1)).next_page_token, order=oldest)


async def test_tasks_are_listed_newest_first_by_any_condition(client: Client) -> None:
    """Conditions are joined by AND; inputs and outputs are left out."""
    listed = await _list(client)
    assert _names(listed) == ["t5", "t4", "t3", "t2", "t1", "t0"]
    assert not any(task.HasField("output") or task.spec.HasField("input") for task in listed.tasks)
    assert _names(await _list(client, user="ann")) == ["t5", "t3", "t1", "t0"]
    assert _names(await _list(client, workflow_id="w")) == ["t5", "t4"]
    assert _names(await _list(client, workflow_id="w", user="bob")) == ["t4"]
    assert _names(await _list(client, task_name="media.split")) == ["t3"]
    assert _names(await _list(client, labels={"k": "v"})) == ["t0"]
    assert _names(await _list(client, labels={"k": "other"})) == []
    completed = [task_pb2.TASK_STATE_COMPLETED, task_pb2.TASK_STATE_RUNNING]
    assert _names(await _list(client, states=completed)) == ["t1", "t0"]
    middle = (await client.get("t3")).create_time
    assert set(_names(await _list(client, created_before=middle))) <= {"t2", "t1", "t0"}
    assert {"t5", "t4"} <= set(_names(await _list(client, created_after=middle)))


async def test_pages_join_to_the_whole_and_tokens_belong_to_their_listing(client: Client) -> None:
    """Page by page every task comes once; a token of other conditions, or a forged one, is refused."""
    token, names = "", []
    while True:
        page = await _list(client, user="ann", page_size=1, page_token=token)
        names += _names(page)
        token = page.next_page_token
        if not token:
            break
        kept = token
    assert names == ["t5", "t3", "t1", "t0"]
    for fields in (
        {"user": "bob", "page_token": kept},
        {"user": "ann", "page_token": "x" + kept},
        {"page_size": 501},
    ):
        with pytest.raises(InvalidArgument):
            await _list(client, **fields)


def test_a_token_is_bound_to_its_conditions() -> None:
    """A token reads back under its own conditions and secret only."""
    tokens = PageTokens(b"s")
    token = tokens.make(b"a", (17, "t:1"))
    assert tokens.read(b"a", token) == (17, "t:1")
    assert tokens.read(b"a", "") is None
    for other, conditions in ((tokens, b"b"), (PageTokens(b"x"), b"a")):
        with pytest.raises(InvalidArgument):
            other.read(conditions, token)


async def test_queues_say_where_the_tasks_are(client: Client) -> None:
    """Ready, running and slots are counted, and the oldest wait grows."""
    (queue,) = (await client.stub.ListQueues(task_pb2.ListQueuesRequest(node="media"))).queues
    assert (queue.ready_count, queue.running_count, queue.delayed_count, queue.blocked_count) == (4, 1, 0, 0)
    assert (queue.replica_count, queue.slot_count, queue.free_slot_count) == (1, 1, 0)
    assert queue.oldest_wait_seconds > 0
    assert not (await client.stub.ListQueues(task_pb2.ListQueuesRequest(node="nothing"))).queues


class FakeFilestore(FileServiceServicer):
    """A file store that deletes what the test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, bool]] = []
        self.answer: file_pb2.DeleteFilesResponse | Exception = file_pb2.DeleteFilesResponse(
            deleted_count=2, deleted_bytes=10
        )

    async def DeleteFiles(
        self, request: file_pb2.DeleteFilesRequest, context: Any
    ) -> file_pb2.DeleteFilesResponse:
        caller = request.caller
        self.asked.append((request.prefix, request.task_id, caller.user, caller.all_files))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def _delete(client: Client, task_id: str, *, force: bool = False) -> task_pb2.DeleteTaskResponse:
    async with rpc_errors():
        return await client.stub.DeleteTask(task_pb2.DeleteTaskRequest(task_id=task_id, force=force))


@pytest.mark.trial("10.21")
async def test_deletion_reports_each_resource(harness: Harness) -> None:
    """Files and record are reported by themselves; while files remain, the record stays so that deleting can be repeated."""
    files = FakeFilestore()
    server = RpcServer(RUNTIME)
    server.add(add_FileServiceServicer_to_server, files, "yivideo.file.v1.FileService")
    await harness.node(auto=True)
    address = await harness.stack.enter_async_context(server.running())
    client = await harness.scheduler(filestore_address=address)
    await client.submit("t1")
    await client.ended("t1")

    files.answer = Unavailable("the store is away")
    report = await _delete(client, "t1")
    assert (report.status, [(r.resource, r.status, r.retriable) for r in report.results]) == (
        "failed", [("local_directory", "skipped", False), ("minio", "failed", True), ("redis", "skipped", True)],
    )  # fmt: skip
    files.answer = file_pb2.DeleteFilesResponse(deleted_count=1, failed_paths=["t1/x"])
    assert (await _delete(client, "t1")).status == "failed"
    files.answer = file_pb2.DeleteFilesResponse(deleted_count=2, deleted_bytes=10)
    report = await _delete(client, "t1")
    assert (report.status, [(r.resource, r.status) for r in report.results]) == (
        "success", [("local_directory", "skipped"), ("minio", "deleted"), ("redis", "deleted")],
    )  # fmt: skip
    assert report.results[1].details["files"] == 2
    assert files.asked == [("t1/", "t1", "anonymous", False)] * 3, (
        "what the task has stored, and nothing else"
    )
    for again in (_delete(client, "t1"), client.get("t1")):
        with pytest.raises(TaskNotFound):
            await again
    assert _names(await _list(client)) == []


async def test_a_live_task_is_deleted_only_by_force(harness: Harness) -> None:
    """Without force a live task stays; with it, it is cancelled first and goes when its node says that it has ended."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    with pytest.raises(WrongState):
        await _delete(client, "t1")

    async def obey() -> None:
        await here.wait_cancel()
        await here.say(cancelled=task_pb2.TaskCancelled())

    obeying = asyncio.create_task(obey())
    report = await _delete(client, "t1", force=True)
    await obeying
    assert report.status == "success" and report.warnings == ["the task was cancelled first"]
    assert [(r.resource, r.status) for r in report.results] == [
        ("local_directory", "skipped"), ("minio", "skipped"), ("redis", "deleted"),
    ]  # fmt: skip


async def test_what_is_no_time_is_refused_by_name(client: Client) -> None:
    """Seconds and nanoseconds that no calendar knows are the caller's fault, in a listing and in a submission."""
    for seconds, nanos in ((2**63 - 1, 0), (-(2**63), 0), (0, -1), (0, 2**31 - 1)):
        odd = Timestamp(seconds=seconds, nanos=nanos)
        for field in ("created_after", "created_before"):
            with pytest.raises(InvalidArgument) as refused:
                await _list(client, **{field: odd})
            assert refused.value.fields[0].pointer == f"/{field}"
        for field in ("start_time", "start_deadline"):
            given: dict[str, Any] = {field: odd}
            with pytest.raises(InvalidArgument) as refused:
                await client.submit(**given)
            assert refused.value.fields[0].pointer == f"/{field}"


async def test_a_start_in_a_far_year_is_a_time(client: Client) -> None:
    """Every time that the contract allows can be asked for, also past the year 2262, where nanoseconds leave 64 bits."""
    far = Timestamp(seconds=253_402_300_799)
    task = await client.submit("far", start_time=far)
    assert task.state == task_pb2.TASK_STATE_PENDING
    assert (await client.submit("far", start_time=far)).HasField("reuse")
