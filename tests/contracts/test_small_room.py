"""The bridge itself: pytest-grpc's sync client against a small room of ours."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from runtime.errors import TaskNotFound, Unavailable
from runtime.server import RpcServer
from runtime.settings import RuntimeSection
from tests.contracts.calls import healthy, refused, services_of
from tests.contracts.conftest import Room
from tests.contracts.rooms import in_a_thread
from yivideo.task.v1 import task_pb2, task_pb2_grpc

SERVICE = "yivideo.task.v1.TaskService"


class Servicer(task_pb2_grpc.TaskServiceServicer):
    """Knows one task."""

    async def GetTask(self, request: task_pb2.GetTaskRequest, context: Any) -> task_pb2.Task:
        if request.task_id != "known":
            raise TaskNotFound(f"no task {request.task_id!r}")
        return task_pb2.Task(spec=task_pb2.TaskSpec(task_id="known"))

    async def WatchTask(
        self, request: task_pb2.WatchTaskRequest, context: Any
    ) -> AsyncIterator[task_pb2.TaskEvent]:
        for sequence in range(request.after_sequence + 1, 6):
            await asyncio.sleep(0)
            yield task_pb2.TaskEvent(sequence=sequence)
        raise Unavailable("the rest is elsewhere", retry_after_seconds=1.5)


@asynccontextmanager
async def small_room() -> AsyncIterator[str]:
    server = RpcServer(RuntimeSection(drain_seconds=0))
    server.add(task_pb2_grpc.add_TaskServiceServicer_to_server, Servicer(), SERVICE)
    async with server.running() as address:
        yield address


@pytest.fixture(scope="module")
def room() -> Room:
    return small_room


@pytest.fixture(scope="module")
def grpc_stub_cls() -> Any:
    return task_pb2_grpc.TaskServiceStub


def test_a_sync_client_calls_our_server(grpc_stub: Any) -> None:
    """A unary answer, and an error with our details, reach a client that has only generated stubs."""
    assert grpc_stub.GetTask(task_pb2.GetTaskRequest(task_id="known"), timeout=5).spec.task_id == "known"
    with refused("NOT_FOUND", "TASK_NOT_FOUND"):
        grpc_stub.GetTask(task_pb2.GetTaskRequest(task_id="other"), timeout=5)


def test_a_sync_client_reads_our_stream(grpc_stub: Any) -> None:
    """Messages come in order, and the error after them is the stream's end."""
    seen: list[int] = []
    with refused("UNAVAILABLE", "UNAVAILABLE"):
        for event in grpc_stub.WatchTask(task_pb2.WatchTaskRequest(after_sequence=2), timeout=5):
            seen.append(event.sequence)
    assert seen == [3, 4, 5]


def test_callers_in_many_threads_are_served(grpc_stub: Any) -> None:
    """Each thread gets its own answer."""
    answers: list[str] = []

    def ask() -> None:
        answers.append(grpc_stub.GetTask(task_pb2.GetTaskRequest(task_id="known"), timeout=10).spec.task_id)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["known"] * 16


def test_every_channel_of_the_plugin_reaches_the_room(grpc_create_channel: Any) -> None:
    """Reflection and health answer on a channel of one's own."""
    with grpc_create_channel() as channel:
        assert SERVICE in services_of(channel)
        assert healthy(channel, SERVICE)


def test_a_room_ends_with_its_block() -> None:
    """After the block nothing listens, and a room that cannot start says why."""
    with in_a_thread(small_room) as address:
        with grpc.insecure_channel(address) as channel:
            assert healthy(channel, SERVICE)
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError):
        healthy(channel, SERVICE)

    @asynccontextmanager
    async def broken() -> AsyncIterator[str]:
        if SERVICE:
            raise OSError("no such place")
        yield ""

    with pytest.raises(OSError, match="no such place"), in_a_thread(broken):
        pass
