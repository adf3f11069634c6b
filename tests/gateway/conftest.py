"""A gateway on a real port, with a scheduler and a filestore behind it on real gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from gateway.app import serving
from gateway.http.facade import Facade
from gateway.settings import GatewaySection, GatewaySettings
from runtime.server import RpcServer
from runtime.settings import RuntimeSection
from tests.gateway.fake_access import FakeAccess
from tests.gateway.fake_filestore import FakeFilestore
from tests.gateway.fake_locks import FakeLockService
from tests.gateway.fake_scheduler import FakeScheduler
from tests.gateway.fake_workflows import FakeWorkflows
from yivideo.access.v1.access_pb2_grpc import add_AccessServiceServicer_to_server
from yivideo.file.v1.file_pb2_grpc import add_FileServiceServicer_to_server
from yivideo.gpulock.v1.monitor_pb2_grpc import add_LockMonitorServicer_to_server
from yivideo.task.v1.task_pb2_grpc import add_TaskServiceServicer_to_server
from yivideo.task.v1.workflow_pb2_grpc import add_WorkflowServiceServicer_to_server

RUNTIME = RuntimeSection(metrics_listen="", drain_seconds=0.2, call_timeout_seconds=5)


@dataclass
class Harness:
    """The gateway and what is behind it."""

    http: aiohttp.ClientSession
    scheduler: FakeScheduler
    filestore: FakeFilestore
    locks: FakeLockService
    address: str
    scheduler_address: str
    scheduler_server: RpcServer
    filestore_server: RpcServer
    lock_server: RpcServer
    access: FakeAccess

    async def submit(self, task_id: str = "t1", **fields: Any) -> dict[str, Any]:
        """Submit a task that is good."""
        body = {
            "task_name": "ffmpeg.extract_audio",
            "task_id": task_id,
            "input_data": {"video_path": "a.mp4"},
            **fields,
        }
        async with self.http.post("/v1/tasks", json=body) as response:
            assert response.status in (200, 202), await response.text()
            answer: dict[str, Any] = await response.json()
            return answer


StartHarness = Callable[..., AbstractAsyncContextManager[Harness]]


@asynccontextmanager
async def _harness(
    headers: dict[str, str] | None = None, surfaces: Sequence[Facade] | None = None, **gateway: Any
) -> AsyncIterator[Harness]:
    """Run a gateway; `surfaces` are other facades than its own, `filestore_address` a real filestore instead of the fake."""
    scheduler, filestore, locks = FakeScheduler(), FakeFilestore(), FakeLockService()
    access = FakeAccess()
    scheduler_server, filestore_server, lock_server = (
        RpcServer(RUNTIME),
        RpcServer(RUNTIME),
        RpcServer(RUNTIME),
    )
    scheduler_server.add(add_TaskServiceServicer_to_server, scheduler, "yivideo.task.v1.TaskService")
    scheduler_server.add(
        add_WorkflowServiceServicer_to_server, FakeWorkflows(), "yivideo.task.v1.WorkflowService"
    )
    scheduler_server.add(add_AccessServiceServicer_to_server, access, "yivideo.access.v1.AccessService")
    filestore_server.add(add_FileServiceServicer_to_server, filestore, "yivideo.file.v1.FileService")
    lock_server.add(add_LockMonitorServicer_to_server, locks, "yivideo.gpulock.v1.LockMonitor")
    async with (
        scheduler_server.running() as tasks_at,
        filestore_server.running() as files_at,
        lock_server.running() as locks_at,
    ):
        section = GatewaySection(
            **{
                "listen": "127.0.0.1:0",
                "scheduler_address": tasks_at,
                "filestore_address": files_at,
                "gpulock_address": locks_at,
                **gateway,
            }
        )
        async with (
            serving(GatewaySettings(runtime=RUNTIME, gateway=section), surfaces) as address,
            aiohttp.ClientSession(f"http://{address}", headers=headers) as http,
        ):
            yield Harness(
                http,
                scheduler,
                filestore,
                locks,
                address,
                tasks_at,
                scheduler_server,
                filestore_server,
                lock_server,
                access,
            )


@pytest.fixture
def start_harness() -> StartHarness:
    """Return what starts a harness with gateway settings of the test's own."""
    return _harness


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    """A harness with default settings: no keys, on loopback."""
    async with _harness() as made:
        yield made
