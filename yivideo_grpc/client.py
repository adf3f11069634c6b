"""A session with scheduler and filestore themselves, for programs inside an installation."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Self

from pydantic import SecretStr

from runtime.channel import open_channel
from runtime.settings import RuntimeSection, TlsSection
from yivideo.file.v1 import file_pb2, file_pb2_grpc
from yivideo.task.v1 import task_pb2_grpc, workflow_pb2_grpc
from yivideo_client.backoff import Backoff
from yivideo_client.running import Running
from yivideo_grpc.calls import Calls
from yivideo_grpc.files import GrpcFiles
from yivideo_grpc.tasks import GrpcTasks
from yivideo_grpc.workflows import GrpcWorkflows


class GrpcClient(Running):
    """Speaks to the scheduler for tasks and workflows and to the filestore for files; use it with `async with`, in one event loop.

    Whoever may call them says for which user: there are no API keys here, but the installation's token or certificates.
    """

    def __init__(
        self,
        scheduler: str,
        filestore: str = "",
        *,
        user: str = "anonymous",
        all_files: bool = False,
        token: str | None = None,
        tls: TlsSection | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """Addresses are `host:port`, `unix:/path` or gRPC targets; without `filestore` no files can be asked for."""
        self._settings = RuntimeSection(
            token=SecretStr(token) if token else None, tls=tls or TlsSection(), metrics_listen=""
        )
        self._stack = AsyncExitStack()
        self._scheduler, self._filestore = scheduler, filestore
        self._caller = file_pb2.Caller(user=user, all_files=all_files)
        self._backoff = backoff or Backoff()

    async def __aenter__(self) -> Self:
        tasks = await self._stack.enter_async_context(open_channel(self._scheduler, self._settings))
        self.tasks: GrpcTasks = GrpcTasks(
            task_pb2_grpc.TaskServiceStub(tasks), self._caller, Calls(self._backoff, self._scheduler)
        )
        files: GrpcFiles | None = None
        if self._filestore:
            store = await self._stack.enter_async_context(open_channel(self._filestore, self._settings))
            files = GrpcFiles(
                file_pb2_grpc.FileServiceStub(store), self._caller, Calls(self._backoff, self._filestore)
            )
            self.files: GrpcFiles = files
        self.workflows: GrpcWorkflows = GrpcWorkflows(
            workflow_pb2_grpc.WorkflowServiceStub(tasks),
            self._caller,
            Calls(self._backoff, self._scheduler),
            files,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
